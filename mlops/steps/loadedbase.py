"""Commands of a base image where no sandbox starts, as in a pod: its programs by its own dynamic linker.

ld.so(8) run as a program takes the libraries of the unpacked base, so an interpreter of another
distribution, with another libc, starts from any directory. It sees this machine's files and not the
base's, which is enough for what reads stdin and writes stdout.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlops.adapters import process
from mlops.adapters.baserunner import SandboxedBase, output, sandboxed
from mlops.adapters.rootfs import RootFilesystems, read_image
from mlops.build import elf, unrun
from mlops.build.toolchain import BaseRunner
from mlops.domain.digest import Digest
from mlops.errors import BuildError
from mlops.ports import Bind, ImageStore


def of_a_pod(images: ImageStore, cache: Path) -> BaseRunner:
    """A sandbox where one starts, else the base's own dynamic linker."""
    return SandboxedBase(images, cache) if sandboxed(cache) else LoadedBase(images, cache)


@dataclass(frozen=True, slots=True)
class LoadedBase:
    """Meets `build.toolchain.BaseRunner`; `cache` is where layers are unpacked."""

    images: ImageStore
    cache: Path

    @property
    def enclosed(self) -> bool:
        return False

    def root(self, manifest: Digest) -> Path:
        """The unpacked root filesystem, shared and only to be read. Raises RegistryError."""
        return RootFilesystems(self.images, self.cache).merged(read_image(self.images, manifest))

    def run(
        self,
        manifest: Digest,
        argv: Sequence[str],
        *,
        doing: str,
        binds: Sequence[Bind] = (),
        env: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
        network: bool = False,  # noqa: ARG002 - nothing can be kept from it here
        timeout: float = 600.0,
    ) -> bytes:
        """The command's stdout; `timeout` in seconds.

        Raises CommandError where it fails, BuildError where it has files to be bound in, or is no
        program for this machine.
        """
        if binds:
            raise BuildError(
                f"no sandbox starts here, which is needed while {doing}",
                hint="Build it once where one starts (mlops doctor), with the same registry, or take a "
                "version that has a wheel",
            )
        root = self.root(manifest)
        program, loader = _program(root, argv[0], doing)
        libraries = ":".join(map(str, unrun.library_directories(root, program)))
        command = [str(loader), "--inhibit-cache", "--library-path", libraries, str(program)]
        started = process.start(
            [*command, *argv[1:]],
            doing=doing,
            cwd=root,
            env=dict(env or {}),
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stderr=subprocess.PIPE,
            error=BuildError,
        )
        return output(started, stdin, doing, timeout)


def _program(root: Path, name: str, doing: str) -> tuple[Path, Path]:
    """A program of the base, and the dynamic linker that it asks for."""
    program = unrun.standing(root, name)
    found = elf.read(program) if program is not None else None
    loader = unrun.standing(root, found.interpreter) if found and found.interpreter else None
    if program is None or found is None or loader is None:
        raise BuildError(f"{name} of the base cannot be started without a sandbox, while {doing}")
    if found.machine != unrun.machine():
        raise BuildError(
            f"{name} of the base is for another processor, and is needed while {doing}",
            hint="Leave bytecode out: build: {bytecode: false}",
        )
    return program, loader
