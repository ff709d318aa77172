"""Combinations of a matrix, and the order of tasks."""

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops.tekton import graph, matrix

NAMES = st.sampled_from(["a", "b", "c", "d"])
VALUES = st.lists(st.sampled_from(["1", "2", "3"]), min_size=1, max_size=3, unique=True)
PARAMS = st.lists(st.tuples(NAMES, VALUES), max_size=3, unique_by=lambda each: each[0])
INCLUDE = st.lists(st.dictionaries(NAMES, st.sampled_from(["1", "2", "9"]), max_size=3), max_size=3)


def test_the_first_parameter_varies_fastest():
    found = matrix.combinations([("os", ["linux", "mac"]), ("py", ["3.11", "3.12"])], [])
    assert [(each["os"], each["py"]) for each in found] == [
        ("linux", "3.11"),
        ("mac", "3.11"),
        ("linux", "3.12"),
        ("mac", "3.12"),
    ]


def test_what_is_included_adds_to_combinations_or_becomes_one():
    params = [("os", ["linux", "mac"]), ("py", ["3.11"])]
    include = [{"flags": "-v"}, {"os": "mac", "arch": "arm"}, {"os": "bsd", "py": "3.9"}]
    assert matrix.combinations(params, include) == (
        {"flags": "-v", "os": "linux", "py": "3.11"},
        {"arch": "arm", "flags": "-v", "os": "mac", "py": "3.11"},
        {"os": "bsd", "py": "3.9"},
    )


def test_included_combinations_alone_are_all_there_are():
    assert matrix.combinations([], [{"a": "1"}, {"a": "2"}]) == ({"a": "1"}, {"a": "2"})


@settings(deadline=None)
@given(PARAMS, INCLUDE)
def test_every_product_is_there_and_none_twice(params, include):
    found = matrix.combinations(params, include)
    product = math.prod(len(values) for _, values in params) if params else len(include)
    assert product <= matrix.count(params, include) <= product + len(include)
    assert product <= len(found) <= product + len(include)
    if params:
        own = [tuple(each.get(name) for name, _ in params) for each in found[:product]]
        assert len(set(own)) == product
        assert all(
            value in values for each in own for value, (_, values) in zip(each, params, strict=True)
        )
    for extra in include:
        assert any(extra.items() <= each.items() for each in found) or any(
            set(extra.items()) & set(each.items()) for each in found
        )


@pytest.mark.parametrize("values", [2, 10])
def test_more_combinations_than_memory_holds_are_counted_at_once(values):
    params = [(f"p{number}", [str(each) for each in range(values)]) for number in range(60)]
    assert matrix.count(params, []) == values**60


WAITS = st.dictionaries(
    st.sampled_from("abcdefgh"), st.lists(st.sampled_from("abcdefgh"), max_size=4), max_size=8
)


@settings(deadline=None)
@given(WAITS)
def test_a_circle_is_one_and_there_is_none_where_an_order_exists(waits):
    circle = graph.find_circle(waits)
    if circle:
        assert circle[0] == circle[-1]
        assert len(circle) > 1
        for task, above in pairwise(circle):
            assert above in waits[task]
        return
    done: set[str] = set()
    while len(done) < len(waits):
        ready = {
            name
            for name, above in waits.items()
            if name not in done and all(each in done or each not in waits for each in above)
        }
        assert ready
        done |= ready


def test_a_chain_of_thousands_needs_no_stack():
    names = [f"t{number}" for number in range(5000)]
    chain = dict(zip(names, [[], *([name] for name in names[:-1])], strict=True))
    assert graph.find_circle(chain) == ()
    chain[names[0]] = [names[-1]]
    assert len(graph.find_circle(chain)) == 5001
