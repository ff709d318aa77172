"""For what Python, processor and glibc packages are wanted: environment markers and wheel tags."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from packaging.markers import Environment
from packaging.tags import Tag, compatible_tags, cpython_tags

MACHINES = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
_OLDEST = {"x86_64": 5, "aarch64": 17}  # the first manylinux of each, as a minor version of glibc
_OTHER_NAMES = {5: "manylinux1", 12: "manylinux2010", 17: "manylinux2014"}  # PEP 600


@dataclass(frozen=True, slots=True)
class Wanted:
    """`platform` as `linux/amd64`, `python` as `3.12.4`, `libc` as `2.36` (glibc)."""

    platform: str
    python: str
    libc: str

    def __str__(self) -> str:
        return f"{self.platform}, Python {self.python}, glibc {self.libc}"

    @property
    def environment(self) -> Environment:
        """The values of environment markers (PEP 508) there."""
        return {
            "implementation_name": "cpython",
            "implementation_version": self.python,
            "os_name": "posix",
            "platform_machine": MACHINES.get(self.platform, ""),
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": self.python,
            "python_version": ".".join(self.python.split(".")[:2]),
            "sys_platform": "linux",
        }

    @property
    def tags(self) -> tuple[Tag, ...]:
        """The wheel tags that fit, best first (PEP 425, PEP 600)."""
        version = [int(part) for part in self.python.split(".")[:2]]
        platforms = list(self._platforms())
        own = cpython_tags(version, platforms=platforms)
        interpreter = f"cp{version[0]}{version[1]}"
        return (*own, *compatible_tags(version, interpreter, platforms))

    def _platforms(self) -> Iterator[str]:
        machine = MACHINES.get(self.platform, "")
        own = self.libc.partition(".")[2].partition(".")[0]
        newest = int(own) if own.isdecimal() else 0
        for minor in range(newest, _OLDEST.get(machine, newest) - 1, -1):
            yield f"manylinux_2_{minor}_{machine}"
            if minor in _OTHER_NAMES:
                yield f"{_OTHER_NAMES[minor]}_{machine}"
        yield f"linux_{machine}"
