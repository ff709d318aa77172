"""`triggers:` of mlops.yaml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from mlops.config.fields import Duration, distinct, seconds
from mlops.config.validation import Section
from mlops.domain import cron
from mlops.domain.cron import Cron
from mlops.domain.trigger import Data, Trigger, Updates

CronText = Annotated[str, AfterValidator(cron.check), Field(examples=["0 3 * * 1", "30 6 1 * *"])]
Zone = Annotated[str, AfterValidator(cron.check_zone), Field(examples=["Europe/Berlin"])]


def _source(text: str) -> str:
    if not text or text.startswith("-") or len(text) > 500 or not text.isprintable():
        raise ValueError("expected a .dvc file, a path that one tracks, or a URL that one imports")
    return text


Source = Annotated[str, AfterValidator(_source)]


class TriggerSection(Section):
    """What asks for a run of the model without a push: one of `cron` and `data`."""

    cron: CronText | None = Field(
        default=None,
        description="when the model is trained anew: minute, hour, day of the month, month, day of the week",
    )
    timezone: Zone = Field(
        default="UTC", description="the time zone that `cron` is read in, by its IANA name"
    )
    data: Source | None = Field(
        default=None,
        description="imported data that is looked at for changes at its source: the .dvc file, the path that it"
        " tracks, or the URL that it imports",
    )
    cool_down: Duration = Field(
        default="6h", alias="cool-down", description="how long after one change the next one waits"
    )
    settle: Duration = Field(
        default="10m", description="how long changed data must stand still before it is brought in"
    )
    commit: Literal["propose", "push"] = Field(
        default="propose",
        description="where the new data version goes: to a branch for a pull request, or to the tracked branch",
    )

    @model_validator(mode="after")
    def _one(self) -> TriggerSection:
        if (self.cron is None) == (self.data is None):
            raise ValueError("expected one of cron and data")
        return self

    def frozen(self) -> Trigger:
        if self.data is not None:
            wait = seconds(self.cool_down)
            return Data(self.data, wait, seconds(self.settle), self.commit == "push")
        return _cron(self.cron or "", self.timezone)


class UpdatesSection(Section):
    """When new base images and packages are looked for; what is new is proposed as new locks."""

    cron: CronText = Field(description="when they are looked for, as for `triggers`")
    timezone: Zone = Field(default="UTC", description="the time zone that `cron` is read in")
    bases: bool = Field(default=True, description="whether base images are upgraded")
    packages: bool = Field(default=True, description="whether Python packages are upgraded")

    def frozen(self) -> Updates:
        return Updates(_cron(self.cron, self.timezone), self.bases, self.packages)


def _cron(text: str, zone: str) -> Cron:
    return Cron(" ".join(text.split()), zone)


def apart(triggers: tuple[TriggerSection, ...]) -> tuple[TriggerSection, ...]:
    """No trigger twice."""
    distinct(tuple(str(trigger.frozen()) for trigger in triggers))
    return triggers
