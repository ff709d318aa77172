"""A listener in this process, on a free port, with the journal that it writes."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from mlops.adapters import intake
from mlops.adapters.intake.telling import Telling
from mlops.adapters.journal import Journal
from tests.fakes import deliveries

PATIENCE = 60


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def word(self) -> str:
        return json.loads(self.body)["status"]


@dataclass
class Running:
    """A listener that runs, and what can be done to it."""

    journal: Journal
    port: int
    registry: CollectorRegistry
    told: list[str] = field(default_factory=list)
    client: ssl.SSLContext | None = None

    def connect(self) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        return self.client.wrap_socket(made, server_hostname="localhost") if self.client else made

    def raw(self, request: bytes) -> bytes:
        """Send bytes, end the sending side, and read to the end."""
        with self.connect() as made:
            with contextlib.suppress(OSError):  # it may have ended the connection by then
                made.sendall(request)
                made.shutdown(socket.SHUT_WR)
            return read_all(made)

    def rest(self, made: socket.socket) -> bytes:
        """All that comes until the listener ends the connection."""
        return read_all(made)

    def ask(self, path: str = "/", method: str = "GET", headers=None, body: bytes = b"") -> Answer:
        lines = {"host": "x", "connection": "close", **(headers or {})}
        if body or method == "POST":
            lines.setdefault("content-length", str(len(body)))
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        with self.connect() as made:
            made.sendall(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body)
            return parsed(read_all(made))

    def push(self, scheme: str = "github", **more) -> Answer:
        headers, body = deliveries.push(scheme, **more)
        return self.ask(method="POST", headers=headers, body=body)

    def count(self, name: str, **labels) -> float:
        return self.registry.get_sample_value(name, labels) or 0


def read_all(made: socket.socket) -> bytes:
    pieces = []
    try:
        while piece := made.recv(65536):
            pieces.append(piece)
    except ConnectionResetError:
        pass
    return b"".join(pieces)


def parsed(raw: bytes) -> Answer:
    head, _, body = raw.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return Answer(int(status.split(" ")[1]), headers, body)


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text(deliveries.SECRET + "\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def start(tmp_path, secret_file):
    """Start a listener; `limits`, `connections`, `encryption`, `proxies` as given."""
    ends = []

    def begin(*, limits=None, client=None, environment=None, **more) -> Running:
        told: list[str] = []
        journal = Journal(tmp_path / "deliveries.db", told.append)
        ends.append(journal.close)
        registry = CollectorRegistry()
        metrics = intake.IntakeMetrics(registry, journal)
        secrets = (
            intake.WebhookSecrets(secret_file)
            if environment is None
            else intake.WebhookSecrets(None, environment)
        )
        app = intake.Application(
            journal, secrets, metrics, Telling(told.append), limits or intake.Limits()
        )
        bound = intake.bound("127.0.0.1:0")
        ends.append(bound.close)
        listener = intake.Listener(bound, app, metrics.refuse_connection, **more)
        listener.start()
        ends.append(listener.stop)
        return Running(journal, bound.socket.getsockname()[1], registry, told, client)

    yield begin
    for end in reversed(ends):
        end()


@pytest.fixture
def running(start) -> Running:
    return start()
