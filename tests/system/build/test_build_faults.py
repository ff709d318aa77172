"""A build that dies or finds no room leaves the store right, and the next one goes on."""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mlops.adapters.layout import OciLayout
from mlops.build.strategy import PinnedBase
from tests.fakes.wheels import wheel

ROOT = Path(__file__).resolve().parents[3]
ONCE = Path(__file__).with_name("once.py")
KILLING = ROOT / "tests/e2e/killing"


class Builder:
    """Builds the same things at a place, as often as asked."""

    def __init__(self, place: Path, bases: Path, base: PinnedBase) -> None:
        self.place, self.bases, self.base = place, bases, base
        wheels = place / "wheels"
        wheels.mkdir()
        noise = "".join(hashlib.sha256(b"%d" % n).hexdigest() for n in range(10 << 14))
        body = {"large/__init__.py": "x = 1\n", "large/data.bin": noise}
        lines = wheel(wheels, "large", body) + wheel(wheels, "small", {"small.py": "x = 1\n"})
        (place / "requirements.lock").write_text(lines)
        (place / "uv.toml").write_text(f'no-index = true\nfind-links = ["{wheels}"]\n')

    def argv(self, where: Path) -> list[str]:
        return [
            *(sys.executable, "-B", str(ONCE), str(where), str(self.bases)),
            *(str(self.place / "wheels"), str(self.base.manifest), self.base.platform),
            str(self.place / "requirements.lock"),
        ]

    def env(self, **more: str) -> dict[str, str]:
        own = {
            "PYTHONPATH": str(ROOT),
            "UV_CONFIG_FILE": str(self.place / "uv.toml"),
            "UV_CACHE_DIR": str(self.place / "uv-cache"),
        }
        return os.environ | own | more

    def build(self, where: Path, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(where), env=self.env(**more), capture_output=True, text=True, check=False
        )


@pytest.fixture(scope="module")
def builder(
    foreign: tuple[OciLayout, PinnedBase], tmp_path_factory: pytest.TempPathFactory
) -> Builder:
    return Builder(tmp_path_factory.mktemp("faults"), foreign[0].root, foreign[1])


@pytest.fixture(scope="module")
def traced(builder: Builder) -> tuple[list[str], dict[str, object]]:
    """Every program that a build starts and every rename, in order; and what it makes."""
    trace = builder.place / "trace"
    more = {"PYTHONPATH": f"{KILLING}:{ROOT}", "KILLING_TRACE": str(trace)}
    done = builder.build(builder.place / "traced", **more)
    assert done.returncode == 0, done.stderr
    lines = trace.read_text().splitlines()
    # the role of once.py: its first two arguments, without their paths
    return [line for line in lines if line.startswith("P P | ")], json.loads(done.stdout)


def check(store: Path) -> None:
    """Every blob has the bytes that its name says, and what index.json names is there, layers too."""
    for blob in (store / "blobs/sha256").glob("*"):
        assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name
    for entry in json.loads((store / "index.json").read_text())["manifests"]:
        blobs = store / "blobs/sha256"
        document = json.loads((blobs / entry["digest"].removeprefix("sha256:")).read_bytes())
        for part in (document["config"], *document["layers"]):
            assert (blobs / part["digest"].removeprefix("sha256:")).stat().st_size == part["size"]


def moments(lines: list[str]) -> list[str]:
    """Two moments of each kind: the first and the last of those that look alike."""
    kinds: dict[str, list[str]] = {}
    for line in lines:
        kinds.setdefault(re.sub(r"#\d+$", "", line), []).append(line)
    found = {line for alike in kinds.values() for line in (alike[0], alike[-1])}
    return [line for line in lines if line in found]


@pytest.mark.timeout(1200)
def test_killed_at_every_kind_of_moment(
    builder: Builder, traced: tuple[list[str], dict[str, object]]
):
    lines, expected = traced
    assert len(expected["custody"]) == 2  # tags of one list
    found = moments(lines)
    told = "\n".join(found)
    assert "start uv --offline pip install" in told
    assert "rename H" in told
    assert "rename index.json" in told
    assert 5 <= len(found) <= 40, told
    for number, moment in enumerate(found):
        where = builder.place / f"killed-{number}"
        trace = builder.place / f"trace-{number}"
        more = {"KILLING_TRACE": str(trace), "KILLING_AT": moment}
        died = builder.build(where, PYTHONPATH=f"{KILLING}:{ROOT}", **more)
        assert died.returncode == -9, f"{moment}\n{died.stdout}\n{died.stderr}"
        if (where / "registry/index.json").exists():
            check(where / "registry")
        again = builder.build(where)
        assert again.returncode == 0, f"{moment}\n{again.stderr}"
        assert json.loads(again.stdout) == expected, moment
        check(where / "registry")
        assert list((where / "registry/tmp").iterdir()) == [], moment


FULL = """
set -u
mkdir -p "$WHERE/registry"
mount -t tmpfs -o size="$SIZE" tmpfs "$WHERE/registry"
"$@" >"$WHERE/out1" 2>"$WHERE/err1" && echo "it was not full" && exit 9
cp -r "$WHERE/registry" "$WHERE/left"
mount -o remount,size=2g "$WHERE/registry"
"$@" >"$WHERE/out2" 2>"$WHERE/err2" || { cat "$WHERE/err2"; exit 8; }
cp -r "$WHERE/registry" "$WHERE/right"
"""


@pytest.mark.parametrize("room", [1, 8, 12])
def test_a_full_disk(
    builder: Builder, traced: tuple[list[str], dict[str, object]], tmp_path: Path, room: int
):
    """`room` in MiB beside the base: too little for a file, for the wheels, for their layers."""
    where = tmp_path / "full"
    where.mkdir()
    base = sum(blob.stat().st_size for blob in (builder.bases / "blobs/sha256").glob("*"))
    env = builder.env(WHERE=str(where), SIZE=str(base + (room << 20)))
    shell = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", FULL, "sh"]
    argv = [*shell, *builder.argv(where)]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    said = (where / "err1").read_text().splitlines()[-1]
    assert re.search(r"mlops\.errors\.(RegistryError|BuildError): ", said), said
    assert "No space left on device" in said or "no room" in said
    assert "ake room" in said
    check(where / "left")
    assert json.loads((where / "out2").read_text()) == traced[1]
    check(where / "right")
    assert list((where / "right/tmp").iterdir()) == []
