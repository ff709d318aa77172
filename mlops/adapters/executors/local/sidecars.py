"""The sidecars of an attempt: started before its steps, waited for until ready, ended after them."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from mlops.adapters.executors.local.runtime.running import Ended, Running, Stop
from mlops.adapters.executors.local.starting import Starting
from mlops.errors import ExecutorError, MlopsError
from mlops.tekton.pod import Container, Probe

GRACE = 0.5  # seconds that a sidecar has to end in order
_LOOK = 0.05  # seconds between looks at whether a stop was told
_SETTLE = 0.1  # seconds that a sidecar without a probe has before the first step, as on a cluster
_READY = 300.0  # seconds that a sidecar may take to be ready


@dataclass(slots=True)
class _Sidecar:
    """A sidecar and the thread that attends to it."""

    container: Container
    running: Running
    up: threading.Event = field(default_factory=threading.Event)
    ended: Ended | None = None
    failure: MlopsError | None = None

    def attend(self) -> None:
        try:
            self.running.start()
            self.up.set()
            self.ended = self.running.attend()
        except MlopsError as exc:
            self.failure = exc
        except OSError as exc:
            self.failure = ExecutorError(f"sidecar {self.container.name}: {exc.strerror}")
        finally:
            self.up.set()
            self.running.log.close()


@dataclass(slots=True)
class Sidecars:
    """Those of one attempt, up."""

    each: Sequence[_Sidecar] = ()

    def explains(self, reason: str) -> str:
        """Tekton's reason for a step's failure, where it may be due to a sidecar's end."""
        if reason not in {"StepFailed", "StepOOM"}:
            return reason
        if any(each.running.out_of_memory for each in self.each):
            return "SidecarOOM"
        failed = any(each.ended is not None and each.ended.code for each in self.each)
        return "SidecarFailed" if failed and reason == "StepFailed" else reason

    def early(self) -> str:
        """What sidecars did that may explain a failed step."""
        found = ""
        for sidecar in self.each:
            name, ended = sidecar.container.name, sidecar.ended
            if sidecar.running.out_of_memory:
                found += f"; sidecar {name} went over its memory limit"
            elif ended is not None and not ended.started:
                found += f"; sidecar {name} could not start: {sidecar.running.log.last}"
            elif ended is not None:
                found += f"; sidecar {name} had ended before, with code {ended.code}"
        return found


@contextmanager
def started(
    containers: Sequence[Container], starting: Starting, deadline: float | None
) -> Iterator[Sidecars]:
    """Start all of them, and end them afterwards.

    Comes back once each is ready by its probes or has ended, the attempt was told to stop, or its
    `deadline` (of time.monotonic) has passed. Raises what kept one from starting, ExecutorError where
    one does not become ready.
    """
    stop = Stop()
    sidecars: list[_Sidecar] = []
    threads: list[threading.Thread] = []
    try:
        for container in containers:
            whole = starting.scope(container, {})
            sidecar = _Sidecar(container, starting.prepare(container, whole, stop, GRACE))
            sidecars.append(sidecar)
            threads.append(threading.Thread(target=sidecar.attend, name=container.name))
            threads[-1].start()
        for sidecar in sidecars:
            sidecar.up.wait()
            if sidecar.failure is not None:
                raise sidecar.failure
        if any(not container.probes for container in containers):
            _pause(_SETTLE, starting.work.stop)
        for sidecar in sidecars:
            for probe in sidecar.container.probes:
                _await(sidecar, probe, starting.work.stop, deadline)
        yield Sidecars(sidecars)
    finally:
        stop.tell()
        for thread in threads:
            thread.join()
        stop.close()


def _await(sidecar: _Sidecar, probe: Probe, stop: Stop, deadline: float | None) -> None:
    """Ask until a sidecar is ready. One that has ended is ready too, as Tekton has it."""
    until = time.monotonic() + _READY
    _pause(probe.delay, stop)
    good = 0
    while not stop.set and sidecar.ended is None and not _passed(deadline):
        good = good + 1 if _answers(sidecar, probe) else 0
        if good >= probe.successes:
            return
        if time.monotonic() > until:
            raise ExecutorError(
                f"sidecar {sidecar.container.name} did not become ready in {_READY:g} s",
                hint=f"Its probe stands at {probe.at}",
            )
        _pause(min(probe.period, 1.0), stop)


def _passed(deadline: float | None) -> bool:
    return deadline is not None and time.monotonic() >= deadline


def _pause(seconds: float, stop: Stop) -> None:
    end = time.monotonic() + seconds
    while not stop.set and (left := end - time.monotonic()) > 0:
        time.sleep(min(_LOOK, left))


def _answers(sidecar: _Sidecar, probe: Probe) -> bool:
    """One question."""
    if probe.command:
        return sidecar.running.execute(probe.command, probe.timeout) == 0
    host = probe.host or "127.0.0.1"
    try:
        if not probe.http:
            with socket.create_connection((host, probe.port), probe.timeout):
                return True
        return 200 <= _status(probe, host) < 400
    except (OSError, http.client.HTTPException):
        return False


def _status(probe: Probe, host: str) -> int:
    connection: http.client.HTTPConnection
    if probe.scheme == "https":
        lenient = ssl._create_unverified_context()  # noqa: S323, SLF001  as the kubelet: it asks, no more
        connection = http.client.HTTPSConnection(
            host, probe.port, timeout=probe.timeout, context=lenient
        )
    else:
        connection = http.client.HTTPConnection(host, probe.port, timeout=probe.timeout)
    try:
        connection.request("GET", probe.path)
        return connection.getresponse().status
    finally:
        connection.close()
