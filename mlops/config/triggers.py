"""`triggers:` of mlops.yaml."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from mlops.config.fields import distinct
from mlops.config.validation import Section
from mlops.domain import cron
from mlops.domain.cron import Cron

CronText = Annotated[str, AfterValidator(cron.check), Field(examples=["0 3 * * 1", "30 6 1 * *"])]
Zone = Annotated[str, AfterValidator(cron.check_zone), Field(examples=["Europe/Berlin"])]


class TriggerSection(Section):
    """What asks for a run of the model without a push."""

    cron: CronText = Field(
        description="when the model is trained anew: minute, hour, day of the month, month, day of the week"
    )
    timezone: Zone = Field(
        default="UTC", description="the time zone that `cron` is read in, by its IANA name"
    )

    def frozen(self) -> Cron:
        return Cron(" ".join(self.cron.split()), self.timezone)


def apart(triggers: tuple[TriggerSection, ...]) -> tuple[TriggerSection, ...]:
    """No trigger twice."""
    distinct(tuple(str(trigger.frozen()) for trigger in triggers))
    return triggers
