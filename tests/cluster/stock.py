"""What tests on the cluster need of the world, brought while there is a way out of the machine.

The cluster and its tests have none: the tool image of this checkout is built, and the packages of the
demo's project and the definitions of Argo CD and Flux are fetched, before.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from mlops.engine.lock import SERVER
from scripts import debian_base
from tests.cluster import reconcilers
from tests.cluster.build import say

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / ".cache" / "cluster-stock"
STORE = PLACE / "tool"  # an OCI layout with the tool image
WHEEL = PLACE / "wheel"  # a directory with the wheel of this checkout alone
PACKAGES = PLACE / "packages"  # wheels of what the demo's project requires
REQUIREMENTS = ROOT / "mlops" / "demo" / "project" / "requirements.txt"


def fill() -> None:
    """Make what is lacking or not of this checkout. Raises CalledProcessError where a program fails."""
    PLACE.mkdir(parents=True, exist_ok=True)
    _packages()
    reconcilers.definitions()
    shutil.rmtree(WHEEL, ignore_errors=True)
    wheel = distribution(ROOT, WHEEL)
    named = hashlib.sha256(wheel.read_bytes()).hexdigest()
    mark = PLACE / "tool.wheel"
    if mark.is_file() and mark.read_text() == named and STORE.is_dir():
        return
    say("building the tool image of this checkout")
    mark.unlink(missing_ok=True)
    base = f"oci:{debian_base.layout('git', 'openssh-client')}"
    script = ROOT / "scripts" / "tool_image.py"
    _run([sys.executable, script, "build", wheel, "--store", STORE, "--base", base])
    mark.write_text(named)


def distribution(checkout: Path, into: Path) -> Path:
    """The wheel of a checkout, built without a network."""
    uv = Path(sys.executable).with_name("uv")
    argv = [uv, "build", "--quiet", "--no-build-isolation", "--python", sys.executable, "--wheel"]
    _run([*argv, "--out-dir", into, checkout])
    (made,) = into.glob("*.whl")
    return made


def _packages() -> None:
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + " ".join(SERVER).encode()).hexdigest()
    mark = PLACE / "packages.requirements"
    if mark.is_file() and mark.read_text() == wanted:
        return
    say("fetching the packages of the demo's project")
    uv = Path(sys.executable).with_name("uv")
    argv = [uv, "run", "--quiet", "--isolated", "--no-project", "--python", sys.executable]
    argv += ["--with", "pip", "--", "python", "-m", "pip", "download", "--quiet"]
    argv += ["--only-binary", ":all:", "--dest", PACKAGES, "--requirement", REQUIREMENTS, *SERVER]
    _run(argv)
    mark.write_text(wanted)


def _run(argv: Sequence[str | Path]) -> None:
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    subprocess.run(list(map(str, argv)), cwd=ROOT, env=environment, check=True)
