"""The dependencies layer: locked wheels, installed by the base's own interpreter at /opt/venv."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlops.build import bytecode, environment
from mlops.build.interpreter import Interpreter
from mlops.build.tar import Entry
from mlops.build.toolchain import BaseRunner, Installer
from mlops.domain.digest import Digest
from mlops.errors import BuildError
from mlops.ports import Bind

_REQUIREMENTS = "requirements.lock"
_INSIDE = "/mnt/mlops"  # where a base sees what it is lent
_CACHE = "/mnt/uv-cache"


@dataclass(frozen=True, slots=True)
class Site:
    """Where an environment is installed: the base, its interpreter, and the tools.

    `runner` is None for `base: host`, whose interpreter is this machine's own.
    """

    base: Digest
    interpreter: Interpreter
    installer: Installer
    runner: BaseRunner | None


def install(
    site: Site, requirements: bytes, allow_builds: Sequence[str], scratch: Path
) -> dict[str, Entry]:
    """Install hashed requirements; the environment as a tree, with bytecode.

    The tree's files lie below `scratch`, which must outlive it. Raises BuildError.
    """
    work = Path(tempfile.mkdtemp(prefix="venv-", dir=scratch))
    (work / _REQUIREMENTS).write_bytes(requirements)
    venv = work / "venv"
    if site.runner is None:
        python = Path(site.interpreter.path)
        site.installer.install(python, work / _REQUIREMENTS, venv, allow_builds)
    else:
        _install_inside(site, site.runner, work, allow_builds)
    return compiled(site, environment.tree_of(venv, site.interpreter))


def compiled(site: Site, tree: dict[str, Entry]) -> dict[str, Entry]:
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


def _install_inside(
    site: Site, runner: BaseRunner, work: Path, allow_builds: Sequence[str]
) -> None:
    """Run uv in the base, so that it sees the base's interpreter and libc, and nothing else."""
    shutil.copy2(site.installer.program, work / "uv")
    (work / "venv").mkdir()
    (work / "home").mkdir()
    binds = (
        Bind(work, _INSIDE, writable=True),
        Bind(site.installer.cache, _CACHE, writable=True),
        Bind(work / "venv", str(environment.VENV), writable=True),
    )
    env = {
        "UV_CACHE_DIR": _CACHE,
        "HOME": f"{_INSIDE}/home",
        "UV_NO_PROGRESS": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        **site.installer.settings,
    }
    uv = f"{_INSIDE}/uv"
    python = str(site.interpreter.path)
    create = (uv, "venv", "--quiet", "--no-project", "--allow-existing", "--python", python)
    doing = "creating a virtual environment in the base"
    runner.run(site.base, (*create, str(environment.VENV)), doing=doing, binds=binds, env=env)
    argv = site.installer.arguments(
        f"{environment.VENV}/bin/python",
        f"{_INSIDE}/{_REQUIREMENTS}",
        allow_builds,
        link_mode="copy",
    )
    doing = "installing requirements in the base"
    try:
        runner.run(site.base, (uv, "--offline", *argv), doing=doing, binds=binds, env=env)
    except BuildError:
        runner.run(site.base, (uv, *argv), doing=doing, binds=binds, env=env, network=True)
