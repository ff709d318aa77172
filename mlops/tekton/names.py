"""What may be a name, as Kubernetes and Tekton have it."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterator, Mapping
from typing import Any

from mlops.tekton.place import Fault, Place

LABEL_HINT = "At most 63 lower case letters, digits and hyphens, with no hyphen at either end"
OBJECT_HINT = (
    "At most 63 lower case letters, digits, hyphens and dots, a letter or digit at both ends"
)
LONGEST = 63  # characters of the name of one of Tekton's objects
LONGEST_OTHER = 253  # of another one

_HEAD = LONGEST - 32  # of a name that ends in a hash, before it
_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"  # as Kubernetes: no words, nothing alike
_SUFFIX_LENGTH = 5
_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?\Z")  # RFC 1123 label
_OBJECT = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*\Z")
_PARAM = re.compile(r"[_a-zA-Z][_a-zA-Z0-9.-]*\Z")
_OBJECT_PARAM = re.compile(r"[_a-zA-Z][_a-zA-Z0-9-]*\Z")
_RESULT = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?\Z")
_WORKSPACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")
_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}\Z")
_QUALIFIED = re.compile(r"[A-Za-z0-9](?:[-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?\Z")
_VARIABLE = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*\Z")


def generated(start: str) -> str:
    """A name from metadata.generateName, as the API makes one."""
    suffix = "".join(secrets.choice(_SUFFIX) for _ in range(_SUFFIX_LENGTH))
    return start[: LONGEST - _SUFFIX_LENGTH] + suffix


def child(run: str, task: str, index: int = 0, among: int = 1) -> str:
    """The name of the TaskRun of a pipeline task, as Tekton 1.15 makes it (GetNamesOfTaskRuns, and knative's
    kmeta.ChildName): both names, or a part of the run's and a hash. `index` is that `among` the combinations
    of its matrix."""
    if among == 1:
        return _shortened(run, f"-{task}")
    name = _shortened(run, f"-{task}-{index}")
    if name.endswith(f"-{index}"):
        return name
    return f"{_shortened(run, f'-{task}')[: LONGEST - len(f'-{among}')]}-{index}"


def _shortened(parent: str, suffix: str) -> str:
    if len(parent) + len(suffix) <= LONGEST:
        return parent + suffix
    if len(suffix) < _HEAD:
        return f"{parent[: _HEAD - len(suffix)]}{_md5(parent)}{suffix}"
    found = f"{parent[:_HEAD]}{_md5(parent + suffix)}"
    found += suffix[: LONGEST - len(found)]
    return found.rstrip("-.")


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def is_label(name: object) -> bool:
    """Whether a text can name a task or a step: it is safe as a part of a path too."""
    return isinstance(name, str) and _LABEL.match(name) is not None


def is_object(name: object, longest: int = LONGEST) -> bool:
    """Whether a text can name a run or another object; safe as a part of a path."""
    return isinstance(name, str) and len(name) <= longest and _OBJECT.match(name) is not None


def is_param(name: str, kind: str) -> bool:
    """Whether a text can name a parameter: of an object no dots, they part its keys."""
    return (_OBJECT_PARAM if kind == "object" else _PARAM).match(name) is not None


def is_result(name: str) -> bool:
    """Whether a text can name a result; safe as a part of a path."""
    return _RESULT.match(name) is not None


def is_workspace(name: str) -> bool:
    """Whether a text can name a workspace; safe as a part of a path."""
    return _WORKSPACE.match(name) is not None


def is_variable(name: str) -> bool:
    """Whether a text can name an environment variable."""
    return _VARIABLE.match(name) is not None


def is_key(name: str) -> bool:
    """Whether a text can be a key of a ConfigMap or Secret; safe as the name of a file."""
    return _KEY.match(name) is not None and name != "." and not name.startswith("..")


def label_faults(metadata: Mapping[str, Any], at: Place) -> Iterator[Fault]:
    """Keys of labels and annotations, and values of labels, that Kubernetes refuses."""
    for field in ("labels", "annotations"):
        for key, value in (metadata.get(field) or {}).items():
            prefix, slash, name = key.rpartition("/")
            if _QUALIFIED.match(name) is None or (slash and _OBJECT.match(prefix) is None):
                yield Fault(at / field / key, f"{key!r} cannot be a key")
            if field == "labels" and value and _QUALIFIED.match(value) is None:
                yield Fault(at / field / key, f"{value!r} cannot be the value of a label")
