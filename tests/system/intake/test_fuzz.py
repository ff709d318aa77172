"""Requests that nobody would send: no 500, no hang, and whoever comes after them is served.

benchmarks/intake.py sends 100,000 of another kind.
"""

from __future__ import annotations

import socket

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlops.adapters import intake
from tests.fakes import deliveries

KNOWN = (
    "x-github-event",
    "x-hub-signature-256",
    "x-gitlab-event",
    "x-gitlab-token",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "x-gitea-event",
    "x-event-key",
    "content-type",
    "content-length",
    "transfer-encoding",
    "expect",
    "connection",
    "upgrade",
)
VALUES = st.sampled_from(
    [b"", b"application/json", b"0", b"-1", b"99999999999999999999", b"chunked", b"100-continue"]
) | st.binary(max_size=40)
HEADERS = st.lists(st.tuples(st.sampled_from(KNOWN), VALUES), max_size=8)
FUZZED = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
def quick(start):
    """A listener that waits for nobody for long."""
    return start(limits=intake.Limits(arrival=0.5))


def sound(running, raw: bytes) -> None:
    """Whatever is answered is HTTP, and no error of ours."""
    assert raw == b"" or raw.startswith(b"HTTP/1.1 "), raw
    assert not raw.startswith(b"HTTP/1.1 500 "), raw
    assert running.count("mlops_deliveries_total", provider="unknown", outcome="error") == 0


@FUZZED
@given(raw=st.binary(min_size=1, max_size=400))
def test_bytes(quick, raw):
    sound(quick, quick.raw(raw))


@FUZZED
@given(
    method=st.sampled_from(["POST", "GET", "PUT", "OPTIONS", "CONNECT", "X"]),
    path=st.sampled_from(["/", "/metrics", "/%00", "/?a=%zz", "*", "http://x/", "//", "/é"]),
    headers=HEADERS,
    body=st.binary(max_size=100),
)
def test_headers(quick, method, path, headers, body):
    lines = b"".join(name.encode() + b": " + value + b"\r\n" for name, value in headers)
    head = f"{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n".encode()
    sound(quick, quick.raw(head + lines + b"\r\n" + body))


@FUZZED
@given(
    scheme=st.sampled_from(deliveries.SCHEMES),
    body=st.binary(max_size=200) | st.text(max_size=50).map(lambda text: text.encode()),
    splices=st.lists(st.tuples(st.integers(0, 2000), st.binary(max_size=6)), max_size=5),
)
def test_signed_bodies(quick, scheme, body, splices):
    whole = bytearray(deliveries.push(scheme)[1] if splices else body)
    for at, piece in splices:
        whole[at % len(whole) : at % len(whole) + len(piece)] = piece
    headers = {"content-type": "application/json", **deliveries.headers(scheme, bytes(whole))}
    answer = quick.ask(method="POST", headers=headers, body=bytes(whole))
    assert answer.status in (200, 202, 400)


def test_whoever_comes_after_is_served(quick):
    for cut in range(0, 200, 7):
        with socket.create_connection(("127.0.0.1", quick.port), timeout=60) as made:
            made.sendall(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{}"[: cut + 1])
    assert quick.push().status == 202
