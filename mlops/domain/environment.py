"""Environments and what stands in them: pins, holds, quarantine."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mlops.domain.digest import Digest


@dataclass(frozen=True, slots=True)
class Pin:
    """Model → image digest in an environment's kustomization."""

    model: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class Hold:
    """Stops automation from changing an environment (`model` "*"), or one model in it.

    `digest` is what the environment pins under the hold, as of its last change: a commit that moves
    a held pin writes the new one here. `avoid` lists the digests that the hold exists to keep out:
    what was rolled back from. Times are aware, in UTC.
    """

    model: str
    since: datetime
    actor: str
    reason: str
    digest: Digest | None = None
    until: datetime | None = None
    incident: str | None = None
    avoid: tuple[Digest, ...] = ()

    def covers(self, model: str, now: datetime) -> bool:
        """Whether the hold stops `model` at `now` (aware, UTC)."""
        return self.model in ("*", model) and (self.until is None or now < self.until)


@dataclass(frozen=True, slots=True)
class QuarantineEntry:
    """A release that must not be pinned anywhere again, nor any with the same `artifact` (md5)."""

    model: str
    digest: Digest
    since: datetime
    actor: str
    reason: str
    artifact: str | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class GateRule:
    """A rule on one metric: bounds, or the largest allowed regression against the target's pin.

    `max_regression` is absolute, in the metric's own units; `direction` says which way is better:
    `up` (default) or `down`.
    """

    metric: str
    min: float | None = None
    max: float | None = None
    max_regression: float | None = None
    direction: str = "up"


@dataclass(frozen=True, slots=True)
class EnvironmentPolicy:
    """environment.yaml: how releases may enter; `soak` is in seconds. `sources` (`from:`) are the
    environments that a release must have stood in before, each of them. `registry` is where images
    of its releases lie, `host[:port]/prefix`; empty where that is the project's."""

    name: str
    sources: tuple[str, ...] = ()
    auto: bool = False
    soak: float = 0.0
    gates: tuple[GateRule, ...] = ()
    require: tuple[str, ...] = ()
    registry: str = ""
