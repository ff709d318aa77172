"""The interpreter of a base image: where it stands, its version, its libc."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from mlops.build import elf, unrun
from mlops.build.image import Image
from mlops.build.toolchain import BaseRunner
from mlops.domain.digest import Digest
from mlops.errors import BuildError, CommandError
from mlops.ports import Target

PYTHON = "dev.mlops.python"  # labels of a base that we packed
VERSION = "dev.mlops.python.version"
LIBC = "dev.mlops.libc"
_KILLED = 128  # and the number of the signal: an exit code of the sandbox
_USUAL = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ASK = """
import json, os, platform, sys, sysconfig
name = os.confstr("CS_GNU_LIBC_VERSION") if "CS_GNU_LIBC_VERSION" in os.confstr_names else None
print(json.dumps({
    "path": os.path.realpath(sys.executable),
    "version": platform.python_version(),
    "libc": name or sysconfig.get_config_var("HOST_GNU_TYPE") or "",
    "kind": sys.implementation.name,
    "lock": not sysconfig.get_config_var("Py_GIL_DISABLED"),
    "wide": sys.maxsize > 2**32,
}))
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """`path` is absolute in the base; `version` is whole (`3.11.7`); `libc` as `glibc 2.36`."""

    path: PurePosixPath
    version: str
    libc: str

    @property
    def directory(self) -> str:
        """The name of its library directory, `python3.11`."""
        major, minor, *_ = self.version.split(".")
        return f"python{major}.{minor}"

    def target(self, platform: str) -> Target:
        """What wheels are chosen for; `platform` as `linux/amd64` or `linux/arm64/v8`, whose variant no
        wheel knows."""
        processor = "/".join(platform.split("/")[:2])
        return Target(processor, self.version, self.libc.removeprefix("glibc").strip())


def of_base(image: Image, manifest: Digest, runner: BaseRunner | None, ref: str) -> Interpreter:
    """Read from the labels of a base that we packed, else asked of the base itself, or read from its
    files where it is for another processor, or nothing here encloses it.

    Raises BuildError where the base has no Python, or one that wheels are not chosen for: on musl,
    of 32 bits, without the global lock, another than CPython.
    """
    if image.label(PYTHON):
        path = PurePosixPath(image.label(PYTHON))
        return Interpreter(path, image.label(VERSION), image.label(LIBC))
    if runner is None:
        raise BuildError(
            f"the base {ref} cannot be looked into: commands cannot run in an image here",
            hint="Run mlops doctor, or use `base: host`",
        )
    if unrun.foreign(image.platform) or not runner.enclosed:
        search = dict(image.env).get("PATH", _USUAL)
        found = unrun.found(runner.root(manifest), search, image.platform, ref)
        return _checked(Interpreter(*found), ref)
    return _checked(_asked(image, manifest, runner, ref), ref)


def _asked(image: Image, manifest: Digest, runner: BaseRunner, ref: str) -> Interpreter:
    search = dict(image.env).get("PATH", _USUAL)
    failed: dict[str, CommandError] = {}
    for directory in search.split(":"):
        program = f"{directory}/python3"
        try:
            answer = runner.run(
                manifest, (program, "-I", "-S", "-c", _ASK), doing=f"looking for Python in {ref}"
            )
        except CommandError as exc:
            failed[program] = exc
            continue
        try:
            found = json.loads(answer)
            _check_kind(found, program, ref)
            return Interpreter(PurePosixPath(found["path"]), found["version"], found["libc"])
        except (ValueError, KeyError, TypeError) as exc:
            raise BuildError(f"{program} in the base {ref} is no Python that answers") from exc
    root = runner.root(manifest)
    for program, error in failed.items():
        if (file := unrun.standing(root, program)) is not None:
            raise BuildError(
                f"{program} in the base {ref} does not start: {_reason(root, file, error)}",
                hint="Mend the base, or name another one in mlops.yaml",
            ) from error
    raise BuildError(
        f"the base {ref} has no python3 on its path {search}",
        hint="Name a base that has Python in mlops.yaml",
    )


def _reason(root: Path, file: Path, error: CommandError) -> str:
    """Why a program that is there does not start: the kernel says of a loader that is missing that the
    program is."""
    try:
        found = elf.read(file)
    except BuildError as exc:
        return exc.message.removeprefix(f"{file} is ")
    if found is not None and found.interpreter and unrun.standing(root, found.interpreter) is None:
        return f"it needs {found.interpreter}, which the base lacks (it was built for another libc)"
    if error.code > _KILLED:
        return f"signal {error.code - _KILLED} ended it"
    return (error.complaint.splitlines() or [f"exit code {error.code}"])[-1]


def _check_kind(found: Mapping[str, Any], program: str, ref: str) -> None:
    if found["kind"] != "cpython" or not found["lock"] or not found["wide"]:
        raise BuildError(
            f"{program} in the base {ref} is no CPython of 64 bits with a global lock, for which "
            "packages have wheels",
            hint="Name a base with Debian's Python or python.org's",
        )


def _checked(found: Interpreter, ref: str) -> Interpreter:
    if "musl" in found.libc:
        raise BuildError(
            f"the base {ref} is built on musl, for which most packages have no wheels",
            hint="Name a base on glibc (Debian, Ubuntu, Fedora) in mlops.yaml",
        )
    if not found.libc.startswith("glibc "):
        raise BuildError(
            f"the base {ref} has a C library that its Python does not know ({found.libc or 'no name'}), "
            "and packages have wheels for glibc",
            hint="Name a base on glibc (Debian, Ubuntu, Fedora) in mlops.yaml",
        )
    return found
