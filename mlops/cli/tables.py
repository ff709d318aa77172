"""Tables laid out in so many columns: side by side where they fit, one fact to a line where not.

No column is ever left out, and no word is ever cut: a digest that was cut cannot be copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mlops.cli.terminal import width

_GAP = "  "
Row = Sequence[str]


def piped(headings: Row, rows: Sequence[Row]) -> Iterator[str]:
    """Lines for programs and files: capitals above, cells parted by at least two spaces."""
    lines = [[heading.upper() for heading in headings], *rows]
    widths = [max(width(line[i]) for line in lines) for i in range(len(headings))]
    for line in lines:
        yield _joined(line, widths)


def drawn(headings: Row, rows: Sequence[Row], room: int) -> tuple[list[str], list[str]]:
    """The head and the body of a table for a terminal of `room` columns.

    Cells are folded between words. Where not even the longest words fit side by side, there is no
    head, and each row is a block of `heading: value` lines.
    """
    widths = _widths(headings, rows, room)
    if widths is None:
        return [], list(_stacked(headings, rows, room))
    head = [_joined(headings, widths), _GAP.join("─" * each for each in widths)]
    return head, [line for row in rows for line in _folded(row, widths)]


def _widths(headings: Row, rows: Sequence[Row], room: int) -> list[int] | None:
    """The width of each column; None where the longest words do not fit."""
    lines = [headings, *rows]
    count = len(headings)
    wanted = [max(width(line[i]) for line in lines) for i in range(count)]
    least = [max(_longest(line[i]) for line in lines) for i in range(count)]
    room -= len(_GAP) * (count - 1)
    if sum(wanted) <= room:
        return wanted
    if sum(least) > room:
        return None
    return _shared(wanted, least, room)


def _shared(wanted: list[int], least: list[int], room: int) -> list[int]:
    """Each column its longest word; what is left goes, column for column, to those that ask for least."""
    widths = list(least)
    left = room - sum(least)
    asking = sorted(range(len(wanted)), key=lambda i: wanted[i] - least[i])
    for number, i in enumerate(asking):
        given = min(wanted[i] - least[i], left // (len(asking) - number))
        widths[i] += given
        left -= given
    return widths


def _longest(text: str) -> int:
    return max((width(word) for word in text.split()), default=0)


def _joined(cells: Row, widths: Sequence[int]) -> str:
    return _GAP.join(_padded(cell, each) for cell, each in zip(cells, widths, strict=True)).rstrip()


def _padded(text: str, columns: int) -> str:
    return text + " " * (columns - width(text))


def _folded(row: Row, widths: Sequence[int]) -> Iterator[str]:
    cells = [list(fold(cell, each)) for cell, each in zip(row, widths, strict=True)]
    for number in range(max(map(len, cells), default=0)):
        line = [cell[number] if number < len(cell) else "" for cell in cells]
        yield _joined(line, widths)


def fold(text: str, columns: int) -> Iterator[str]:
    """`text` in lines of at most `columns`, parted between words; a longer word has a line of its own."""
    line = ""
    for word in text.split():
        if line and width(line) + 1 + width(word) > columns:
            yield line
            line = ""
        line = f"{line} {word}" if line else word
    yield line


def _stacked(headings: Row, rows: Sequence[Row], room: int) -> Iterator[str]:
    label = max(map(width, headings), default=0) + len(": ")
    for number, row in enumerate(rows):
        if number:
            yield ""
        for heading, cell in zip(headings, row, strict=True):
            name = f"{heading}: "
            for text in fold(cell, max(1, room - label)):
                yield (_padded(name, label) + text).rstrip()
                name = ""
