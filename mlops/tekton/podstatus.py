"""How pods and their containers are, and why they do not run.

core/v1 PodStatus and ContainerState, which the steps of a TaskRun's status repeat. Nothing is presumed of
an object that a cluster gives: what is absent reads as empty.
"""

from __future__ import annotations

from collections.abc import Iterator
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
