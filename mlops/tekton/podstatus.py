"""How pods and their containers are, and why they do not run.

core/v1 PodStatus and ContainerState, which the steps of a TaskRun's status repeat. Nothing is presumed of
an object that a cluster gives: what is absent reads as empty.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from mlops.tekton.loose import Json, mapping, mappings

_BEGINNING = frozenset({"", "ContainerCreating", "PodInitializing"})
# nothing but another document, image or object mends these
_HOPELESS = frozenset(
    {
        "InvalidImageName",
        "ErrImageNeverPull",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)
_PULLING = frozenset({"ErrImagePull", "ImagePullBackOff"})
# of a registry that answered, and has no such image or shows it to nobody
_NOT_TO_BE_HAD = ("not found", "unauthorized", "denied", "unknown", "authorization failed")
_NEVER_BEGAN = frozenset({"StartError", "ContainerCannotRun"})
_OFTEN = 3  # a container that ended so many times is said to end always
_LONGEST = 400  # characters of a message
# reasons of events that say why a claim has no volume, or a pod does not begin: of all else its own status tells
_BEFELL = frozenset(
    {
        "ProvisioningFailed",
        "FailedBinding",
        "ExternalProvisioning",
        "FailedMount",
        "FailedAttachVolume",
        "FailedMapVolume",
        "FailedCreatePodSandBox",
        "NetworkNotReady",
    }
)
# what Tekton says of a pod that has not begun (its pkg/pod/status.go): a condition of the pod, or what a step waits for
_CONDITION = re.compile(r'pod status "(\w+)":"\w+"; message: ("(?:[^"\\]|\\.)*")\Z', re.DOTALL)
_STEP = re.compile(r'build step "[^"]*" is pending with reason ("(?:[^"\\]|\\.)*")\Z', re.DOTALL)
_STARTING = frozenset({"", "Pending", "Not all Steps in the Task have finished executing"})


@dataclass(frozen=True, slots=True)
class State:
    """One ContainerState. `reason` and `message` are of waiting or of the end; times are RFC 3339."""

    running: bool = False
    ended: bool = False
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    started: str = ""
    finished: str = ""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a pod does not run, in a line; `lasting` where waiting alone will not mend it, `usual` where it is
    so of every pod that starts."""

    text: str
    lasting: bool = False
    usual: bool = False


def state(found: Any) -> State:
    """Read a ContainerState, or what has one's keys among others."""
    waiting, running, ended = (mapping(found, key) for key in ("waiting", "running", "terminated"))
    said = ended or waiting
    code = ended.get("exitCode")
    return State(
        running=bool(running),
        ended=bool(ended),
        reason=str(said.get("reason") or ""),
        message=_line(said.get("message")),
        exit_code=code if isinstance(code, int) else None,
        started=str(ended.get("startedAt") or running.get("startedAt") or ""),
        finished=str(ended.get("finishedAt") or ""),
    )


def troubles(pod: Json) -> Iterator[Trouble]:
    """Why a pod does not run, or not well; nothing where it does, or only just begins."""
    status = mapping(pod, "status")
    if status.get("phase") in ("Succeeded", "Failed"):
        told = " ".join(str(status[key]) for key in ("reason", "message") if status.get(key))
        yield Trouble(_line(told) or f"the pod {str(status['phase']).lower()}")
        return
    for condition in mappings(status.get("conditions")):
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            yield Trouble(_line(condition.get("message") or condition.get("reason")))
    for key in ("initContainerStatuses", "containerStatuses"):
        for each in mappings(status.get(key)):
            yield from _of_container(each)


def waits(message: str) -> str:
    """What a TaskRun whose pod has not begun waits for, in a line, without Tekton's frame; empty where
    its containers only just begin."""
    if message in _STARTING:
        return ""
    step, condition = _STEP.match(message), _CONDITION.match(message)
    if condition is not None:
        return _unquoted(condition[2]) if condition[1] == "PodScheduled" else ""
    return _unquoted(step[1]) if step is not None else _line(message)


def claims(pod: Json) -> tuple[str, ...]:
    """The names of the claims that a pod mounts."""
    volumes = mappings(mapping(pod, "spec").get("volumes"))
    named = (mapping(each, "persistentVolumeClaim").get("claimName") for each in volumes)
    return tuple(str(each) for each in named if each)


def bound(claim: Json | None) -> bool:
    """Whether a claim has a volume, as far as it is known."""
    return mapping(claim or {}, "status").get("phase") == "Bound"


def befell(events: Iterable[Json]) -> tuple[str, ...]:
    """What events say of a claim's or a pod's trouble, each once, the newest of its reason."""
    found: dict[str, tuple[str, str]] = {}
    for each in events:
        reason = str(each.get("reason") or "")
        if reason not in _BEFELL:
            continue
        when = str(each.get("lastTimestamp") or each.get("eventTime") or "")
        if when >= found.get(reason, ("", ""))[0]:
            found[reason] = (when, f"{reason}: {_line(each.get('message'))}".rstrip(": "))
    return tuple(text for _, text in found.values())


def _unquoted(text: str) -> str:
    """A text that Go has quoted, whose escapes are JSON's for nearly all there is."""
    try:
        return _line(json.loads(text))
    except ValueError:
        return _line(text[1:-1])


def _of_container(found: Json) -> Iterator[Trouble]:
    now, last = state(found.get("state")), state(found.get("lastState"))
    count = found.get("restartCount")
    often = isinstance(count, int) and count >= _OFTEN
    end = now if now.ended else last
    if found.get("ready") or (now.ended and now.exit_code == 0 and not often):
        return
    if end.ended and (now.ended or now.reason == "CrashLoopBackOff" or often):
        never = often or end.reason in _NEVER_BEGAN
        yield Trouble(_ended(end, count if isinstance(count, int) else 0), never)
    elif not now.running and now.reason not in _BEGINNING:
        hopeless = now.reason in _HOPELESS
        if now.reason in _PULLING:
            hopeless = any(each in now.message.lower() for each in _NOT_TO_BE_HAD)
        message = now.message.rpartition("ErrImagePull: ")[2]  # of a back-off: why
        yield Trouble(f"{now.reason}: {message}".rstrip(": "), hopeless)


def _ended(end: State, count: int) -> str:
    """How a container ended: by which code, and what it wrote last."""
    code = "" if end.exit_code is None else f" with exit code {end.exit_code}"
    reason = f" ({end.reason})" if end.reason not in ("", "Error", "Completed") else ""
    times = f" {count} times, last" if count > 1 else ""
    return f"ended{times}{code}{reason}" + (f": {end.message}" if end.message else "")


def _line(found: Any) -> str:
    """A message in one line, its end where it is long."""
    text = " ".join(str(found or "").split())
    return text if len(text) <= _LONGEST else f"… {text[-_LONGEST:]}"
