"""What a build needs of the outside: an installer of packages, and a way into a base image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from mlops.domain.digest import Digest
from mlops.errors import BuildError
from mlops.ports import Bind, ImageStore, Target


class BaseRunner(Protocol):
    """Runs a command in the root filesystem of a stored image, below a throw-away overlay."""

    @property
    def enclosed(self) -> bool:
        """Whether the command sees that root; else it sees this machine's, and reads stdin alone."""
        ...

    def root(self, manifest: Digest) -> Path:
        """The root filesystem as one directory of this machine, only to be read. Raises BuildError,
        RegistryError."""
        ...

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
        """Its stdout. Raises CommandError (what it wrote on stderr) where it exits other than 0, BuildError
        where no command starts."""
        ...


class BaseSource(Protocol):
    """Where bases other than `host` come from: registries, and layouts and archives of this machine."""

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
        """The environment variables that it goes by (package indexes, proxies), as strangers may know
        them: without passwords and without paths of this machine."""
        ...

    @property
    def certificates(self) -> Path | None:
        """The file of authorities that it is told to trust; None where it trusts its own."""
        ...

    def arguments(
        self, python: str, requirements: str, sources: Sequence[str], *, link_mode: str
    ) -> Sequence[str]:
        """Its arguments that install hashed requirements into the environment of `python`: wheels
        alone, except that `sources` are built from their sdists; `link_mode` is `copy` or `hardlink`:
        how files come from its cache."""
        ...

    def install(
        self,
        python: Path,
        requirements: Path,
        venv: Path,
        *,
        target: Target | None = None,
        sources: Sequence[str] = (),
        shelf: Path | None = None,
        alone: bool = False,
    ) -> Sequence[str]:
        """Make a virtual environment of `python` at `venv` and install the hashed requirements
        into it, dependencies not followed; what there is to say about them (a yanked release).

        With a `target` the wheels are those for that platform, Python and libc, whatever runs here;
        else `sources` may be built from their sdists. A `shelf` is a directory with wheels and sdists, which
        count beside the indexes; `alone`, instead of them. Raises BuildError, PackageIndexError where an index
        is away or lacks one."""
        ...

    def explained(self, error: BuildError, target: Target) -> BuildError:
        """What it said elsewhere when it failed, in words that name package, target and what helps."""
        ...

    def python(
        self, python: Path, argv: Sequence[str], *, doing: str, stdin: bytes | None = None
    ) -> bytes:
        """Run an interpreter of this machine, isolated from the environment; its stdout."""
        ...
