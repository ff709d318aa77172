"""What was brought to a cluster, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose objects: an environment of a project."""

    project: str
    environment: str


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
    """An object that was applied; `change` is created, configured, unchanged, removed or kept: no longer in
    the overlay, and nothing to remove without being asked."""

    object: Object
    change: str
    diff: str = ""


@dataclass(frozen=True, slots=True)
class Inventory:
    """What a deployment applied, and of which commit, by whom and when (RFC 3339); `version` is that of
    what it is kept in, empty where nothing is."""

    objects: tuple[Object, ...] = ()
    commit: str = ""
    actor: str = ""
    time: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a rollout is; `failed` where it will not go on by itself, `stuck` where it will not if it stays
    like this for some seconds. `aside` is usual while pods start: of use where they do not start in time."""

    done: bool = False
    failed: bool = False
    stuck: bool = False
    message: str = ""
    aside: str = ""

    @property
    def whole(self) -> str:
        """All that there is to say."""
        return ": ".join(each for each in (self.message, self.aside) if each)


@dataclass(frozen=True, slots=True)
class Running:
    """A container of a pod: the image that the node says it runs (its digest in the end of the text)."""

    pod: str
    container: str
    image: str
    ready: bool
