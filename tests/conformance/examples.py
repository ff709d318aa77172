"""Tekton's own examples: where they lie, and which image stands for which."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from tests.conformance import images

TABLE = Path(__file__).with_name("examples.yaml")
ORACLE = Path(__file__).parent / "oracle"
MODULE = "github.com/tektoncd/pipeline"
# the bash image's: what is no option is the command
BASH = ("sh", "-c", 'case "$1" in -* | "") exec bash "$@" ;; *) exec "$@" ;; esac', "sh")
GIT = ("git",)
BOTH = ("ash", "sh")  # as in busybox and Alpine: they understand more than dash does


@dataclass(frozen=True, slots=True)
class Expected:
    """How an example ends here. `refused` is the path that the refusal names; `why` it is not Succeeded."""

    ends: str = "Succeeded"
    reason: str = ""
    refused: str = ""
    why: str = ""


def table() -> dict[str, Expected]:
    """The examples by name, as `examples.yaml` has them."""
    rows = yaml.safe_load(TABLE.read_text())
    return {n: Expected() if row == "Succeeded" else Expected(**row) for n, row in rows.items()}


@cache
def directory() -> Path:
    """The examples of v1, in the module that `make oracle` downloads. Raises CalledProcessError where it did not."""
    told = subprocess.run(
        ["go", "mod", "download", "-json", MODULE],
        cwd=ORACLE,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return Path(json.loads(told)["Dir"]) / "examples" / "v1"


def names() -> list[str]:
    """Paths below `directory()`, in order."""
    root = directory()
    return sorted(str(path.relative_to(root)) for path in root.rglob("*.yaml"))


@cache
def mapping() -> dict[str, str]:
    """Which image stands for which: for most of them one that has all that the examples run."""
    return {
        "*": images.full((), BOTH),
        "mirror.gcr.io/bash": images.full(BASH, ("ash",)),
        "mirror.gcr.io/alpine/git": images.full(GIT, BOTH),
    }
