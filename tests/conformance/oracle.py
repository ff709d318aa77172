"""Tekton's own code as a judge: the program that `make oracle` builds."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

ORACLE = Path(__file__).parents[2] / ".cache" / "bin" / "oracle"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one document of a file: `error` is why it is not accepted."""

    file: str
    index: int
    kind: str
    name: str
    accepted: bool
    error: str


def ask(files: Iterable[tuple[str, str]]) -> list[Verdict]:
    """Judge (name, YAML) pairs, all in one process; a verdict for each document in them.

    Raises FileNotFoundError where the program was not built, CalledProcessError where it broke.
    """
    asked = "".join(json.dumps({"file": name, "text": text}) + "\n" for name, text in files)
    done = subprocess.run([ORACLE], input=asked, capture_output=True, text=True, check=True)
    return [Verdict(**json.loads(line)) for line in done.stdout.splitlines()]
