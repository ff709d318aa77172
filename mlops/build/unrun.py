"""The Python of a base that cannot run here, read from its files: that of another processor.

Nothing is started. What an interpreter would answer stands in its own bytes: version in the program or
its libpython, libc's in libc.so.6.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from mlops.build import elf
from mlops.errors import BuildError

_MACHINES = {"amd64": 62, "arm64": 183}  # e_machine of ELF
_NAMES = {"x86_64": "amd64", "aarch64": "arm64"}
_LIBRARIES = (
    "usr/lib/*-linux-gnu",
    "lib/*-linux-gnu",
    "usr/lib64",
    "lib64",
    "usr/local/lib",
    "usr/lib",
    "lib",
)
_GLIBC = re.compile(rb"GNU C Library [^\n]{0,80} release version (\d+\.\d+)")
_MOST_LINKS = 40
_LARGEST = 256 << 20  # bytes; no interpreter is larger


def foreign(wanted: str) -> bool:
    """Whether programs of a platform (`linux/arm64`) are for another processor than this machine's."""
    return wanted.split("/")[1] != _NAMES.get(platform.machine(), platform.machine())


def found(root: Path, search: str, wanted: str, ref: str) -> tuple[PurePosixPath, str, str]:
    """Path, version and libc (`glibc 2.36`, `musl`) of the python3 on the path `search` in a root
    filesystem. Raises BuildError where there is none, or one for another platform than `wanted`."""
    path = next(_programs(root, search), None)
    if path is None:
        raise BuildError(
            f"the base {ref} has no python3 on its path {search}",
            hint="Name a base that has Python in mlops.yaml",
        )
    program = elf.read(_within(root, path))
    if program is None or program.machine != _MACHINES.get(wanted.split("/")[1]):
        raise BuildError(f"/{path} in the base {ref} is no program for {wanted}")
    if re.fullmatch(r"python3(\.\d+)?", path.name) is None:
        raise BuildError(
            f"/{path} in the base {ref} is no CPython with a global lock",
            hint="Name a base with Debian's Python or python.org's",
        )
    return PurePosixPath("/", path), _version(root, path, program, ref), _libc(root, ref)


def machine() -> int:
    """The e_machine (ELF) of this machine's programs; -1 for one that images are not built for."""
    return _MACHINES.get(_NAMES.get(platform.machine(), ""), -1)


def library_directories(root: Path, program: Path) -> Iterator[Path]:
    """Where a program of a root filesystem finds its shared libraries (ld.so(8)): where it says itself,
    where the configuration says, the usual places; links followed as inside the root."""
    found = elf.read(program)
    origin = f"/{program.parent.relative_to(root)}"
    said = [entry.replace("${ORIGIN}", "$ORIGIN") for entry in found.rpath] if found else []
    usual = [each for pattern in _LIBRARIES for each in sorted(root.glob(pattern))]
    named = [entry.replace("$ORIGIN", origin) for entry in said]
    named += [*_configured(root), *(str(each.relative_to(root)) for each in usual)]
    paths = [_resolved(root, PurePosixPath(name.lstrip("/"))) for name in named]
    for path in dict.fromkeys(path for path in paths if path is not None):
        if _within(root, path).is_dir() and ":" not in str(path):
            yield _within(root, path)


def _configured(root: Path) -> Iterator[str]:
    etc = root / "etc"
    for path in (etc / "ld.so.conf", *sorted((etc / "ld.so.conf.d").glob("*.conf"))):
        if path.is_file() and not path.is_symlink():
            lines = map(str.strip, path.read_text(errors="replace").splitlines())
            yield from (line for line in lines if line.startswith("/"))


def standing(root: Path, program: str) -> Path | None:
    """The file that a program of a root filesystem is, links followed as inside it; None where it has none."""
    path = _resolved(root, PurePosixPath(program.lstrip("/")))
    return _within(root, path) if path is not None and _within(root, path).is_file() else None


def _programs(root: Path, search: str) -> Iterator[PurePosixPath]:
    for directory in search.split(":"):
        path = _resolved(root, PurePosixPath(directory.lstrip("/"), "python3"))
        if path is not None and _within(root, path).is_file():
            yield path


def _resolved(root: Path, path: PurePosixPath) -> PurePosixPath | None:
    """The path with links followed as inside the root; None where they lead nowhere."""
    waiting, at, followed = list(reversed(path.parts)), PurePosixPath(), 0
    while waiting:
        part = waiting.pop()
        if part in ("/", "."):
            at = PurePosixPath() if part == "/" else at
        elif part == "..":
            at = at.parent
        elif (step := _within(root, at / part)).is_symlink():
            followed += 1
            if followed > _MOST_LINKS:
                return None
            waiting += reversed(PurePosixPath(os.readlink(step)).parts)  # noqa: PTH115  not a Path of here
        elif not step.exists():
            return None
        else:
            at /= part
    return at


def _within(root: Path, path: PurePosixPath) -> Path:
    return root.joinpath(*(part for part in path.parts if part != "/"))


def _version(root: Path, path: PurePosixPath, program: elf.Program, ref: str) -> str:
    """As it stands in the program, or in the shared library that holds all of it."""
    libraries = [name for name in program.needed if name.startswith("libpython")]
    places = [path, *(found for name in libraries for found in _libraries(root, name, path))]
    minor = re.search(r"3\.(\d+)", " ".join([path.name, *libraries]))
    pattern = re.compile(
        rb"\0(3\.%s\.\d{1,2}(?:(?:a|b|rc)\d{1,2})?\+?)\0"
        % (minor[1].encode() if minor else rb"\d{1,2}")
    )
    for place in places:
        match = pattern.search(_bytes(_within(root, place)))
        if match:
            return match[1].decode()
    raise BuildError(f"/{path} in the base {ref} does not tell its version")


def _libc(root: Path, ref: str) -> str:
    for place in _libraries(root, "libc.so.6", PurePosixPath()):
        match = _GLIBC.search(_bytes(_within(root, place)))
        if match:
            return f"glibc {match[1].decode()}"
    if any(root.glob("lib/ld-musl-*")):
        return "musl"
    raise BuildError(f"the base {ref} has no glibc that tells its version")


def _libraries(root: Path, name: str, program: PurePosixPath) -> Iterator[PurePosixPath]:
    beside = (f"{program.parent.parent}/lib",) if program.name else ()
    for pattern in (*beside, *_LIBRARIES):
        for directory in sorted(root.glob(pattern)):
            path = _resolved(root, PurePosixPath(directory.relative_to(root), name))
            if path is not None and _within(root, path).is_file():
                yield path


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST)
    except OSError as exc:
        raise BuildError(f"cannot read {path}: {exc.strerror}") from exc
