"""One attempt at one task: its volumes, its sidecars, its steps in order, its results."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mlops.adapters.executors.local import results, sidecars, stepping, storage
from mlops.adapters.executors.local.resolving import Files
from mlops.adapters.executors.local.runtime.launch import RootRefusedError
from mlops.adapters.executors.local.runtime.running import Cause, Ended
from mlops.adapters.executors.local.starting import TOOL, Starting, Work
from mlops.adapters.executors.local.stepping import StepResults, Verdict
from mlops.domain.run import Phase, StepState
from mlops.errors import ConfigError, MlopsError, RegistryError
from mlops.tekton import credentials, names, quantities, substitution
from mlops.tekton.pod import Container
from mlops.tekton.substitution import Parts, UnresolvedError
from mlops.tekton.values import Value

DONE = "All Steps have completed executing"


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


class Attempt:
    """Carries out one attempt; `inside` are the workspaces' directories, from `storage.sub_paths`."""

    def __init__(self, work: Work, inside: Mapping[str, str]) -> None:
        self._work = work
        self._inside = inside
        self._root = work.directory.attempt(work.node, work.number)
        limit = work.task.timeout
        self._deadline = None if limit is None else time.monotonic() + limit
        self._starting: Starting | None = None
        self._states = [
            StepState(step.name, Phase.PENDING, image=step.image) for step in work.task.spec.steps
        ]

    def run(self) -> Attempted:
        """Do it all; failures of the machinery are failures of the attempt, said in its message."""
        try:
            files = self._files()
            files.make(self._work.task.spec)
            files.lay(credentials.of(self._work.run, self._work.task.account))
            self._results = StepResults(files, self._work.task.spec)
            done = self._with_sidecars(files)
        except OSError as exc:
            done = Attempted(Phase.FAILED, "LocalExecutorError", f"{exc.strerror}: {exc.filename}")
        except RegistryError as exc:
            done = Attempted(Phase.FAILED, "TaskRunImagePullFailed", str(exc))
            if self._work.stop.set:
                done = Attempted(Phase.CANCELLED, "TaskRunCancelled", "it was stopped")
        except RootRefusedError as exc:
            done = Attempted(Phase.FAILED, "CreateContainerConfigError", str(exc))
        except (MlopsError, UnresolvedError, substitution.SubstitutionError) as exc:
            done = Attempted(Phase.FAILED, "LocalExecutorError", str(exc))
        finally:
            for part in ("scratch", "home", "creds", "volumes", "bound", "workspace"):
                self._work.runtimes.remove(self._root / part)
        self._skip_rest()
        runtime, network = self._where()
        return replace(done, steps=tuple(self._states), runtime=runtime, network=network)

    def _files(self) -> Files:
        work = self._work
        values = work.scope.values
        bound = storage.bind(work.task, work.run, values, self._inside, work.directory, self._root)
        volumes = {f"ws-{name}": place for name, place in bound.items()}
        for volume in work.task.spec.volumes:
            name = substitution.text(volume.name, values)
            if not names.is_label(name):
                raise ConfigError((volume.at / "name").complaint(f"{name!r} names no volume"))
            own = self._root / "volumes" / name
            volumes[name] = storage.lay(volume.source, own, work.run, values, work.directory)
        return Files(self._root, bound, volumes)

    def _where(self) -> tuple[str, bool]:
        """The runtimes that were used, and whether the network was on for what is not ours."""
        used = {} if self._starting is None else self._starting.used
        others = [network for name, network in used.items() if name != TOOL]
        return "+".join(used), any(others) if others else True

    def _with_sidecars(self, files: Files) -> Attempted:
        starting = Starting(self._work, files)
        self._starting = starting
        starting.find_images()
        with sidecars.started(self._work.task.spec.sidecars, starting, self._deadline) as up:
            done = self._run_steps(starting)
            if done.phase is not Phase.FAILED:
                return done
            return replace(done, reason=up.explains(done.reason), message=done.message + up.early())

    def _run_steps(self, starting: Starting) -> Attempted:
        failed: Attempted | None = None
        for index, step in enumerate(self._work.task.spec.steps):
            failed = self._one(index, step, starting)
            if failed is not None:
                break
        try:
            found = self._results.of_task()
        except results.TooLargeError:
            found = self._results.before()
        except results.ResultError as exc:
            return failed or Attempted(Phase.FAILED, exc.reason, exc.message, results=exc.found)
        if failed is not None:
            return replace(failed, results=found)
        return Attempted(Phase.SUCCEEDED, "Succeeded", DONE, results=found)

    def _one(self, index: int, step: Container, starting: Starting) -> Attempted | None:
        """One step; how the attempt ends by it, None where it goes on."""
        if self._work.stop.set:
            return Attempted(Phase.CANCELLED, "TaskRunCancelled", "it was stopped")
        if self._over():
            return self._timed_out()
        whole = starting.scope(step, self._results.scope())
        if not stepping.wanted(step.when, whole):
            self._set(index, Phase.SKIPPED, exit_code=0, reason="Skipped")
            return None
        self._set(index, Phase.RUNNING, started=self._work.hearing.now())
        ended, last = self._run_step(step, whole, starting)
        found = stepping.verdict(ended)
        lenient = substitution.text(step.on_error, whole) == "continue"
        goes_on = lenient and ended.started and ended.cause is Cause.NONE
        self._ended(index, step, ended, found, goes_on=goes_on)
        if ended.cause is Cause.STOPPED:
            return Attempted(Phase.CANCELLED, "TaskRunCancelled", "it was stopped")
        if ended.cause is Cause.DISK:
            message = f"step {step.name} was stopped: {last.removeprefix('mlops: stopped: ')}"
            return Attempted(Phase.FAILED, "PodEvicted", message)
        if ended.cause is Cause.TIMEOUT and self._over():
            return self._timed_out()
        if not found.good and not goes_on:
            message = stepping.complaint(step, ended, found, last)
            reason = "StepOOM" if ended.oom else "StepFailed"
            return Attempted(Phase.FAILED, reason, message)
        try:
            values = self._results.read(step)
            self._results.check_size(step)
        except results.ResultError as exc:
            if isinstance(exc, results.TooLargeError):
                self._set(index, Phase.FAILED, exit_code=1, reason="Error")
            return Attempted(Phase.FAILED, exc.reason, f"step {step.name}: {exc.message}")
        if values:
            self._set(index, self._states[index].phase, results=values)
        return None

    def _timed_out(self) -> Attempted:
        limit = quantities.duration(self._work.task.timeout or 0.0)
        return Attempted(Phase.FAILED, "TaskRunTimeout", f"it failed to finish within {limit}")

    def _over(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _ended(
        self, index: int, step: Container, ended: Ended, found: Verdict, *, goes_on: bool
    ) -> None:
        reason = found.reason
        if ended.cause is Cause.TIMEOUT:
            reason = "TaskRunTimeout" if self._over() else "TimeoutExceeded"
        elif goes_on and not found.good:
            reason = "Continued"
        phase = Phase.SUCCEEDED if found.good else Phase.FAILED
        self._set(
            index,
            phase,
            exit_code=found.code,
            finished=self._work.hearing.now(),
            reason=reason,
        )
        (self._root / "steps" / f"step-{step.name}" / "exitCode").write_text(str(found.code))

    def _run_step(
        self, step: Container, whole: dict[Parts, Value], starting: Starting
    ) -> tuple[Ended, str]:
        running = starting.prepare(step, whole, self._work.stop)
        self._set_image(step, starting)
        running.deadline = self._deadline
        if step.timeout is not None:
            own = time.monotonic() + step.timeout
            running.deadline = own if self._deadline is None else min(own, self._deadline)
        try:
            running.start()
            ended = running.attend()
        finally:
            running.log.close()
            self._work.runtimes.remove(self._root / "scratch" / step.name)
        return ended, running.log.last

    def _set_image(self, step: Container, starting: Starting) -> None:
        for index, state in enumerate(self._states):
            if state.name == step.name:
                self._states[index] = replace(state, image=str(starting.images[step.name]))

    def _set(self, index: int, phase: Phase, **changes: Any) -> None:
        self._states[index] = replace(self._states[index], phase=phase, **changes)
        self._work.hearing.steps(tuple(self._states))

    def _skip_rest(self) -> None:
        for index, state in enumerate(self._states):
            if state.phase is Phase.PENDING:
                self._states[index] = replace(state, phase=Phase.SKIPPED, reason="Skipped")
            elif state.phase is Phase.RUNNING:  # it could not be started
                self._states[index] = replace(
                    state,
                    phase=Phase.FAILED,
                    finished=self._work.hearing.now(),
                    reason="StartError",
                )
