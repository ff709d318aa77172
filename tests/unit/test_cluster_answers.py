"""What is read from a cluster's answers, and what is said where a namespace is not there."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlops.adapters.cluster import connect
from mlops.adapters.cluster.cluster import Cluster
from mlops.adapters.cluster.kinds import Kind
from mlops.cli import wiring_cluster
from mlops.domain.cluster import Access
from mlops.errors import ConfigError, UsageError

SECRET = Kind("Secret", "v1", "secrets")
LISTED = {"kind": "PipelineRunList", "apiVersion": "tekton.dev/v1", "metadata": {}, "items": []}
GONE = {"kind": "Status", "reason": "NotFound", "message": 'namespaces "nope" not found'}
FORBIDDEN = {"kind": "Status", "reason": "Forbidden", "message": "namespaces is forbidden"}
ROW = {
    "cells": ["mlops-git", "kubernetes.io/basic-auth", 2, "5m"],
    "object": {"kind": "PartialObjectMetadata", "metadata": {"name": "mlops-git"}},
}
COLUMNS = [{"name": each} for each in ("Name", "Type", "Data", "Age")]
TABLE = {"kind": "Table", "columnDefinitions": COLUMNS, "rows": [ROW]}


class Answers(dict[str, tuple[int, dict[str, Any]]]):
    """What an API answers by path, status and document; and how it is reached."""

    access = Access()

    def cluster(self) -> Cluster:
        return connect(self.access, patience=1.0)


@pytest.fixture
def answers(tmp_path: Path) -> Iterator[Answers]:
    """An API on loopback; what it is not told it answers with an empty list of runs."""
    found = Answers()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path.endswith("/secrets/mlops-git"):
                assert "as=Table" in self.headers["Accept"]
            status, document = found.get(path, (200, LISTED))
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    cluster = {"server": f"http://127.0.0.1:{server.server_port}"}
    kubeconfig = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {}}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(kubeconfig))
    found.access = Access(namespace="nope", kubeconfig=str(path))
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


def test_of_a_secret_the_type_is_seen_and_its_metadata(answers: Answers):
    answers["/api/v1/namespaces/nope/secrets/mlops-git"] = (200, TABLE)
    about, shown = answers.cluster().outline(SECRET, "mlops-git") or ({}, {})
    assert about == {"name": "mlops-git"}
    assert shown["Type"] == "kubernetes.io/basic-auth"


def test_a_secret_that_is_not_there_is_none(answers: Answers):
    answers["/api/v1/namespaces/nope/secrets/mlops-git"] = (404, GONE)
    assert answers.cluster().outline(SECRET, "mlops-git") is None


@pytest.mark.parametrize(
    ("installs", "ours", "hint"),
    [
        ("", False, "Make it: kubectl create namespace nope"),
        ("shop", False, "Make it: kubectl create namespace nope"),
        ("nope", False, "Make it: kubectl apply --server-side -k tekton/install"),
        ("nope", True, "Make it: kubectl apply --server-side -k tekton/install"),
        ("shop", True, "Make it: write cluster: {namespace: shop}"),
        ("", True, "Make it: mlops init --yes && kubectl apply"),
    ],
)
def test_a_namespace_that_is_not_there_is_no_empty_one(
    answers: Answers, installs: str, ours: bool, hint: str
):
    answers["/api/v1/namespaces/nope"] = (404, GONE)
    kept = wiring_cluster.executor(answers.access, installs, ours=ours)
    with pytest.raises(ConfigError, match="has no namespace nope") as error:
        kept.list()
    assert error.value.hint.startswith(hint)


def test_a_run_of_a_namespace_that_is_not_there_is_not_looked_for_in_it(answers: Answers):
    answers["/api/v1/namespaces/nope"] = (404, GONE)
    for kind in ("pipelineruns", "taskruns"):
        answers[f"/apis/tekton.dev/v1/namespaces/nope/{kind}/spam"] = (404, GONE)
    with pytest.raises(ConfigError, match="has no namespace nope"):
        wiring_cluster.executor(answers.access).cancel("spam", None)  # type: ignore[arg-type]


@pytest.mark.parametrize("answer", [(200, {"kind": "Namespace"}), (403, FORBIDDEN)])
def test_a_namespace_without_runs_and_one_that_may_not_be_seen_are_empty(
    answers: Answers, answer: tuple[int, dict[str, Any]]
):
    answers["/api/v1/namespaces/nope"] = answer
    kept = wiring_cluster.executor(answers.access)
    assert kept.list() == ()
    for kind in ("pipelineruns", "taskruns"):
        answers[f"/apis/tekton.dev/v1/namespaces/nope/{kind}/spam"] = (404, GONE)
    with pytest.raises(UsageError, match="no run 'spam' in namespace nope"):
        kept.cancel("spam", None)  # type: ignore[arg-type]
