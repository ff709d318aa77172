"""Commands inside a base image, for builds: in the executor's own sandbox."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import platform
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlops.adapters import process
from mlops.adapters.executors.local.runtime import sandbox
from mlops.adapters.executors.local.runtime.launch import Inside, Launch, Mount
from mlops.adapters.rootfs import RootFilesystems, read_image, remove
from mlops.domain.digest import Digest
from mlops.errors import BuildError, CommandError, UsageError
from mlops.ports import Bind, ImageStore

_TAIL = 4000  # characters of a command's complaint that an error repeats


_EMULATOR = "/mnt/mlops-emulator"  # where an image of another processor sees it
_HERE = {"x86_64": "amd64", "aarch64": "arm64"}
_EMULATED = {"amd64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True, slots=True)
class SandboxedBase:
    """Meets `build.toolchain.BaseRunner`; `cache` is where layers are unpacked."""

    images: ImageStore
    cache: Path

    @property
    def enclosed(self) -> bool:
        return True

    def run(
        self,
        manifest: Digest,
        argv: Sequence[str],
        *,
        doing: str,
        binds: Sequence[Bind] = (),
        env: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
        network: bool = False,
        timeout: float = 600.0,
    ) -> bytes:
        """The command's stdout; `timeout` in seconds.

        Raises BuildError where it fails, or where no sandbox starts here.
        """
        mounts = tuple(Mount(bind.source, bind.target, writable=bind.writable) for bind in binds)
        emulator = self._emulator(manifest, doing)
        if emulator is not None:
            mounts = (*mounts, Mount(emulator, _EMULATOR))
            argv = (_EMULATOR, *argv)
        inside = Inside(tuple(argv), dict(env or {}), "/", mounts, network, "build")
        with self._scratch() as scratch:
            return _finish(self._launch(manifest, inside, scratch), stdin, doing, timeout)

    def root(self, manifest: Digest) -> Path:
        """The unpacked root filesystem, shared and only to be read. Raises RegistryError."""
        return RootFilesystems(self.images, self.cache).merged(read_image(self.images, manifest))

    def _emulator(self, manifest: Digest, doing: str) -> Path | None:
        """What runs programs of the image here; None where this machine does. It runs one program:
        what that one starts in turn is for nobody here."""
        wanted = _architecture(self.images, manifest)
        if wanted == _HERE.get(platform.machine(), platform.machine()):
            return None
        name = f"qemu-{_EMULATED.get(wanted, wanted)}-static"
        program = shutil.which(name)
        if program is None:
            raise BuildError(
                f"programs for {wanted} do not run on this machine, needed while {doing}: {name} is "
                "not here",
                hint="Install it (Debian: apt install qemu-user-static), or leave bytecode out: "
                "build: {bytecode: false}",
            )
        return Path(program)

    def _launch(self, manifest: Digest, inside: Inside, scratch: Path) -> Launch:
        probe = _probe(self.cache, scratch.parent)
        if probe.reasons:
            raise BuildError(
                f"commands cannot run in the base {manifest}: {'; '.join(probe.reasons)}",
                hint=f"{probe.hint}, or use `base: host`",
            )
        box = sandbox.Sandbox(
            read_image(self.images, manifest),
            RootFilesystems(self.images, self.cache),
            mark=secrets.token_hex(8),
            overlay=probe.overlay,
        )
        return box.launch(inside, scratch)

    @contextlib.contextmanager
    def _scratch(self) -> Iterator[Path]:
        """An empty directory beside the unpacked layers: an overlay's upper one may lie there."""
        try:
            path = Path(tempfile.mkdtemp(dir=_builds(self.cache)))
        except OSError as exc:
            raise _unwritable(self.cache, exc) from exc
        try:
            yield path
        finally:
            remove(path)


def sandboxed(cache: Path) -> bool:
    """Whether a sandbox starts here. Raises BuildError where the cache cannot be written to."""
    return not _probe(cache, _builds(cache)).reasons


def _builds(cache: Path) -> Path:
    try:
        (cache / "builds").mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise _unwritable(cache, exc) from exc
    return cache / "builds"


def _unwritable(cache: Path, exc: OSError) -> BuildError:
    return BuildError(f"cannot write to the cache {cache}: {exc.strerror}")


@functools.cache
def _probe(lower: Path, upper: Path) -> sandbox.Probe:
    """Whether sandboxes start here: asked once, for a build runs many commands."""
    return sandbox.probe(lower, upper)


def _architecture(images: ImageStore, manifest: Digest) -> str:
    try:
        document = json.loads(images.manifest(manifest))
        config = images.blob_path(Digest.parse(document["config"]["digest"]))
        return str(json.loads(config.read_bytes())["architecture"])
    except (KeyError, TypeError, ValueError, OSError, UsageError) as exc:
        raise BuildError(f"{manifest} in {images.location} is no image that can be run") from exc


def _finish(launch: Launch, stdin: bytes | None, doing: str, timeout: float) -> bytes:
    try:
        try:
            program = process.start(
                sandbox.alone(launch),
                doing=doing,
                cwd=launch.cwd,
                env=launch.env,
                stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=launch.descriptors,
                error=BuildError,
            )
        finally:
            for descriptor in launch.descriptors:
                os.close(descriptor)
        return output(program, stdin, doing, timeout)
    finally:
        if launch.status is not None:  # kept until now: bubblewrap dies of a reader that is gone
            os.close(launch.status)


def output(
    program: subprocess.Popen[bytes], stdin: bytes | None, doing: str, timeout: float
) -> bytes:
    """What a program that leads its group writes to stdout until its end, `timeout` seconds at most.

    Raises CommandError where it fails, BuildError where it takes longer.
    """
    try:
        out, err = program.communicate(stdin, timeout=timeout)
    except subprocess.TimeoutExpired as exc:
        process.kill_group(program.pid)
        program.communicate()
        raise BuildError(f"it took over {timeout:g} s while {doing}", retryable=True) from exc
    except BaseException:
        process.kill_group(program.pid)
        program.wait()
        raise
    if program.returncode != 0:
        text = (err.strip() or out.strip()).decode(errors="replace")[-_TAIL:]
        raise CommandError(doing, program.returncode, text)
    return out
