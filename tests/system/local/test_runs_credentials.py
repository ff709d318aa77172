"""What the Secrets of a service account are good for in a step, in every runtime."""

from __future__ import annotations

import shutil
import stat
import subprocess

import pytest
import yaml

from mlops.domain.run import Phase
from mlops.tekton import bundle, runs
from tests.system.git.servers import http

LOGIN = "ada:correct-horse"
KEY = "a key of nobody\n"


def account(*secrets):
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "robot"},
        "secrets": [{"name": name} for name in secrets],
    }


def secret(name, kind, place, **content):
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "annotations": {"tekton.dev/git-0": place}},
        "type": f"kubernetes.io/{kind}",
        "stringData": {key.replace("_", "-"): text for key, text in content.items()},
    }


def basic(name, place, login):
    user, _, password = login.partition(":")
    return secret(name, "basic-auth", place, username=user, password=password)


SSH = secret("key", "ssh-auth", "git.example.com", ssh_privatekey=KEY)


def submitted(world, run, *given):
    found = bundle.read([("files.yaml", yaml.safe_dump_all([run, *given]).encode())])
    return world.executor.submit(runs.program(found, found.runs[0]), world.observer)


@pytest.mark.parametrize("user", [None, 0, 1000])
def test_whoever_runs_a_step_can_read_its_key(contained, doc, user):
    """ssh refuses a key that others may read only to its owner."""
    world = contained
    step = {} if user is None else {"securityContext": {"runAsUser": user}}
    task = world.task("a", "cat ~/.ssh/id_key /tekton/creds/.ssh/id_key; ls -ln ~/.ssh", step=step)
    run = doc(task, taskRunTemplate={"serviceAccountName": "robot"})

    result = submitted(world, run, account("key"), SSH)

    said = world.observer.said("a")
    assert result.phase is Phase.SUCCEEDED, world.observer.lines
    assert said[:2] == [KEY.strip()] * 2
    (line,) = [each.split() for each in said if each.endswith("id_key")]
    if line[2] == str(user or 0):
        assert line[0] == "-rw-------"


def test_nothing_of_it_is_left_but_what_a_retry_needs(world, doc):
    """The second attempt has the credentials again."""
    task = world.task("a", "cat ~/.ssh/id_key; exit 7")
    run = doc(task, taskRunTemplate={"serviceAccountName": "robot"})
    submitted(world, run, account("key"), SSH)

    directory = world.path / "runs/run-1"
    holding = [
        path
        for path in directory.rglob("*")
        if path.is_file() and KEY.encode() in path.read_bytes()
    ]
    assert {path.name for path in holding} == {
        "secrets.yaml",
        "main.log",
    }  # which it was printed to
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700

    world.executor.retry("run-1", world.observer)
    assert world.observer.said("a").count(KEY.strip()) == 2


def test_git_clones_what_is_private(world, doc, make_tar, tmp_path):
    """With the password of the one repository, where the host's is another."""
    seed, served = tmp_path / "seed", tmp_path / "served"
    author = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    for command in (
        ("init", "-q", seed),
        ("-C", seed, *author, "commit", "-q", "--allow-empty", "-m", "first"),
        ("clone", "-q", "--bare", seed, served / "one.git"),
    ):
        subprocess.run(["git", *command], check=True)
    shutil.copytree(served / "one.git", served / "two.git")
    image = world.store.image(
        [make_tar({"app/x": b""})],
        ["code"],
        Env=["PATH=/usr/bin:/bin"],
        Labels={"dev.mlops.base": "host"},
    )
    world.runtime = "process"

    with http(served, LOGIN) as server:
        one, two = (server.url(served / name) for name in ("one.git", "two.git"))
        script = (
            'export GIT_TERMINAL_PROMPT=0 GIT_CONFIG_NOSYSTEM=1; cd "$HOME"\n'
            f"git clone -q {two} two || echo refused\n"
            f"git clone -q {one} one && git -C one log --format=%s\n"
        )
        host = one.removesuffix("/one.git")
        secrets = [basic("all", host, "bob:wrong"), basic("one", one, LOGIN)]
        run = doc(
            world.task("a", script, step={"image": str(image)}),
            taskRunTemplate={"serviceAccountName": "robot"},
        )

        result = submitted(world, run, account("one", "all"), *secrets)

    assert result.phase is Phase.SUCCEEDED, result.tasks[0]
    said = world.observer.said("a")
    assert [each for each in said if each in ("first", "refused")] == ["refused", "first"]
