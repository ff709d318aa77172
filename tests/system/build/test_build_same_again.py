"""The same inputs give the same image: elsewhere, by another user, at another time, by another Python, on
another processor. Each build has caches of its own, empty at first."""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from mlops.adapters.layout import OciLayout
from mlops.build.compression import Compression
from mlops.build.strategy import PinnedBase
from tests.fakes.wheels import PROGRAM, wheel

ROOT = Path(__file__).resolve().parents[3]
ONCE = Path(__file__).with_name("once.py")
NEEDED = ("httpx", "packaging", "pydantic", "pyyaml", "zlib-ng", "zstandard")


class Builder:
    """Builds the same things from the same wheels, in surroundings that differ."""

    def __init__(self, place: Path, bases: Path, base: PinnedBase) -> None:
        self.place, self.bases, self.base = place, bases, base
        self.wheels = place / "wheels"
        self.wheels.mkdir()
        big = "".join(f"def f{n}(): return {{'a', 'b', {n}}}\n" for n in range(20000))
        lines = wheel(self.wheels, "tool", {"tool.py": "def main(): print('x')\n"})
        lines += wheel(
            self.wheels,
            "large",
            {
                "large/__init__.py": "NAMES = {'a', 'b', 'c'}\n",
                "large/code.py": big,
                "large/data.bin": "0123456789" * (1 << 20),
                "large/run": ("#!/bin/sh\n", PROGRAM),
                "large-1.0.data/scripts/large": "#!python\nprint('large')\n",
                "large-1.0.data/headers/large.h": "int x;\n",
            },
            scripts="[console_scripts]\nmore = large:main\n",
        )
        (place / "requirements.lock").write_text(lines)
        (place / "uv.toml").write_text(f'no-index = true\nfind-links = ["{self.wheels}"]\n')

    def build(
        self, place: Path, *before: str, python: str = sys.executable, **env: str
    ) -> dict[str, object]:
        place.mkdir(parents=True)
        place.chmod(0o777)
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        argv = [
            *(*before, python, "-B", str(ONCE), str(place / "work"), str(self.bases)),
            *(str(self.wheels), str(self.base.manifest), self.base.platform),
            str(self.place / "requirements.lock"),
        ]
        own = {
            "PYTHONPATH": str(ROOT),
            "UV_CONFIG_FILE": str(self.place / "uv.toml"),
            "UV_CACHE_DIR": str(place / "uv-cache"),
        }
        done = subprocess.run(
            argv, capture_output=True, text=True, check=False, env=kept | own | env, cwd=place
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def builder(
    foreign: tuple[OciLayout, PinnedBase], tmp_path_factory: pytest.TempPathFactory
) -> Builder:
    place = tmp_path_factory.mktemp("same")
    for directory in (place, *place.parents[:2], foreign[0].root):
        directory.chmod(0o755)  # another user builds from here too
    return Builder(place, foreign[0].root, foreign[1])


@pytest.fixture(scope="module")
def first(builder: Builder) -> dict[str, object]:
    return builder.build(builder.place / "first")


def pythons() -> dict[tuple[int, ...], Path]:
    """The Pythons of this machine that mlops runs on, by version."""
    homes = (Path.home() / ".pyenv/versions", Path("/opt/hostedtoolcache/Python"))
    paths = [path for home in homes for path in home.glob("*/**/bin/python3.[0-9]*")]
    paths += Path("/usr/bin").glob("python3.[0-9]*")
    found = {}
    for path in sorted(path for path in paths if re.fullmatch(r"python3\.\d+", path.name)):
        ask = [path, "-c", "import sys; print(*sys.version_info[:3])"]
        done = subprocess.run(ask, capture_output=True, text=True, check=False, env={})
        version = tuple(map(int, done.stdout.split()))
        if done.returncode == 0 and version >= (3, 11):
            found[version] = path
    return found


def virtual(place: Path, python: Path) -> str:
    """A virtual environment of a Python, with what building needs."""
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "venv", "-q", "--no-project", "-p", python, place], check=True)
    pins = [f"{name}=={metadata.version(name)}" for name in NEEDED]
    copied = ["--link-mode", "copy", "-p", str(place / "bin/python")]
    subprocess.run([uv, "pip", "install", "-q", *copied, *pins], check=True)
    shutil.copy2(uv, place / "bin/uv")
    return str(place / "bin/python")


def test_elsewhere_and_at_another_time(builder: Builder, first: dict[str, object]):
    place = (
        builder.place
        / "another place, with blanks and a name that is long enough for shebangs to break"
    )
    shell = ("sh", "-c", 'umask 077; exec "$@"', "sh", "faketime", "2031-02-03 04:05:06")
    more = {"TZ": "Pacific/Kiritimati", "LANG": "tr_TR.UTF-8", "LC_ALL": "C", "PYTHONHASHSEED": "7"}
    assert builder.build(place, *shell, **more) == first


def test_by_another_user(builder: Builder, first: dict[str, object], tmp_path: Path):
    if os.geteuid() == 0:
        before = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all")
    else:
        before = ("unshare", "--user", "--map-root-user")
    python = virtual(builder.place / "for-others", Path("/usr/bin/python3"))
    subprocess.run(["chmod", "-R", "a+rX", builder.place / "for-others"], check=True)
    home = builder.place / "home"
    home.mkdir()
    home.chmod(0o777)
    place = builder.place / "other-user"
    assert builder.build(place, *before, python=python, HOME=str(home)) == first | {
        "python": subprocess.run(
            [python, "-c", "import platform; print(platform.python_version(), end='')"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    }
    owner = (place / "work/registry/index.json").stat().st_uid
    assert owner == (65534 if os.geteuid() == 0 else os.geteuid())


def test_by_another_python(builder: Builder, first: dict[str, object], tmp_path: Path):
    """Of this machine: the base's own is the same."""
    others = {
        version: path for version, path in pythons().items() if version != sys.version_info[:3]
    }
    assert others, "there is no second Python of 3.11 or newer on this machine to build with"
    python = virtual(tmp_path / "venv", others[max(others)])
    made = builder.build(builder.place / "python", python=python)
    assert made["python"] != first["python"]
    assert made | {"python": first["python"]} == first


PACK = """
import hashlib, io, sys
from mlops.build.compression import Compression, Stream

data = bytearray()
for number in range(60000):
    data += hashlib.sha256(str(number).encode()).digest()[: number % 33] + b"text " * (number % 11)
for kind in Compression:
    sink = io.BytesIO()
    stream = Stream(sink, kind)
    stream.write(bytes(data))
    stream.finish()
    print(kind, hashlib.sha256(sink.getvalue()).hexdigest(), stream.diff_id)
"""
CPUS = {
    "x86_64": ("qemu-x86_64-static", ("Nehalem", "Haswell", "max")),
    "aarch64": ("qemu-aarch64-static", ("cortex-a53", "neoverse-n1", "max")),
}


def test_on_emulated_processors():
    """Compressors choose their routines by what the processor can do."""
    emulator, models = CPUS[platform.machine()]
    python = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    env = {"PYTHONPATH": os.pathsep.join(path for path in (str(ROOT), *sys.path) if path)}
    commands = [[python], *([emulator, "-cpu", model, python] for model in models)]
    answers = set()
    for command in commands:
        done = subprocess.run(
            [*command, "-B", "-c", PACK], capture_output=True, text=True, check=False, env=env
        )
        assert done.returncode == 0, done.stderr
        answers.add(done.stdout)
    assert len(answers) == 1
    assert len(answers.pop().splitlines()) == len(Compression)
