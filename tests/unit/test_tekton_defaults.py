"""Defaults of parameters that refer to others."""

from __future__ import annotations

import pytest

from mlops.tekton import defaults
from mlops.tekton.place import Place
from mlops.tekton.values import ParamSpec, Value


def spec(name: str, default: Value | None = None, kind: str = "string") -> ParamSpec:
    return ParamSpec(name, kind, Place(None, ("spec", "params", name)), default)


def faults(*specs: ParamSpec, **given: Value) -> list[str]:
    return [str(each) for each in defaults.faults(specs, given)]


def test_a_default_is_made_of_those_declared_after_it():
    specs = [spec("c", "$(params.b)!"), spec("b", "$(params.a)?"), spec("a", "x")]
    assert defaults.completed(specs, {}, {}) == {"c": "x?!", "b": "x?", "a": "x"}


def test_what_is_given_counts_before_the_default():
    specs = [spec("b", "$(params.a)-$(params.free)"), spec("a", "x")]
    found = defaults.completed(specs, {"a": "given", "free": "too"}, {})
    assert found == {"b": "given-too", "a": "given"}


def test_items_and_keys_of_defaults_refer_too():
    specs = [
        spec("list", ("1", "$(params.a)"), "array"),
        spec("thing", {"k": "$(params.list[0])"}, "object"),
        spec("a", "x"),
    ]
    found = defaults.completed(specs, {}, {})
    assert found == {"list": ("1", "x"), "thing": {"k": "1"}, "a": "x"}


def test_an_object_is_completed_key_by_key():
    specs = [spec("thing", {"a": "1", "b": "2"}, "object")]
    assert defaults.completed(specs, {"thing": {"b": "3"}}, {}) == {"thing": {"a": "1", "b": "3"}}


def test_a_parameter_without_value_is_left_out():
    assert defaults.completed([spec("a")], {}, {}) == {}


@pytest.mark.parametrize(
    ("specs", "said"),
    [
        ([spec("a", "$(params.a)")], "a → a"),
        ([spec("a", "$(params.b)"), spec("b", "$(params.a)")], "a → b → a"),
        ([spec("a", "$(params.lost)")], "spec.params.a.default: $(params.lost): there is no such"),
    ],
    ids=["itself", "each other", "nobody"],
)
def test_circles_and_nothing_are_refused(specs, said):
    (fault,) = faults(*specs)
    assert said in fault


def test_a_circle_that_nobody_needs_is_no_fault():
    circle = (spec("a", "$(params.b)"), spec("b", "$(params.a)"))
    assert faults(*circle, a="given") == []
    assert defaults.completed(circle, {"a": "x"}, {}) == {"a": "x", "b": "x"}


def test_a_chain_may_be_long():
    chain = [spec(f"p{n}", f"$(params.p{n + 1})") for n in range(5000)]
    assert faults(*chain, spec("p5000", "x")) == []
    assert defaults.completed([*chain, spec("p5000", "x")], {}, {})["p0"] == "x"
