"""Triggers: what asks for a run, or for a change to be looked at, without anybody pushing."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from mlops.domain.cron import Cron


@dataclass(frozen=True, slots=True)
class Data:
    """Changed data at its source: a `.dvc` file of an import, the path that it tracks, or the URL that it
    imports. A change counts once it stood for `settle` seconds, and `cool_down` seconds after the last one.
    `push`: the new data version goes to the branch itself, else to a branch of its own for a pull request."""

    source: str
    cool_down: float = 6 * 3600.0
    settle: float = 600.0
    push: bool = False

    def __str__(self) -> str:
        return f"data {self.source}"


@dataclass(frozen=True, slots=True)
class Updates:
    """When new base images and packages are looked for."""

    cron: Cron
    base: bool = True
    packages: bool = True

    def __str__(self) -> str:
        return f"updates {self.cron}"


Trigger = Cron | Data
LOCK_TOPIC = "lock"  # what upkeep proposes is on the branches mlops/lock and mlops/data/MODEL
_DATA_TOPIC = "data/"


def data_topic(model: str) -> str:
    """The topic of the branch that new data of a model is proposed on."""
    return f"{_DATA_TOPIC}{model}"


def of_upkeep(topic: str) -> bool:
    """Whether a branch `mlops/TOPIC` is one that changed data or new locks are proposed on."""
    return topic == LOCK_TOPIC or topic.startswith(_DATA_TOPIC)


def key(owner: str, trigger: Trigger | Updates) -> str:
    """The name that a trigger's state is kept under: what it belongs to, and 12 hex digits of its text. One
    that is written differently is another trigger, and starts anew."""
    return f"{owner}-{hashlib.sha256(str(trigger).encode()).hexdigest()[:12]}"
