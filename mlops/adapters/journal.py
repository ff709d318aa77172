"""The journal of deliveries: sqlite, in which one is on the disk before anybody is told that it is taken.

One thread writes, and what waits for it is committed together: many requests share one sync of the disk.
The file may be deleted at any time: it holds what to look at, and a look decides by git alone.
"""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from mlops.adapters import journalfile
from mlops.domain.delivery import Delivery
from mlops.errors import JournalError
from mlops.ports import Pending

MOST_PENDING = (
    10_000  # deliveries that nobody looked for: beyond it something is wrong with the watcher
)
KEPT = timedelta(days=7)  # how long a delivery is remembered, and a replay of it known
MOST_KEPT = 50_000
_AT_ONCE = 512  # of one commit
_GIVEN_AT_ONCE = 2_000
_OTHERS = 1.0  # seconds between two questions for what another process wrote
_PRUNE = 60.0  # seconds between two prunings

_PENDING = """
SELECT number, document FROM deliveries WHERE outcome IS NULL AND number > ? ORDER BY number LIMIT ?
"""
_ADD = """
INSERT INTO deliveries (provider, id, digest, received, document) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (provider, id) DO NOTHING
"""
_FINISH = "UPDATE deliveries SET outcome = ?, finished = ? WHERE number = ? AND outcome IS NULL"
_FORGET = """
DELETE FROM deliveries WHERE outcome IS NOT NULL
AND (finished < ? OR number IN (SELECT number FROM deliveries ORDER BY number DESC LIMIT -1 OFFSET ?))
"""


class Kept(StrEnum):
    """What became of a delivery that was to be kept."""

    NEW = "new"
    DUPLICATE = "duplicate"  # known, with the same body
    CONFLICT = "conflict"  # its id is known, with another body
    FULL = "full"  # too many wait already


@dataclass(frozen=True, slots=True)
class _Add:
    delivery: Delivery
    document: str
    answer: Future[Kept]


@dataclass(frozen=True, slots=True)
class _Finish:
    numbers: tuple[int, ...]
    outcome: str


_Job = _Add | _Finish | None  # None: end


class Journal:
    """The deliveries of a watcher; meets `Deliveries`. Several processes may share one file."""

    def __init__(
        self, path: Path, say: Callable[[str], None], *, most_pending: int = MOST_PENDING
    ) -> None:
        """Open the file, or begin one. Raises JournalError where it cannot be written."""
        self.trouble = ""  # why the last commit failed; empty where it did not
        self.failures = 0  # commits that failed
        self._file = journalfile.JournalFile(path, say)
        self._most_pending = most_pending
        self._file.open()
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._came = threading.Event()
        self._given = 0
        self._pruned = -_PRUNE
        self._writer = threading.Thread(target=self._write, name="journal", daemon=True)
        self._writer.start()

    def add(self, delivery: Delivery) -> Future[Kept]:
        """Keep a delivery. The answer comes once it is on the disk; JournalError where it cannot be kept."""
        answer: Future[Kept] = Future()
        self._jobs.put(_Add(delivery, journalfile.text(delivery), answer))
        return answer

    def wait(self, timeout: float) -> bool:
        end = time.monotonic() + timeout
        while not self._came.is_set():
            if self._newest() > self._given:
                return True
            left = end - time.monotonic()
            if left <= 0:
                return False
            self._came.wait(min(left, _OTHERS))
        return True

    def pending(self, after: int = 0) -> tuple[Pending, ...]:
        self._came.clear()
        rows = self._file.read(
            _PENDING,
            after,
            _GIVEN_AT_ONCE,
        )
        self._given = rows[-1][0] if rows else self._given
        found = []
        for number, document in rows:
            try:
                found.append(Pending(number, journalfile.delivery(document)))
            except (ValueError, TypeError, KeyError):  # somebody else wrote it
                self.done([number], "unreadable")
        return tuple(found)

    def waiting(self) -> int:
        """How many deliveries nobody has looked for yet."""
        rows = self._file.read("SELECT count(*) FROM deliveries WHERE outcome IS NULL")
        return int(rows[0][0]) if rows else 0

    def done(self, numbers: Sequence[int], outcome: str) -> None:
        if numbers:
            self._jobs.put(_Finish(tuple(numbers), outcome))

    def close(self) -> None:
        """Write what is left, and end."""
        self._jobs.put(None)
        self._writer.join()

    def _newest(self) -> int:
        rows = self._file.read("SELECT max(number) FROM deliveries WHERE outcome IS NULL")
        return int(rows[0][0] or 0) if rows else 0

    def _write(self) -> None:
        ending = False
        while not ending:
            jobs = self._batch()
            ending = None in jobs
            self._carry_out([job for job in jobs if job is not None])
        self._file.close()

    def _batch(self) -> list[_Job]:
        jobs = [self._jobs.get()]
        with contextlib.suppress(queue.Empty):
            while len(jobs) < _AT_ONCE and jobs[-1] is not None:
                jobs.append(self._jobs.get_nowait())
        return jobs

    def _carry_out(self, jobs: Sequence[_Add | _Finish]) -> None:
        added = [job for job in jobs if isinstance(job, _Add)]
        try:
            kept = self._commit(jobs)
        except JournalError as exc:
            self.failures += 1
            self.trouble = exc.message
            for job in added:
                with contextlib.suppress(InvalidStateError):  # nobody waits for it any more
                    job.answer.set_exception(exc)
            return
        self.trouble = ""
        if Kept.NEW in kept:
            self._came.set()
        for job, answer in zip(added, kept, strict=True):
            with contextlib.suppress(InvalidStateError):
                job.answer.set_result(answer)

    def _commit(self, jobs: Sequence[_Add | _Finish]) -> list[Kept]:
        """What became of each that was to be added, all of it on the disk."""
        with self._file.transaction() as connection:
            room = self._most_pending - _count(connection)
            kept = []
            for job in jobs:
                if isinstance(job, _Add):
                    kept.append(_add(connection, job, room))
                    room -= kept[-1] is Kept.NEW
                else:
                    moment = _seconds(datetime.now(UTC))
                    rows = [(job.outcome, moment, number) for number in job.numbers]
                    room += connection.executemany(_FINISH, rows).rowcount
            self._prune(connection)
        return kept

    def _prune(self, connection: sqlite3.Connection) -> None:
        if time.monotonic() - self._pruned >= _PRUNE:
            self._pruned = time.monotonic()
            connection.execute(_FORGET, (_seconds(datetime.now(UTC) - KEPT), MOST_KEPT))


def _count(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT count(*) FROM deliveries WHERE outcome IS NULL").fetchone()
    return int(row[0])


def _add(connection: sqlite3.Connection, job: _Add, room: int) -> Kept:
    asked = job.delivery
    known = connection.execute(
        "SELECT digest FROM deliveries WHERE provider = ? AND id = ?", (asked.provider, asked.id)
    ).fetchone()
    if known is not None:
        return Kept.DUPLICATE if known[0] == asked.digest else Kept.CONFLICT
    if room <= 0:
        return Kept.FULL
    row = (asked.provider, asked.id, asked.digest, _seconds(asked.received), job.document)
    connection.execute(_ADD, row)
    return Kept.NEW


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())
