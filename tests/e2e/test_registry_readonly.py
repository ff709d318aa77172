"""Registries that take nothing from us: every command that writes says so, and changes no pin."""

from __future__ import annotations

import pytest

from tests.system.registry.between import Answer, Between
from tests.system.registry.servers import start

DENIED = b'{"errors": [{"code": "DENIED", "message": "quota is used up"}]}'


@pytest.fixture(params=[403, 405])
def closed(request, tmp_path):
    """A registry that may be read; and how it refuses what is pushed.

    405 is Debian's registry while it is looked after, 403 what others say to who may read alone."""
    (tmp_path / "closed").mkdir()
    running = start(tmp_path / "closed", readonly=request.param == 405)
    host = next(running).host

    def rule(asked):
        return None if asked.method in ("GET", "HEAD") else Answer(403, {}, DENIED)

    if request.param == 405:
        yield host, "lets nobody push to ml/spam (405)", "read-only"
    else:
        with Between(host, rule) as between:
            yield (
                between.host,
                "does not let us push to ml/spam (403) (DENIED: quota",
                "docker login",
            )
    running.close()


def test_copying_and_promoting_into_it(live, closed):
    host, refusal, onwards = closed
    said = live.mlops("image", "copy", "spam@prod", f"{host}/ml/spam:x", code=3).stderr
    assert f"{host} {refusal}" in said
    assert onwards in said
    before = live.pinned("prod")
    path = "environments/prod/environment.yaml"
    live.git("pull", "-q", "--rebase", "origin", "main")
    live.write(path, f"{(live.path / path).read_text()}\nregistry: {host}/ml\n")
    live.write("params.yaml", "train: {accuracy: 0.95}\n")
    live.commit("A registry of its own")
    live.mlops("run", "--quiet")
    live.mlops("promote", "spam@dev")
    said = live.mlops("promote", "spam@staging", code=3).stderr
    assert f"{host} {refusal}" in said
    assert onwards in said
    assert "Traceback" not in said
    assert live.pinned("prod") == before


def test_a_build_into_it(project, tmp_path):
    """It took the base when that was locked, and takes nothing any more."""
    (tmp_path / "own").mkdir()
    running = start(tmp_path / "own")
    shut = []

    def rule(asked):
        writes = asked.method not in ("GET", "HEAD")
        return Answer(403, {}, DENIED) if writes and shut else None

    with Between(next(running).host, rule) as between:
        text = (project.path / "mlops.yaml").read_text()
        project.write("mlops.yaml", f"{text}registry: {between.host}/ml\n")
        project.mlops("lock")
        project.commit("Use a registry")
        shut.append(True)
        said = project.mlops("run", code=3).stderr
    running.close()
    assert f"{between.host} does not let us push to ml/spam" in said
    assert "DENIED: quota is used up" in said
    assert f"docker login {between.host}" in said
    assert project.pinned("dev") is None
