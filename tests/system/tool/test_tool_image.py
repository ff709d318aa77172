"""The tool image of a wheel: the same each time, and of use to any user."""

import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

import mlops
from mlops.adapters.layout import OciLayout
from mlops.build import image
from mlops.build.layers import LayerKind
from tests.system.tool.conftest import Built, tool_image

Container = Callable[..., subprocess.CompletedProcess[str]]


def test_two_builds_of_one_wheel_give_one_digest(
    built: Built, wheel: Path, base: str, tmp_path: Path
):
    moved = tmp_path / "elsewhere" / wheel.name
    moved.parent.mkdir()
    moved.write_bytes(wheel.read_bytes())
    argv = ("build", moved, "--store", tmp_path / "store", "--base", base)
    out = tool_image(*argv, MLOPS_CACHE=str(tmp_path / "cache"), TZ="Asia/Tokyo").stdout
    assert out.strip() == str(built.digest)


def test_the_wheel_is_one_layer_above_what_it_needs(built: Built):
    store = OciLayout(built.store)
    found = image.load(store, built.digest)
    kinds = [layer.kind for layer in found.layers]
    assert kinds[0] == LayerKind.BASE
    assert set(kinds[1:-1]) == {LayerKind.DEPENDENCIES}
    assert kinds[-1] == LayerKind.CODE
    with tarfile.open(store.blob_path(found.layers[-1].digest)) as tar:
        names = tar.getnames()
    site = "opt/venv/lib/python3.11/site-packages"
    assert f"{site}/mlops/cli/app.py" in names
    assert f"{site}/mlops/_data/tekton/pipeline.yaml" in names
    assert f"{site}/mlops/_data/tool-image.yaml" not in names
    assert found.user == "65532:65532"
    assert found.label("org.opencontainers.image.version") == mlops.__version__


@pytest.mark.parametrize("user", ["12345:0", "12345:23456"])
def test_any_user_runs_it_without_a_home_on_a_read_only_root(container: Container, user: str):
    script = """
        mlops --version; git --version; dvc --version; uv --version; command -v ssh; id -u
        if touch /opt/x 2>/dev/null; then exit 9; fi
        cd /tmp; git init -q p; cd p; echo print > train.py
        unset HOME
        mlops init --yes >/dev/null
        sed -i 's/^    train:/    serve: {command: [cat]}\\n    train:/' mlops.yaml
        git add .; git -c user.name=a -c user.email=a@b commit -qm a
        mlops lock >/dev/null
        mlops config check
        HOME=/tmp dvc init -q
        HOME=/tmp dvc status
    """
    done = container(script, "--network=none", user=user)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"mlops {mlops.__version__}"
    assert lines[1].startswith("git version ")
    assert lines[3].startswith("uv ")
    assert lines[4] == "/usr/bin/ssh"
    assert lines[5] == "12345"


def test_its_own_user_has_a_name_as_ssh_wants(container: Container):
    done = container("ssh -V; id -un; echo $HOME", "--network=none", user="65532:65532")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.startswith("OpenSSH_")
    assert done.stdout.splitlines() == ["nonroot", "/tmp"]
