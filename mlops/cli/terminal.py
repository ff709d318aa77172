"""What a terminal is told and what it can show: colours, columns, and text that cannot deceive."""

from __future__ import annotations

import os
import shutil
import unicodedata
from typing import Any

_USUAL = (80, 24)  # columns and lines where nothing says how many there are
# Letters and marks that draw nothing, though Unicode does not count them among the format characters:
# combining grapheme joiner, Hangul fillers, Khmer inherent vowels, Mongolian selectors, blank Braille.
_UNSEEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
_SELECTORS = range(0xE0100, 0xE01F0)  # variation selectors that can carry hidden bytes


def colours(stream: Any) -> bool:
    """Whether `stream` is a terminal whose user has not said NO_COLOR (https://no-color.org)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb" and stream.isatty()


def paint(code: str, text: str, stream: Any) -> str:
    """`text` in an ANSI colour where `stream` is a terminal that wants colours."""
    return f"\x1b[{code}m{text}\x1b[0m" if code and colours(stream) else text


def columns() -> int:
    """How wide the terminal of stdout is: COLUMNS, else what it says itself, else 80."""
    return shutil.get_terminal_size(_USUAL).columns


def visible(text: str, keep: str = "") -> str:
    r"""`text` with all that a terminal would obey or hide as escapes: `\x1b`, `\u202e`, `\u200b`.

    Control and format characters (bidirectional overrides, zero widths), line separators, lone
    surrogates, unassigned and private characters; `keep` names those that stay as they are.
    """
    if text.isprintable():  # nearly always; looks at C speed
        return text if text.isascii() else "".join(map(_shown, text))
    return "".join(c if c in keep else _shown(c) for c in text)


def _shown(c: str) -> str:
    if unicodedata.category(c) == "Zs":
        return " "
    if c.isprintable() and c not in _UNSEEN and ord(c) not in _SELECTORS:
        return c
    code = ord(c)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def width(text: str) -> int:
    """How many columns `text` takes: East Asian wide and emoji two, combining marks none (UAX 11)."""
    return len(text) if text.isascii() else sum(map(_width, text))


def _width(c: str) -> int:
    if unicodedata.category(c) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(c) in "WF" else 1
