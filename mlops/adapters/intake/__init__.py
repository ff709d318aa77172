"""The listener for webhooks: HTTP in, deliveries in the journal out."""

from mlops.adapters.intake.application import Application as Application
from mlops.adapters.intake.application import Limits as Limits
from mlops.adapters.intake.listener import Encryption as Encryption
from mlops.adapters.intake.listener import Listener as Listener
from mlops.adapters.intake.metrics import IntakeMetrics as IntakeMetrics
from mlops.adapters.intake.secrets import VARIABLES as VARIABLES
from mlops.adapters.intake.secrets import WebhookSecrets as WebhookSecrets
from mlops.adapters.intake.sockets import bound as bound
