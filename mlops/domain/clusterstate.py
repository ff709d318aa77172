"""What was found of a cluster: facts alone, for whoever judges them.

None in place of a fact says that whoever asked may not see it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Right:
    """A verb on a kind as `kubectl auth can-i` takes them: `get`, `pipelineruns.tekton.dev`."""

    verb: str
    kind: str

    @property
    def resource(self) -> tuple[str, str, str]:
        """Group, resource and subresource of the kind."""
        name, _, group = self.kind.partition(".")
        resource, _, sub = name.partition("/")
        return group, resource, sub


@dataclass(frozen=True, slots=True)
class Questions:
    """What to ask: `rights` of each account that is named, `own` of whoever asks (the account ""), which
    Secrets, and the ConfigMap with the settings of tasks."""

    accounts: Mapping[str, tuple[Right, ...]]
    own: tuple[Right, ...]
    secrets: tuple[str, ...]
    settings: str


@dataclass(frozen=True, slots=True)
class Watching:
    """The Deployment of `mlops watch`: its image, how many replicas it is asked to have and how many it has,
    and where these are fewer, why."""

    image: str
    asked: int = 1
    available: int = 1
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Kept:
    """A Secret without its values: its type, and the servers that its annotations `tekton.dev/git-…` name."""

    type: str = ""
    servers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ClusterState:
    """A cluster and the namespace of runs in it.

    `labels` are the namespace's, empty where there is none; `tekton` is Tekton's version, empty where
    its API is not served, `flags` its feature flags; `accounts` are those that are there, with the Secrets that each
    lists, `secrets` are there too; `settings` is the ConfigMap for tasks, empty where there is none;
    `own` and `rights` are what was asked for and is granted; `classes` is StorageClass → whether it is
    the default; `watcher` is None where there is none, too.
    """

    server: str
    version: str
    namespace: str
    labels: Mapping[str, str] | None
    tekton: str | None
    flags: Mapping[str, str] | None
    own: frozenset[Right]
    accounts: Mapping[str, frozenset[str]] | None
    rights: Mapping[str, frozenset[Right] | None]
    secrets: Mapping[str, Kept] | None
    settings: Mapping[str, str] | None
    classes: Mapping[str, bool] | None
    watcher: Watching | None
