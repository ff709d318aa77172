"""The house: a fresh clone sets itself up, what is packaged is complete, what is pinned is pinned."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
NEEDED = (
    *("sh", "env", "dirname", "awk", "cksum", "cat", "id", "uname", "grep", "git", "rm", "mkdir"),
    *("cut", "readlink", "unshare", "ls", "sudo"),
)


SERVERS = (  # what tests alone need
    *("faketime", "docker-registry", "openssl", "sshd"),
    *("podman", "runc", "docker", "dockerd", "skopeo", "umoci", "containerd"),
    *("mmdebstrap", "qemu-aarch64-static", "zstd"),
)


def call(directory: Path, *argv: str, code: int = 0, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        argv, cwd=directory, env=env, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == code, f"{argv} exited {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A clone as a newcomer gets it (with what is not committed yet laid over it), set up."""
    path = tmp_path_factory.mktemp("house") / "a clone"  # with a space
    call(ROOT, "git", "clone", "-q", str(ROOT), str(path))
    changed = call(ROOT, "git", "ls-files", "-z", "-m", "-o", "--exclude-standard").split("\0")
    for name in filter(None, changed):
        if (ROOT / name).is_file():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, path / name)
    return path, call(path, "scripts/bootstrap.sh")


@pytest.mark.timeout(900)
def test_a_fresh_clone_sets_itself_up(clone):
    path, said = clone
    assert "installing the locked packages" in said
    assert call(path, ".venv/bin/mlops", "--version").startswith("mlops ")
    assert str(path) in call(path, ".venv/bin/python", "-c", "import mlops; print(mlops.__file__)")


@pytest.mark.timeout(900)
def test_a_second_time_does_nothing(clone):
    path, _ = clone
    before = (path / ".venv" / ".ready").stat().st_mtime_ns
    assert call(path, "scripts/bootstrap.sh") == ""
    assert (path / ".venv" / ".ready").stat().st_mtime_ns == before


@pytest.mark.timeout(900)
def test_bytecode_is_there_and_used(clone):
    path, _ = clone
    said = call(path, ".venv/bin/python", "-v", "-c", "import typer, mlops.errors")
    for module in ("typer/__init__", "mlops/errors"):
        assert re.search(rf"__pycache__/{Path(module).name}\S*\.pyc matches .*{module}\.py", said)


@pytest.mark.timeout(900)
def test_a_damaged_environment_is_made_anew(clone):
    path, _ = clone
    (path / ".venv" / "bin" / "python").unlink()
    said = call(path, "scripts/bootstrap.sh")
    assert "making .venv" in said
    assert call(path, ".venv/bin/mlops", "--version").startswith("mlops ")


def limited_path(directory: Path, *names: str) -> dict[str, str]:
    """An environment whose PATH has these programs alone."""
    directory.mkdir()
    for name in names:
        found = shutil.which(name)
        if found:
            (directory / name).symlink_to(found)
    return {**os.environ, "PATH": str(directory)}


def test_what_apt_may_not_install_is_named(tmp_path):
    env = limited_path(tmp_path / "bin", *NEEDED)
    said = call(ROOT, "scripts/bootstrap.sh", code=3, env=env)
    assert "missing: bubblewrap" in said
    (tmp_path / "bin" / "apt-get").symlink_to("/bin/false")
    (tmp_path / "bin" / "id").unlink()
    (tmp_path / "bin" / "id").write_text("#!/bin/sh\necho 1000\n")
    (tmp_path / "bin" / "id").chmod(0o755)
    (tmp_path / "bin" / "sudo").unlink(missing_ok=True)
    said = call(ROOT, "scripts/bootstrap.sh", code=3, env=env)
    assert "sudo apt-get install --no-install-recommends bubblewrap" in said


def test_an_old_python_is_refused_by_name(tmp_path):
    env = limited_path(tmp_path / "bin", *NEEDED, "bwrap")
    for name in ("python3", "python3.11", "python3.12", "python3.13", "python3.14"):
        (tmp_path / "bin" / name).symlink_to("/bin/false")
    scratch = tmp_path / "clone"
    (scratch / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "bootstrap.sh", scratch / "scripts")
    env.pop("PYTHON", None)
    said = call(scratch, "scripts/bootstrap.sh", code=3, env=env)
    assert "Python 3.11 or newer is not here" in said


def test_the_tests_fail_without_kustomize_and_say_so(clone, tmp_path):
    path, _ = clone
    env = limited_path(tmp_path / "bin", *NEEDED, "bwrap", "python3", *SERVERS)
    for name in ("kubectl", "kustomize"):  # too old ones
        (tmp_path / "bin" / name).write_text("#!/bin/sh\necho v4.0.0\n")
        (tmp_path / "bin" / name).chmod(0o755)
    assert call(path, "scripts/bootstrap.sh", "demo", env=env) == ""
    said = call(path, "scripts/bootstrap.sh", "test", code=3, env=env)
    assert "neither kustomize 5 nor kubectl 1.27" in said


# --- what is committed -------------------------------------------------------------------------------


def test_every_locked_package_has_hashes_and_no_index_is_named():
    text = (ROOT / "requirements-dev.txt").read_text()
    blocks = re.split(r"\n(?=\S)", text.strip())
    packages = [block for block in blocks if not block.startswith("#")]
    assert len(packages) > 50
    for block in packages:
        assert re.match(r"[A-Za-z0-9._-]+==\S+", block), block
        assert "--hash=sha256:" in block, block
    assert "://" not in text
    assert "--index" not in text


def uses(workflow: Path) -> list[str]:
    return re.findall(r"^\s*-?\s*uses:\s*(.+)$", workflow.read_text(), re.MULTILINE)


WORKFLOWS = [
    *sorted((ROOT / ".github" / "workflows").glob("*.yml")),
    ROOT / "mlops/_data/workflow.yml",
]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_commit_and_rights_are_few(workflow):
    document = yaml.safe_load(workflow.read_text())
    assert document["permissions"] == {"contents": "read"}
    for job in document["jobs"].values():
        assert "timeout-minutes" in job
    found = uses(workflow)
    assert found
    for line in found:
        assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


def test_the_wheel_holds_its_data(clone, tmp_path):
    path, _ = clone
    call(path, ".venv/bin/python", "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path))
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in (
        "mlops/_data/environments/base/spam.yaml",
        "mlops/_data/environments/prod/environment.yaml",
        "mlops/_data/tekton/pipeline.yaml",
        "mlops/_data/workflow.yml",
        "mlops/demo/project/dvc.yaml",
        "mlops/demo/project/data/labels.csv",
        "mlops/demo/project/src/train.py",
        "mlops/py.typed",
    ):
        assert name in names, name
    assert not [name for name in names if "__pycache__" in name or name.startswith("tests")]
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_readme_names_the_two_commands():
    makefile = (ROOT / "Makefile").read_text()
    readme = (ROOT / "README.md").read_text()
    for target in ("demo", "test"):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
        assert f"make {target}" in readme
