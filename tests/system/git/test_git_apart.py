"""A GitOps repository of its own, reached by ssh and by http, and what mlops.yaml may not name."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from mlops.domain.release import record_path
from mlops.manifests import kustomization
from tests.fakes.estate import digest, overlays, record
from tests.system.git.servers import http, sshd
from tests.system.git.snapshot import snapshot

PROJECT = """apiVersion: mlops/v1
kind: Project
name: demo
models:
  spam: {{paths: ["**"]}}
gitops: {{url: '{url}', branch: live}}
"""
DEV = "environments/dev/kustomization.yaml"


def mlops(where, *args, code=0):
    done = subprocess.run(
        [sys.executable, "-m", "mlops", *args],
        cwd=where,
        env={**os.environ, "MLOPS_ACTOR": "Ada"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def deploy(sandbox):
    """A bare repository with a branch `live`: overlays, records of A and B, and A pinned in dev."""
    work = sandbox.new("work")
    sandbox.git(work, "switch", "-q", "--orphan", "live")
    files = {"environments/base/kustomization.yaml": b"resources: []\n", **overlays()}
    files |= {record_path("environments", "spam", digest(n)): record(n).dump() for n in "AB"}
    files[DEV] = kustomization.with_pin(files[DEV], "spam", digest("A"), DEV)
    sandbox.commit(work, "begin", {path: content.decode() for path, content in files.items()})
    sandbox.git(sandbox.directory, "clone", "-q", "--bare", "work", "deploy.git")
    return sandbox.directory / "deploy.git"


@pytest.fixture(params=["ssh", "http", "path"])
def url(request, sandbox, deploy, settings, tmp_path):
    if request.param == "path":
        yield f"file://{deploy}"
    elif request.param == "ssh":
        with sshd(tmp_path / "server") as server:
            sandbox.git(
                sandbox.directory,
                "config",
                "--global",
                "core.sshCommand",
                f"ssh -F {server.config}",
            )
            yield server.url(deploy)
    else:
        sandbox.git(deploy, "config", "http.receivepack", "true")
        helper = sandbox.script(
            sandbox.directory / "helper", "echo username=ada; echo password=pony"
        )
        sandbox.git(sandbox.directory, "config", "--global", "credential.helper", str(helper))
        with http(sandbox.directory, "ada:pony") as server:
            yield server.url(deploy)


def test_promote_history_and_rollback(sandbox, deploy, url):
    where = sandbox.clone("a")
    sandbox.commit(
        where, "project", {"mlops.yaml": PROJECT.format(url=url), ".gitignore": ".mlops/\n"}
    )
    (where / "train.py").write_text("dirty\n")

    def mine():
        return {
            name: value
            for name, value in snapshot(where).items()
            if not name.startswith("work/.mlops/")
        }

    before, main = mine(), sandbox.git(sandbox.remote, "rev-parse", "main")
    mlops(where, "promote", f"spam@{digest('B')}", "--to", "dev")
    pinned = sandbox.git(deploy, "show", f"live:{DEV}")
    assert str(digest("B")) in pinned
    rows = json.loads(mlops(where, "history", "dev", "--output", "json").stdout)
    assert [row["release"] for row in rows] == [f"spam@{digest(n)}" for n in "BA"]
    mlops(where, "rollback", "dev", "--reason", "bad", "--yes")
    assert str(digest("A")) in sandbox.git(deploy, "show", f"live:{DEV}")
    assert "held" in sandbox.git(deploy, "log", "-1", "--format=%B", "live") or sandbox.git(
        deploy, "show", "live:environments/dev/holds.yaml"
    )
    assert sandbox.git(deploy, "rev-list", "--count", "live") == "3"
    assert mine() == before, "nothing of the user's clone changed"
    assert sandbox.git(sandbox.remote, "rev-parse", "main") == main, "nor of its own remote"
    assert sandbox.git(deploy, "for-each-ref", "--format=%(refname)") == "refs/heads/live"


def test_a_gitops_repository_that_is_gone(sandbox):
    where = sandbox.clone("a")
    url = f"file://{sandbox.directory}/gone.git"
    sandbox.commit(where, "project", {"mlops.yaml": PROJECT.format(url=url)})
    done = mlops(where, "rollback", "dev", "--reason", "bad", "--yes", code=3)
    assert "no such remote repository" in done.stderr


@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c touch% ran",
        "ext::touch",
        "file::/srv/x",
        "--upload-pack=touch${IFS}ran",
        "-oProxyCommand=touch",
        "https://me:secret@example.com/x.git",
        "a b",
        "a\\nb",
    ],
)
def test_urls_that_mlops_yaml_may_not_name(sandbox, url):
    where = sandbox.clone("a")
    quoted = PROJECT.replace("'{url}'", '"{url}"').format(url=url)
    sandbox.commit(where, "project", {"mlops.yaml": quoted})
    done = mlops(where, "rollback", "dev", "--reason", "bad", "--yes", code=2)
    assert "gitops.url" in done.stderr
    assert "secret" not in done.stderr
    assert not (where / "ran").exists()
