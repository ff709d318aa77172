"""Repositories that know nothing of mlops: from `mlops init --yes`, unedited, to prod and back."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.e2e.repositories import Repository, environment, foreach, no_dvc, run, two_models

RELEASE = re.compile(r"([a-z-]+)@sha256:([0-9a-f]{64})")


@dataclass
class Case:
    """A repository, a request that each of its models answers, and a change to retrain one."""

    build: Callable[[Path, dict[str, str]], Repository]
    rows: list[list[float]]
    change: tuple[str, ...]
    retrained: str


CASES = {
    "monorepo": Case(
        two_models,
        [[1.0, 1.0], [39.0, 2.0]],
        (
            "echo 40,1,0 >> services/churn/data.csv",
            "mlops data add services/churn/data.csv",
            "mlops data push",
        ),
        "churn",
    ),
    "foreach": Case(
        foreach, [[1.0, 1.0], [6.0, 6.0]], ("sed -i 's/depth: 2/depth: 1/' params.yaml",), ""
    ),
    "no-dvc": Case(no_dvc, [[1.0], [2.0]], ("echo 20,63 >> data/prices.csv",), "pricing"),
}


@pytest.fixture(params=list(CASES))
def case(request):
    return CASES[request.param]


def released(text: str) -> dict[str, str]:
    return dict(RELEASE.findall(text))


def shell(repository: Repository, env: dict[str, str], command: str) -> str:
    return run(repository.path, env, "/bin/sh", "-c", command).stdout


def rendered(repository: Repository, env: dict[str, str], overlay: str) -> list[dict]:
    """An overlay of the remote's main branch, as kustomize renders it."""
    run(repository.path, env, "git", "pull", "-q", "--rebase")
    argv = ["kubectl", "kustomize"] if shutil.which("kubectl") else ["kustomize", "build"]
    done = run(repository.path, env, *argv, f"environments/{overlay}")
    return list(yaml.safe_load_all(done.stdout))


def images(documents: list[dict]) -> dict[str, str]:
    """Deployment → the digest it runs; the server is told the same."""
    found = {}
    for document in documents:
        if document["kind"] == "Deployment":
            (container,) = document["spec"]["template"]["spec"]["containers"]
            told = {entry["name"]: entry["value"] for entry in container["env"]}
            assert told["MLOPS_RELEASE"] == container["image"]
            found[document["metadata"]["name"]] = container["image"].partition("@sha256:")[2]
    return found


def predictions(repository: Repository, env: dict[str, str], reference: str, rows) -> list:
    """What the image of a release answers, asked over HTTP."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        ["mlops", "image", "run", reference, "--port", str(port)],
        cwd=repository.path,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while not _answers(f"{url}/healthz"):
            assert server.poll() is None, server.stdout.read().decode()
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.1)
        tensor = {"name": "rows", "shape": [len(rows), len(rows[0])], "datatype": "FP64"}
        body = {"inputs": [{**tensor, "data": [cell for row in rows for cell in row]}]}
        model = reference.partition("@")[0]
        request = urllib.request.Request(
            f"{url}/v2/models/{model}/infer",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with _OPENER.open(request, timeout=30) as answer:
            return json.loads(answer.read())["outputs"][0]["data"]
    finally:
        server.terminate()
        server.communicate(timeout=30)


_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _answers(url: str) -> bool:
    try:
        with _OPENER.open(url, timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


@pytest.mark.timeout(1200)
def test_from_nothing_to_prod_and_back(case, tmp_path):
    env = environment(tmp_path / "home")
    repository = case.build(tmp_path, env)
    head = run(repository.path, env, "git", "rev-parse", "HEAD").stdout

    asked = run(repository.path, env, "mlops", "init", "--yes")
    assert run(repository.path, env, "git", "rev-parse", "HEAD").stdout == head  # not committed
    run(repository.path, env, "mlops", "init", "--yes")  # and again: nothing is overwritten
    commands = asked.stdout.splitlines()
    assert commands[-1] == "mlops run"
    for command in commands[:-1]:
        shell(repository, env, command)

    first = released(shell(repository, env, "mlops run"))
    assert tuple(sorted(first)) == tuple(sorted(repository.models))
    move(repository, env)
    assert images(rendered(repository, env, "prod")) == first
    for model in repository.models:
        answer = predictions(repository, env, f"{model}@prod", case.rows)
        assert len(answer) == len(case.rows)

    for command in case.change:
        shell(repository, env, command)
    shell(repository, env, "git add -A && git commit -q -m 'Change it' && git push -q")
    second = released(shell(repository, env, "mlops run"))
    changed = {model for model in first if first[model] != second[model]}
    assert changed == ({case.retrained} if case.retrained else set(repository.models))
    move(repository, env)
    assert images(rendered(repository, env, "prod")) == second

    run(repository.path, env, "mlops", "rollback", "prod", "--reason", "it is worse", "--yes")
    assert images(rendered(repository, env, "prod")) == first
    assert images(rendered(repository, env, "staging")) == second


def move(repository: Repository, env: dict[str, str]) -> None:
    """Promote all that dev pins to staging and prod."""
    for source, target in (("dev", "staging"), ("staging", "prod")):
        moved = [f"{model}@{source}" for model in repository.models]
        run(repository.path, env, "mlops", "promote", *moved, "--to", target)
