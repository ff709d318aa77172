"""Which shared objects a program of this machine needs, read from the files themselves.

Follows ld.so(8): DT_RPATH, DT_RUNPATH with $ORIGIN, the directories of /etc/ld.so.conf, the default
ones. Nothing is started, as `ldd` would.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mlops.errors import BuildError

_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NEEDED, _DT_STRTAB, _DT_RPATH, _DT_RUNPATH = 1, 5, 15, 29
_DEFAULTS = ("/lib64", "/usr/lib64", "/lib", "/usr/lib")


@dataclass(frozen=True, slots=True)
class Program:
    """What an ELF file says of itself: machine number, dynamic linker, needed names, search paths."""

    machine: int
    interpreter: str
    needed: tuple[str, ...]
    rpath: tuple[str, ...]


@cache
def read(path: Path) -> Program | None:
    """None where the file is no 64-bit little-endian ELF file (a script, or data)."""
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise BuildError(f"cannot read {path}: {exc.strerror}") from exc
    if data[:6] != b"\x7fELF\x02\x01":
        return None
    try:
        return _parse(data, path)
    except (struct.error, OverflowError, ValueError) as exc:
        raise BuildError(f"{path} is damaged: no ELF file that can be read") from exc


def closure(programs: Iterable[Path]) -> frozenset[tuple[str, Path]]:
    """Every shared object that the programs need, the dynamic linker and themselves included: the
    name by which it is asked for (or the path), and the file, links not resolved.

    Raises BuildError where one is nowhere to be found.
    """
    found: set[tuple[str, Path]] = set()
    waiting = [(str(path), path) for path in programs]
    while waiting:
        item = waiting.pop()
        if item in found:
            continue
        found.add(item)
        real = item[1].resolve()
        program = read(real)
        if program is None:
            continue
        if program.interpreter:
            found.add((program.interpreter, Path(program.interpreter)))
        waiting.extend((needed, _find(needed, program, real)) for needed in program.needed)
    return frozenset(found)


def find(name: str, machine: int) -> Path | None:
    """A library by its name in the directories that the dynamic linker searches."""
    return next(_candidates(name, _directories(), machine), None)


def _find(name: str, program: Program, asker: Path) -> Path:
    if "/" in name:
        return Path(name)
    directories = [_origin(entry, asker) for entry in program.rpath]
    searched = (*directories, *_directories())
    found = next(_candidates(name, searched, program.machine), None)
    if found is None:
        raise BuildError(
            f"{asker} needs {name}, which is not on this machine",
            hint="Install the package that has it, or name another base than `host`",
        )
    return found


def _origin(entry: str, asker: Path) -> Path:
    for name in ("$ORIGIN", "${ORIGIN}"):
        entry = entry.replace(name, str(asker.parent))
    return Path(entry)


def _candidates(name: str, directories: Iterable[Path], machine: int) -> Iterator[Path]:
    for directory in directories:
        path = directory / name
        if path.is_file() and (program := read(path)) is not None and program.machine == machine:
            yield path


@cache
def trusted() -> tuple[Path, ...]:
    """Where a dynamic linker without cache and configuration looks, libc's own directory first."""
    multiarch = sorted(path.parent for path in Path("/usr/lib").glob("*-linux-gnu*/libc.so.6"))
    every = [*multiarch, *(Path("/lib", path.name) for path in multiarch), *map(Path, _DEFAULTS)]
    return tuple(path for path in every if path.is_dir())


@cache
def configured() -> frozenset[Path]:
    """The directories that /etc/ld.so.conf adds to the trusted ones."""
    return frozenset(map(Path, _configured(Path("/etc/ld.so.conf"), 0))) - frozenset(trusted())


@cache
def _directories() -> tuple[Path, ...]:
    named = (Path(text) for text in _configured(Path("/etc/ld.so.conf"), 0))
    return tuple(path for path in dict.fromkeys((*named, *trusted())) if path.is_dir())


def _configured(path: Path, depth: int) -> Iterator[str]:
    """The directories of ld.so.conf, its includes followed."""
    if depth > 5 or not path.is_file():
        return
    for line in path.read_text(errors="replace").splitlines():
        words = line.partition("#")[0].split()
        if len(words) == 2 and words[0] == "include":
            pattern = words[1].removeprefix("/") if words[1].startswith("/") else ""
            root = Path("/") if pattern else path.parent
            for included in sorted(root.glob(pattern or words[1])):
                yield from _configured(included, depth + 1)
        elif len(words) == 1 and words[0].startswith("/"):
            yield words[0].rstrip("/")


def _parse(data: bytes, path: Path) -> Program:
    machine = struct.unpack_from("<H", data, 18)[0]
    (table,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    segments = [struct.unpack_from("<IIQQQQ", data, table + n * size) for n in range(count)]
    loads = [
        (addr, offset, length) for kind, _, offset, addr, _, length in segments if kind == _PT_LOAD
    ]
    interpreter = ""
    entries: list[tuple[int, int]] = []
    for kind, _, offset, _, _, length in segments:
        if kind == _PT_INTERP:
            interpreter = data[offset : offset + length].rstrip(b"\0").decode()
        elif kind == _PT_DYNAMIC:
            entries = _dynamic(data, offset, length)
    strings = next((value for tag, value in entries if tag == _DT_STRTAB), None)
    if strings is None:
        return Program(machine, interpreter, (), ())
    start = _file_offset(strings, loads, path)
    names = {
        tag: [_string(data, start + value) for kind, value in entries if kind == tag]
        for tag in (_DT_NEEDED, _DT_RPATH, _DT_RUNPATH)
    }
    rpath = names[_DT_RUNPATH] or names[_DT_RPATH]
    parts = tuple(part for text in rpath for part in text.split(":") if part)
    return Program(machine, interpreter, tuple(names[_DT_NEEDED]), parts)


def _dynamic(data: bytes, offset: int, length: int) -> list[tuple[int, int]]:
    entries = []
    for at in range(offset, offset + length, 16):
        tag, value = struct.unpack_from("<qQ", data, at)
        if tag == 0:
            break
        entries.append((tag, value))
    return entries


def _file_offset(address: int, loads: Iterable[tuple[int, int, int]], path: Path) -> int:
    for start, offset, length in loads:
        if start <= address < start + length:
            return address - start + offset
    raise BuildError(f"{path} is damaged: its dynamic strings lie outside it")


def _string(data: bytes, start: int) -> str:
    return data[start : data.index(b"\0", start)].decode()
