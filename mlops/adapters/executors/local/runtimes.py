"""Which runtime a container starts in: the installed mlops, the sandbox, or plain processes."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Iterator
from pathlib import Path

from mlops.adapters.executors.local import sandbox
from mlops.adapters.executors.local.host import HostProcess, HostTool, image_process, tool_process
from mlops.adapters.executors.local.wards import Wards
from mlops.adapters.rootfs import Image, RootFilesystems, read_image
from mlops.domain.digest import Digest, ImageRef
from mlops.errors import ExecutorError
from mlops.ports import ImageStore

SETTINGS = ("auto", "sandbox", "process")


class Runtimes:
    """Chooses once, for all containers. `runs` is where overlays' writable parts will lie."""

    def __init__(
        self, images: ImageStore, cache: Path, runs: Path, setting: str, tool: HostTool | None
    ) -> None:
        if setting not in SETTINGS:
            raise ExecutorError(
                f"the runtime {setting} is not here yet", hint=f"Use one of {', '.join(SETTINGS)}"
            )
        self.tool = tool
        self.wards = Wards()
        self._images = images
        self._filesystems = RootFilesystems(images, cache)
        self._cache = cache
        self._runs = runs
        self._setting = setting
        self._lock = threading.Lock()
        self._probe: sandbox.Probe | None = None
        self._known: dict[Digest, Image] = {}

    @property
    def probe(self) -> sandbox.Probe:
        """Whether the sandbox works here; tried once."""
        with self._lock:
            if self._probe is None:
                self._probe = sandbox.probe(self._cache / "layers", self._runs)
            return self._probe

    @property
    def name(self) -> str:
        """`sandbox` or `process`. Raises ExecutorError where the sandbox is asked for in vain."""
        if self._setting == "process":
            return "process"
        if not self.probe.reasons:
            return "sandbox"
        if self._setting == "sandbox":
            why = "; ".join(self.probe.reasons)
            raise ExecutorError(f"the sandbox is not available here: {why}", hint=self.probe.hint)
        return "process"

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
        elif not self.probe.overlay:
            yield "overlays cannot be mounted here: the root of each container is read-only"

    def is_tool(self, ref: ImageRef) -> bool:
        return self.tool is not None and ref.digest == self.tool.image.digest

    def image(self, digest: Digest) -> Image:
        """What an image's config says. Raises RegistryError where it is not there."""
        with self._lock:
            if digest not in self._known:
                self._known[digest] = read_image(self._images, digest)
            return self._known[digest]

    def place(
        self, ref: ImageRef, home: Path, bin_directory: Path, mark: str
    ) -> sandbox.Sandbox | HostProcess:
        """Where a container of an image starts."""
        if self.tool is not None and self.is_tool(ref):
            _write_command(bin_directory / "mlops", self.tool)
            return tool_process(self.tool, bin_directory, mark, self._told())
        image = self.image(ref.digest)
        if self.name == "process":
            return image_process(image, self._filesystems, home, mark)
        return sandbox.Sandbox(image, self._filesystems, mark, overlay=self.probe.overlay)

    def default_command(self, ref: ImageRef, *, with_arguments: bool) -> tuple[str, ...]:
        """What an image runs by itself; its Cmd is left out where there are other arguments."""
        if self.tool is not None and self.is_tool(ref):
            return ("mlops",)
        image = self.image(ref.digest)
        return image.entrypoint if with_arguments else image.entrypoint + image.cmd


def _write_command(path: Path, tool: HostTool) -> None:
    """The installed mlops under its own name, for scripts and for commands that name it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        fresh = path.with_name(f".{path.name}-{threading.get_ident()}")
        fresh.write_text(f'#!/bin/sh\nexec {shlex.join(tool.argv0)} "$@"\n')
        fresh.chmod(0o755)
        fresh.replace(path)
