"""A graph in layers: every node to the right of those that it comes after, few lines crossing.

The layer of a node is the longest way to it; in a layer nodes are put in order by the middle of
their neighbours, from left to right and back (Sugiyama's method). A line over several layers goes
through places that are kept free for it.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_SWEEPS = 6
_MOST_BENDS = 20_000  # places for lines; beyond, lines go straight


@dataclass(slots=True)
class Layout:
    """Where each node stands: its layer and its row, from 0. `lines` are the places that each edge
    goes through, both ends included; rows may be halves."""

    places: dict[str, tuple[int, float]] = field(default_factory=dict)
    lines: list[tuple[tuple[int, float], ...]] = field(default_factory=list)
    layers: int = 0
    rows: float = 0


def lay_out(parents: Mapping[str, Sequence[str]]) -> Layout:
    """Lay out a graph without cycles: node → those that it comes after, all of them keys too."""
    layer = _layers(parents)
    chains, neighbours, rows = _with_bends(parents, layer)
    _order(rows, neighbours)
    tallest = max(map(len, rows), default=0)
    found = Layout(layers=len(rows), rows=tallest)
    where: dict[str | tuple[str, str, int], tuple[int, float]] = {}
    for number, row in enumerate(rows):
        shift = (tallest - len(row)) / 2
        for at, name in enumerate(row):
            where[name] = (number, at + shift)
    found.places = {name: where[name] for name in parents}
    found.lines = [tuple(where[name] for name in chain) for chain in chains]
    return found


_Key = str | tuple[str, str, int]


def _layers(parents: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """The longest way to each node; not recursive, for a chain may be thousands long."""
    found: dict[str, int] = {}
    stack = list(parents)[::-1]
    while stack:
        name = stack[-1]
        waiting = [each for each in parents[name] if each not in found]
        if name in found or not waiting:
            stack.pop()
            found.setdefault(name, 1 + max((found[each] for each in parents[name]), default=-1))
        else:
            stack.extend(waiting)
    return found


def _with_bends(
    parents: Mapping[str, Sequence[str]], layer: Mapping[str, int]
) -> tuple[list[list[_Key]], dict[_Key, tuple[list[_Key], list[_Key]]], list[list[_Key]]]:
    """The edges with the places they go through, the neighbours of each, the layers' content."""
    rows: list[list[_Key]] = [[] for _ in range(max(layer.values(), default=-1) + 1)]
    neighbours: dict[_Key, tuple[list[_Key], list[_Key]]] = {}
    for name in parents:
        rows[layer[name]].append(name)
        neighbours[name] = ([], [])
    edges = [(parent, name) for name in parents for parent in parents[name]]
    bends = sum(layer[name] - layer[parent] - 1 for parent, name in edges) <= _MOST_BENDS
    chains: list[list[_Key]] = []
    for parent, name in edges:
        chain: list[_Key] = [parent]
        for number in range(layer[parent] + 1, layer[name] if bends else 0):
            bend = (parent, name, number)
            rows[number].append(bend)
            neighbours[bend] = ([], [])
            chain.append(bend)
        chain.append(name)
        chains.append(chain)
        for left, right in itertools.pairwise(chain):
            neighbours[left][1].append(right)
            neighbours[right][0].append(left)
    return chains, neighbours, rows


def _order(
    rows: list[list[_Key]], neighbours: Mapping[_Key, tuple[list[_Key], list[_Key]]]
) -> None:
    """Put each layer in order by its neighbours in the one before, then in the one after."""
    position = {name: float(at) for row in rows for at, name in enumerate(row)}
    for sweep in range(_SWEEPS):
        side = sweep % 2
        for row in reversed(rows) if side else rows:
            middles = {}
            for name in row:
                near = neighbours[name][side]
                middles[name] = (
                    sum(position[each] for each in near) / len(near) if near else position[name]
                )
            row.sort(key=middles.__getitem__)
            shift = (len(row) - 1) / 2
            for at, name in enumerate(row):
                position[name] = at - shift
