"""A gate, as mlops.yaml and environment.yaml write it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from mlops.config.fields import Text
from mlops.config.validation import Section
from mlops.domain.environment import GateRule


class GateSection(Section):
    """A rule on one metric: bounds, or the largest regression against the target's pin."""

    metric: Text = Field(description="the metric; dots lead into nested ones: test.accuracy")
    min: float | None = Field(
        default=None, allow_inf_nan=False, description="the least that passes"
    )
    max: float | None = Field(default=None, allow_inf_nan=False, description="the most that passes")
    max_regression: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="how much worse than the target's pin it may be, in the metric's own units",
    )
    direction: Literal["up", "down"] = Field(default="up", description="which way is better")

    @model_validator(mode="after")
    def _bounded(self) -> GateSection:
        if self.min is None and self.max is None and self.max_regression is None:
            raise ValueError("expected one of min, max and max_regression")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("expected min to be at most max")
        return self

    def frozen(self) -> GateRule:
        return GateRule(self.metric, self.min, self.max, self.max_regression, self.direction)
