"""From a container of an attempt to one that is ready to start: its image, place, log and limits."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from mlops.adapters.executors.local import resolving
from mlops.adapters.executors.local.audience import Hearing
from mlops.adapters.executors.local.record.logs import StepLog
from mlops.adapters.executors.local.record.rundir import RunDirectory
from mlops.adapters.executors.local.resolving import Files
from mlops.adapters.executors.local.runtime import processors
from mlops.adapters.executors.local.runtime.disk import Disk
from mlops.adapters.executors.local.runtime.launch import Inside, Launch
from mlops.adapters.executors.local.runtime.running import Running, Stop
from mlops.adapters.executors.local.runtime.runtimes import Runtimes
from mlops.adapters.executors.local.scope import TaskScope
from mlops.domain.digest import ImageRef
from mlops.errors import RegistryError, UsageError
from mlops.tekton.document import PipelineRun, PipelineTask
from mlops.tekton.pod import Container, Security
from mlops.tekton.substitution import Parts
from mlops.tekton.values import Value

TOOL = "host-tool"
_UNHELD = "securityContext has no effect here: a plain process is yours, and may write what you may"


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
    network on; `images` what each container's image turned out to be, `notes` what is to be said of it."""

    work: Work
    files: Files
    used: dict[str, bool] = field(default_factory=dict)
    images: dict[str, ImageRef] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def find_images(self) -> None:
        """Bring all images here before anything starts, as a pod does.

        Raises RegistryError, which names the container, where one cannot be had.
        """
        work = self.work
        for container in work.task.spec.containers:
            text = resolving.image_of(container, work.scope.values)
            try:
                found = work.runtimes.find(text, lambda: not work.stop.set)
            except (UsageError, RegistryError) as exc:
                place = (container.at / "image").complaint(exc.message)
                raise RegistryError(place, hint=exc.hint) from exc
            self.images[container.name] = found.ref
            self.notes[container.name] = found.note

    def scope(self, container: Container, more: dict[Parts, Value]) -> dict[Parts, Value]:
        """What the container's texts may refer to; `more` are results of earlier steps."""
        work = self.work
        known = TaskScope({**work.scope.values, **more}, work.scope.late, work.scope.outer)
        on_host = work.runtimes.on_host(self.images[container.name])
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
        on_host = work.runtimes.on_host(self.images[name])
        unheld = _UNHELD if on_host and container.security != Security() else ""
        rounded = "" if launch.ask else processors.note(container.limits.cpu)
        for text in filter(None, (self.notes[name], rounded, unheld)):
            log.note(text)
        running = Running(launch, work.runtimes.wards, log, stop, memory=container.limits.memory)
        running.disk = self._disk(container)
        if grace is not None:
            running.grace = grace
        return running

    def _disk(self, container: Container) -> Disk:
        """What a container writes: into its overlay and the attempt's directories, which count, and
        into workspaces."""
        also = tuple(self.work.runtimes.disks())
        held = {**self.files.workspaces, **self.files.volumes}
        volumes = tuple(
            (name, place.path, place.limit) for name, place in held.items() if place.limit
        )
        root = (self.files.root,)
        return Disk(root, container.limits.disk, shared=True, also=also, volumes=volumes)

    def _launch(self, container: Container, whole: dict[Parts, Value]) -> Launch:
        work = self.work
        spec = work.task.spec
        ref = self.images[container.name]
        mark = f"{work.directory.mark}/{work.node}/{work.number}/{container.name}"
        bin_directory = work.directory.path / "bin"
        place = work.runtimes.place(ref, self.files.at("home"), bin_directory, mark)
        on_host = place.on_host
        if on_host:
            resolving.check_host(container)
        resolved = resolving.resolve(container, spec, work.run, whole, self.files, on_host=on_host)
        default: tuple[str, ...] = ()
        if not resolved.command:
            default = work.runtimes.default_command(
                ref, with_arguments=bool(resolved.args), step=container in spec.steps
            )
        inside = resolved.inside(default, network=spec.network, host_name=work.task.name)
        inside = _held(inside, container)
        scratch = self.files.at("scratch") / container.name
        scratch.mkdir(parents=True)
        self.used[place.name] = spec.network or not place.network_enforced
        return place.launch(inside, scratch)


def _held(inside: Inside, container: Container) -> Inside:
    """With who it runs as, and its limits."""
    security, limits = container.security, container.limits
    return replace(
        inside,
        user=security.user,
        group=security.group,
        non_root=security.non_root,
        read_only_root=security.read_only_root,
        cpu=limits.cpu,
        memory=limits.memory,
        disk=limits.disk,
    )
