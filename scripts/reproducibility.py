"""Builds the releases of the examples again under other circumstances, and compares every digest.

    python scripts/reproducibility.py [--circumstance NAME]… [--keep DIR] [EXAMPLE…]

For each example: a project on a base that is not `host` (Debian, by scripts/debian_base.py) is locked and released.
Then the same commit is built and trained once more, in a copy of everything, with empty caches (uv's too) and no
network, from the wheels in custody, in each of the circumstances below; the digest and the model's bytes must be the
same. Other processors: scripts/processors.py.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "scripts")]

import debian_base  # noqa: E402

from mlops.adapters import bases  # noqa: E402
from mlops.adapters.layout import OciLayout  # noqa: E402
from mlops.adapters.registry import images  # noqa: E402
from mlops.build import custody  # noqa: E402

_OTHER = 12345  # a user that is not us, and that no list of users knows
_SYSTEM = "/usr/bin/python3"  # beside the interpreter of .venv
_DIGEST = re.compile(r"^\w+@sha256:[0-9a-f]{64}$", re.MULTILINE)


class DifferenceError(Exception):
    """Two builds of one commit are not the same; the text says which, where, and how."""


@dataclass(frozen=True, slots=True)
class Circumstance:
    """What is another one than where the release was made; the directory and the caches always are."""

    user: bool = False
    umask: str = "022"
    zone: str = "UTC"
    days: int = 0
    interpreter: bool = False


CIRCUMSTANCES: Mapping[str, Circumstance] = {
    "directory": Circumstance(),
    "user": Circumstance(user=True, interpreter=True),  # ours may lie where no other user looks
    "umask": Circumstance(umask="077"),
    "date": Circumstance(zone="Pacific/Chatham", days=400),
    "interpreter": Circumstance(interpreter=True),
    "all": Circumstance(user=True, umask="077", zone="Pacific/Chatham", days=400, interpreter=True),
}


@dataclass(frozen=True, slots=True)
class Made:
    """The releases of one commit: by model, the digest and the sha256 of the artifact's layer."""

    project: Path
    commit: str
    releases: Mapping[str, str]
    models: Mapping[str, str]


@dataclass(frozen=True)
class Workshop:
    """Where projects are made: `base` is an empty directory that everybody may look into."""

    base: Path

    @functools.cached_property
    def layout(self) -> Path:
        """The base image, where other users may read it."""
        place = self.base / "debian"
        shutil.copytree(debian_base.layout(), place, dirs_exist_ok=True)
        return place

    @property
    def wheels(self) -> Path:
        """The cache of uv that projects are first made with."""
        return self.base / "uv"

    @functools.cached_property
    def other_python(self) -> Path:
        """This mlops, as its wheel holds it, in an environment of the system's interpreter."""
        venv = self.base / "other"
        ours, theirs = _version(sys.executable), _version(_SYSTEM)
        if ours == theirs:
            raise SystemExit(f"{_SYSTEM} is Python {theirs}, as .venv is: no second interpreter")
        uv = str(Path(sys.executable).with_name("uv"))
        env = {**_plain(), "VIRTUAL_ENV": str(venv)}
        for argv in (
            [uv, "venv", "--quiet", "--python", _SYSTEM, str(venv)],
            [uv, "pip", "sync", "--quiet", "--require-hashes", "requirements-dev.txt"],
            [uv, "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", str(ROOT)],
        ):
            subprocess.run(argv, cwd=ROOT, env=env, check=True)
        return venv / "bin" / "python"

    def made(self, name: str) -> Made:
        """An example as a repository with its first releases, or what was made here before.

        Raises CalledProcessError.
        """
        home = self.base / name
        project, told = home / name, home / "made.json"
        if told.is_file():
            return Made(project, **json.loads(told.read_text(encoding="utf-8")))
        shutil.copytree(ROOT / "examples" / name, project)
        settings = project / "mlops.yaml"
        text = settings.read_text(encoding="utf-8")
        settings.write_text(re.sub(r"base: host\b.*", f"base: oci:{self.layout}:bookworm", text))
        env = self.environment(home, self.wheels)
        for command in (
            f"git init -q --bare -b main ../{name}.git",
            f"git init -q -b main && git remote add origin ../{name}.git",
            "git config user.name Rosa && git config user.email rosa@example.com",
            f"dvc init -q && dvc remote add -q --default store ../{name}-data",
            "mlops init --yes && git add . && git commit -q -m Begin",
            "mlops lock && git add . && git commit -q -m Lock && git push -q -u origin main",
        ):
            run(["/bin/sh", "-e", "-c", command], project, env)
        printed = run([sys.executable, "-m", "mlops", "run", "--quiet"], project, env)
        made = _read(project, _head(project, env), printed)
        about = {"commit": made.commit, "releases": made.releases, "models": made.models}
        told.write_text(json.dumps(about), encoding="utf-8")
        return made

    def again(self, made: Made, there: Circumstance, name: str) -> Made:
        """The same commit, built and trained once more under other circumstances."""
        home = self.base / f"{made.project.name} {name}" / "elsewhere"
        example = made.project.name
        for part in (f"{example}.git", f"{example}-data"):
            shutil.copytree(made.project.parent / part, home / part)
        python = self.other_python if there.interpreter else Path(sys.executable)
        env = self.environment(home, home / "uv", python) | {"TZ": there.zone}
        clone = home / "clone"
        run(["git", "clone", "-q", str(home / f"{example}.git"), str(clone)], home, env)
        _custody(made, clone)
        if there.user and os.getuid() == 0:
            run(["chown", "-R", f"{_OTHER}:{_OTHER}", str(home.parent)], home, env)
        argv = [str(python), "-m", "mlops", "run", made.commit, "--again", "--no-pin", "--quiet"]
        return _read(clone, made.commit, run([*_prefix(there), *argv], clone, env))

    def environment(self, home: Path, wheels: Path, python: Path | None = None) -> dict[str, str]:
        here = str((python or Path(sys.executable)).parent)
        (home / "home").mkdir(parents=True, exist_ok=True)
        return _plain() | {
            "HOME": str(home / "home"),
            "USER": "somebody",
            "PATH": f"{here}{os.pathsep}{os.environ['PATH']}",
            "MLOPS_CACHE": str(home / "cache"),
            "UV_CACHE_DIR": str(wheels),
            "PYTHONPYCACHEPREFIX": str(home / "bytecode"),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(home / "dvc-site"),
        }


def _custody(made: Made, clone: Path) -> None:
    """What the project's registry keeps of wheels and bases, in that of a clone: no image of its own."""
    kept = OciLayout(made.project / ".mlops" / "registry")
    for repository in (custody.REPOSITORY, bases.REPOSITORY):
        for tag, digest in kept.tags(repository).items():
            there = OciLayout(clone / ".mlops" / "registry")
            images.copy_to_layout(kept, digest, there, repository, name=f"{repository}:{tag}")


def compare(first: Made, second: Made, name: str) -> None:
    """Raises DifferenceError where a digest or a model is another one."""
    for model, digest in first.releases.items():
        if second.models.get(model) != first.models[model]:
            raise DifferenceError(f"{name}: training gave another {model}")
        if second.releases.get(model) != digest:
            raise DifferenceError(f"{name}: {model} is {second.releases.get(model)}, not {digest}")


def _prefix(there: Circumstance) -> list[str]:
    """The programs that make the circumstances: no network, another user, another day, a umask."""
    faketime = shutil.which("faketime") or "faketime"
    network = (
        ["unshare", "--net"] if os.getuid() == 0 else ["unshare", "--map-current-user", "--net"]
    )
    argv = network
    if there.user:
        # who is not root becomes it, in a namespace
        user = ["setpriv", f"--reuid={_OTHER}", f"--regid={_OTHER}", "--clear-groups"]
        argv = [*network, *user] if os.getuid() == 0 else ["unshare", "--map-root-user", "--net"]
    argv = [*argv, "/bin/sh", "-c", f'umask {there.umask}; exec "$@"', "sh"]
    return [*argv, faketime, "-f", f"+{there.days}d"] if there.days else argv


def _read(clone: Path, commit: str, printed: str) -> Made:
    """What a run released, and the digest of the layer of each model, as the images say."""
    releases = dict(line.split("@") for line in _DIGEST.findall(printed))
    blobs = clone / ".mlops" / "registry" / "blobs" / "sha256"
    models = {}
    for model, digest in releases.items():
        manifest = json.loads((blobs / digest.removeprefix("sha256:")).read_bytes())
        models[model] = manifest["layers"][-1]["digest"]
    return Made(clone, commit, releases, models)


def _head(project: Path, env: Mapping[str, str]) -> str:
    return run(["git", "rev-parse", "HEAD"], project, env).strip()


def _plain() -> dict[str, str]:
    ours = ("GIT_", "MLOPS_", "DVC_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def _version(python: str) -> str:
    code = "import sys; print(sys.version)"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout


def run(argv: Sequence[str], directory: Path, env: Mapping[str, str]) -> str:
    """What it printed; what it complained of is on our stderr where it fails."""
    done = subprocess.run(argv, cwd=directory, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stderr[-6000:])
        raise subprocess.CalledProcessError(done.returncode, argv)
    return done.stdout


def examples() -> list[str]:
    return sorted(path.parent.name for path in (ROOT / "examples").glob("*/mlops.yaml"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("names", nargs="*", default=examples(), metavar="EXAMPLE")
    parser.add_argument("--circumstance", action="append", choices=[*CIRCUMSTANCES])
    parser.add_argument("--keep", type=Path, metavar="DIR", help="work here, and leave it")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mlops-again-", ignore_cleanup_errors=True) as scratch:
        base = given.keep or Path(scratch)
        base.mkdir(parents=True, exist_ok=True)
        base.chmod(0o755)
        return _report(
            Workshop(base.resolve()), given.names, given.circumstance or [*CIRCUMSTANCES]
        )


def _report(workshop: Workshop, names: Sequence[str], chosen: Sequence[str]) -> int:
    failed = 0
    for name in names:
        made = workshop.made(name)
        for model, digest in made.releases.items():
            print(f"{name}: {model}@{digest}", flush=True)
        for circumstance in chosen:
            try:
                again = workshop.again(made, CIRCUMSTANCES[circumstance], circumstance)
                compare(made, again, circumstance)
                print(f"  {circumstance}: the same", flush=True)
            except DifferenceError as exc:
                failed = 1
                print(f"  {exc}", flush=True)
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
