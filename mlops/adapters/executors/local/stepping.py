"""What becomes of the steps of one attempt: skipped, timed out, failed and gone on, their results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mlops.adapters.executors.local import results
from mlops.adapters.executors.local.resolving import Files
from mlops.adapters.executors.local.runtime.running import Cause, Ended
from mlops.tekton import quantities, substitution
from mlops.tekton.pod import Container, TaskSpec
from mlops.tekton.substitution import Parts, Scope
from mlops.tekton.values import ResultSpec, Value, When

NOT_STARTED = 128  # Kubernetes' exit code for a container that could not start


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a step ended: its exit code and reason, as a container's terminated state has them."""

    code: int
    reason: str

    @property
    def good(self) -> bool:
        return self.reason == "Completed"


def verdict(ended: Ended) -> Verdict:
    """What is to be said of how a container ended."""
    if not ended.started:
        return Verdict(NOT_STARTED, "StartError")
    if ended.cause is not Cause.NONE:
        return Verdict(ended.code or 137, str(ended.cause))
    if ended.code and ended.oom:
        return Verdict(ended.code, "OOMKilled")
    return Verdict(ended.code, "Error" if ended.code else "Completed")


def wanted(conditions: tuple[When, ...], scope: Scope) -> bool:
    """Whether all conditions hold. Raises UnresolvedError where one refers to what is not there."""
    return all(holds(*evaluated(when, scope), negated=when.negated) for when in conditions)


def evaluated(when: When, scope: Scope) -> tuple[str, tuple[str, ...]]:
    """A condition's input and values, references replaced."""
    return substitution.text(when.input, scope), substitution.items(when.values, scope)


def holds(found: str, among: tuple[str, ...], *, negated: bool) -> bool:
    return (found in among) != negated


def complaint(step: Container, ended: Ended, found: Verdict, last: str) -> str:
    """Why a step failed, for people."""
    if not ended.started:
        said = f"step {step.name} could not start: {last or 'no reason given'}"
        return said + _without_interpreter(step.script, last)
    if ended.cause is Cause.TIMEOUT and step.timeout is not None:
        limit = quantities.duration(step.timeout)
        return f"step {step.name} exited because it took over its timeout of {limit}"
    if ended.oom and step.limits.memory is not None:
        limit = f"{step.limits.memory >> 20} MiB"
        return f"step {step.name} exited with code {found.code}: over its memory limit of {limit}"
    return f"step {step.name} exited with code {found.code}"


def _without_interpreter(script: str, last: str) -> str:
    """The script itself is there: what is not is what its first line names (execve(2), ENOENT)."""
    first = script.partition("\n")[0]
    words = first.removeprefix("#!").lstrip(" \t").split(" ")
    if not first.startswith("#!") or "no such file" not in last.lower():
        return ""
    windows = ", for its lines end as on Windows" if words[0].endswith("\r") else ""
    return f"; its interpreter {words[0]!a} is not in the image{windows}"


@dataclass(slots=True)
class StepResults:
    """The results of an attempt's steps, as they come."""

    files: Files
    spec: TaskSpec
    values: dict[str, Mapping[str, Value]] = field(default_factory=dict)
    written: Mapping[str, str] = field(default_factory=dict)

    def read(self, step: Container) -> Mapping[str, Value]:
        """What a step wrote. Raises ResultError where it is not of the declared type."""
        found = results.read(self.files.step_results(step.name), step.results)
        self.values[step.name] = found
        return found

    def check_size(self, step: Container) -> None:
        """Raises TooLargeError where the task's results until now and the step's own are more than it
        may hand on."""
        written = results.texts(self.files.at("results"), self.spec.results)
        own = {f"step/{name}": value for name, value in self.values[step.name].items()}
        results.check_size({**written, **own}, results.share(self.spec))
        self.written = written

    def scope(self) -> dict[Parts, Value]:
        """What later steps may refer to."""
        return {
            ("steps", step, "results", name): value
            for step, found in self.values.items()
            for name, value in found.items()
        }

    def before(self) -> dict[str, Value]:
        """The task's results as the last step left them that did not write too much."""
        try:
            return results.values_of(self.written, self.spec.results)
        except results.ResultError as exc:
            return exc.found

    def of_task(self) -> dict[str, Value]:
        """The task's results: from its files, and those that are results of its steps.

        Raises ResultError where one is of the wrong type, or those in files are too large.
        """
        own = [result for result in self.spec.results if not result.value]
        found = results.read(self.files.at("results"), own)
        scope = self.scope()
        for result in self.spec.results:
            value = _of_step(result, scope) if result.value else None
            if value is not None:
                found[result.name] = value
        return found


def _of_step(result: ResultSpec, scope: Scope) -> Value | None:
    try:
        return substitution.value(result.value, scope)
    except substitution.UnresolvedError:
        return None
