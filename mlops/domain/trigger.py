"""Triggers: what asks for a run, or for a change to be looked at, without anybody pushing."""

from __future__ import annotations

import hashlib

from mlops.domain.cron import Cron

Trigger = Cron


def key(owner: str, trigger: Trigger) -> str:
    """The name that a trigger's state is kept under: what it belongs to, and 12 hex digits of its text. One
    that is written differently is another trigger, and starts anew."""
    return f"{owner}-{hashlib.sha256(str(trigger).encode()).hexdigest()[:12]}"
