"""Tekton's own examples: where they lie, and which image stands for which."""

from __future__ import annotations

import json
import re
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
_IMAGE = re.compile(
    r"(?<![\w./-])(?:mirror\.gcr\.io|gcr\.io|ghcr\.io|cgr\.dev|mcr\.microsoft\.com)/[\w./:@-]+"
)
_SHORT = re.compile(r"(?m)(\bimage: *[\"']?)(?![\"'$]|stand-in)([\w./:@-]+)")


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


def mapped(text: str) -> str:
    """Every image replaced by one that stands for it here."""
    text = _IMAGE.sub(lambda match: _stand_in(match[0]), text)
    return _SHORT.sub(lambda match: match[1] + _stand_in(match[2]), text)


def _stand_in(name: str) -> str:
    last = re.split(r"[:@]", name.rpartition("/")[2])[0]
    entrypoint = {"bash": BASH, "git": GIT}.get(last, ())
    shells = ("ash",) if last == "bash" else BOTH
    _, image = images.full(entrypoint=entrypoint, shells=shells)
    return f"stand-in@{image.digest}"
