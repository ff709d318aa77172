"""What a build needs of the outside: an installer of packages, and a way into a base image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from mlops.domain.digest import Digest
from mlops.ports import Bind, ImageStore


class BaseRunner(Protocol):
    """Runs a command in the root filesystem of a stored image, below a throw-away overlay."""

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
        """Its stdout. Raises BuildError (what it wrote on stderr) where it exits other than 0."""
        ...


class BaseSource(Protocol):
    """Where bases other than `host` come from: layouts and archives of this machine."""

    def fetch(
        self, ref: str, project: Path, platform: str, store: ImageStore
    ) -> tuple[Digest, Digest]:
        """Copy the image that `ref` names into the store, by digest: top level and manifest.

        Relative paths start at `project`. Raises BuildError, RegistryError."""
        ...


class Installer(Protocol):
    """Installs locked wheels, and runs interpreters of this machine. `adapters.uv.Uv` is one."""

    @property
    def version(self) -> str:
        """Name and version, as `uv 0.9.1`."""
        ...

    @property
    def program(self) -> Path:
        """The executable, to be bound into a base."""
        ...

    @property
    def cache(self) -> Path:
        """The cache directory that it shares between installs."""
        ...

    @property
    def settings(self) -> Mapping[str, str]:
        """The environment variables that it goes by (package indexes, certificates)."""
        ...

    def arguments(
        self, python: str, requirements: str, allow_builds: Sequence[str], *, link_mode: str
    ) -> Sequence[str]:
        """Its arguments that install hashed requirements into the environment of `python`;
        `link_mode` is `copy` or `hardlink`: how files come from its cache."""
        ...

    def install(
        self, python: Path, requirements: Path, venv: Path, allow_builds: Sequence[str] = ()
    ) -> None:
        """Make a virtual environment of `python` at `venv` and install the hashed requirements
        into it, dependencies not followed; sdists are built for the names in `allow_builds` alone.
        Raises BuildError."""
        ...

    def python(
        self, python: Path, argv: Sequence[str], *, doing: str, stdin: bytes | None = None
    ) -> bytes:
        """Run an interpreter of this machine, isolated from the environment; its stdout."""
        ...
