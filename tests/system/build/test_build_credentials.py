"""Passwords of package indexes: they open the index, and stand in nothing that is made."""

import sys
from pathlib import Path

import pytest

from mlops.errors import BuildError
from tests.fakes.secrets import places
from tests.fakes.wheels import index, sdist, wheel
from tests.system.build.conftest import Bench

SECRET = "hunter2-Zw9x"
BACKEND = """
import base64, hashlib, os, zipfile

def build_wheel(directory, settings=None, metadata=None):
    seen = " ".join(f"{k}={v}" for k, v in sorted(os.environ.items()))
    assert "hunter2" not in seen, "the build sees the password"
    info = "from_source-1.0.dist-info"
    files = {
        "from_source.py": "import sys; built_for = %r" % (os.uname().machine,),
        f"{info}/METADATA": "Metadata-Version: 2.1\\nName: from-source\\nVersion: 1.0\\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    name = "from_source-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(directory, name), "w") as archive:
        for path, text in {**files, f"{info}/RECORD": "".join(f"{p},,\\n" for p in files)}.items():
            archive.writestr(zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0)), text)
    return name
"""
SOURCE = {
    "backend.py": BACKEND,
    "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    '[project]\nname = "from-source"\nversion = "1.0"\n',
}


def give(way: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Tell uv the password in one of its ways; the settings file that goes with it."""
    plain, known = f"http://{place}", f"http://bot:{SECRET}@{place}"
    outside = tmp_path / "outside"  # what is not made by a build
    outside.mkdir()
    if way == "url in the environment":
        monkeypatch.setenv("UV_DEFAULT_INDEX", known)
        return ""
    if way == "extra url":
        monkeypatch.setenv("UV_EXTRA_INDEX_URL", known)
        return "no-index = false\n"
    if way == "url in a file":
        return f'[[index]]\nurl = "{known}"\ndefault = true\n'
    if way == "variables":
        monkeypatch.setenv("UV_INDEX_OURS_USERNAME", "bot")
        monkeypatch.setenv("UV_INDEX_OURS_PASSWORD", SECRET)
        return f'[[index]]\nname = "ours"\nurl = "{plain}"\ndefault = true\n'
    if way == "netrc":
        (outside / "netrc").write_text(f"machine 127.0.0.1 login bot password {SECRET}\n")
        monkeypatch.setenv("NETRC", str(outside / "netrc"))
        return f'[[index]]\nurl = "{plain}"\ndefault = true\n'
    program = outside / "keyring"
    program.write_text(f'#!/bin/sh\n[ "$3" = bot ] || [ "$4" = bot ] && echo {SECRET}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{outside}:/usr/bin:/bin")
    monkeypatch.setenv("UV_KEYRING_PROVIDER", "subprocess")
    return f'[[index]]\nurl = "http://bot@{place}"\ndefault = true\n'


@pytest.mark.parametrize(
    "way",
    ["url in the environment", "extra url", "url in a file", "variables", "netrc", "keyring"],
)
def test_it_opens_the_index_and_is_nowhere(
    bench: Bench, settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
):
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    lines = wheel(
        hidden, "private", {"private.py": "x = 1\n"}, scripts="[console_scripts]\np = a:b\n"
    )
    with index(hidden, f"bot:{SECRET}") as (place, _):
        settings(give(way, place, tmp_path, monkeypatch))
        built = bench.build(lines)
    assert bench.python(built, "import private; print(private.x)") == "1\n"
    assert places(bench.store.root, SECRET) == []
    assert places(bench.runner.cache, SECRET) == []


@pytest.mark.parametrize("login", ["", "bot:wrong-Zw9x@"])
def test_a_refusal_says_so_without_it(bench: Bench, settings, tmp_path: Path, login: str):
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    lines = wheel(hidden, "private", {"private.py": ""})
    with index(hidden, f"bot:{SECRET}") as (place, refused):
        settings(f'[[index]]\nurl = "http://{login}{place}"\ndefault = true\n')
        with pytest.raises(BuildError) as caught:
            bench.build(lines)
        assert refused
    assert "the package index refuses" in caught.value.message
    assert "netrc" in caught.value.hint
    assert "Zw9x" not in str(caught.value)


def test_a_build_from_source_hears_of_no_password(
    bench: Bench, settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Its code is a stranger's, and it has the network."""
    lines = sdist(bench.wheels, "from-source", SOURCE)
    with index(bench.wheels) as (place, _):
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://bot:{SECRET}@{place}")
        monkeypatch.setenv("UV_INDEX_OTHER_PASSWORD", SECRET)
        settings("")
        with pytest.raises(BuildError, match=r"there is no wheel of from-source 1\.0 for linux/"):
            bench.build(lines)
        built = bench.build(lines, allow_builds=("From_Source",))
        again = bench.build(lines, allow_builds=("From_Source",))
    machine = "x86_64" if bench.base.platform == "linux/amd64" else "aarch64"
    ask = "import from_source; print(from_source.built_for, sys.prefix)".replace(
        "import", "import sys,", 1
    )
    assert bench.python(built, ask) == f"{machine} /opt/venv\n"
    assert again == built
    assert places(bench.store.root, SECRET) == []


NEEDS_C = {
    "setup.py": "",
    "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    '[project]\nname = "needs-c"\nversion = "1.0"\n',
    "backend.py": """
import subprocess, sys

def build_wheel(directory, settings=None, metadata=None):
    try:
        subprocess.run(["gcc", "-c", "x.c"], check=True)
    except FileNotFoundError:
        sys.exit("error: command 'gcc' failed: No such file or directory")
""",
}


def test_a_base_without_a_compiler_says_so(bench: Bench):
    lines = sdist(bench.wheels, "needs-c", NEEDS_C)
    with index(bench.wheels) as (place, _), pytest.MonkeyPatch.context() as patch:
        patch.setenv("UV_DEFAULT_INDEX", f"http://{place}")
        with pytest.raises(BuildError) as caught:
            bench.build(lines, allow_builds=("needs-c",))
    assert "needs-c==1.0 cannot be built from source: the base has no gcc" in caught.value.message
    assert "Name a base with a compiler" in caught.value.hint
    assert sys.executable not in str(caught.value)
