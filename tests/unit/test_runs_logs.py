"""The log of a step on disk: its pieces, times, and a reader that follows it."""

import errno
import os
from datetime import UTC, datetime, timedelta

import pytest

from mlops.adapters.executors.local.record import logs, pieces
from mlops.adapters.executors.local.record.pieces import Pieces, Reader

NOON = datetime(2019, 7, 16, 12, tzinfo=UTC)


class Clock:
    def __init__(self):
        self.moment = NOON

    def __call__(self):
        return self.moment

    def go(self, seconds):
        self.moment += timedelta(seconds=seconds)


def texts(reader, *, ended=False):
    return [line.text for line in reader.read(ended=ended)]


def test_a_line_has_the_time_of_its_first_byte(tmp_path):
    clock = Clock()
    log = Pieces(tmp_path / "s.log", clock)
    log.write(b"one\ntw")
    clock.go(1)
    log.write(b"o\nthree\n")
    clock.go(1.5)
    log.write(b"four")
    log.close()
    found = list(Reader(tmp_path / "s.log", "t", "s").read(ended=True))
    assert [(line.text, (line.time - NOON).total_seconds()) for line in found] == [
        ("one", 0.0), ("two", 0.0), ("three", 1.0), ("four", 2.5),
    ]  # fmt: skip
    assert {(line.task, line.step, line.partial) for line in found} == {("t", "s", False)}
    assert (tmp_path / "s.log").read_bytes() == b"one\ntwo\nthree\nfour"


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 1000])
def test_a_follower_reads_each_line_once_wherever_pieces_and_writes_part(tmp_path, size):
    content = "eins\nzwei\r\ndrei\rvi\u00e9r\n\nsechs".encode()
    log = Pieces(tmp_path / "s.log", Clock(), size=40, kept=1000)
    reader = Reader(tmp_path / "s.log", "t", "s")
    found = texts(reader)
    for start in range(0, len(content), size):
        log.write(content[start : start + size])
        found += texts(reader)
    log.close()
    assert found + texts(reader, ended=True) == ["eins", "zwei", "drei", "vi\u00e9r", "", "sechs"]


def test_the_beginning_and_the_end_are_kept(tmp_path):
    log = Pieces(tmp_path / "s.log", Clock(), size=1016, kept=2)
    for number in range(1000):
        log.write(b"line %04d\n" % number)
    log.close()
    found = texts(Reader(tmp_path / "s.log", "t", "s"), ended=True)
    assert found[0] == "line 0000"
    assert found[-1] == "line 0999"
    gap = next(at for at, text in enumerate(found) if text.startswith("mlops"))
    missing = int(found[gap].split()[1])
    assert found[gap] == f"mlops: {missing} bytes of the output were not kept"
    whole = sum(len(text) + 1 for at, text in enumerate(found) if at != gap)
    assert whole + missing in range(10_000, 10_003), "what is not told as missing is there"
    assert len(list(tmp_path.iterdir())) == 2 * 3


def test_a_follower_that_was_left_behind_says_what_it_missed(tmp_path):
    log = Pieces(tmp_path / "s.log", Clock(), size=1016, kept=2)
    reader = Reader(tmp_path / "s.log", "t", "s")
    log.write(b"first\n")
    assert texts(reader) == ["first"]
    for number in range(1000):
        log.write(b"line %04d\n" % number)
    found = texts(reader)
    assert sum(text.startswith("mlops: ") for text in found) == 1
    log.write(b"last\n")
    assert texts(reader) == ["last"]
    log.close()


def test_a_second_attempt_goes_on_where_the_first_ended(tmp_path):
    for number in range(300):
        log = Pieces(tmp_path / "s.log", Clock(), size=1016, kept=2)
        log.write(b"line %04d\n" % number)
        log.close()
    found = texts(Reader(tmp_path / "s.log", "t", "s"), ended=True)
    assert (found[0], found[-1]) == ("line 0000", "line 0299")
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 4 * 2100


def test_a_long_line_comes_in_parts(tmp_path):
    log = Pieces(tmp_path / "s.log", Clock())
    log.write(b"x" * (3 * pieces.LONGEST + 5) + b"\nnext\n")
    log.close()
    found = list(Reader(tmp_path / "s.log", "t", "s").read(ended=True))
    assert [(len(line.text), line.partial) for line in found] == [
        *[(pieces.LONGEST, True)] * 3, (5, False), (4, False),
    ]  # fmt: skip


def test_a_full_disk_is_said_and_stops_nothing(tmp_path, monkeypatch):
    heard, real = [], os.write
    log = logs.StepLog(tmp_path / "s.log", heard.append)
    log.write(b"before\n")

    def write(descriptor, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", write)
    log.write(b"lost\n")
    monkeypatch.setattr(os, "write", real)
    log.write(b"after\n")
    log.close()
    assert heard == [
        "before",
        "lost",
        "after",
        "mlops: the disk is full, 5 bytes of the output are lost",
    ]
    assert (tmp_path / "s.log").read_bytes() == b"before\nafter\n"


def test_a_log_without_index_has_no_times_but_its_lines(tmp_path):
    (tmp_path / "s.log").write_bytes(b"a\nb")
    found = list(Reader(tmp_path / "s.log", "t", "s").read(ended=True))
    assert [(line.time, line.text) for line in found] == [(None, "a"), (None, "b")]
    assert texts(Reader(tmp_path / "none.log", "t", "s"), ended=True) == []


def test_a_link_in_place_of_a_log_is_not_followed(tmp_path):
    (tmp_path / "s.log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        Pieces(tmp_path / "s.log", Clock())
    assert not (tmp_path / "elsewhere").exists()
