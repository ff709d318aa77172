"""kubectl of the cluster's own version, as its administrator."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from typing import Any

import yaml

from tests.cluster import building
from tests.cluster.layout import KUBECONFIG


def run(*arguments: str, text: str = "") -> str:
    """What kubectl prints. Raises RuntimeError with what it complains about."""
    program = str(building.binaries() / "kubectl")
    found = subprocess.run(
        [program, f"--kubeconfig={KUBECONFIG}", *arguments],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode:
        raise RuntimeError(f"kubectl {' '.join(arguments)}: {found.stderr.strip()}")
    return found.stdout


def apply(documents: Iterable[Any]) -> None:
    """Apply documents server-side."""
    text = yaml.safe_dump_all(list(documents), sort_keys=False)
    run("apply", "--server-side", "--force-conflicts", "-f", "-", text=text)


def get(*arguments: str) -> Any:
    """Objects as JSON."""
    return json.loads(run("get", *arguments, "-o", "json"))
