"""Builds and trains the examples on emulated processors, and compares: digests of releases, bytes of models.

    python scripts/processors.py [--processor MODEL]… [--only build|train] [--keep DIR] [EXAMPLE…]

For each example: a project on a base that is not `host` is released on this machine's processor. Then, below qemu's
emulation of each processor (every program in it: mlops itself, uv, the base's Python, the commands of training),

- the environment and the release are built again, with empty caches but for the wheels and from the model's bytes as
  they are: the digest must be the same;
- the stages of training run again in that environment, with `train.env` as mlops.yaml has it: the model's bytes and the
  metrics must be the same where `train.env` pins what the processor decides; elsewhere it tells whether the model is.

It takes a quarter of an hour for each processor.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "scripts")]

import reproducibility  # noqa: E402
from reproducibility import Made, Workshop  # noqa: E402

from mlops.adapters.baserunner import SandboxedBase  # noqa: E402
from mlops.adapters.git import Git, Repository  # noqa: E402
from mlops.adapters.layout import OciLayout  # noqa: E402
from mlops.config.lockfile import parse_lock  # noqa: E402
from mlops.config.project import parse_project  # noqa: E402
from mlops.domain.digest import Digest  # noqa: E402
from mlops.domain.project import ModelConfig  # noqa: E402
from mlops.domain.source import Commit  # noqa: E402
from mlops.errors import BuildError  # noqa: E402
from mlops.ports import Bind  # noqa: E402

PROCESSORS: Mapping[str, tuple[str, ...]] = {
    "x86_64": ("Nehalem", "Haswell"),  # without AVX, and with AVX2 and FMA
    "aarch64": ("cortex-a53", "neoverse-n1"),
}
_PINS = ("OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES", "GLIBC_TUNABLES")
_CRASHED = "qemu: uncaught target signal"
_ATTEMPTS = 3
_TREE = "/mnt/project"
_SHIM = "/mnt/shim"


@dataclass(frozen=True, slots=True)
class Subject:
    """One model of one example, as this machine released it."""

    made: Made
    config: ModelConfig
    digest: str

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def pinned(self) -> bool:
        """Whether training's settings take from the processor what it would decide."""
        return set(dict(self.config.train.env)) >= set(_PINS)

    @property
    def registry(self) -> OciLayout:
        return OciLayout(self.made.project / ".mlops" / "registry")

    @property
    def environment(self) -> Digest:
        manifest = _run(["git", "show", f"origin/main:{self._record}"], self.made.project)
        return Digest.parse(json.loads(manifest)["environment"].rpartition("@")[2])

    @property
    def _record(self) -> str:
        return f"environments/releases/{self.name}/{self.digest.removeprefix('sha256:')}.json"


def subjects(made: Made) -> Iterator[Subject]:
    project = parse_project((made.project / "mlops.yaml").read_bytes())
    for name, digest in made.releases.items():
        yield Subject(made, project.model(name), digest)


def tree_of(subject: Subject, place: Path) -> Path:
    """The commit's files and the very model that was released."""
    place.mkdir(parents=True)
    with Repository(Git(subject.made.project)) as repository:
        repository.export(Commit(subject.made.commit), place)
    model = subject.registry.blob_path(Digest.parse(subject.made.models[subject.name]))
    with tarfile.open(model) as archive:
        content = archive.extractfile(f"app/{subject.config.artifact}")
        assert content is not None
        (place / subject.config.artifact).parent.mkdir(parents=True, exist_ok=True)
        (place / subject.config.artifact).write_bytes(content.read())
    return place


# --- building ---------------------------------------------------------------------------------------------


def describe(chosen: Sequence[Subject], place: Path) -> dict[str, Any]:
    """What `built_once` builds: an environment, and these releases on it."""
    project = chosen[0].made.project
    base = chosen[0].config.build.base
    locked = parse_lock((project / "mlops.lock").read_bytes()).image(base)
    assert locked is not None
    releases = []
    for subject in chosen:
        with Repository(Git(subject.made.project)) as repository:
            committed = repository.info(Commit(subject.made.commit)).committed
        releases.append(
            {
                "model": subject.name,
                "commit": subject.made.commit,
                "committed": committed.isoformat(),
                "tree": str(tree_of(subject, place / "trees" / subject.name)),
                "code": subject.config.build.code,
                "artifact": subject.config.artifact,
            }
        )
    return {
        "place": str(place / "work"),
        "requirements": str(project / "requirements.lock"),
        "base": {
            "ref": base,
            "digest": str(locked.digest),
            "manifest": str(locked.manifest),
            "platform": locked.platform,
        },
        "releases": releases,
    }


def built(workshop: Workshop, chosen: Sequence[Subject], processor: str) -> dict[str, str]:
    """The digests, by model, that builds on that processor arrive at; on this one where it is empty."""
    place = Path(tempfile.mkdtemp(prefix=f"built-{processor or 'here'}-", dir=workshop.base))
    description = place / "description.json"
    description.write_text(json.dumps(describe(chosen, place)))
    wheels = place / "uv"
    _fetch_wheels(chosen[0].made.project, workshop.environment(place, workshop.wheels))
    shutil.copytree(workshop.wheels, wheels, symlinks=True)
    python = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    below = emulator(processor)
    env = workshop.environment(place, wheels) | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)]),
        "MLOPS_EMULATOR": shlex.join(below),
        "UV_OFFLINE": "1",
    }
    argv = [*below, python, "-B", str(ROOT / "scripts" / "built_once.py"), str(description)]
    return dict(json.loads(reproducibility.run(argv, place, env)))


def _fetch_wheels(project: Path, env: Mapping[str, str]) -> None:
    """The locked wheels, for Debian's Python, into uv's cache: an emulated build asks no index."""
    with tempfile.TemporaryDirectory(dir=project.parent) as scratch:
        argv = [str(Path(sys.executable).with_name("uv")), "pip", "install", "--quiet", "--no-deps"]
        argv += ["--target", scratch, "--only-binary", ":all:", "--require-hashes"]
        argv += ["--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_36"]
        reproducibility.run([*argv, "--requirement", "requirements.lock"], project, env)


def emulator(processor: str) -> tuple[str, ...]:
    """The program and its arguments that a command is put behind."""
    if not processor:
        return ()
    name = f"qemu-{platform.machine()}-static"
    program = shutil.which(name)
    if program is None:
        raise SystemExit(f"error: {name} is not here. Debian: apt install qemu-user-static")
    return (program, "-cpu", processor)


# --- training ---------------------------------------------------------------------------------------------


def trained(workshop: Workshop, subject: Subject, processor: str) -> tuple[str, str]:
    """The sha256 of the artifact that training on that processor gives, and the metrics where its
    settings are pinned."""
    place = Path(tempfile.mkdtemp(prefix=f"trained-{processor or 'here'}-", dir=workshop.base))
    tree = tree_of(subject, place / "tree")
    (tree / subject.config.artifact).unlink()
    shims = place / "shims"
    shims.mkdir()
    python = [*([_SHIM + "/emulator", *emulator(processor)[1:]] if processor else [])]
    (shims / "python").write_text(
        f'#!/bin/sh\nexec {shlex.join([*python, "/opt/venv/bin/python"])} "$@"\n'
    )
    (shims / "python").chmod(0o755)
    if processor:
        shutil.copy2(emulator(processor)[0], shims / "emulator")
    box = SandboxedBase(subject.registry, workshop.base / "unpacked")
    env = {
        **dict(subject.config.train.env),
        "PATH": f"{_SHIM}:/opt/venv/bin:/usr/local/bin:/usr/bin:/bin",
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": "/tmp",  # noqa: S108 (of a sandbox)
    }
    binds = (Bind(tree, _TREE, writable=True), Bind(shims, _SHIM))
    metrics = tree / (subject.config.metrics or "metrics.json")
    metrics.unlink(missing_ok=True)
    for directory, command in _stages(tree, subject.config, whole=subject.pinned):
        line = f"cd {shlex.quote(f'{_TREE}/{directory}')} && {command}"
        _persist(box, subject, line, binds, env)
    artifact = (tree / subject.config.artifact).read_bytes()
    measured = metrics.read_text() if metrics.is_file() else ""
    return hashlib.sha256(artifact).hexdigest(), measured


def _persist(
    box: SandboxedBase,
    subject: Subject,
    line: str,
    binds: Sequence[Bind],
    env: Mapping[str, str],
) -> None:
    """Run a command of training; once more where the emulator crashed. Raises BuildError."""
    argv, doing = ("/bin/sh", "-c", line), f"training {subject.name}"
    for attempt in range(_ATTEMPTS):
        try:
            box.run(subject.environment, argv, doing=doing, binds=binds, env=env, timeout=3600)
        except BuildError as exc:
            if _CRASHED not in exc.message or attempt == _ATTEMPTS - 1:
                raise
            _tell(f"  qemu crashed while {doing}; once more")
        else:
            return


def _stages(tree: Path, config: ModelConfig, *, whole: bool) -> Iterator[tuple[str, str]]:
    """Directory and command of each stage, in the order of the file, in which the examples' depend.

    Not `whole`: until the artifact is there. qemu 7.2 stumbles over some routines that numpy has for
    AVX2, and what judges a model calls for more of them than what makes it.
    """
    chosen = config.train.stages or tuple(
        f"dvc.yaml:{name}" for name in yaml.safe_load((tree / "dvc.yaml").read_text())["stages"]
    )
    for address in chosen:
        path, _, name = address.rpartition(":")
        stage = yaml.safe_load((tree / path).read_text())["stages"][name]
        yield str(Path(path).parent), stage["cmd"]
        made = (tree / config.artifact).is_file() if config.artifact else False
        if made and not whole:
            return


def _run(argv: Sequence[str], directory: Path) -> str:
    return subprocess.run(argv, cwd=directory, capture_output=True, text=True, check=True).stdout


# -----------------------------------------------------------------------------------------------------------


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("names", nargs="*", default=reproducibility.examples(), metavar="EXAMPLE")
    parser.add_argument("--processor", action="append", metavar="MODEL", help="as qemu -cpu has it")
    parser.add_argument("--only", choices=["build", "train"])
    parser.add_argument("--keep", type=Path, metavar="DIR", help="work here, and leave it")
    given = parser.parse_args()
    processors = given.processor or PROCESSORS[platform.machine()]
    failed = 0
    with tempfile.TemporaryDirectory(prefix="mlops-cpus-", ignore_cleanup_errors=True) as scratch:
        base = given.keep or Path(scratch)
        base.mkdir(parents=True, exist_ok=True)
        workshop = Workshop(base.resolve())
        chosen = [subject for name in given.names for subject in subjects(workshop.made(name))]
        if given.only != "train":
            failed |= _builds(workshop, chosen, processors)
        if given.only != "build":
            failed |= _trainings(workshop, chosen, processors)
    return failed


def _builds(workshop: Workshop, chosen: Sequence[Subject], processors: Sequence[str]) -> int:
    """Examples with one base and one lock share the build of their environment."""
    failed = 0
    shared: dict[Digest, list[Subject]] = {}
    for subject in chosen:
        shared.setdefault(subject.environment, []).append(subject)
    for processor in ("", *processors):
        for group in shared.values():
            found = built(workshop, group, processor)
            for subject in group:
                same = found[subject.name] == subject.digest
                failed |= not same
                told = "the same digest" if same else f"{found[subject.name]}, not {subject.digest}"
                _tell(f"{subject.name} built on {processor or 'this processor'}: {told}")
    return failed


def _trainings(workshop: Workshop, chosen: Sequence[Subject], processors: Sequence[str]) -> int:
    failed = 0
    for subject in chosen:
        here = trained(workshop, subject, "")
        released = hashlib.sha256((_released(workshop, subject)).read_bytes()).hexdigest()
        failed |= here[0] != released
        _tell(f"{subject.name} trained here again: {_compared(here[0], released)}")
        for processor in processors:
            there = trained(workshop, subject, processor)
            same = there == here
            failed |= subject.pinned and not same
            about = "" if subject.pinned else " (train.env pins no routines)"
            metrics = "" if there[1] == here[1] else ", other metrics"
            told = _compared(there[0], here[0])
            _tell(f"{subject.name} trained on {processor}: {told}{metrics}{about}")
    return failed


def _released(workshop: Workshop, subject: Subject) -> Path:
    place = Path(tempfile.mkdtemp(prefix="released-", dir=workshop.base)) / "tree"
    return tree_of(subject, place) / subject.config.artifact


def _compared(found: str, wanted: str) -> str:
    return "the same bytes" if found == wanted else "other bytes"


def _tell(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
