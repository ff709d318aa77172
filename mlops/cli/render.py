"""How answers and stories are printed: stdout is the answer, stderr the story."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from mlops.cli.options import Output


def answer(value: Any, output: Output, text: Callable[[], None]) -> None:
    """Print `value` as JSON or YAML on stdout, or call `text`, which prints it for people."""
    if output is Output.JSON:
        sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
    elif output is Output.YAML:
        from mlops.documents import dump  # noqa: PLC0415 - only this form of answer needs YAML

        sys.stdout.write(dump(value))
    else:
        text()


def line(text: str) -> None:
    """One line of the answer, on stdout."""
    sys.stdout.write(plain(text) + "\n")


def raw(text: str) -> None:
    """A document of the answer, on stdout, as it is."""
    sys.stdout.write(text)


def note(text: str) -> None:
    """One line of the story, on stderr."""
    sys.stderr.write(plain(text) + "\n")
    sys.stderr.flush()


def warn(text: str) -> None:
    note(paint("33", "warning:", sys.stderr) + " " + text)


def fail(text: str) -> None:
    note(paint("31", "error:", sys.stderr) + " " + text)


def plain(text: str) -> str:
    """`text` without the control characters that a hostile name could carry (colours stay ours)."""
    return "".join(c for c in text if c in "\n\t\x1b" or (c >= " " and c != "\x7f"))


def safe(text: str) -> str:
    """`text` from outside, fit for a terminal: no control characters at all, one line."""
    return "".join(c if c >= " " and c != "\x7f" else "�" for c in text)


def paint(code: str, text: str, stream: Any) -> str:
    """`text` in an ANSI colour where `stream` is a terminal that wants colours."""
    return f"\x1b[{code}m{text}\x1b[0m" if colours(stream) else text


def colours(stream: Any) -> bool:
    """Whether `stream` is a terminal whose user has not said NO_COLOR (https://no-color.org)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout: drawn on a terminal, columns parted by two spaces elsewhere."""
    cells = [[safe(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _drawn(headings, cells)
        return
    widths = [max(len(r[i]) for r in [list(headings), *cells]) for i in range(len(headings))]
    for row in [[h.upper() for h in headings], *cells]:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write("  ".join(padded).rstrip() + "\n")


def _drawn(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - rich costs 50 ms, and pipes do not need it
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    drawn = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        drawn.add_column(heading, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    Console(no_color=not colours(sys.stdout)).print(drawn)


def age(then: datetime, now: datetime | None = None) -> str:
    """How long ago, in one unit: `12 s`, `5 min`, `3 h`, `9 d`."""
    passed = (now or datetime.now(UTC)) - then
    for size, unit in (
        (timedelta(days=1), "d"),
        (timedelta(hours=1), "h"),
        (timedelta(minutes=1), "min"),
    ):
        if passed >= size:
            return f"{passed // size} {unit}"
    return f"{max(0, int(passed.total_seconds()))} s"


def stamp(when: datetime) -> str:
    """RFC 3339 in UTC, to the second: `2019-07-16T12:00:00Z`."""
    return when.astimezone(UTC).replace(microsecond=0).isoformat().replace("+00:00", "Z")


def ask(question: str, *, yes: bool) -> bool:
    """Ask for a yes on the terminal; `yes` answers at once, and without a terminal it is no."""
    if yes:
        return True
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    sys.stderr.write(f"{plain(question)} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def ask_text(question: str) -> str:
    """A line from the terminal; empty without one."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return ""
    sys.stderr.write(f"{plain(question)} ")
    sys.stderr.flush()
    return sys.stdin.readline().strip()
