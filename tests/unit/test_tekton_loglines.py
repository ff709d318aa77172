"""A container's log as the kubelet sends it: lines whole, each once, wherever the wire breaks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mlops.adapters.cluster import backoff
from mlops.adapters.executors.tekton.loglines import LONGEST, Reading

NOON = datetime(2019, 7, 16, 12, tzinfo=UTC)


def at(seconds: float, zone: int = 0) -> bytes:
    """A time as the kubelet writes it, on a node so many hours ahead."""
    when = NOON + timedelta(seconds=seconds, hours=zone)
    return f"{when:%Y-%m-%dT%H:%M:%S.%f}000{f'+{zone:02}:00' if zone else 'Z'}".encode()


def line(seconds: float, text: bytes, zone: int = 0) -> bytes:
    return at(seconds, zone) + b" " + text + b"\n"


def read(reading: Reading, raw: bytes, size: int = 1 << 16, now: datetime = NOON) -> list[str]:
    pieces = [raw[start : start + size] for start in range(0, len(raw), size)]
    return [each.text for piece in pieces for each in reading.take(piece, now)]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_lines_are_whole_wherever_pieces_part(size: int) -> None:
    reading = Reading("t", "s")
    raw = line(0, b"eins") + line(0, b"") + line(1, b"\0\xff\x80") + at(2) + " drü".encode()
    found = read(reading, raw, size)
    assert found + [each.text for each in reading.end()] == ["eins", "", "\0��", "drü"]
    assert reading.end() == []


@pytest.mark.parametrize("zone", [0, 2])
@pytest.mark.parametrize("cut", range(0, 190, 9))
def test_after_a_break_nothing_is_lost_and_nothing_told_twice(cut: int, zone: int) -> None:
    lines = [(0, b"a"), (0.5, b"b"), (0.5, b"b"), (0.5, b"c"), (1.25, b"d"), (1.5, b"e")]
    reading = Reading("t", "s")
    whole = b"".join(line(when, text, zone) for when, text in lines)
    found = read(reading, whole[:cut])
    reading.broken()
    since = datetime.fromisoformat(reading.since) if reading.since else NOON
    again = [each for each in lines if NOON + timedelta(seconds=each[0]) >= since]
    found += read(reading, b"".join(line(when, text, zone) for when, text in again))
    assert found == ["a", "b", "b", "c", "d", "e"]


@pytest.mark.parametrize("cut", [10, LONGEST - 1, LONGEST + 60, 3 * LONGEST, 5 * LONGEST + 90])
def test_a_very_long_line_takes_little_room_and_goes_on_after_a_break(cut: int) -> None:
    text = "ü" * (5 * LONGEST // 2 + 7)
    raw = line(0, b"before") + line(0, text.encode()) + line(0, b"after")
    reading = Reading("t", "s")
    found = reading.take(raw[:cut], NOON)
    reading.broken()
    for start in range(0, len(raw), 5000):
        found += reading.take(raw[start : start + 5000], NOON)
        assert len(reading._rest) <= LONGEST
    assert "".join(each.text + ("" if each.partial else "\n") for each in found) == (
        f"before\n{text}\nafter\n"
    )
    assert {each.time for each in found} == {NOON}


def test_what_the_kubelet_itself_says_is_a_line_too() -> None:
    found = read(Reading("t", "s"), b"unable to retrieve container logs for x\n")
    assert found == ["unable to retrieve container logs for x"]


def test_lines_that_were_dropped_before_they_could_be_read_are_told() -> None:
    reading = Reading("t", "s")
    read(reading, line(0, b"one"), now=NOON + timedelta(seconds=9))
    told, two = read(reading, line(8, b"two"), now=NOON + timedelta(seconds=9))
    assert "nothing is there from 12:00:00 to 12:00:08" in told
    assert two == "two"


def test_a_step_that_says_nothing_for_a_while_dropped_nothing() -> None:
    reading = Reading("t", "s")
    read(reading, line(0, b"one"), now=NOON + timedelta(seconds=0.1))
    assert read(reading, line(8, b"two"), now=NOON + timedelta(seconds=8)) == ["two"]


def test_a_large_log_that_begins_late_is_told() -> None:
    many = b"".join(line(30, b"x" * 100) for _ in range(1000))
    first, *others = read(Reading("t", "s", NOON), many)
    assert "this log begins at 12:00:30, the step at 12:00:00" in first
    assert len(others) == 1000
    small = b"".join(line(30, b"x" * 100) for _ in range(10))
    assert len(read(Reading("t", "s", NOON), small)) == 10
    assert len(read(Reading("t", "s", NOON + timedelta(seconds=25)), many)) == 1000


def test_patience_begins_with_the_first_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(backoff.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(backoff.time, "sleep", lambda _: None)
    waiting = backoff.Backoff(60)
    now[0] = 3600.0  # a step that said nothing for an hour, and then the API server went
    assert waiting.wait()
    now[0] += 61
    assert not waiting.wait()
    waiting.reset()
    assert waiting.wait()
