"""A run's graph as DOT, for Graphviz and what else reads it (https://graphviz.org/doc/info/lang.html)."""

from __future__ import annotations

from collections.abc import Iterator

from mlops.cli.drawing.nodes import MARKS, Node, nodes
from mlops.cli.terminal import visible
from mlops.domain.run import Phase, RunResult

_COLOURS = {
    Phase.SUCCEEDED: "#1a7f37",
    Phase.FAILED: "#cf222e",
    Phase.CANCELLED: "#9a6700",
    Phase.RUNNING: "#0969da",
    Phase.PENDING: "#6e7781",
    Phase.SKIPPED: "#6e7781",
}


def dot(run: RunResult) -> str:
    """The whole graph; states are told by colour and by word."""
    return "\n".join(_lines(run)) + "\n"


def _lines(run: RunResult) -> Iterator[str]:
    found = nodes(run)
    yield f"digraph {_quoted(run.name)} {{"
    yield f"  label={_quoted(f'{run.name}: {run.phase}')}; labelloc=t; rankdir=LR;"
    yield '  node [shape=box, style=rounded, fontname="sans-serif"];'
    for node in found:
        if not node.final:
            yield f"  {_node(node)}"
    final = [node for node in found if node.final]
    if final:
        yield '  subgraph cluster_finally {\n    label="finally"; style=dashed;'
        for node in final:
            yield f"    {_node(node)}"
        yield "  }"
    for node in found:
        for parent in node.after:
            yield f"  {_quoted(parent)} -> {_quoted(node.name)};"
    yield "}"


def _node(node: Node) -> str:
    style = ", style=dashed" if node.phase in (Phase.SKIPPED, Phase.PENDING) else ""
    label = f"{MARKS[node.phase]} {node.name}\n{node.note}"
    about = _quoted(node.more or node.note)
    colour = _COLOURS[node.phase]
    return (
        f"{_quoted(node.name)} [label={_quoted(label)}, tooltip={about}, "
        f'color="{colour}", fontcolor="{colour}"{style}];'
    )


def _quoted(text: str) -> str:
    """A DOT string: nothing in it ends it, nothing is an escape of the label's own."""
    lines = (visible(line).replace("\\", "\\\\").replace('"', '\\"') for line in text.split("\n"))
    return '"' + "\\n".join(lines) + '"'
