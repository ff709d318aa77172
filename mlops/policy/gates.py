"""Gates: rules on a release's metrics, evaluated for an environment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mlops.domain.environment import GateRule
from mlops.domain.release import GateVerdict
from mlops.policy.metrics import lookup, number

__all__ = ["evaluate", "refused"]


def evaluate(
    rules: Iterable[GateRule],
    metrics: Mapping[str, Any],
    target: Mapping[str, Any] | None,
) -> tuple[GateVerdict, ...]:
    """One verdict for each bound of each rule, in order.

    `target` are the metrics of what the environment pins now, None where it pins nothing: a
    regression then passes, with a note. A metric that is missing, or no finite number, fails.
    """
    return tuple(verdict for rule in rules for verdict in _verdicts(rule, metrics, target))


def refused(verdicts: Iterable[GateVerdict]) -> tuple[GateVerdict, ...]:
    """Those that did not pass."""
    return tuple(verdict for verdict in verdicts if not verdict.passed)


def _verdicts(
    rule: GateRule, metrics: Mapping[str, Any], target: Mapping[str, Any] | None
) -> Iterator[GateVerdict]:
    found = lookup(metrics, rule.metric)
    value = number(found)
    for text in _bounds(rule):
        if value is None:
            yield GateVerdict(text, None, f"fail: {_unfit(rule.metric, found)}")
    if value is None:
        return
    if rule.min is not None:
        held = value >= rule.min
        yield _verdict(f"{rule.metric} ≥ {rule.min:g}", value, held, f"{value:.6g} is below it")
    if rule.max is not None:
        held = value <= rule.max
        yield _verdict(f"{rule.metric} ≤ {rule.max:g}", value, held, f"{value:.6g} is above it")
    if rule.max_regression is not None:
        yield _regression(rule, value, target)


def _bounds(rule: GateRule) -> Iterator[str]:
    if rule.min is not None:
        yield f"{rule.metric} ≥ {rule.min:g}"
    if rule.max is not None:
        yield f"{rule.metric} ≤ {rule.max:g}"
    if rule.max_regression is not None:
        yield _regression_text(rule)


def _regression_text(rule: GateRule) -> str:
    worse = "rises" if rule.direction == "down" else "falls"
    return f"{rule.metric} {worse} by {rule.max_regression:g} at most"


def _regression(rule: GateRule, value: float, target: Mapping[str, Any] | None) -> GateVerdict:
    text = _regression_text(rule)
    if target is None:
        return GateVerdict(text, value, "pass: nothing is pinned to compare with")
    before = number(lookup(target, rule.metric))
    if before is None:
        return GateVerdict(
            text, value, f"pass: what is pinned has no {rule.metric} to compare with"
        )
    worse = value - before if rule.direction == "down" else before - value
    # one part in 10^12: 0.92 - 0.90 is 0.020000000000000018, and a person wrote 0.02
    slack = 1e-12 * max(1.0, abs(before), abs(value))
    held = worse <= (rule.max_regression or 0.0) + slack
    return _verdict(text, value, held, f"it went from {before:.6g} to {value:.6g}")


def _verdict(rule: str, value: float, held: bool, otherwise: str) -> GateVerdict:
    return GateVerdict(rule, value, "pass" if held else f"fail: {otherwise}")


def _unfit(metric: str, found: Any) -> str:
    if found is None:
        return f"the metrics have no {metric}"
    return f"{metric} is {str(found)[:40]!r}, not a finite number"
