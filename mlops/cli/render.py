"""How answers and stories are printed: stdout is the answer, stderr the story."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from mlops.cli import tables
from mlops.cli.options import Output
from mlops.cli.terminal import colours, columns, paint, visible

__all__ = ["colours", "paint"]

_KEPT = "\n\t"  # of the control characters, in our own sentences


def answer(value: Any, output: Output, text: Callable[[], None]) -> None:
    """Print `value` as JSON or YAML on stdout, or call `text`, which prints it for people."""
    if output is Output.JSON:
        raw(_ascii_where_unseen(json.dumps(value, indent=2, ensure_ascii=False)) + "\n")
    elif output is Output.YAML:
        from mlops.documents import dump  # noqa: PLC0415 - only this form of answer needs YAML

        raw(dump(value))
    else:
        text()


def _ascii_where_unseen(text: str) -> str:
    """A JSON text whose strings escape what a terminal would obey: the same value, RFC 8259 section 7."""
    if text.isascii() and "\x7f" not in text:
        return text
    return "".join(c if c == "\n" or visible(c) in (c, " ") else json.dumps(c)[1:-1] for c in text)


def line(text: str) -> None:
    """One line of the answer, on stdout."""
    sys.stdout.write(plain(text) + "\n")


def raw(text: str) -> None:
    """A document of the answer, on stdout, as it is: its very bytes, whatever the locale."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace"))
        sys.stdout.flush()
    else:
        sys.stdout.write(text)


def diff(text: str) -> None:
    """A unified diff on stdout: in colours on a terminal; elsewhere as it is, fit for `git apply`."""
    if not sys.stdout.isatty():
        raw(text)
        return
    for each in text.removesuffix("\n").split("\n"):
        sys.stdout.write(paint(_colour(each), visible(each, "\t"), sys.stdout) + "\n")


def _colour(text: str) -> str:
    """As git paints them: heads bold, places cyan, lines that go red, lines that come green."""
    if text.startswith(("diff ", "--- ", "+++ ", "new file", "deleted file")):
        return "1"
    return {"@": "36", "-": "31", "+": "32"}.get(text[:1], "")


def note(text: str, *, lead: str = "") -> None:
    """One line of the story, on stderr; `lead` goes before it as it is, in its colours."""
    sys.stderr.write(lead + plain(text) + "\n")
    sys.stderr.flush()


def warn(text: str) -> None:
    note(text, lead=paint("33", "warning:", sys.stderr) + " ")


def fail(text: str) -> None:
    note(text, lead=paint("31", "error:", sys.stderr) + " ")


def plain(text: str) -> str:
    """`text` of our own, which may have several lines and quote strangers: nothing a terminal obeys."""
    return visible(text, _KEPT)


def safe(text: str) -> str:
    """`text` from outside, fit for a terminal: one line, and what cannot be seen as escapes."""
    return visible(text)


def words(text: str) -> str:
    """A message from outside in one line: its lines and columns become words, the rest is as `safe` has it."""
    return visible(" ".join(text.split()))


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout: drawn as wide as the terminal is, columns parted by two spaces elsewhere."""
    cells = [[safe(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        sys.stdout.writelines(f"{text}\n" for text in tables.piped(headings, cells))
        return
    head, body = tables.drawn(headings, cells, columns())
    bold = [paint("1", text, sys.stdout) for text in head]
    sys.stdout.writelines(f"{text}\n" for text in (*bold, *body))


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


def size(count: int) -> str:
    """Bytes for people: `41.2 MB`, `3.1 kB`, `512 B`."""
    if count >= 100_000:
        return f"{count / 1e6:.1f} MB"
    return f"{count / 1e3:.1f} kB" if count >= 1000 else f"{count} B"


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
