"""Files → the runs that they ask for, and the Tasks, Pipelines, StepActions and configuration beside."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mlops import documents
from mlops.tekton import names, parts
from mlops.tekton.checking import inspect, spelt
from mlops.tekton.parts import Faults, Raw
from mlops.tekton.place import Place, refuse
from mlops.tekton.pod import Config
from mlops.tekton.tasks import Library

LIMIT = 16 << 20  # bytes of a file
_VERSIONS = {
    "PipelineRun": ("tekton.dev/v1",),
    "TaskRun": ("tekton.dev/v1",),
    "Pipeline": ("tekton.dev/v1",),
    "Task": ("tekton.dev/v1",),
    "StepAction": ("tekton.dev/v1beta1", "tekton.dev/v1alpha1"),
    "ConfigMap": ("v1",),
    "Secret": ("v1",),
    "PersistentVolumeClaim": ("v1",),
    "ServiceAccount": ("v1",),
}
_RUNS = ("PipelineRun", "TaskRun")
_CLUSTER_ONLY = frozenset(
    {
        "ClusterRole",
        "ClusterRoleBinding",
        "LimitRange",
        "Namespace",
        "ResourceQuota",
        "Role",
        "RoleBinding",
    }
)
_LARGEST_CONFIG = 1 << 20  # bytes of a ConfigMap or Secret, as Kubernetes has it


@dataclass(frozen=True, slots=True)
class Submitted:
    """A run as its file has it."""

    kind: str
    raw: Raw
    at: Place


@dataclass(frozen=True, slots=True)
class Bundle:
    """What some files hold. `configs` are by kind and name, `accounts` name the Secrets of each.
    `others` are all documents but the runs. `notes` name what stays without effect."""

    runs: tuple[Submitted, ...] = ()
    library: Library = field(default_factory=Library)
    configs: Mapping[tuple[str, str], Config] = field(default_factory=dict)
    claims: frozenset[str] = frozenset()
    accounts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    others: tuple[Raw, ...] = ()
    notes: tuple[str, ...] = ()


def read(files: Iterable[tuple[str, bytes]]) -> Bundle:
    """Read files, each with its name for messages.

    Raises ConfigError, with file and line, where one is no YAML, or holds what is not carried out
    here.
    """
    return _bundle(
        (document.value, Place(document))
        for origin, content in files
        for document in documents.load_all(content, origin, limit=LIMIT)
        if document.value is not None
    )


def of(*values: Raw) -> Bundle:
    """The bundle of documents that were made, not read."""
    return _bundle([(value, Place()) for value in values])


def _bundle(found: Iterable[tuple[Any, Place]]) -> Bundle:
    gathering = _Gathering()
    for value, at in found:
        gathering.take(value, at)
    refuse(gathering.faults)
    return gathering.bundle()


class _Gathering:
    """Documents as they come."""

    def __init__(self) -> None:
        self.faults = Faults()
        self._runs: list[Submitted] = []
        self._specs: dict[str, dict[str, tuple[Raw, Place]]] = {
            kind: {} for kind in ("Task", "Pipeline", "StepAction")
        }
        self._configs: dict[tuple[str, str], Config] = {}
        self._claims: set[str] = set()
        self._accounts: dict[str, tuple[str, ...]] = {}
        self._others: list[Raw] = []
        self._notes: list[str] = []

    def take(self, value: Any, at: Place) -> None:
        """One document, or a list of them."""
        if not isinstance(value, Mapping):
            self.faults.add(at, "is no Kubernetes document: it must be a map")
            return
        kind = value.get("kind")
        if kind == "List" and isinstance(value.get("items"), list):
            for index, item in enumerate(value["items"]):
                self.take(item, at / "items" / index)
        elif isinstance(kind, str) and kind in _CLUSTER_ONLY:
            self._notes.append(at.complaint(f"{kind}: without effect on one machine"))
        elif not isinstance(kind, str) or kind not in _VERSIONS:
            known = ", ".join(_VERSIONS)
            self.faults.add(at / "kind", f"{kind!r} is not carried out here", f"Known are: {known}")
        else:
            self._known(kind, value, at)

    def _known(self, kind: str, value: Raw, at: Place) -> None:
        version = value.get("apiVersion")
        if version not in _VERSIONS[kind]:
            wanted = _VERSIONS[kind][0]
            self.faults.add(at / "apiVersion", f"must be {wanted} for a {kind}, not {version!r}")
            return
        value = spelt(value, kind)
        faults, notes = inspect(value, kind, at)
        self._notes.extend(notes)
        if faults:
            self.faults.extend(faults)
            return
        self.faults.extend(names.label_faults(value.get("metadata") or {}, at / "metadata"))
        if kind in _RUNS:
            self._runs.append(Submitted(kind, value, at))
            return
        name = self._name(kind, value, at)
        self._others.append(value)
        if kind in self._specs:
            if name in self._specs[kind]:
                self.faults.add(at / "metadata" / "name", f"the {kind} {name!r} is there twice")
            self._specs[kind][name] = value.get("spec") or {}, at / "spec"
        elif kind == "PersistentVolumeClaim":
            self._claims.add(name)
        elif kind == "ServiceAccount":
            self._accounts[name] = tuple(
                parts.text(item, "name", place, self.faults)
                for item, place in parts.items(value, "secrets", at)
            )
        else:
            self._configs[kind, name] = self._config(kind, value, at)

    def _name(self, kind: str, value: Raw, at: Place) -> str:
        metadata = value.get("metadata") or {}
        name = metadata.get("name")
        if name is None and metadata.get("generateName"):
            return ""  # nothing can refer to it
        longest = names.LONGEST if kind in self._specs else names.LONGEST_OTHER
        if not names.is_object(name, longest):
            self.faults.add(
                at / "metadata" / "name", f"{name!r} cannot be a name", names.OBJECT_HINT
            )
        return str(name)

    def _config(self, kind: str, value: Raw, at: Place) -> Config:
        encoded = "data" if kind == "Secret" else "binaryData"
        plain = "stringData" if kind == "Secret" else "data"
        decoded: dict[str, bytes] = {}
        for key, text in (value.get(encoded) or {}).items():
            try:
                decoded[key] = base64.b64decode("".join(text.split()), validate=True)
            except (binascii.Error, ValueError):
                self.faults.add(at / encoded / key, "is not base64")
        texts = {key: text.encode() for key, text in (value.get(plain) or {}).items()}
        found = Config(texts, decoded)
        if kind == "Secret":
            annotations = (value.get("metadata") or {}).get("annotations") or {}
            found = Config({**decoded, **texts}, {}, value.get("type") or "", annotations)
        for key in found.files:
            if not names.is_key(key):
                self.faults.add(at / plain / key, f"{key!r} cannot be a key")
        if sum(map(len, found.files.values())) > _LARGEST_CONFIG:
            self.faults.add(at, f"the {kind} holds over 1 MiB")
        return found

    def bundle(self) -> Bundle:
        return Bundle(
            tuple(self._runs),
            Library(self._specs["Task"], self._specs["Pipeline"], self._specs["StepAction"]),
            self._configs,
            frozenset(self._claims),
            self._accounts,
            tuple(self._others),
            tuple(self._notes),
        )
