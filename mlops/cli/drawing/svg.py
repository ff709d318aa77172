"""A run's graph as SVG: readable without colours, in the light and in the dark, and by a screen reader."""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape

from mlops.cli.drawing.layers import Layout, lay_out
from mlops.cli.drawing.nodes import MARKS, Node, nodes
from mlops.cli.terminal import visible, width
from mlops.domain.run import Phase, RunResult

_HEIGHT, _GAP_X, _GAP_Y, _MARGIN, _TOP = 46, 56, 16, 20, 56
_LETTER = 7.6  # width of a letter at 13 px, generously
_LEAST, _MOST = 96, 260
_CUT = 32  # letters of a line in a box

_STYLE = """
  svg { --paper: #ffffff; --ink: #1f2328; --quiet: #59636e; --line: #8c959f; --box: #f6f8fa;
        --succeeded: #1a7f37; --failed: #cf222e; --cancelled: #9a6700; --running: #0969da;
        --pending: #59636e; --skipped: #59636e; }
  @media (prefers-color-scheme: dark) {
    svg { --paper: #0d1117; --ink: #e6edf3; --quiet: #9198a1; --line: #656c76; --box: #151b23;
          --succeeded: #3fb950; --failed: #f85149; --cancelled: #d29922; --running: #4493f8;
          --pending: #9198a1; --skipped: #9198a1; } }
  text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: var(--ink); }
  .title { font-size: 16px; font-weight: 600; }
  .quiet { fill: var(--quiet); font-size: 12px; }
  .paper { fill: var(--paper); }
  .edge { fill: none; stroke: var(--line); stroke-width: 1.5; marker-end: url(#tip); }
  .tip { fill: var(--line); }
  .group { fill: none; stroke: var(--line); stroke-dasharray: 2 4; }
  .box { fill: var(--box); stroke-width: 2; }
""" + "".join(
    f"  .{name} .box {{ stroke: var(--{name}); }} .{name} .state {{ fill: var(--{name}); }}\n"
    for name in (str(phase).lower() for phase in Phase)
)
_DASHED = {Phase.PENDING: "4 4", Phase.SKIPPED: "2 3", Phase.CANCELLED: "8 3"}


def svg(run: RunResult) -> str:
    """The whole picture; each box names its task and how it stands, and says why when pointed at."""
    return "\n".join(_Picture(run).lines()) + "\n"


class _Picture:
    def __init__(self, run: RunResult) -> None:
        self._run = run
        found = nodes(run)
        self._nodes = {node.name: node for node in found}
        tasks = {node.name: node.after for node in found if not node.final}
        finals = {node.name: () for node in found if node.final}
        self._tasks, self._finals = lay_out(tasks), lay_out(finals)
        widest = max((_wide(node) for node in found), default=_LEAST)
        self._wide = max(_LEAST, min(_MOST, widest))
        self._rows = max(self._tasks.rows, self._finals.rows, 1)

    def lines(self) -> Iterator[str]:
        wide, high = self._size()
        title = f"{self._run.name}: {self._run.phase}"
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide:g}" height="{high:g}" '
            f'viewBox="0 0 {wide:g} {high:g}" role="img" aria-labelledby="title">'
        )
        yield f'<title id="title">{_text(title)}</title>'
        yield f"<style>{_STYLE}</style>"
        yield (
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
            'markerHeight="7" orient="auto"><path class="tip" d="M0 0L8 4L0 8z"/></marker></defs>'
        )
        yield f'<rect class="paper" width="{wide:g}" height="{high:g}"/>'
        yield f'<text class="title" x="{_MARGIN}" y="30">{_text(_cut(title, 90))}</text>'
        yield from self._edges()
        yield from self._boxes(self._tasks, 0)
        yield from self._final()
        yield "</svg>"

    def _size(self) -> tuple[float, float]:
        layers = self._tasks.layers + self._finals.layers
        titled = 2 * _MARGIN + 9.5 * min(90, width(f"{self._run.name}: {self._run.phase}"))
        wide = 2 * _MARGIN + max(1, layers) * (self._wide + _GAP_X) - _GAP_X + 16
        return max(wide, titled), _TOP + self._rows * (_HEIGHT + _GAP_Y) + _MARGIN + 8

    def _at(self, place: tuple[int, float], layout: Layout, first: int) -> tuple[float, float]:
        """The upper left corner of a box."""
        layer, row = place
        x = _MARGIN + (first + layer) * (self._wide + _GAP_X) + (16 if first else 0)
        return x, _TOP + 14 + (row + (self._rows - layout.rows) / 2) * (_HEIGHT + _GAP_Y)

    def _edges(self) -> Iterator[str]:
        for line in self._tasks.lines:
            points = [self._at(place, self._tasks, 0) for place in line]
            x, y = points[0][0] + self._wide, points[0][1] + _HEIGHT / 2
            path = f"M{x:g} {y:g}"
            for number, (left, top) in enumerate(points[1:], 2):
                last = number == len(points)
                to_x, to_y = left - (2 if last else 0), top + _HEIGHT / 2
                bend = (to_x - x) / 2
                path += f"C{x + bend:g} {y:g} {to_x - bend:g} {to_y:g} {to_x:g} {to_y:g}"
                x, y = to_x, to_y
                if not last:
                    x += self._wide
                    path += f"H{x:g}"
            yield f'<path class="edge" d="{path}"/>'

    def _boxes(self, layout: Layout, first: int) -> Iterator[str]:
        for name, place in layout.places.items():
            yield self._box(self._nodes[name], *self._at(place, layout, first))

    def _final(self) -> Iterator[str]:
        layout, first = self._finals, self._tasks.layers
        if not layout.places:
            return
        corners = [self._at(place, layout, first) for place in layout.places.values()]
        x, y = min(x for x, _ in corners) - 10, min(y for _, y in corners) - 22
        high = max(y for _, y in corners) + _HEIGHT + 10 - y
        yield (
            f'<rect class="group" x="{x:g}" y="{y:g}" width="{self._wide + 20}" height="{high:g}" rx="8"/>'
        )
        yield f'<text class="quiet" x="{x + 10:g}" y="{y + 15:g}">finally</text>'
        yield from self._boxes(layout, first)

    def _box(self, node: Node, x: float, y: float) -> str:
        dashes = _DASHED.get(node.phase)
        dash = f' stroke-dasharray="{dashes}"' if dashes else ""
        about = f"{node.name}: {node.note}" + (f": {node.more}" if node.more else "")
        letters = int((self._wide - 20) / _LETTER)
        return (
            f'<g class="{str(node.phase).lower()}"><title>{_text(about)}</title>'
            f'<rect class="box" x="{x:g}" y="{y:g}" width="{self._wide}" height="{_HEIGHT}" rx="6"{dash}/>'
            f'<text x="{x + 10:g}" y="{y + 19:g}">{_text(_cut(node.name, letters))}</text>'
            f'<text class="quiet state" x="{x + 10:g}" y="{y + 37:g}">'
            f"{_text(_cut(f'{MARKS[node.phase]} {node.note}', letters))}</text></g>"
        )


def _wide(node: Node) -> int:
    letters = max(width(node.name), width(node.note) + 2)
    return int(min(letters, _CUT) * _LETTER) + 22


def _cut(text: str, letters: int) -> str:
    return text if width(text) <= letters else text[: max(1, letters - 1)] + "…"


def _text(text: str) -> str:
    """A text that is only that: nothing in it is markup, nothing turns the reading round."""
    return escape(visible(text), {'"': "&quot;"})
