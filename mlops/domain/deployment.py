"""What was brought to a cluster, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Object:
    """An object of a cluster; `version` as apiVersion has it, an empty namespace where it has none."""

    version: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        inside = f" in {self.namespace}" if self.namespace else ""
        return f"{self.kind} {self.name}{inside}"


@dataclass(frozen=True, slots=True)
class Deployed:
    """An object that was applied; `change` is created, configured, unchanged or removed."""

    object: Object
    change: str
    diff: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a rollout is; `failed` where it will not go on by itself."""

    done: bool = False
    failed: bool = False
    message: str = ""
