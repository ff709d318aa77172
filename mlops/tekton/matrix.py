"""Fans a matrix out into its combinations (Tekton: docs/matrix.md)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

Combination = Mapping[str, str]
MOST = 256  # combinations of one matrix: Tekton's default-max-matrix-combinations-count


def combinations(
    params: Sequence[tuple[str, Sequence[str]]], include: Sequence[Combination]
) -> tuple[Combination, ...]:
    """All combinations of `params` (the first one varies fastest), with `include` worked in.

    An included combination whose common parameters agree with one that is there adds its other
    parameters to it; one whose values are nowhere becomes a combination of its own. Without `params`
    the included ones are all.
    """
    if not params:
        return tuple(dict(each) for each in include)
    found: list[dict[str, str]] = [{}]
    for name, values in params:
        found = [{**each, name: value} for value in values for each in found]
    for each in found:
        for extra in include:
            if all(each.get(name, value) == value for name, value in extra.items()):
                each.update(extra)
    for extra in include:
        if extra and not any(_shares(each, extra) for each in found):
            found.append(dict(extra))
    return tuple({name: each[name] for name in sorted(each)} for each in found)


def _shares(combination: Combination, extra: Combination) -> bool:
    return any(combination.get(name) == value for name, value in extra.items())


def count(params: Sequence[tuple[str, Sequence[str]]], include: Sequence[Combination]) -> int:
    """How many combinations Tekton's webhook counts; not made, for a stranger may ask for 10^40.

    There may be as many more as are included: of two that differ in a parameter of their own alone, the
    second one becomes a combination too.
    """
    if not params:
        return len(include)
    known = dict(params)
    more = sum(
        any(name in known and value not in known[name] for name, value in each.items())
        for each in include
    )
    return math.prod(len(values) for _, values in params) + more
