"""Path patterns as `.gitignore` has them: `src/**`, `dvc.*`, `docs/`, `!src/notes/**`.

The rules are those of gitignore(5): a pattern without a slash (other than at its end) matches at
any depth, one with a slash from the top; `*` and `?` stay within one component, `**` crosses
them; a pattern that matches a directory covers all that is in it; `!` takes back; the last
pattern that matches decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Pattern:
    """One compiled pattern; `wanted` is False for one that takes back."""

    regex: re.Pattern[str]
    wanted: bool
    directory: bool  # matches directories only

    def covers(self, path: str, *, directory: bool = False) -> bool:
        """Whether the pattern matches `path`, a file or a directory, or a directory it lies in."""
        if (directory or not self.directory) and self.regex.fullmatch(path):
            return True
        return any(self.regex.fullmatch(parent) for parent in _parents(path))


def _parents(path: str) -> Iterable[str]:
    at = path.find("/")
    while at != -1:
        yield path[:at]
        at = path.find("/", at + 1)


def _bracket(text: str, at: int) -> tuple[str, int]:
    end = at + 1
    if end < len(text) and text[end] in "!^":
        end += 1
    if end < len(text) and text[end] == "]":
        end += 1
    end = text.find("]", end)
    if end == -1:
        return re.escape("["), at + 1
    body = text[at + 1 : end]
    negated = body[:1] in ("!", "^")
    inner = re.sub(r"([\\\[\]&~|^])", r"\\\1", body[1:] if negated else body)
    found = f"(?!/)[{'^' if negated else ''}{inner}]"
    try:
        re.compile(found)
    except re.error:  # a range that runs backwards matches nothing
        found = "(?!)"
    return found, end + 1


def _regex(text: str) -> str:
    out, at = "", 0
    while at < len(text):
        if text.startswith("**/", at) and (at == 0 or text[at - 1] == "/"):
            out, at = out + "(?:[^/]+/)*", at + 3
        elif text[at:] == "**" and (at == 0 or text[at - 1] == "/"):
            out, at = out + ".+", at + 2
        elif text[at] == "*":
            while at < len(text) and text[at] == "*":
                at += 1
            out += "[^/]*"
        elif text[at] == "?":
            out, at = out + "[^/]", at + 1
        elif text[at] == "[":
            found, at = _bracket(text, at)
            out += found
        elif text[at] == "\\" and at + 1 < len(text):
            out, at = out + re.escape(text[at + 1]), at + 2
        else:
            out, at = out + re.escape(text[at]), at + 1
    return out


@lru_cache(maxsize=4096)
def compile_pattern(text: str) -> Pattern | None:
    """Compile one line; None for a comment, a blank line, or one that can match nothing."""
    body = text.rstrip()
    if not body or body.startswith("#"):
        return None
    wanted = not body.startswith("!")
    body = body if wanted else body[1:]
    if body.startswith(("\\#", "\\!")):
        body = body[1:]
    directory = body.endswith("/")
    body = body.rstrip("/") if directory else body
    anchored = "/" in body
    body = body.lstrip("/").removeprefix("./")
    if not body:
        return None
    prefix = "" if anchored else "(?:[^/]+/)*"
    return Pattern(re.compile(prefix + _regex(body), re.DOTALL), wanted, directory)


def compile_all(lines: Iterable[str]) -> tuple[Pattern, ...]:
    return tuple(found for line in lines if (found := compile_pattern(line)) is not None)


def matches(patterns: Iterable[str], path: str) -> bool:
    """Whether the patterns select the file `path`: the last one that matches decides."""
    return _selected(compile_all(patterns), path)


def ignored(patterns: Iterable[str], path: str) -> bool:
    """As `matches`, but nothing below a selected directory can be taken back: what
    `.gitignore` and `.dvcignore` do."""
    compiled = compile_all(patterns)
    for parent in _parents(path):
        if _selected(compiled, parent, directory=True):
            return True
    return _selected(compiled, path)


def _selected(compiled: tuple[Pattern, ...], path: str, *, directory: bool = False) -> bool:
    found = False
    for pattern in compiled:
        if pattern.covers(path, directory=directory):
            found = pattern.wanted
    return found
