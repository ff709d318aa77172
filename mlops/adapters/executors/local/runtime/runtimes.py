"""Which runtime a container starts in: the installed mlops, the sandbox, an engine, or plain processes."""

from __future__ import annotations

import copy
import shlex
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from mlops.adapters.executors.local.runtime import engine, sandbox
from mlops.adapters.executors.local.runtime.engine import ENGINES, Engine
from mlops.adapters.executors.local.runtime.host import HostTool, image_process, tool_process
from mlops.adapters.executors.local.runtime.launch import Runtime
from mlops.adapters.executors.local.runtime.wards import Wards
from mlops.adapters.images import Found, Images, ImagesOfRun
from mlops.adapters.rootfs import Image, RootFilesystems, read_image, remove
from mlops.domain.digest import Digest, ImageRef
from mlops.domain.imagename import ImageMap, ImageName
from mlops.errors import ExecutorError, UsageError
from mlops.ports import ImageFiles

SETTINGS = ("auto", "sandbox", *ENGINES, "process")


class Runtimes:
    """Chooses once, for all containers. `runs` is where overlays' writable parts will lie, `mapping`
    which images stand for others; `ours` is the host of the project's own registry."""

    def __init__(
        self,
        images: ImageFiles,
        cache: Path,
        runs: Path,
        setting: str,
        tool: HostTool | None,
        mapping: ImageMap = ImageMap(),  # noqa: B008  frozen
        *,
        ours: str = "",
    ) -> None:
        if setting not in SETTINGS:
            raise UsageError(
                f"there is no runtime {setting}", hint=f"Use one of {', '.join(SETTINGS)}"
            )
        self.tool = tool
        self.wards = Wards()
        self._images = Images(images, cache, mapping, ours=ours)
        self._of_run = ImagesOfRun(self._images)
        self._filesystems = RootFilesystems(self._images, cache)
        self._cache = cache
        self._runs = runs
        self._setting = setting
        self._engine = Engine(setting, self._images) if setting in ENGINES else None
        self._lock = threading.Lock()
        self._probed: list[sandbox.Probe] = []
        self._answered: list[tuple[str, ...]] = []
        self._known: dict[Digest, Image] = {}

    def of_run(self) -> Runtimes:
        """The same for one run: what a tag names is looked up once in it."""
        found = copy.copy(self)
        found._of_run = ImagesOfRun(self._images)  # noqa: SLF001  our own
        return found

    @property
    def probe(self) -> sandbox.Probe:
        """Whether the sandbox works here; tried once."""
        with self._lock:
            if not self._probed:
                self._probed.append(sandbox.probe(self._cache / "layers", self._runs, self.wards))
            return self._probed[0]

    @property
    def name(self) -> str:
        """What was asked for, or what `auto` chose. Raises ExecutorError where that is not here:
        nothing weaker takes its place."""
        if self._setting == "process":
            return "process"
        if self._engine is not None:
            self._check_engine(self._engine)
            return self._setting
        if not self.probe.reasons:
            return "sandbox"
        if self._setting == "sandbox":
            why = "; ".join(self.probe.reasons)
            raise ExecutorError(f"the sandbox is not available here: {why}", hint=self.probe.hint)
        return "process"

    def _check_engine(self, asked: Engine) -> None:
        with self._lock:
            if not self._answered:
                self._answered.append(asked.reasons())
        if self._answered[0]:
            raise ExecutorError(
                f"the runtime {asked.name} is not available here: "
                + "; ".join(each.rstrip(".?") for each in self._answered[0]),
                hint=f"Install and start {asked.name}, or take another runtime",
            )

    def _told(self) -> str:
        """The runtime's name for our own steps, which run without one too."""
        try:
            return self.name
        except ExecutorError:
            return ""

    def notes(self) -> Iterator[str]:
        """What a user must hear about the choice."""
        if self.name == "process":
            why = "; ".join(self.probe.reasons) if self._setting == "auto" else "it was asked for"
            yield (
                f"WARNING: steps run as plain processes of this machine, not in a sandbox ({why}): "
                "they can read and write what you can, and their network stays on"
            )
        elif self.name == "sandbox" and not self.probe.overlay:
            yield "overlays cannot be mounted here: the root of each container is read-only"

    def is_tool(self, ref: ImageRef) -> bool:
        return self.tool is not None and ref.digest == self.tool.image.digest

    def on_host(self, ref: ImageRef) -> bool:
        """Whether containers of the image see the host's own paths."""
        return self.is_tool(ref) or self.name == "process"

    def find(self, text: str, wanted: Callable[[], bool] = lambda: True) -> Found:
        """The image that a document names, brought here where it is not, which `wanted` may stop.

        Raises UsageError on what names no image, RegistryError where it cannot be had.
        """
        ref = ImageName.parse(text).ref
        if ref is not None and self.is_tool(ref):
            return Found(ref)
        return self._of_run.find(text, wanted)

    def check(self, text: str) -> None:
        """See whether the image is to be had. Raises as `find`."""
        ref = ImageName.parse(text).ref
        if ref is None or not self.is_tool(ref):
            self._images.check(text)

    def image(self, digest: Digest) -> Image:
        """What an image's config says. Raises RegistryError where it is not there."""
        with self._lock:
            if digest not in self._known:
                self._known[digest] = read_image(self._images, digest)
            return self._known[digest]

    def place(self, ref: ImageRef, home: Path, bin_directory: Path, mark: str) -> Runtime:
        """Where a container of an image starts."""
        if self.tool is not None and self.is_tool(ref):
            _write_command(bin_directory / "mlops", self.tool)
            return tool_process(self.tool, bin_directory, mark, self._told())
        image = self.image(ref.digest)
        if self.name == "process":
            return image_process(image, self._filesystems, home, mark)
        if self._engine is not None:
            return self._engine.place(image, mark)
        probe = self.probe
        return sandbox.Sandbox(
            image, self._filesystems, mark, overlay=probe.overlay, users=probe.users
        )

    def remove(self, path: Path) -> None:
        """Remove what containers left, files of a sandbox's other users included."""
        remove(path)
        if path.exists() and self.name == "sandbox":
            self.wards.sweep(path)

    def disks(self) -> Sequence[Path]:
        """Where containers write, beside the run's own directory."""
        return engine.disks(self._engine) if self._engine is not None else ()

    def default_command(
        self, ref: ImageRef, *, with_arguments: bool, step: bool
    ) -> tuple[str, ...]:
        """What an image runs by itself; its Cmd is left out where there are other arguments.

        For a `step` without Entrypoint the Cmd is the command, which arguments follow (Tekton: it
        looks the command up in the registry and runs it under its own entrypoint).
        """
        if self.tool is not None and self.is_tool(ref):
            return ("mlops",)
        image = self.image(ref.digest)
        if step and not image.entrypoint:
            return image.cmd
        return image.entrypoint if with_arguments else image.entrypoint + image.cmd


def _write_command(path: Path, tool: HostTool) -> None:
    """The installed mlops under its own name, for scripts and for commands that name it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        fresh = path.with_name(f".{path.name}-{threading.get_ident()}")
        fresh.write_text(f'#!/bin/sh\nexec {shlex.join(tool.argv0)} "$@"\n')
        fresh.chmod(0o755)
        fresh.replace(path)
