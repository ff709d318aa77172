"""`mlops lock` as a user types it: check, upgrade, dry runs, faults, and a base that is gone."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from mlops.cli import answers
from tests.fakes.wheels import index, wheel


class Project:
    """The small project with one package from an index on loopback."""

    def __init__(self, project: Any, base: Path) -> None:
        self.spam, self.wheels = project, base / "wheels"
        self.wheels.mkdir()
        self.env = {"UV_CACHE_DIR": str(base / "uv"), "UV_HTTP_RETRIES": "0", "UV_NO_CONFIG": "1"}
        wheel(self.wheels, "inner", {"inner.py": "x = 1\n"})
        project.write("requirements.txt", "inner\n")

    def lock(self, *argv: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = self.spam.mlops("lock", *argv, code=code, **self.env)
        assert "Traceback" not in done.stderr
        return done

    def json(self, *argv: str, code: int = 0) -> dict[str, Any]:
        rows = json.loads(self.lock(*argv, "--output", "json", code=code).stdout)
        jsonschema.Draft202012Validator(answers.schema("lock")).validate(rows)
        (row,) = rows
        assert set(row) <= set(answers.schema("lock")["items"]["properties"])
        return row

    def files(self) -> dict[str, bytes]:
        found = (self.spam.path / name for name in ("mlops.lock", "requirements.lock"))
        return {path.name: path.read_bytes() for path in found if path.is_file()}


@pytest.fixture
def mine(project, tmp_path: Path) -> Project:
    return Project(project, tmp_path)


def test_check_upgrade_and_dry_run(mine: Project):
    assert mine.json("--check", code=1)["stale"] == [
        "requirements.lock: requirements.txt changed since it was locked"
    ]
    with index(mine.wheels, yanked={"inner-3.0-py3-none-any.whl": "eats data"}) as (place, _):
        mine.env["UV_DEFAULT_INDEX"] = f"http://{place}"
        assert mine.lock().stdout.endswith("git add mlops.lock requirements.lock\n")
        assert mine.lock("--check").stdout == "the locks are fresh\n"
        assert mine.lock().stdout == "the locks stand as they are\n"
        wheel(mine.wheels, "inner", {"inner.py": "x = 2\n"}, version="2.0")

        before = mine.files()
        dry = mine.json("--upgrade", "inner", "--dry-run")
        assert dry["changes"] == [
            {
                "file": "requirements.lock",
                "kind": "package",
                "name": "inner",
                "from": "1.0",
                "to": "2.0",
                "note": None,
            }
        ]
        shown = mine.lock("--upgrade", "inner", "--dry-run")
        assert mine.files() == before
        assert shown.stdout == dry["diff"]
        assert "requirements.lock: inner 1.0 → 2.0" in shown.stderr
        assert "nothing was written: --dry-run" in shown.stderr

        told = mine.lock("--upgrade", "inner").stdout
        assert told.splitlines()[0] == "requirements.lock: inner 1.0 → 2.0"
        after = mine.files()
        for name, content in before.items():
            (mine.spam.path / name).write_bytes(content)
        subprocess.run(
            ["git", "apply", "-"], cwd=mine.spam.path, input=shown.stdout, text=True, check=True
        )
        assert mine.files() == after

        wheel(mine.wheels, "inner", {"inner.py": "x = 3\n"}, version="3.0")
        mine.spam.write("requirements.txt", "inner==3.0\n")
        withdrawn = "requirements.lock: inner 3.0 was withdrawn from its index: eats data"
        assert f"warning: {withdrawn}" in mine.lock("--dry-run").stderr
        assert mine.json()["withdrawn"] == [withdrawn]

    # the index is away
    before = mine.files()
    mine.spam.write("requirements.txt", "inner\nmore\n")
    assert "the package index cannot be asked for http://127.0.0.1" in mine.lock(code=3).stderr
    assert mine.files() == before


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["inner"], "nothing is to be upgraded. mlops lock --upgrade inner"),
        (["--check", "--upgrade"], "mlops lock --upgrade --dry-run"),
        (["--upgrade", "nosuch"], "nosuch is neither a locked package nor a base"),
    ],
)
def test_what_cannot_be_meant(project, argv: list[str], says: str):
    assert says in project.mlops("lock", *argv, code=2).stderr


def test_a_conda_environment_is_refused_with_advice(project):
    text = (project.path / "mlops.yaml").read_text()
    for name in ("environment.yml", "nothing.txt"):
        changed = text.replace("base: host", f"base: host, requirements: {name}")
        (project.path / "mlops.yaml").write_text(changed)
        done = project.mlops("lock", code=2)
        assert "Traceback" not in done.stderr
        assert name in done.stderr
    project.write("environment.yml", "dependencies: [numpy]\n")
    (project.path / "mlops.yaml").write_text(text)
    assert "pip list --format=freeze" in project.mlops("lock", code=2).stderr


# -- a base that the store has lost


def test_a_base_comes_back_by_its_digest_whatever_its_tag_names_now(project, tmp_path: Path):
    """A layout, exported from the project's own store, whose tag moves after it was locked."""
    store = project.path / ".mlops" / "registry"
    locked = (project.path / "mlops.lock").read_text().split("name: host")[1]
    first = locked.split("manifest: ")[1].split()[0]
    layout = _layout(store, tmp_path / "layout", first)
    text = (project.path / "mlops.yaml").read_text()
    (project.path / "mlops.yaml").write_text(text.replace("base: host", f"base: 'oci:{layout}:v1'"))
    project.mlops("lock")
    assert first in (project.path / "mlops.lock").read_text()
    before = (project.path / "mlops.lock").read_bytes()

    second = _retag(layout)
    assert second != first
    shutil.rmtree(store)
    project.mlops("lock")
    assert (project.path / "mlops.lock").read_bytes() == before
    assert (store / "blobs" / "sha256" / first.removeprefix("sha256:")).is_file()

    told = project.mlops("lock", "--upgrade", "base").stdout
    assert f"{first.removeprefix('sha256:')[:12]} → {second.removeprefix('sha256:')[:12]}" in told
    assert second in (project.path / "mlops.lock").read_text()


def _layout(store: Path, layout: Path, manifest: str) -> Path:
    """A layout with that image as `v1`."""
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    document = json.loads(
        (store / "blobs" / "sha256" / manifest.removeprefix("sha256:")).read_bytes()
    )
    wanted = [
        manifest,
        document["config"]["digest"],
        *(each["digest"] for each in document["layers"]),
    ]
    for digest in wanted:
        name = digest.removeprefix("sha256:")
        shutil.copy(store / "blobs" / "sha256" / name, blobs / name)
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    _point(layout, manifest)
    return layout


def _point(layout: Path, manifest: str, *kept: str) -> None:
    def entry(digest: str) -> dict[str, Any]:
        path = layout / "blobs" / "sha256" / digest.removeprefix("sha256:")
        kind = "application/vnd.oci.image.manifest.v1+json"
        return {"mediaType": kind, "digest": digest, "size": path.stat().st_size}

    tagged = entry(manifest) | {"annotations": {"org.opencontainers.image.ref.name": "v1"}}
    entries = [tagged, *map(entry, kept)]
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))


def _retag(layout: Path) -> str:
    """The same image with one annotation more, which `v1` names from now on."""
    index = json.loads((layout / "index.json").read_bytes())
    first = index["manifests"][0]["digest"]
    blobs = layout / "blobs" / "sha256"
    document = json.loads((blobs / first.removeprefix("sha256:")).read_bytes())
    content = json.dumps({**document, "annotations": {"moved": "yes"}}).encode()
    name = hashlib.sha256(content).hexdigest()
    (blobs / name).write_bytes(content)
    _point(layout, f"sha256:{name}", first)
    return f"sha256:{name}"
