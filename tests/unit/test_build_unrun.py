"""The Python of a base that cannot run here: read from files that strangers wrote."""

import platform
import shutil
import sys
from pathlib import Path

import pytest

from mlops.build import unrun
from mlops.errors import BuildError

HERE = {"x86_64": "linux/amd64", "aarch64": "linux/arm64"}[platform.machine()]
OTHER = "linux/arm64" if HERE == "linux/amd64" else "linux/amd64"
VERSION = b"\0003.12.4\0"
GLIBC = b"GNU C Library (Debian GLIBC 2.36-9) stable release version 2.36.\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with a program of this machine as its Python; what is appended to it is its version."""
    for name in ("usr/bin", "usr/lib/x86_64-linux-gnu", "usr/local/bin"):
        (tmp_path / name).mkdir(parents=True)
    shutil.copy("/bin/true", tmp_path / "usr/bin/python3.12")
    with (tmp_path / "usr/bin/python3.12").open("ab") as file:
        file.write(b"\0003.40.1\0" + VERSION)
    (tmp_path / "usr/bin/python3").symlink_to("python3.12")
    (tmp_path / "usr/lib/x86_64-linux-gnu/libc.so.6").write_bytes(b"\x7fELF" + GLIBC)
    (tmp_path / "bin").symlink_to("usr/bin")
    return tmp_path


def found(root: Path, search: str = "/usr/local/bin:/bin", wanted: str = HERE):
    return unrun.found(root, search, wanted, "oci:x")


def test_path_version_and_libc(root: Path):
    path, version, libc = found(root)
    assert (str(path), version, libc) == ("/usr/bin/python3.12", "3.12.4", "glibc 2.36")


def test_only_other_processors_are_foreign():
    assert not unrun.foreign(HERE)
    assert unrun.foreign(OTHER)
    assert unrun.foreign("linux/riscv64")


def test_links_stay_inside(root: Path):
    (root / "usr/bin/python3").unlink()
    (root / "usr/bin/python3").symlink_to(sys.executable)
    with pytest.raises(BuildError, match="has no python3 on its path"):
        found(root)
    (root / "usr/bin/python3").unlink()
    (root / "usr/bin/python3").symlink_to("/../../../usr/bin/python3.12")
    assert str(found(root)[0]) == "/usr/bin/python3.12"


def test_a_circle_of_links_ends(root: Path):
    (root / "usr/bin/python3").unlink()
    (root / "usr/bin/python3").symlink_to("/bin/python3")
    with pytest.raises(BuildError, match="has no python3"):
        found(root)


def test_another_processor_than_the_image_says(root: Path):
    with pytest.raises(BuildError, match=f"is no program for {OTHER}"):
        found(root, wanted=OTHER)


def test_what_is_no_program(root: Path):
    (root / "usr/bin/python3.12").write_text("#!/bin/sh\n")
    with pytest.raises(BuildError, match="is no program for"):
        found(root)


def test_other_pythons_are_refused(root: Path):
    for name in ("pypy3.10", "python3.13t"):
        shutil.copy(root / "usr/bin/python3.12", root / "usr/bin" / name)
        (root / "usr/bin/python3").unlink()
        (root / "usr/bin/python3").symlink_to(name)
        with pytest.raises(BuildError, match="is no CPython with a global lock"):
            found(root)


def test_without_version_or_libc(root: Path):
    (root / "usr/lib/x86_64-linux-gnu/libc.so.6").write_bytes(b"\x7fELF")
    with pytest.raises(BuildError, match="has no glibc that tells its version"):
        found(root)
    (root / "lib").mkdir()
    (root / "lib/ld-musl-x86_64.so.1").touch()
    assert found(root)[2] == "musl"
    shutil.copy("/bin/true", root / "usr/bin/python3.12")
    with pytest.raises(BuildError, match="does not tell its version"):
        found(root)
