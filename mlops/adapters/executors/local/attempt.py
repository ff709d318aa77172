"""One attempt at one task: its sidecars, its steps in order, its results."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from mlops.adapters.executors.local import resolving, results
from mlops.adapters.executors.local.launch import Launch
from mlops.adapters.executors.local.logs import StepLog
from mlops.adapters.executors.local.resolving import Files
from mlops.adapters.executors.local.rundir import RunDirectory
from mlops.adapters.executors.local.running import Cause, Ended, Running, Stop
from mlops.adapters.executors.local.runtimes import Runtimes
from mlops.adapters.rootfs import remove
from mlops.domain.digest import ImageRef
from mlops.domain.run import Phase, StepState
from mlops.errors import ExecutorError, MlopsError
from mlops.tekton.document import Container, PipelineTask, Value
from mlops.tekton.substitution import Scope

SIDECAR_GRACE = 0.5  # seconds that a sidecar has to end in order
_TOOL = "host-tool"
_NOT_STARTED = 128  # Kubernetes' exit code for a container that could not start


@dataclass(frozen=True, slots=True)
class Hearing:
    """Where news goes: a line of a step's log; a change of a step. `now` gives the run's time."""

    log: Callable[[str, str, str], None]
    steps: Callable[[tuple[StepState, ...]], None]
    now: Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Attempted:
    """How an attempt went. `reason` and `message` as a TaskRun's condition has them."""

    phase: Phase
    reason: str
    message: str = ""
    steps: tuple[StepState, ...] = ()
    results: Mapping[str, Value] = field(default_factory=dict)
    runtime: str = ""
    network: bool = True


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


class Attempt:
    """Carries out one attempt. `scope` has parameters and context; `workspaces` are bound."""

    def __init__(
        self,
        task: PipelineTask,
        number: int,
        scope: Scope,
        workspaces: Mapping[str, Path],
        directory: RunDirectory,
        runtimes: Runtimes,
        hearing: Hearing,
        stop: Stop,
    ) -> None:
        self._task = task
        self._number = number
        self._scope = scope
        self._files = Files(directory.attempt(task.name, number), workspaces)
        self._directory = directory
        self._runtimes = runtimes
        self._hearing = hearing
        self._stop = stop
        self._deadline = None if task.timeout is None else time.monotonic() + task.timeout
        self._states = [StepState(step.name, Phase.PENDING) for step in task.spec.steps]
        self._used: dict[str, bool] = {}  # runtime → whether the network was on

    def run(self) -> Attempted:
        """Do it all; failures of the machinery are failures of the attempt, said in its message."""
        try:
            self._files.make(self._task.spec)
            done = self._with_sidecars()
        except OSError as exc:
            done = Attempted(Phase.FAILED, "LocalExecutorError", f"{exc.strerror}: {exc.filename}")
        except MlopsError as exc:
            done = Attempted(Phase.FAILED, "LocalExecutorError", str(exc))
        finally:
            for name in ("scratch", "home", "volumes"):
                remove(self._files.at(name))
        self._skip_rest()
        runtime, network = self._where()
        return replace(done, steps=tuple(self._states), runtime=runtime, network=network)

    def _where(self) -> tuple[str, bool]:
        """The runtimes that were used, and whether the network was on for what is not ours."""
        others = [network for name, network in self._used.items() if name != _TOOL]
        return "+".join(self._used), any(others) if others else True

    def _with_sidecars(self) -> Attempted:
        stop = Stop()
        sidecars: list[_Sidecar] = []
        threads: list[threading.Thread] = []
        try:
            for container in self._task.spec.sidecars:
                sidecar = _Sidecar(container, self._prepare(container, stop, SIDECAR_GRACE))
                sidecars.append(sidecar)
                threads.append(threading.Thread(target=sidecar.attend, name=container.name))
                threads[-1].start()
            for sidecar in sidecars:
                sidecar.up.wait()
                if sidecar.failure is not None:
                    raise sidecar.failure
            done = self._run_steps()
            return replace(done, message=done.message + _early(sidecars)) if _bad(done) else done
        finally:
            stop.tell()
            for thread in threads:
                thread.join()
            stop.close()

    def _run_steps(self) -> Attempted:
        for index, step in enumerate(self._task.spec.steps):
            self._set(index, Phase.RUNNING, started=self._hearing.now())
            ended, last = self._run_step(step)
            code, reason = self._verdict(ended)
            bad = ended.code != 0 or ended.cause is not Cause.NONE
            phase = Phase.FAILED if bad else Phase.SUCCEEDED
            self._set(index, phase, exit_code=code, finished=self._hearing.now(), reason=reason)
            (self._files.at("steps") / f"step-{step.name}" / "exitCode").write_text(str(code))
            if ended.cause is Cause.STOPPED:
                return Attempted(Phase.CANCELLED, "TaskRunCancelled", "it was stopped")
            if ended.cause is Cause.TIMEOUT:
                limit = self._task.timeout
                return Attempted(Phase.FAILED, "TaskRunTimeout", f"it took over {limit:g} s")
            if bad and not (step.continues and ended.started):
                return Attempted(Phase.FAILED, "Failed", _complaint(step, ended, code, last))
        try:
            found = results.read(self._files.at("results"), self._task.spec.results)
        except results.ResultError as exc:
            return Attempted(Phase.FAILED, exc.reason, exc.message)
        return Attempted(Phase.SUCCEEDED, "Succeeded", results=found)

    def _run_step(self, step: Container) -> tuple[Ended, str]:
        running = self._prepare(step, self._stop, None)
        running.deadline, running.memory = self._deadline, step.memory
        try:
            running.start()
            ended = running.attend()
        finally:
            running.log.close()
            remove(self._files.at("scratch") / step.name)
        return ended, running.log.last

    def _prepare(self, container: Container, stop: Stop, grace: float | None) -> Running:
        launch = self._launch(container)
        name = container.name

        def hear(line: str) -> None:
            self._hearing.log(self._task.name, name, line)

        log = StepLog(self._directory.log(self._task.name, name), hear, self._hearing.now)
        if self._number > 1:
            log.note(f"attempt {self._number}")
        running = Running(launch, self._runtimes.wards, log, stop, memory=container.memory)
        if grace is not None:
            running.grace = grace
        return running

    def _launch(self, container: Container) -> Launch:
        spec = self._task.spec
        ref = ImageRef.parse(resolving.image_of(container, self._scope))
        mark = f"{self._directory.mark}/{self._task.name}/{self._number}/{container.name}"
        bin_directory = self._directory.path / "bin"
        place = self._runtimes.place(ref, self._files.at("home"), bin_directory, mark)
        on_host = place.name != "sandbox"
        if on_host:
            resolving.check_host(container)
        resolved = resolving.resolve(container, spec, self._scope, self._files, on_host=on_host)
        default: tuple[str, ...] = ()
        if not resolved.command:
            default = self._runtimes.default_command(ref, with_arguments=bool(resolved.args))
        inside = resolved.inside(default, network=spec.network, host_name=self._task.name)
        scratch = self._files.at("scratch") / container.name
        scratch.mkdir(parents=True)
        self._used[place.name] = spec.network or not place.network_enforced
        return place.launch(inside, scratch)

    def _verdict(self, ended: Ended) -> tuple[int, str]:
        if not ended.started:
            return _NOT_STARTED, "StartError"
        if ended.cause is not Cause.NONE:
            return ended.code or 137, str(ended.cause)
        if ended.code and ended.oom:
            return ended.code, "OOMKilled"
        return ended.code, "Error" if ended.code else "Completed"

    def _set(self, index: int, phase: Phase, **changes: object) -> None:
        self._states[index] = replace(self._states[index], phase=phase, **changes)  # type: ignore[arg-type]
        self._hearing.steps(tuple(self._states))

    def _skip_rest(self) -> None:
        for index, state in enumerate(self._states):
            if state.phase is Phase.PENDING:
                self._states[index] = replace(state, phase=Phase.SKIPPED)
            elif state.phase is Phase.RUNNING:  # it could not be started
                self._states[index] = replace(
                    state, phase=Phase.FAILED, finished=self._hearing.now(), reason="StartError"
                )


def _bad(done: Attempted) -> bool:
    return done.phase is Phase.FAILED


def _complaint(step: Container, ended: Ended, code: int, last: str) -> str:
    if not ended.started:
        return f"step {step.name} could not start: {last or 'no reason given'}"
    if ended.oom and step.memory is not None:
        limit = step.memory >> 20
        return f"step {step.name} exited with code {code}: over its memory limit of {limit} MiB"
    return f"step {step.name} exited with code {code}"


def _early(sidecars: list[_Sidecar]) -> str:
    """What sidecars did that may explain a failed step."""
    found = ""
    for sidecar in sidecars:
        name, ended = sidecar.container.name, sidecar.ended
        if sidecar.running.out_of_memory:
            found += f"; sidecar {name} went over its memory limit"
        elif ended is not None and not ended.started:
            found += f"; sidecar {name} could not start: {sidecar.running.log.last}"
        elif ended is not None:
            found += f"; sidecar {name} had ended before, with code {ended.code}"
    return found
