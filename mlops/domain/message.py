"""Commit messages of ours: a subject, words, and the trailers that history reads.

Values come from people and from other systems. A trailer is one line, so that no reason can pass
for a trailer of its own.
"""

from __future__ import annotations

from collections.abc import Iterable

ACTION = "Mlops-Action"
ENVIRONMENT = "Mlops-Environment"
MODEL = "Mlops-Model"
PREVIOUS = "Mlops-Previous"
SOURCE = "Mlops-Source"
RUN = "Mlops-Run"
ACTOR = "Mlops-Actor"
REASON = "Mlops-Reason"
INCIDENT = "Mlops-Incident"


def one_line(text: str) -> str:
    """`text` as one line of printable characters that UTF-8 can carry."""
    seen = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(seen.split()).encode("utf-8", "replace").decode()


def compose(subject: str, trailers: Iterable[tuple[str, str]], body: str = "") -> str:
    """The whole message; trailers with an empty value are left out."""
    last = "\n".join(f"{key}: {line}" for key, value in trailers if (line := one_line(value)))
    parts = [one_line(subject), one_line(body), last]
    return "\n\n".join(part for part in parts if part) + "\n"
