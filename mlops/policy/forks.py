"""Whose pull request may run: what strangers wrote waits until somebody who may says so, of that very commit.

A pull request from a branch of the repository itself was pushed by somebody who may push. Of one from a fork
the author counts, or a comment `/ok-to-test SHA` by somebody who belongs to the repository. Nothing is
remembered: it is asked of what stands on the forge now, so that a comment that was deleted approves nothing,
and a later push waits again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from mlops.domain.pulls import COMMAND, Contribution, Remark

# the whole comment and nothing else: no quotation, no line in a text, no look-alike; the whole id, which nobody
# can make a second commit for
_APPROVAL = re.compile(rf"[ \t\r\n]*{COMMAND} ([0-9a-f]{{40}}|[0-9a-f]{{64}})[ \t\r\n]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Allowed:
    """The head `sha` may run, and no other; `why` names who says so."""

    sha: str
    why: str


@dataclass(frozen=True, slots=True)
class Waits:
    """Nothing may run; `reason` says why, `command` is the comment that would let it."""

    reason: str
    command: str


def decide(pull: Contribution, remarks: Iterable[Remark]) -> Allowed | Waits:
    """Whether the head of a pull request may run."""
    if not pull.fork:
        return Allowed(pull.head, "it is a branch of the repository itself")
    if pull.trusted:
        return Allowed(pull.head, f"{pull.author} belongs to the repository")
    for remark in remarks:
        if approved(remark) == pull.head:
            return Allowed(pull.head, f"{remark.author} approved it")
    return Waits(
        "it comes from a fork, and nobody of the repository approved this commit",
        f"{COMMAND} {pull.head}",
    )


def approved(remark: Remark) -> str:
    """The commit that a comment approves; empty where it approves none. One that was edited does not:
    whoever may moderate could have written it."""
    match = _APPROVAL.fullmatch(remark.body)
    return match[1] if match and remark.trusted and not remark.edited else ""
