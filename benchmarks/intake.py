"""Deliveries a second that `mlops watch --listen` takes on one core, each verified and on the disk before its answer;
and what bodies of 10 MB, slow clients and random requests do to it.

Run: python benchmarks/intake.py [SECONDS [FUZZED]] (15 and 100000 where nothing is said: six minutes or so).
Goal: 777 a second at 16 connections, what Tekton Triggers' EventListener took on a machine like this; no 500, no hang,
and memory within 20 MB of where it began.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import random
import re
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from pathlib import Path

from measure import compiled, write

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.fakes import deliveries

GOAL = 777
PROJECT = """
apiVersion: mlops/v1
kind: Project
name: shop
models: {shop: {artifact: m.pkl, train: {command: ["true"]}}}
"""
LARGE = 10 << 20
COMMITS = 5  # of a push: 7 kB or so
STATUS = re.compile(rb"\AHTTP/1\.1 (\d{3}) ")


@contextlib.contextmanager
def watching(place: Path) -> Iterator[tuple[int, int]]:
    """A watcher on the first core, whose interval no look reaches: its process and its port."""
    (place / "mlops.yaml").write_text(PROJECT)
    git = ["git", "-c", "user.name=Rosa", "-c", "user.email=rosa@example.com"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "Begin"]):
        subprocess.run([*git, *command], cwd=place, check=True)
    argv = [sys.executable, "-m", "mlops", "watch", "--listen", "127.0.0.1:0"]
    process = subprocess.Popen(
        [*argv, "--interval", "86400"],
        cwd=place,
        env=os.environ | {"MLOPS_WEBHOOK_SECRET": deliveries.SECRET},
        stderr=subprocess.PIPE,
        text=True,
    )
    os.sched_setaffinity(process.pid, {0})
    assert process.stderr is not None
    said = ""
    while (found := re.search(r"listening for webhooks on http://\S+:(\d+)", said)) is None:
        line = process.stderr.readline()
        assert line, said
        said += line
    threading.Thread(target=process.stderr.read, daemon=True).start()
    try:
        yield process.pid, int(found[1])
    finally:
        process.terminate()
        process.wait()


def request(name: str, body: bytes, scheme: str = "github") -> bytes:
    kind = {"content-type": "application/json", "host": "x", "content-length": str(len(body))}
    headers = kind | deliveries.headers(scheme, body, name=name)
    lines = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
    return f"POST / HTTP/1.1\r\n{lines}\r\n".encode("latin-1", "replace") + body


def push() -> bytes:
    """The body of a push of some commits, to a repository that nobody watches."""

    document = deliveries.document("github", path="team/strange")
    document["commits"] = [
        {
            "id": f"{n:040x}",
            "message": "Change the training " * 20,
            "modified": ["src/train.py"] * 40,
        }
        for n in range(COMMITS)
    ]
    return json.dumps(document).encode()


def deliver(port: int, connections: int, seconds: float) -> tuple[float, list[float]]:
    """Deliveries a second, and seconds that each took; each connection sends the next once it was answered."""
    body, marker = push(), "id-of-this-delivery-0000000000"
    head, tail = request(marker, body).split(marker.encode())
    number, began = 0, {}
    taken: list[float] = []
    chosen = selectors.DefaultSelector()
    run = os.urandom(4).hex()

    def send(each: socket.socket) -> None:
        nonlocal number
        number += 1
        began[each] = time.perf_counter()
        each.sendall(head + f"{run}-{number}".encode() + tail)

    for _ in range(connections):
        each = socket.create_connection(("127.0.0.1", port))
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        chosen.register(each, selectors.EVENT_READ)
        send(each)
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        for key, _ in chosen.select(1):
            each = key.fileobj
            assert isinstance(each, socket.socket)
            answer = each.recv(4096)
            assert answer.startswith(b"HTTP/1.1 202 "), answer
            if answer.endswith(b'{"status":"accepted"}'):
                taken.append(time.perf_counter() - began[each])
                send(each)
            else:  # the body of the answer comes in a packet of its own
                assert answer.endswith(b"\r\n\r\n"), answer
                while not each.recv(4096).endswith(b"}"):
                    pass
                taken.append(time.perf_counter() - began[each])
                send(each)
    elapsed = time.perf_counter() - start
    for key in list(chosen.get_map().values()):
        key.fileobj.close()  # type: ignore[union-attr]
    return len(taken) / elapsed, taken


@contextlib.contextmanager
def beset(port: int) -> Iterator[Counter[str]]:
    """Clients that send 10 MB over and over, and ones that send a byte a second, in a process of their own: what
    they hear is counted in the end."""
    apart = multiprocessing.get_context("spawn")
    ending, heard, seen = apart.Event(), apart.Queue(), Counter[str]()
    process = apart.Process(target=_beset, args=(port, ending, heard))
    process.start()
    heard.get()  # it has begun
    try:
        yield seen
    finally:
        ending.set()
        seen.update(heard.get())
        process.join()


def _beset(port: int, ending: Event, heard: Queue[Counter[str]]) -> None:
    seen = Counter[str]()
    threads = [threading.Thread(target=_large, args=(port, ending, seen)) for _ in range(2)]
    threads += [threading.Thread(target=_slow, args=(port, ending)) for _ in range(20)]
    for each in threads:
        each.start()
    heard.put(Counter())
    for each in threads:
        each.join()
    heard.put(seen)


def _large(port: int, ending: Event, seen: Counter[str]) -> None:
    raw = request("large", b"x" * LARGE)
    while not ending.is_set():
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as each:
            each.settimeout(60)
            each.sendall(raw)
            seen[each.recv(12).decode()] += 1


def _slow(port: int, ending: Event) -> None:
    while not ending.is_set():
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)) as each:
            for byte in request("slow", b"{}"):
                if ending.wait(1):
                    return
                each.sendall(bytes([byte]))


def resident(pid: int) -> float:
    """Resident memory of a process, in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def spoilt(chance: random.Random) -> bytes:
    """A request that is wrong somewhere, or nowhere: raw bytes, headers, body before or after it was signed."""
    scheme = chance.choice(deliveries.SCHEMES)
    body = bytearray(push() if chance.random() < 0.1 else _small(scheme, chance))
    kind = chance.randrange(6)
    if kind == 0:
        return chance.randbytes(chance.randrange(1, 300))
    if kind in (1, 2):  # signed afterwards: it is read
        for _ in range(chance.randrange(1, 6)):
            at = chance.randrange(len(body))
            body[at : at + chance.randrange(4)] = chance.randbytes(chance.randrange(4))
    made = bytearray(request(str(chance.random()), bytes(body), scheme))
    if kind in (3, 4):
        for _ in range(chance.randrange(1, 8)):
            at = chance.randrange(len(made))
            made[at : at + chance.randrange(8)] = chance.randbytes(chance.randrange(8))
    if kind == 5:
        del made[chance.randrange(1, len(made)) :]
    return bytes(made)


def _small(scheme: str, chance: random.Random) -> bytes:

    return json.dumps(deliveries.document(scheme, path=f"team/{chance.random()}")).encode()


def fuzz(port: int, count: int, seed: int) -> Counter[int]:
    """Answers by status, 0 where the connection was ended without one. Raises TimeoutError for a hang."""
    chance, answers = random.Random(seed), Counter[int]()  # noqa: S311 - the same requests each time
    for _ in range(count):
        with socket.create_connection(("127.0.0.1", port), timeout=60) as each:
            raw = b""
            with contextlib.suppress(ConnectionError):
                each.sendall(spoilt(chance))
                each.shutdown(socket.SHUT_WR)
                while piece := each.recv(65536):
                    raw += piece
        found = STATUS.match(raw)
        answers[int(found[1]) if found else 0] += 1
    return answers


def main() -> None:
    compiled()
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 15.0
    fuzzed = int(sys.argv[2]) if len(sys.argv) > 2 else 100_000
    os.sched_setaffinity(0, set(range(1, os.cpu_count() or 1)) or {0})
    with tempfile.TemporaryDirectory() as place, watching(Path(place)) as (pid, port):
        deliver(port, 4, min(seconds, 2))
        rows = [row("16 connections", *deliver(port, 16, seconds))]
        rows.append(row("64 connections", *deliver(port, 64, seconds)))
        with beset(port) as seen:
            name = "16, beside two clients that send 10 MB and twenty that are slow"
            rows.append(row(name, *deliver(port, 16, seconds)))
        write(
            "intake",
            "Webhooks taken by one core",
            ("what", "deliveries a second", f"of {GOAL}", "median, ms", "99 of 100 within, ms"),
            rows,
            f"Pushes of GitHub of {len(push()) / 1000:.1f} kB, verified, and synced to the disk before each answer; "
            f"{seconds:g} s each. What the clients of 10 MB heard: {told(seen)}.",
        )
        fuzz(port, min(fuzzed, 2000), 1)
        before = resident(pid)
        answers = fuzz(port, fuzzed, 2)
        after = resident(pid)
        errors = sum(many for status, many in answers.items() if status in (500, 502, 504))
        write(
            "intake_fuzz",
            "Random requests to the listener",
            ("requests", "answers of 500", "hangs", "memory before, MiB", "after, MiB"),
            [(str(fuzzed), str(errors), "0", f"{before:.1f}", f"{after:.1f}")],
            f"Answers by status: {told(answers)}; 0 is an end without one.",
        )


def told(counted: Counter[str] | Counter[int]) -> str:
    return ", ".join(f"{what}: {many}" for what, many in sorted(counted.items())) or "nothing"


def row(name: str, rate: float, taken: list[float]) -> tuple[str, ...]:
    ordered = sorted(taken)
    worst = ordered[int(len(ordered) * 0.99)]
    median = statistics.median(ordered)
    return (name, f"{rate:.0f}", f"{rate / GOAL:.2f}", f"{median * 1e3:.1f}", f"{worst * 1e3:.1f}")


if __name__ == "__main__":
    main()
