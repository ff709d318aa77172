"""Text of strangers in Markdown (GitHub's, GitLab's, Gitea's): shown, and nothing else.

Every such text stands in a `code` element with its punctuation as character references (HTML 5, 13.1.4): no
Markdown is parsed in it, no cell of a table ends in it, and forges look for mentions, references and emoji
neither in the references themselves nor within `code`.
"""

from __future__ import annotations

from collections.abc import Sequence

from mlops.domain.message import one_line

LONGEST = 200  # characters of one text
_PLAIN = frozenset(" /-,=%")


def code(text: str, longest: int = LONGEST) -> str:
    """`text` as one line of code; what is not printable is a space, and more than `longest` is cut."""
    line = one_line(text)
    if len(line) > longest:
        line = f"{line[: longest - 1]}…"
    if not line:
        return "–"
    return f"<code>{''.join(_shown(char) for char in line)}</code>"


def _shown(char: str) -> str:
    plain = not char.isascii() or char.isalnum() or char in _PLAIN
    return char if plain else f"&#{ord(char)};"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The lines of a table (GFM 4.10); cells are Markdown already. None where there are no rows."""
    if not rows:
        return ()
    lines = [headings, ["---"] * len(headings), *rows]
    return tuple(f"| {' | '.join(cells)} |" for cells in lines)
