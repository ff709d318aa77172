"""The file of the journal of deliveries: opened, begun anew where it is gone or broken, read and written."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from mlops.domain.delivery import Delivery, Provider, RefMove
from mlops.errors import JournalError

_PATIENCE = 3.0  # seconds for another process that writes; forges wait 10 s for an answer
_VERSION = 1
_BROKEN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_BESIDE = ("", "-wal", "-shm")
_TABLES = (
    """CREATE TABLE IF NOT EXISTS deliveries (
    number INTEGER PRIMARY KEY AUTOINCREMENT, provider TEXT NOT NULL, id TEXT NOT NULL, digest TEXT NOT NULL,
    received INTEGER NOT NULL, document TEXT NOT NULL, outcome TEXT, finished INTEGER,
    UNIQUE (provider, id)
) STRICT""",
    "CREATE INDEX IF NOT EXISTS pending ON deliveries (number) WHERE outcome IS NULL",
)
_BEGIN = """
INSERT INTO sqlite_sequence SELECT 'deliveries', ? WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence)
"""


class JournalFile:
    """One connection for the thread that writes, and one for each question."""

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        self.path = path
        self._say = say
        self._connection: sqlite3.Connection | None = None
        self._inodes: tuple[int, ...] = ()

    def open(self) -> None:
        """Open it, or begin one. Raises JournalError.

        A broken file is put aside, and another begun: what it held is seen by the watcher's next look.
        """
        self.close()
        try:
            self._connection = self._opened()
        except sqlite3.Error as exc:
            if not broken(exc):
                raise self._error(exc) from exc
            self._put_aside(exc)
            try:
                self._connection = self._opened()
            except sqlite3.Error as again:
                raise self._error(again) from again
        except OSError as exc:
            raise self._error(exc) from exc
        self._inodes = self._found()

    def close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction that is on the disk when the block has ended. Raises JournalError where it is not.

        A file that was deleted under us would take what nobody finds again: this is asked before and after.
        """
        if self._connection is None or self._found() != self._inodes:
            self.open()
        assert self._connection is not None
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield self._connection
            self._connection.execute("COMMIT")
        except Exception as exc:  # with the connection the transaction goes
            self.close()
            if broken(exc):
                self._put_aside(exc)
            raise self._error(exc) from exc
        if self._found() != self._inodes:
            self.close()
            raise JournalError(
                f"the journal of deliveries was removed ({self.path})", retryable=True
            )

    def read(self, question: str, *values: object) -> list[Any]:
        """Rows, as they are now; none where the file cannot be read."""
        try:
            with contextlib.closing(self._connect()) as connection:
                return connection.execute(question, values).fetchall()
        except sqlite3.Error:
            return []

    def _opened(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = self._connect()
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=_PATIENCE,
            isolation_level=None,
            check_same_thread=False,
        )

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """The tables. Numbers begin at the time: those of a file that is gone never mean one in this."""
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version not in (0, _VERSION):
            raise JournalError(
                f"{self.path} is of another version of mlops", hint=f"Remove it: rm {self.path}"
            )
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            error = sqlite3.DatabaseError(found)
            error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise error
        if version == _VERSION:
            return
        connection.execute("BEGIN IMMEDIATE")
        for statement in _TABLES:
            connection.execute(statement)
        connection.execute(_BEGIN, (time.time_ns() // 1000,))
        connection.execute(f"PRAGMA user_version = {_VERSION}")
        connection.execute("COMMIT")

    def _found(self) -> tuple[int, ...]:
        try:
            return tuple(Path(f"{self.path}{end}").stat().st_ino for end in _BESIDE[:2])
        except OSError:
            return ()

    def _put_aside(self, exc: Exception) -> None:
        aside = f"{self.path}.broken-{time.time_ns()}"
        for end in _BESIDE:
            with contextlib.suppress(OSError):
                Path(f"{self.path}{end}").replace(f"{aside}{end}")
        self._say(f"the journal of deliveries is broken ({exc}): put aside as {aside}, begun anew")

    def _error(self, exc: Exception) -> JournalError:
        return JournalError(
            f"the journal of deliveries cannot be written: {exc} ({self.path})", retryable=True
        )


def broken(exc: Exception) -> bool:
    """Whether the file itself is no journal any more; a full disk or another writer is no such thing."""
    code = getattr(exc, "sqlite_errorcode", None)
    return isinstance(code, int) and code & 0xFF in _BROKEN


def text(delivery: Delivery) -> str:
    """A delivery as the journal has it: JSON, in ASCII."""
    return json.dumps(
        {
            "provider": delivery.provider,
            "id": delivery.id,
            "event": delivery.event,
            "repositories": delivery.repositories,
            "refs": [(move.ref, move.old, move.new) for move in delivery.refs],
            "received": delivery.received.isoformat(),
            "digest": delivery.digest,
        }
    )


def delivery(document: str) -> Delivery:
    """The delivery that `text` wrote. Raises ValueError, TypeError, KeyError for what it did not."""
    held = json.loads(document)
    return Delivery(
        Provider(held["provider"]),
        held["id"],
        held["event"],
        tuple(held["repositories"]),
        tuple(RefMove(*move) for move in held["refs"]),
        datetime.fromisoformat(held["received"]),
        held["digest"],
    )
