"""Our end of `warden.py`: one such program for sandboxes, one for plain processes, both as needed."""

from __future__ import annotations

import array
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import weakref
from dataclasses import dataclass
from pathlib import Path

from mlops.adapters import process
from mlops.adapters.executors.local.runtime import warden
from mlops.adapters.executors.local.runtime.launch import Launch
from mlops.errors import ExecutorError

_PATIENCE = 30.0  # seconds that a warden may take to come up


@dataclass(frozen=True, slots=True)
class Ward:
    """A container that was started: descriptors of ours, which whoever has it closes.

    `output` is what it writes; `status` tells lines of JSON: the warden's, and bubblewrap's where
    it is a sandbox. `lifeline` -1 where it has none.
    """

    output: int
    status: int
    lifeline: int


class Wards:
    """Starts containers. Safe for threads; the wardens end with this object, or with us."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wardens: dict[str, _Warden] = {}

    @property
    def users(self) -> int:
        """How many users a sandbox has, root being the first. Raises ExecutorError."""
        return self._warden("sandbox").users

    def start(self, launch: Launch) -> Ward:
        """Start a container; descriptors of `launch` are closed here in any case.

        Raises ExecutorError where the warden does not start.
        """
        kind = "process" if launch.status is None else "sandbox"
        given = [] if launch.status is None else list(launch.descriptors)
        try:
            for last in (False, True):
                warden = self._warden(kind)
                try:
                    return warden.start(launch)
                except BrokenPipeError as exc:  # somebody killed it
                    with self._lock:
                        self._wardens.pop(kind, None)
                    if last:
                        raise ExecutorError(f"the warden of the {kind} runtime ended") from exc
            raise AssertionError
        except BaseException:
            if launch.status is not None:
                os.close(launch.status)
            raise
        finally:
            for descriptor in given:
                os.close(descriptor)

    def sweep(self, path: Path) -> None:
        """Remove a tree with files of a sandbox's other users, which we may not touch ourselves."""
        reading, writing = os.pipe()
        remove = ("/bin/rm", "--recursive", "--force", "--", str(path))
        ward = self.start(Launch(remove, {}, Path("/"), (writing,), reading))
        try:
            told = b""
            while b'"ended"' not in told and (chunk := os.read(ward.status, 4096)):
                told += chunk
        finally:
            os.close(ward.status)
            os.close(ward.output)

    def _warden(self, kind: str) -> _Warden:
        with self._lock:
            if kind not in self._wardens:
                self._wardens[kind] = _Warden(kind)
            return self._wardens[kind]


class _Warden:
    def __init__(self, kind: str) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            program = process.start(
                [sys.executable, "-I", "-S", "-X", "utf8", warden.__file__, kind],
                doing="starting the warden of containers",
                env={"PATH": os.environ.get("PATH", os.defpath)},
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=None,
                error=ExecutorError,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._link = ours
        weakref.finalize(self, _end, ours, program)
        self.users = self._greeting()

    def _greeting(self) -> int:
        self._link.settimeout(_PATIENCE)
        try:
            told = json.loads(self._link.recv(4096) or b'{"error": "it ended at once"}')
        except TimeoutError as exc:
            raise ExecutorError("the warden of containers does not come up") from exc
        self._link.settimeout(None)
        if "error" in told:
            raise ExecutorError(f"no user namespace can be made: {told['error']}")
        return int(told["users"])

    def start(self, launch: Launch) -> Ward:
        order = _order(launch)
        output, their_output = os.pipe()
        ours, theirs = [output], [order, their_output]
        try:
            if launch.status is None:
                status, telling = os.pipe()
                lifeline_theirs, lifeline = os.pipe()
                ours += [status, lifeline]
                theirs += [telling, lifeline_theirs]
                self._send(theirs)
                return Ward(output, status, lifeline)
            self._send([*theirs, launch.descriptors[-1], *launch.descriptors])
            return Ward(output, launch.status, -1)
        except BaseException:
            for descriptor in ours:
                os.close(descriptor)
            raise
        finally:
            for descriptor in theirs:
                os.close(descriptor)

    def _send(self, descriptors: list[int]) -> None:
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
        try:
            self._link.sendmsg([b"start"], [rights])
        except ConnectionError as exc:
            raise BrokenPipeError from exc


def _order(launch: Launch) -> int:
    """A file with the order, in memory: an environment may be larger than any packet."""
    content = {
        "argv": launch.argv,
        "env": dict(launch.env),
        "cwd": str(launch.cwd),
        "descriptors": launch.descriptors,
        "overlay": launch.overlay,
        "binds": launch.binds,
        "cpus": launch.cpus,
        "group": launch.group,
        "groups": launch.groups,
        "ask": launch.ask,
        "kill": launch.kill,
        "after": launch.after,
    }
    descriptor = _anonymous()
    with open(descriptor, "wb", closefd=False) as file:
        file.write(json.dumps(content).encode("ascii"))
    return descriptor


def _anonymous() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("order")
    import tempfile  # noqa: PLC0415  not on Linux

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _end(link: socket.socket, program: subprocess.Popen[bytes]) -> None:
    """It ends when it sees that we are gone."""
    link.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        program.wait(timeout=10)
