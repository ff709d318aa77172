"""From a container of an attempt to one that is ready to start: its image, place, log and limits."""

from __future__ import annotations

from dataclasses import dataclass, field

from mlops.adapters.executors.local import resolving
from mlops.adapters.executors.local.audience import Hearing
from mlops.adapters.executors.local.launch import Launch
from mlops.adapters.executors.local.logs import StepLog
from mlops.adapters.executors.local.resolving import Files
from mlops.adapters.executors.local.rundir import RunDirectory
from mlops.adapters.executors.local.running import Running, Stop
from mlops.adapters.executors.local.runtimes import Runtimes
from mlops.adapters.executors.local.scope import TaskScope
from mlops.domain.digest import ImageRef
from mlops.tekton.document import Container, PipelineRun, PipelineTask, Value
from mlops.tekton.substitution import Parts

TOOL = "host-tool"


@dataclass(frozen=True, slots=True)
class Work:
    """One attempt at one task, or at one combination of its matrix: what it needs to know.

    `node` is its name in the run; `number` counts attempts from 1.
    """

    run: PipelineRun
    task: PipelineTask
    node: str
    number: int
    scope: TaskScope
    directory: RunDirectory
    runtimes: Runtimes
    hearing: Hearing
    stop: Stop


@dataclass(slots=True)
class Starting:
    """Makes containers of one attempt ready. `used` tells the runtimes, and whether each had the
    network on; `images` what each container's image was."""

    work: Work
    files: Files
    used: dict[str, bool] = field(default_factory=dict)
    images: dict[str, str] = field(default_factory=dict)

    def scope(self, container: Container, more: dict[Parts, Value]) -> dict[Parts, Value]:
        """What the container's texts may refer to; `more` are results of earlier steps."""
        work = self.work
        known = TaskScope({**work.scope.values, **more}, work.scope.late, work.scope.outer)
        ref = ImageRef.parse(resolving.image_of(container, known.values))
        on_host = work.runtimes.is_tool(ref) or work.runtimes.name == "process"
        return resolving.step_scope(container, work.task.spec, known, self.files, on_host=on_host)

    def prepare(
        self,
        container: Container,
        whole: dict[Parts, Value],
        stop: Stop,
        grace: float | None = None,
    ) -> Running:
        """A container that can be started. Raises ConfigError, ExecutorError, RegistryError."""
        launch = self._launch(container, whole)
        work, name = self.work, container.name

        def hear(line: str) -> None:
            work.hearing.log(work.node, name, line)

        log = StepLog(work.directory.log(work.node, name), hear, work.hearing.now)
        if work.number > 1:
            log.note(f"attempt {work.number}")
        memory = container.limits.memory
        running = Running(launch, work.runtimes.wards, log, stop, memory=memory)
        if grace is not None:
            running.grace = grace
        return running

    def _launch(self, container: Container, whole: dict[Parts, Value]) -> Launch:
        work = self.work
        spec = work.task.spec
        image = resolving.image_of(container, whole)
        ref = ImageRef.parse(image)
        mark = f"{work.directory.mark}/{work.node}/{work.number}/{container.name}"
        bin_directory = work.directory.path / "bin"
        place = work.runtimes.place(ref, self.files.at("home"), bin_directory, mark)
        on_host = place.name != "sandbox"
        if on_host:
            resolving.check_host(container)
        resolved = resolving.resolve(container, spec, work.run, whole, self.files, on_host=on_host)
        default: tuple[str, ...] = ()
        if not resolved.command:
            default = work.runtimes.default_command(ref, with_arguments=bool(resolved.args))
        inside = resolved.inside(default, network=spec.network, host_name=work.task.name)
        scratch = self.files.at("scratch") / container.name
        scratch.mkdir(parents=True)
        self.used[place.name] = spec.network or not place.network_enforced
        self.images[container.name] = image
        return place.launch(inside, scratch)
