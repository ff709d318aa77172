"""The files beside the pins of an overlay: holds.yaml and quarantine.yaml, values → bytes.

Comments at the top of a file that stood there stay; the rest is written anew.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from mlops.documents import dump
from mlops.domain.environment import Hold, QuarantineEntry

_TOP = re.compile(rb"(?:[ \t]*(?:#[^\r\n]*)?\r?\n)*")


def dump_holds(holds: Iterable[Hold], previous: bytes | None = None) -> bytes:
    """holds.yaml, in the order given; `previous` is the file's content so far.

    Raises ConfigError where a text cannot be written (NUL, bytes that are not UTF-8).
    """
    entries = [
        _without_none(
            {
                "model": hold.model,
                "digest": None if hold.digest is None else str(hold.digest),
                "since": rfc3339(hold.since),
                "until": None if hold.until is None else rfc3339(hold.until),
                "actor": hold.actor,
                "reason": hold.reason,
                "incident": hold.incident,
                "avoid": [str(digest) for digest in hold.avoid] or None,
            }
        )
        for hold in holds
    ]
    return _top(previous) + dump({"holds": entries}).encode()


def dump_quarantine(entries: Iterable[QuarantineEntry], previous: bytes | None = None) -> bytes:
    """quarantine.yaml; otherwise as `dump_holds`."""
    written = [
        _without_none(
            {
                "model": entry.model,
                "digest": str(entry.digest),
                "artifact": entry.artifact,
                "source": entry.source,
                "since": rfc3339(entry.since),
                "actor": entry.actor,
                "reason": entry.reason,
            }
        )
        for entry in entries
    ]
    return _top(previous) + dump({"quarantine": written}).encode()


def rfc3339(moment: datetime) -> str:
    """An aware time as `2019-07-16T12:00:00Z`, with microseconds where there are any."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def _without_none(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if value is not None}


def _top(previous: bytes | None) -> bytes:
    found = _TOP.match((previous or b"").removeprefix(b"\xef\xbb\xbf"))
    top = found.group() if found else b""
    return top if b"#" in top else b""
