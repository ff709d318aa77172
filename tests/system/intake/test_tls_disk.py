"""TLS with a certificate of its own, and a disk that is full: both as they are."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mlops.adapters import intake, journalfile
from mlops.adapters.intake import listener
from mlops.errors import ConfigError
from mlops.policy import webhooks
from tests.fakes import deliveries


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> tuple[Path, Path]:
    place = tmp_path_factory.mktemp("tls")
    cert, key = place / "cert.pem", place / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", str(key), "-out", str(cert)),
        ],
        check=True,
        capture_output=True,
    )
    return cert, key


def test_over_tls_the_same_is_taken(start, certificate):
    trusting = ssl.create_default_context(cafile=certificate[0])
    running = start(encryption=intake.Encryption(*certificate), client=trusting)
    assert running.push().status == 202
    assert running.push("gitlab").status == 202
    assert running.push(secret="another-secret-of-32-characters!").status == 401


def test_who_speaks_no_tls_is_let_go_and_does_not_hold_the_others(start, certificate, monkeypatch):
    monkeypatch.setattr(listener, "_HANDSHAKE", 0.3)
    trusting = ssl.create_default_context(cafile=certificate[0])
    running = start(encryption=intake.Encryption(*certificate), client=trusting)
    with socket.create_connection(("127.0.0.1", running.port), timeout=60) as silent:
        assert running.push().status == 202
        assert silent.recv(100) == b""
    with socket.create_connection(("127.0.0.1", running.port), timeout=60) as plain:
        plain.sendall(b"POST / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b"HTTP/1.1" not in running.rest(plain)


def test_a_certificate_without_its_key(certificate, tmp_path):
    other = tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "genrsa", "-out", str(other), "2048"], check=True, capture_output=True
    )
    for key in (other, tmp_path / "none", certificate[0]):
        with pytest.raises(ConfigError, match="no certificate and its key"):
            intake.Encryption(certificate[0], key).check()


FULL = """
import sys
from dataclasses import replace
from pathlib import Path
from mlops.adapters import journalfile
from mlops.adapters.journal import Journal, Kept
from mlops.errors import JournalError
place = Path(sys.argv[1])
journal = Journal(place / "deliveries.db", print)
push = journalfile.delivery(sys.stdin.read())
kept, failed = [], 0
(place / "ballast").write_bytes(b"x" * 100_000)
for number in range(3000):
    try:
        journal.add(replace(push, id=f"n-{number}")).result(60)
        kept.append(f"n-{number}")
    except JournalError as exc:
        failed += 1
        assert "full" in exc.message, exc
        if failed > 20:
            break
assert failed > 20, len(kept)
assert journal.trouble
held = {each.delivery.id for each in journal.pending()}
assert held >= set(kept[:2000]), (len(held), len(kept))
(place / "ballast").unlink()
assert journal.add(replace(push, id="after")).result(60) is Kept.NEW
assert journal.trouble == ""
journal.close()
print("kept", len(kept))
"""


def test_a_full_disk_takes_nothing_and_loses_nothing(tmp_path):
    """In a mount namespace of its own, on a file system of a megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = f'mount -t tmpfs -o size=1m none {place} && exec {sys.executable} -c "$FULL" {place}'
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", mount],
        env={"FULL": FULL, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        input=_document(),
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) > 20


def _document() -> str:
    body = b'{"repository": "team/shop", "refs": [{"ref": "refs/heads/main"}]}'
    now = datetime.now(UTC)
    raw = deliveries.headers("generic", body)
    verified = webhooks.verify(raw, body, (deliveries.SECRET,), now.timestamp())
    return journalfile.text(webhooks.read(verified, body, now))
