"""What a shell hands over when it asks for a completion, read before any command is loaded.

bash cuts words also at `@`, `:` and `=` (COMP_WORDBREAKS), and puts what is offered in place of the
last piece alone: `spam@sha256:9f` is five words to it. Here they become one again, and what bash
keeps of it is left out of what is offered. An `@` before the last piece is replaced with it
(readline's special prefixes), a `:` stays.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

_ASKED = "_MLOPS_COMPLETE"
_KEPT = "_MLOPS_COMPLETE_KEPT"
_GLUE = frozenset("@:")


def asked() -> bool:
    """Whether this process is to complete a command line."""
    return _ASKED in os.environ


def command() -> str:
    """The finished first word after the program's name; empty where it is still being typed."""
    if os.environ.get(_ASKED) == "complete_bash":
        words = os.environ.get("COMP_WORDS", "").split()
        number = os.environ.get("COMP_CWORD", "")
        return words[1] if number.isdecimal() and int(number) > 1 and len(words) > 1 else ""
    text = os.environ.get("_TYPER_COMPLETE_ARGS", "")
    words = text.split()
    return words[1] if len(words) > 2 or (len(words) == 2 and text[-1].isspace()) else ""


@contextmanager
def offering() -> Iterator[None]:
    """Print what is offered without what the shell keeps of the word that is being completed."""
    kept = os.environ.get(_KEPT, "")
    if not kept:
        yield
        return
    offered = io.StringIO()
    try:
        with redirect_stdout(offered):
            yield
    finally:
        lines = offered.getvalue().splitlines(keepends=True)
        sys.stdout.write("".join(line.removeprefix(kept) for line in lines))


def mend() -> None:
    """Put together what bash cut, in the environment that the completion is read from."""
    os.environ.pop(_KEPT, None)
    text, number = os.environ.get("COMP_WORDS", ""), os.environ.get("COMP_CWORD", "")
    if os.environ.get(_ASKED) != "complete_bash" or "\n" not in text or not number.isdecimal():
        return
    pieces = text.split("\n")[: int(number) + 1]
    if len(pieces) != int(number) + 1:
        return
    words, rest = joined(pieces)
    os.environ["COMP_WORDS"] = "\n".join(words)
    os.environ["COMP_CWORD"] = str(len(words) - 1)
    os.environ[_KEPT] = rest


def joined(pieces: list[str]) -> tuple[list[str], str]:
    """The words that the pieces were, the last being typed; and what bash keeps of that one."""
    words: list[str] = []
    glued = False
    for piece in pieces:
        glue = bool(piece) and _GLUE.issuperset(piece)
        if piece and words and (glue or glued):
            words[-1] += piece
        elif piece == "=" and words and words[-1].startswith("--"):
            words.append("")  # the value of an option: `--to=prod` is `--to prod`
            glued = True
            continue
        else:
            words.append(piece)
        glued = glue
    return words, _kept(words[-1], pieces[-1])


def _kept(word: str, piece: str) -> str:
    """The beginning of the last word that bash leaves in place when it puts in what is offered."""
    if piece == "=":
        return ""
    glue = bool(piece) and _GLUE.issuperset(piece)
    before = word if glue else word[: len(word) - len(piece)]
    return before.removesuffix("@")
