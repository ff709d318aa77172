"""The listener over real sockets: what is taken, what is refused, and what strangers may cost."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import threading
import time

import pytest

from mlops.adapters import intake
from mlops.adapters.intake import connection
from tests.fakes import deliveries
from tests.fakes.deliveries import SCHEMES, SECRET

OTHER = "another-secret-of-32-characters!"


def names(running) -> list[str]:
    return [each.delivery.id for each in running.journal.pending()]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_push_is_taken_once_it_is_in_the_journal(running, scheme):
    answer = running.push(scheme, name="one")
    assert (answer.status, answer.word) == (202, "accepted")
    assert names(running) == ["one"]
    provider = scheme.removesuffix("-signed")
    assert running.count("mlops_deliveries_total", provider=provider, outcome="new") == 1


@pytest.mark.parametrize("scheme", SCHEMES)
def test_another_secret_is_401_and_says_no_more(running, scheme):
    answer = running.push(scheme, secret=OTHER)
    assert (answer.status, json.loads(answer.body)) == (401, {"status": "unauthenticated"})
    assert names(running) == []
    assert "127.0.0.1" in running.told[0]
    assert OTHER not in running.told[0]
    assert SECRET not in running.told[0]


def test_every_way_not_to_be_let_in_looks_the_same(running):
    headers, body = deliveries.push("github")
    unsigned = {k: v for k, v in headers.items() if k != "x-hub-signature-256"}
    foreign = {"content-type": "application/json"}
    mixed = headers | deliveries.push("gitlab")[0]
    answers = [
        running.ask(method="POST", headers=each, body=body)
        for each in (unsigned, foreign, mixed, headers | {"x-hub-signature-256": "sha256=é"})
    ]
    assert {(each.status, each.body) for each in answers} == {
        (401, b'{"status":"unauthenticated"}')
    }
    assert len({tuple(sorted(set(each.headers) - {"date"})) for each in answers}) == 1


def test_a_replay_is_taken_once_and_one_with_another_body_not_at_all(running):
    assert running.push(name="one").word == "accepted"
    assert (again := running.push(name="one")).status == 202
    assert again.word == "duplicate"
    assert running.push(name="one", path="team/other").status == 409
    assert names(running) == ["one"]


def test_what_is_no_push_is_answered_and_not_kept(running):
    for event, status, word in (("ping", 200, "pong"), ("issues", 202, "ignored")):
        headers = deliveries.headers("github", b"{}", event=event)
        kind = {"content-type": "application/json; charset=utf-8"}
        answer = running.ask(method="POST", headers=headers | kind, body=b"{}")
        assert (answer.status, answer.word) == (status, word)
    assert names(running) == []


def test_a_document_that_is_none_is_400_for_those_who_are_let_in(running):
    for body in (b"", b"{}", b"[" * 50_000, b"\xff\xfe"):
        headers = deliveries.headers("github", body) | {"content-type": "application/json"}
        assert running.ask(method="POST", headers=headers, body=body).status == 400


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("HEAD", "/", 200),
        ("GET", "/healthz", 200),
        ("HEAD", "/readyz", 200),
        ("GET", "/readyz", 200),
        ("GET", "/metrics", 200),
        ("PUT", "/", 405),
        ("POST", "/metrics", 405),
        ("DELETE", "/healthz", 405),
        ("GET", "/hooks", 404),
        ("POST", "/%2e%2e/", 404),
        ("GET", "//", 404),
    ],
)
def test_the_other_pages(running, method, path, status):
    answer = running.ask(path, method)
    assert answer.status == status
    assert (status == 405) is ("allow" in answer.headers)
    assert method != "HEAD" or answer.body == b""


def test_metrics_are_prometheus_and_count_what_waits(running):
    running.push()
    answer = running.ask("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert b"\nmlops_deliveries_waiting 1.0\n" in answer.body
    assert b'mlops_deliveries_total{outcome="new",provider="github"} 1.0' in answer.body


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_another_type_of_body_is_415(running, kind):
    headers, body = deliveries.push("github")
    assert (
        running.ask(method="POST", headers=headers | {"content-type": kind}, body=body).status
        == 415
    )


def test_a_compressed_body_is_415(running):
    headers, body = deliveries.push("github")
    more = {"content-encoding": "gzip"}
    assert running.ask(method="POST", headers=headers | more, body=body).status == 415


class TestSizes:
    def test_a_large_body_hears_413_by_its_length_and_by_its_pieces(self, running):
        headers, _ = deliveries.push("github")
        body = b"x" * (10 << 20)
        assert running.ask(method="POST", headers=headers, body=body).status == 413
        pieces = b"".join(b"10000\r\n" + b"x" * 0x10000 + b"\r\n" for _ in range(40)) + b"0\r\n\r\n"
        chunked = {"transfer-encoding": "chunked", "content-length": ""}
        lines = "".join(
            f"{k}: {v}\r\n" for k, v in (headers | chunked).items() if k != "content-length"
        )
        with running.connect() as made:
            made.sendall(f"POST / HTTP/1.1\r\nhost: x\r\n{lines}\r\n".encode() + pieces)
            assert made.recv(4096).startswith(b"HTTP/1.1 413 ")

    def test_one_byte_more_than_allowed(self, start):
        headers, body = deliveries.push("github")
        running = start(limits=intake.Limits(body=len(body)))
        assert running.ask(method="POST", headers=headers, body=body).status == 202
        assert running.ask(method="POST", headers=headers, body=body + b" ").status == 413

    def test_a_body_in_pieces_is_taken(self, running):
        headers, body = deliveries.push("github")
        pieces = b"".join(b"%x;ext=1\r\n%s\r\n" % (1, body[n : n + 1]) for n in range(len(body)))
        lines = "".join(f"{k}: {v}\r\n" for k, v in headers.items())
        raw = f"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n{lines}\r\n".encode()
        assert running.raw(raw + pieces + b"0\r\nx-gitlab-event: trailer\r\n\r\n").startswith(
            b"HTTP/1.1 202 "
        )

    def test_nobody_is_asked_to_send_what_is_too_large(self, running):
        headers, _ = deliveries.push("github")
        lines = "".join(f"{k}: {v}\r\n" for k, v in headers.items())
        more = f"content-length: {50 << 20}\r\nexpect: 100-continue\r\n"
        with running.connect() as made:
            made.sendall(f"POST / HTTP/1.1\r\nhost: x\r\n{more}{lines}\r\n".encode())
            assert made.recv(4096).startswith(b"HTTP/1.1 413 ")

    @pytest.mark.parametrize(
        "head",
        [
            b"GET / HTTP/1.1\r\n" + b"".join(b"x-%d: y\r\n" % n for n in range(200)) + b"\r\n",
            b"GET / HTTP/1.1\r\nx: " + b"y" * 50_000 + b"\r\n\r\n",
            b"GET /" + b"y" * 50_000 + b" HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nx: " + b"y" * 50_000,
        ],
        ids=["many", "long", "path", "endless"],
    )
    def test_a_large_head_is_431(self, running, head):
        assert running.raw(head).startswith(b"HTTP/1.1 431 ")

    def test_requests_sent_far_ahead_end_the_connection(self, running):
        answers = running.raw(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n" * 5000)
        assert answers.count(b"HTTP/1.1 200 ") <= 20
        assert running.ask().status == 200


@pytest.mark.parametrize(
    "request_",
    [
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nx y: z\r\n\r\n",
        b"GET \xff HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_what_is_no_http_is_400(running, request_):
    assert running.raw(request_).startswith(b"HTTP/1.1 400 ")
    assert running.ask().status == 200


class TestSlowness:
    def test_a_head_that_never_ends(self, start, monkeypatch):
        monkeypatch.setattr(connection, "HEAD_SECONDS", 0.2)
        running = start()
        with running.connect() as made:
            made.sendall(b"POST / HTTP/1.1\r\nx-y")
            assert made.recv(100).startswith(b"HTTP/1.1 408 ")
        with running.connect() as made:  # and one that never begins
            assert made.recv(100).startswith(b"HTTP/1.1 408 ")
        assert running.count("mlops_intake_connections_refused_total", reason="too_slow") == 2

    def test_a_second_head_on_the_same_connection(self, start, monkeypatch):
        monkeypatch.setattr(connection, "HEAD_SECONDS", 0.3)
        running = start()
        with running.connect() as made:
            made.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            made.sendall(b"G")  # may come with the first, or after it
            assert b"HTTP/1.1 408 " in running.rest(made)

    def test_a_body_that_never_ends(self, start):
        running = start(limits=intake.Limits(arrival=0.2))
        headers, body = deliveries.push("github")
        lines = "".join(f"{k}: {v}\r\n" for k, v in headers.items())
        head = f"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n{lines}\r\n".encode()
        with running.connect() as made:
            made.sendall(head + body[:-1])
            assert made.recv(4096).startswith(b"HTTP/1.1 408 ")
        assert running.count("mlops_deliveries_total", provider="unknown", outcome="slow") == 1

    def test_one_that_sends_no_body_to_a_page_without_one(self, start, monkeypatch):
        monkeypatch.setattr(connection, "WHOLE_SECONDS", 0.2)
        running = start()
        with running.connect() as made:
            made.sendall(b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n")
            assert made.recv(4096) == b""

    def test_one_who_leaves_in_the_middle_is_no_error(self, running):
        headers, body = deliveries.push("github")
        lines = "".join(f"{k}: {v}\r\n" for k, v in headers.items())
        head = f"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n{lines}\r\n".encode()
        for _ in range(20):
            with running.connect() as made:
                made.sendall(head + body[:-1])
        assert running.push().status == 202
        assert running.count("mlops_deliveries_total", provider="unknown", outcome="error") == 0


def test_too_many_connections_hear_503_and_room_comes_back(start):
    running = start(connections=4)
    held = [running.connect() for _ in range(4)]
    for made in held:
        made.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        assert made.recv(4096).startswith(b"HTTP/1.1 200 ")
    with running.connect() as made:
        answer = made.recv(4096)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after:" in answer
    for made in held:
        made.close()
    end = time.monotonic() + 60
    while running.ask("/healthz").status != 200:
        assert time.monotonic() < end


class TestTheDisk:
    def test_a_journal_that_cannot_be_written_is_503_and_never_202(
        self, running, tmp_path, monkeypatch
    ):
        monkeypatch.setattr("mlops.adapters.journalfile._PATIENCE", 0.05)
        other = sqlite3.connect(tmp_path / "deliveries.db", isolation_level=None)
        running.journal._file.close()  # what is opened next has the shorter patience
        other.execute("BEGIN EXCLUSIVE")
        answer = running.push()
        assert answer.status == 503
        assert int(answer.headers["retry-after"]) > 0
        assert running.ask("/readyz").status == 503
        assert running.ask("/healthz").status == 200
        other.execute("ROLLBACK")
        other.close()
        assert running.push().status == 202
        assert running.ask("/readyz").status == 200
        assert running.count("mlops_journal_failures") == 1

    def test_a_disk_that_takes_too_long_is_503(self, start, tmp_path):
        running = start(limits=intake.Limits(disk=0.1))
        other = sqlite3.connect(tmp_path / "deliveries.db", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        assert running.push(name="one").status == 503
        other.execute("ROLLBACK")
        other.close()
        assert running.push(name="two").status == 202

    def test_too_many_that_wait_are_503(self, start, monkeypatch):
        running = start()
        running.journal._most_pending = 1
        assert running.push().status == 202
        answer = running.push()
        assert (answer.status, answer.word) == (503, "too many deliveries wait")


class TestSecrets:
    def test_two_at_once_while_one_takes_the_others_place(self, start, secret_file, monkeypatch):
        monkeypatch.setattr("mlops.adapters.intake.secrets._AGAIN", 0.0)
        running = start()
        assert running.push(secret=OTHER).status == 401
        secret_file.write_text(f"{OTHER}\n{SECRET}\n")
        assert running.push(secret=OTHER).status == 202
        assert running.push().status == 202
        secret_file.write_text(f"{OTHER}\n")
        assert running.push().status == 401
        assert running.push(secret=OTHER).status == 202

    def test_a_file_that_goes_lets_nobody_in_until_it_is_back(
        self, start, secret_file, monkeypatch
    ):
        monkeypatch.setattr("mlops.adapters.intake.secrets._AGAIN", 0.0)
        running = start()
        secret_file.rename(secret_file.with_name("away"))
        assert running.push().status == 503
        assert running.ask("/readyz").status == 503
        assert "no delivery is taken" in running.told[-1]
        secret_file.with_name("away").rename(secret_file)
        assert running.push().status == 202

    def test_from_the_environment(self, start):
        environment = {"MLOPS_WEBHOOK_SECRET": OTHER, "MLOPS_WEBHOOK_SECRET_PREVIOUS": SECRET}
        running = start(environment=environment)
        assert running.push(secret=OTHER).status == 202
        assert running.push().status == 202


def test_a_proxys_word_is_believed_where_it_was_named(start):
    for proxies, said in ((("127.0.0.0/8",), "203.0.113.9"), ((), "127.0.0.1")):
        running = start(proxies=proxies)
        headers, body = deliveries.push("github", secret=OTHER)
        more = {"x-forwarded-for": "203.0.113.9"}
        assert running.ask(method="POST", headers=headers | more, body=body).status == 401
        assert f"from {said}:" in running.told[0]


def test_what_strangers_cause_is_said_once_in_a_while(running):
    for _ in range(50):
        running.push(secret=OTHER)
    assert len(running.told) == 1


def test_many_at_once_are_each_answered(running):
    answers = []

    def send(part: int) -> None:
        answers.extend(running.push(name=f"{part}-{n}").status for n in range(20))

    threads = [threading.Thread(target=send, args=[part]) for part in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert answers == [202] * 160
    assert len(names(running)) == 160


def test_stopping_answers_what_is_under_way(start):
    running = start()
    headers, body = deliveries.push("github", name="last")
    lines = "".join(f"{k}: {v}\r\n" for k, v in headers.items())
    head = f"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n{lines}\r\n".encode()
    made = running.connect()
    made.sendall(head)
    assert running.ask().status == 200  # so that the head has been read, most likely
    timer = threading.Timer(0.5, made.sendall, [body])
    timer.start()
    os.sched_yield()
    with made:
        timer.join()
        assert made.recv(4096).startswith(b"HTTP/1.1 202 ")
    assert names(running) == ["last"]
    with socket.socket() as trial:
        trial.connect(("127.0.0.1", running.port))
