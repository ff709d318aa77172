"""`watch` in mlops.yaml: what `mlops watch` decides, and how many of its runs there are at once."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mlops.config.fields import Distinct, Text
from mlops.config.validation import Section
from mlops.domain.watching import SKIP, WatchConfig


class WatchSection(Section):
    """How `mlops watch` decides what to run."""

    each: Literal["push", "commit"] = Field(
        default="push",
        description="what gets a decision: the tip that is observed, or every first-parent commit up to it",
    )
    concurrency: Literal["queue", "cancel-superseded"] = Field(
        default="queue",
        description="what becomes of runs when a newer commit of their branch is decided: all are carried"
        " out, oldest first, or the newest alone",
    )
    runs: int = Field(
        default=1, ge=1, description="how many runs of this project there are at once"
    )
    skip: Annotated[tuple[Text, ...], Distinct] = Field(
        default=SKIP, description="marks in a commit's message by which no run is made of it"
    )

    def frozen(self) -> WatchConfig:
        return WatchConfig(self.each, self.concurrency, self.runs, self.skip)
