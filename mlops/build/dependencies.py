"""The dependencies layers: locked packages as a virtual environment of the base's Python at /opt/venv.

Wheels are chosen for the base and laid out by an installer of this machine, with this machine's
credentials: the base, a stranger, never runs with them. What must be built from source is built
inside the base, and hears of the indexes without their passwords.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name

from mlops.build import bytecode, distributions, environment, locked, shelf, unrun
from mlops.build.custody import Custody, Need
from mlops.build.interpreter import Interpreter
from mlops.build.layering import Share, shares
from mlops.build.locked import Pin
from mlops.build.shelf import PackageSource, Shelf
from mlops.build.tar import Entry, Tree
from mlops.build.toolchain import BaseRunner, Installer
from mlops.domain.digest import Digest
from mlops.errors import BuildError, PackageIndexError
from mlops.ports import Bind

_REQUIREMENTS = "requirements.lock"
_SOURCES = "sources.lock"
_INSIDE = "/mnt/mlops"  # where a base sees what it is lent


@dataclass(frozen=True, slots=True)
class Site:
    """Where an environment is installed: the base, its platform and interpreter, and the tools.

    `runner` is None for `base: host`, whose interpreter is this machine's own.
    """

    base: Digest
    platform: str
    interpreter: Interpreter
    installer: Installer
    runner: BaseRunner | None


@dataclass(frozen=True, slots=True)
class Installed:
    """An environment without bytecode, dealt out to layers, and what there is to say about its
    packages."""

    shares: tuple[Share, ...]
    notes: tuple[str, ...] = ()


def install(
    site: Site,
    requirements: bytes,
    allow_builds: Sequence[str],
    scratch: Path,
    custody: Custody | None = None,
    packages: PackageSource | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Installed:
    """Install hashed requirements: their files from `custody`, where they are brought from `packages`
    first if they are not there; `say` hears of it.

    The files of its trees lie below `scratch`, which must outlive it. Raises BuildError, RegistryError
    where what is in custody is damaged.
    """
    pins = locked.parse(requirements)
    allowed = {canonicalize_name(name) for name in allow_builds}
    sources = tuple(pin for pin in pins if pin.name in allowed and not pin.url)
    work = Path(tempfile.mkdtemp(prefix="venv-", dir=scratch))
    kept = Shelf()
    if custody is not None and packages is not None:
        target = site.interpreter.target(site.platform)
        need = Need(pins, target, frozenset(pin.name for pin in sources))
        kept = shelf.fill(custody, packages, need, work.with_name(f"{work.name}-shelf"), say)
    try:
        tree, notes = _installed(site, pins, sources, work, kept)
    except PackageIndexError as exc:
        raise kept.explained(exc) from exc
    return Installed(shares(tree, distributions.owners(tree)), (*kept.notes, *notes))


def _installed(
    site: Site, pins: Sequence[Pin], sources: Sequence[Pin], work: Path, kept: Shelf
) -> tuple[dict[str, Entry], Sequence[str]]:
    """The tree of the environment, and what the installer has to say."""
    if site.runner is None:
        notes = _install_here(site, pins, sources, work, kept)
        return environment.tree_of(work / "venv", site.interpreter), notes
    wheels = [pin for pin in pins if pin not in sources]
    requirements = locked.dump(kept.pins(wheels))
    notes = _lay_out(site, requirements, work, kept.directory, alone=kept.whole(wheels))
    tree = environment.tree_of(work / "venv", site.interpreter)
    if sources:
        _build_inside(site, site.runner, sources, work, kept.directory)
        tree |= environment.tree_of(work / "built", site.interpreter)
    return tree, notes


def wheel(site: Site, line: str, work: Path) -> dict[str, Entry]:
    """One wheel laid out for the base: `line` is what a requirements file says of it, hash included.

    The files of the tree lie below `work`, an empty directory. Raises BuildError.
    """
    _lay_out(site, line.encode(), work)
    return environment.tree_of(work / "venv", site.interpreter)


def compiled(site: Site, tree: Tree) -> dict[str, Entry]:
    """The tree with bytecode by the base's interpreter. Raises BuildError."""
    return bytecode.compiled(tree, _asker(site, "compiling to bytecode"))


def _asker(site: Site, doing: str) -> Callable[[Sequence[str], bytes], bytes]:
    runner, path = site.runner, site.interpreter.path
    if runner is None:
        return lambda argv, stdin: site.installer.python(Path(path), argv, doing=doing, stdin=stdin)
    env = {"PYTHONHASHSEED": "0", "LANG": "C.UTF-8"}
    return lambda argv, stdin: runner.run(
        site.base, (str(path), *argv), doing=doing, stdin=stdin, env=env
    )


def _install_here(
    site: Site, pins: Sequence[Pin], sources: Sequence[Pin], work: Path, kept: Shelf
) -> Sequence[str]:
    (work / _REQUIREMENTS).write_bytes(locked.dump(kept.pins(pins)))
    return site.installer.install(
        Path(site.interpreter.path),
        work / _REQUIREMENTS,
        work / "venv",
        sources=[pin.name for pin in sources],
        shelf=kept.directory,
    )


def _lay_out(
    site: Site, requirements: bytes, work: Path, kept: Path | None = None, *, alone: bool = False
) -> Sequence[str]:
    """Lay out wheels for the base by an interpreter of this machine, of which nothing stays."""
    (work / _REQUIREMENTS).write_bytes(requirements)
    return site.installer.install(
        Path(sys.executable),
        work / _REQUIREMENTS,
        work / "venv",
        target=site.interpreter.target(site.platform),
        shelf=kept,
        alone=alone,
    )


def _build_inside(
    site: Site, runner: BaseRunner, sources: Sequence[Pin], work: Path, kept: Path | None
) -> None:
    """Build and install sdists in the base; with the network where what is kept and its cache do not suffice.

    The cache is the base's own: code of strangers must not write to the one that wheels come from.
    """
    names = [pin.name for pin in sources]
    if unrun.foreign(site.platform):
        raise BuildError(
            f"{', '.join(names)} cannot be built from source for {site.platform} on this machine",
            hint="Build on a machine of that kind, or take versions that have a wheel: "
            "build: {allow_sdist: []}",
        )
    others = (work / _REQUIREMENTS).read_bytes()
    # what another lock's tools built must not come back
    key = f"{site.base.hex[:24]}-{Digest.of(others).hex[:12]}"
    cache = site.installer.cache.parent / "mlops-builds" / key
    try:
        shutil.copy2(site.installer.program, work / "uv")
        (work / _SOURCES).write_bytes(locked.dump(sources))
        for directory in (cache, work / "built", work / "home"):
            directory.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise BuildError(f"cannot prepare a build in the base: {exc}") from exc
    binds: tuple[Bind, ...] = (
        Bind(work, _INSIDE, writable=True),
        Bind(cache, f"{_INSIDE}/cache", writable=True),
        Bind(work / "built", str(environment.VENV), writable=True),
    )
    certificates = site.installer.certificates
    if certificates is not None:  # a proxy of this place may sign with an authority of its own
        binds += (Bind(certificates, f"{_INSIDE}/certificates"),)
    told = {"SSL_CERT_FILE": f"{_INSIDE}/certificates"} if certificates is not None else {}
    if others:
        # a build tool that the lock names comes in that version
        told["UV_BUILD_CONSTRAINT"] = f"{_INSIDE}/{_REQUIREMENTS}"
    env = {
        **site.installer.settings,
        **told,
        "UV_CACHE_DIR": f"{_INSIDE}/cache",
        "HOME": f"{_INSIDE}/home",
        "UV_NO_PROGRESS": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "SOURCE_DATE_EPOCH": "315532800",  # 1980: the first year that a zip file can name
        "PYTHONHASHSEED": "0",
    }
    uv, python = f"{_INSIDE}/uv", str(site.interpreter.path)
    create = (uv, "venv", "--quiet", "--no-project", "--allow-existing", "--python", python)
    doing = "creating a virtual environment in the base"
    runner.run(site.base, (*create, str(environment.VENV)), doing=doing, binds=binds, env=env)
    argv = site.installer.arguments(
        f"{environment.VENV}/bin/python", f"{_INSIDE}/{_SOURCES}", names, link_mode="copy"
    )
    if kept is not None:
        binds += (Bind(kept, f"{_INSIDE}/shelf"),)
        argv = [*argv, "--find-links", f"{_INSIDE}/shelf"]
    doing = f"building {', '.join(names)} from source in the base"
    try:
        runner.run(site.base, (uv, "--offline", *argv), doing=doing, binds=binds, env=env)
    except BuildError:
        try:
            runner.run(site.base, (uv, *argv), doing=doing, binds=binds, env=env, network=True)
        except BuildError as exc:
            raise site.installer.explained(exc, site.interpreter.target(site.platform)) from None
