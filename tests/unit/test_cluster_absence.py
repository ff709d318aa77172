"""What is said while a cluster does not answer, and how long it is waited for."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes.client import ApiClient, Configuration
from kubernetes.config import kube_config

from mlops.adapters.cluster import backoff
from mlops.adapters.cluster.absence import Absence
from mlops.adapters.cluster.cluster import Cluster
from mlops.adapters.cluster.kinds import POD
from mlops.adapters.cluster.watching import Watch
from mlops.cli import app
from mlops.errors import ClusterError


class Said:
    """What a user was told, which can be waited for."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.some = threading.Event()

    def __call__(self, text: str) -> None:
        self.lines.append(text)
        self.some.set()


def cluster(server: str, patience: float, said: Said, silent: float = 0.0) -> Cluster:
    configuration = Configuration()
    configuration.host, configuration.retries = server, False
    found = Cluster(ApiClient(configuration), "ml", patience)
    found.absence = Absence(server, silent)
    found.absence.say = said
    return found


@pytest.fixture
def nobody() -> Iterator[str]:
    """A port that refuses: it is taken, and nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def silent() -> Iterator[str]:
    """A port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    """An API that is busy for as many lists as `busy` says and for every watch, and waits for `ready`
    before it answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.server.ready.wait(10)
            watched = "watch=true" in self.path
            self.server.busy -= not watched
            body = b'{"kind": "PodList", "items": [], "metadata": {"resourceVersion": "7"}}'
            self.send_response(503 if watched or self.server.busy >= 0 else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    serving = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    serving.busy, serving.ready = 0, threading.Event()
    serving.ready.set()
    thread = threading.Thread(target=serving.serve_forever, args=(0.01,))
    thread.start()
    yield serving
    serving.shutdown()
    thread.join()
    serving.server_close()


def test_a_cluster_that_refuses_is_told_once_with_the_reason_and_how_long_it_is_tried(nobody):
    said = Said()

    with pytest.raises(ClusterError, match="Connection refused"):
        cluster(nobody, 0.3, said).list(POD)

    (line,) = said.lines
    assert line.startswith(f"waiting for the cluster at {nobody}: ")
    assert line.endswith("; it is tried for 0.3 s")


def test_a_cluster_that_says_nothing_is_told_before_its_answer_is_given_up(silent):
    said = Said()

    with pytest.raises(ClusterError, match="Read timed out"):
        cluster(silent, 1.0, said).list(POD)

    assert said.lines == [
        f"waiting for the cluster at {silent}: no answer yet; it is tried for 1 s"
    ]


def test_a_cluster_that_was_busy_and_told_of_is_told_to_be_back(server):
    said = Said()
    where = f"http://127.0.0.1:{server.server_port}"
    found = cluster(where, 30.0, said)
    found.absence.failed("it answers 503")
    found.absence.goes_on(30.0)
    server.busy = 1

    assert found.list(POD)[0] == []

    assert said.lines == [
        f"waiting for the cluster at {where}: it answers 503; it is tried for 30 s",
        f"the cluster at {where} answers again",
    ]


def test_a_slow_answer_is_no_absence(server):
    said = Said()
    server.ready.clear()
    found = cluster(f"http://127.0.0.1:{server.server_port}", 30.0, said)
    letting = threading.Thread(target=lambda: (said.some.wait(10), server.ready.set()))
    letting.start()

    found.list(POD)
    letting.join()

    (line,) = said.lines
    assert line.endswith(": no answer yet; it is tried for 30 s")


def test_what_answers_at_once_is_not_told_of(server):
    said = Said()

    cluster(f"http://127.0.0.1:{server.server_port}", 30.0, said, silent=60.0).list(POD)

    assert said.lines == []


def test_a_watch_says_so_too(server):
    said = Said()
    found = cluster(f"http://127.0.0.1:{server.server_port}", 0.2, said)

    with pytest.raises(ClusterError):
        list(Watch(found, POD, patience=0.3).changes())

    assert said.lines[-1].endswith(": it answers 503 Service Unavailable; it is tried for 0.3 s")


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        (("runs",), 15),
        (("runs", "show", "x"), 15),
        (("runs", "wait", "x"), 60),
        (("runs", "retry", "x"), 60),
    ],
)
def test_who_only_asks_waits_less_long(words, seconds, nobody, tmp_path: Path, monkeypatch, capsys):
    passed = [0.0]
    clock = SimpleNamespace(
        monotonic=lambda: time.monotonic() + passed[0],
        sleep=lambda more: passed.__setitem__(0, passed[0] + more),
    )
    monkeypatch.setattr(backoff, "time", clock)
    config = tmp_path / "config"
    config.write_text(
        "{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}],"
        f" clusters: [{{name: c, cluster: {{server: '{nobody}'}}}}], users: [{{name: u, user: {{}}}}]}}"
    )
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(config))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["mlops", *words, "--executor", "tekton"])

    assert app.run() == 3

    assert seconds - 1 < passed[0] <= seconds
    assert "cannot be reached" in capsys.readouterr().err
