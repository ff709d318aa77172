"""Gates and the metrics that they judge."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops.domain.environment import GateRule
from mlops.errors import ConfigError
from mlops.policy.gates import evaluate, refused
from mlops.policy.metrics import LIMIT, lookup, number, parse_metrics

FINITE = st.floats(allow_nan=False, allow_infinity=False, width=32)


def verdicts(rule: GateRule, metrics: object, target: object = None) -> list[str]:
    return [verdict.verdict for verdict in evaluate([rule], metrics, target)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rule", "value", "expected"),
    [
        (GateRule("m", min=0.9), 0.9, "pass"),
        (GateRule("m", min=0.9), 0.89, "fail: 0.89 is below it"),
        (GateRule("m", max=1.0), 1, "pass"),
        (GateRule("m", max=1.0), 1.5, "fail: 1.5 is above it"),
    ],
)
def test_bounds(rule: GateRule, value: float, expected: str) -> None:
    assert verdicts(rule, {"m": value}) == [expected]


@pytest.mark.parametrize(
    ("direction", "before", "now", "passes"),
    [
        ("up", 0.92, 0.90, True),
        ("up", 0.92, 0.89, False),
        ("up", 0.92, 0.99, True),
        ("down", 0.10, 0.12, True),
        ("down", 0.10, 0.13, False),
        ("down", 0.10, 0.01, True),
    ],
)
def test_regressions(direction: str, before: float, now: float, passes: bool) -> None:
    rule = GateRule("m", max_regression=0.02, direction=direction)
    assert (refused(evaluate([rule], {"m": now}, {"m": before})) == ()) is passes


@given(FINITE, FINITE, st.floats(0, 1e6))
def test_up_and_down_mirror_each_other(before: float, now: float, allowed: float) -> None:
    up = evaluate([GateRule("m", max_regression=allowed)], {"m": now}, {"m": before})
    down = evaluate(
        [GateRule("m", max_regression=allowed, direction="down")], {"m": -now}, {"m": -before}
    )
    assert up[0].passed is down[0].passed


def test_against_nothing_a_regression_passes_with_a_note() -> None:
    rule = GateRule("m", max_regression=0.0)
    assert verdicts(rule, {"m": 1}) == ["pass: nothing is pinned to compare with"]
    assert verdicts(rule, {"m": 1}, {}) == ["pass: what is pinned has no m to compare with"]


@pytest.mark.parametrize("value", [None, "0.9", True, [], {}, math.nan, math.inf, 10**400])
def test_what_is_no_finite_number_fails(value: object) -> None:
    rule = GateRule("m", min=0, max=1, max_regression=1)
    found = verdicts(rule, {"m": value} if value is not None else {})
    assert len(found) == 3
    assert all(text.startswith("fail: ") for text in found)


def test_one_rule_with_two_bounds_gives_two_verdicts() -> None:
    found = evaluate([GateRule("a.b", min=0.5, max=0.7)], {"a": {"b": 0.8}}, None)
    assert [(v.rule, v.value, v.passed) for v in found] == [
        ("a.b ≥ 0.5", 0.8, True),
        ("a.b ≤ 0.7", 0.8, False),
    ]


def test_dotted_names() -> None:
    metrics = {"test": {"accuracy": 1, "f1.macro": 2}, "test.loss": 3}
    assert lookup(metrics, "test.accuracy") == 1
    assert lookup(metrics, "test.f1.macro") == 2
    assert lookup(metrics, "test.loss") == 3
    assert lookup(metrics, "test.accuracy.x") is None
    assert lookup(metrics, "absent") is None
    assert number(1) == 1.0


# -- the file


@given(
    st.dictionaries(st.text(), st.recursive(FINITE | st.text(), lambda x: st.lists(x, max_size=3)))
)
def test_any_plain_json_object_is_read_as_it_is(value: dict[str, object]) -> None:
    assert parse_metrics(json.dumps(value).encode(), "metrics.json") == value


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    for name in ("metrics.json", "metrics.yaml"):
        said = name
        try:
            assert isinstance(parse_metrics(content, name), dict)
        except ConfigError as exc:
            said = exc.message
        assert said.startswith(name)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "is not there"),
        (b"", "not JSON"),
        (b"{,}", "metrics.json:1: not JSON"),
        (b'{"a": {"b": NaN}}', r"a\.b is nan"),
        (b'{"a": [1, Infinity]}', r"a\.1 is inf"),
        (b'{"a": 1e999}', r"a is inf"),
        (b'{"a": 1, "a": 2}', "the key 'a' stands twice"),
        (b"[1]", "this is a list"),
        (b"1", "this is a number"),
        (b"null", "this is nothing"),
        (b"\xff", "not UTF-8 at byte 0"),
        (b'{"a": ' * 70 + b"1" + b"}" * 70, "nested more than"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"a": ' + b"9" * 5000 + b"}", "metrics.json: "),
        (b" " * (LIMIT + 1), "too large"),
    ],
)
def test_files_that_are_no_metrics(content: bytes | None, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_metrics(content, "metrics.json")


def test_yaml_metrics() -> None:
    assert parse_metrics(b"loss: 1e-3\nok: on\n", "metrics.yaml") == {"loss": 0.001, "ok": "on"}
    with pytest.raises(ConfigError, match="loss is nan"):
        parse_metrics(b"loss: .nan\n", "m.yml")
