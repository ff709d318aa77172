"""Runs an image's command in the foreground: what `mlops image run` does."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from mlops.adapters.executors.local.runtime.launch import Inside, Mount
from mlops.adapters.executors.local.runtime.proctree import mark_of
from mlops.adapters.executors.local.runtime.running import Running, Stop
from mlops.adapters.executors.local.runtime.runtimes import Runtimes
from mlops.adapters.rootfs import remove
from mlops.domain.digest import ImageRef
from mlops.errors import ExecutorError
from mlops.ports import ImageStore

_PORTS = ("MLOPS_PORT", "PORT")  # our own server reads them in this order
_GRACE = 10.0  # seconds that a server has to end in order


class LocalImages:
    """Meets `ports.Images`. Scratch directories lie below `root`, unpacked layers in `cache`."""

    def __init__(self, root: Path, images: ImageStore, runtime: str, cache: Path) -> None:
        self._root = root.absolute()
        self._runtimes = Runtimes(images, cache.absolute(), self._root, runtime, None)

    def notes(self) -> tuple[str, ...]:
        """What a user must hear about the runtime. Raises ExecutorError where there is none."""
        return tuple(self._runtimes.notes())

    def serve(self, image: ImageRef, env: Mapping[str, str], port: int) -> int:
        """Run the image's Entrypoint and Cmd until it ends; gives its exit code (128 + signal).

        `env` lies over the image's; `PORT` and `MLOPS_PORT` are `port`. Output goes to our stdout,
        the network is the machine's. In the main thread, SIGINT and SIGTERM end the command in
        order, and after ten seconds at once.
        """
        ports = dict.fromkeys(_PORTS, str(port))
        return self.run(image, (), {**ports, **env})

    def run(self, image: ImageRef, command: tuple[str, ...], env: Mapping[str, str]) -> int:
        """Run a command of the image (its default one where empty), as `serve` does."""
        argv = command or self._runtimes.default_command(image, with_arguments=False, step=False)
        if not argv:
            raise ExecutorError(f"image {image} has no default command", hint="Name a command")
        self._root.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".serve-", dir=self._root))
        stop = Stop()
        try:
            home, box = scratch / "home", scratch / "box"
            for directory in (home, box):
                directory.mkdir()
            place = self._runtimes.place(image, home, scratch / "bin", mark_of(scratch))
            mounts = (Mount(home, "/tekton/home"),) if not place.on_host else ()
            inside = Inside(argv, env, "", mounts, network=True, host_name="image")
            launch = place.launch(inside, box)
            running = Running(launch, self._runtimes.wards, _Passing(), stop, grace=_GRACE)
            with _stopping(stop):
                running.start()
                ended = running.attend()
            if not ended.started:
                raise ExecutorError(f"image {image} could not be started: it said so above")
            return ended.code
        finally:
            stop.close()
            remove(scratch)


class _Passing:
    """Hands output on as it comes, byte for byte; to a reader that went away, nothing more."""

    last = ""

    def __init__(self) -> None:
        self._gone = False

    def write(self, chunk: bytes) -> None:
        if self._gone:
            return
        try:
            while chunk:
                chunk = chunk[os.write(sys.stdout.fileno(), chunk) :]
        except BrokenPipeError:
            self._gone = True

    def note(self, text: str) -> None:
        self.write(f"mlops: {text}\n".encode())

    def close(self) -> None: ...


@contextlib.contextmanager
def _stopping(stop: Stop) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: stop.tell()) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
