"""The journal of deliveries on a real disk: killed, filled, broken, removed, shared."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mlops.adapters import journalfile
from mlops.adapters.journal import Journal, Kept
from mlops.domain.delivery import Delivery, Provider, RefMove
from mlops.errors import JournalError

PUSH = Delivery(
    Provider.GITHUB,
    "72d3162e-cc78-11e3-81ab-4c9367dc0958",
    "push",
    ("https://example.com/team/shop.git", "team/shop"),
    (RefMove("refs/heads/main", "1" * 40, "2" * 40), RefMove("refs/tags/v1", None, "3" * 40)),
    datetime(2026, 11, 28, 12, tzinfo=UTC),
    "ab" * 32,
)
PATIENCE = 60  # seconds; each wait of these tests ends long before


def numbered(number: int, **more) -> Delivery:
    return replace(PUSH, id=f"delivery-{number}", **more)


@pytest.fixture
def told():
    return []


@pytest.fixture
def opened(tmp_path, told):
    journals = []

    def open_(**more) -> Journal:
        journals.append(Journal(tmp_path / "state" / "deliveries.db", told.append, **more))
        return journals[-1]

    yield open_
    for journal in journals:
        journal.close()


def keep(journal: Journal, delivery: Delivery) -> Kept:
    return journal.add(delivery).result(PATIENCE)


def test_what_is_kept_is_pending_until_it_is_done(opened):
    journal = opened()
    assert keep(journal, PUSH) is Kept.NEW
    (waiting,) = journal.pending()
    assert waiting.delivery == PUSH
    journal.done([waiting.number], "looked")
    assert keep(journal, numbered(2)) is Kept.NEW  # after it: the journal carries out in turn
    assert [each.delivery.id for each in journal.pending()] == ["delivery-2"]


def test_the_next_process_has_what_the_last_left(opened):
    first = opened()
    keep(first, PUSH)
    first.close()
    again = opened()
    assert again.wait(0)
    assert [each.delivery for each in again.pending()] == [PUSH]
    assert keep(again, PUSH) is Kept.DUPLICATE


def test_an_id_with_another_body_is_a_conflict_and_with_another_provider_none(opened):
    journal = opened()
    keep(journal, PUSH)
    assert (
        keep(journal, replace(PUSH, received=PUSH.received + timedelta(hours=1))) is Kept.DUPLICATE
    )
    assert keep(journal, replace(PUSH, digest="cd" * 32)) is Kept.CONFLICT
    assert keep(journal, replace(PUSH, provider=Provider.GITEA)) is Kept.NEW
    assert len(journal.pending()) == 2


def test_waiting_ends_when_one_comes_and_not_for_what_was_given(opened):
    journal = opened()
    assert not journal.wait(0)
    timer = threading.Timer(0.05, journal.add, [PUSH])
    timer.start()
    assert journal.wait(PATIENCE)
    timer.join()
    assert len(journal.pending()) == 1
    assert not journal.wait(0)


def test_another_process_is_heard_too(opened):
    watcher, listener = opened(), opened()
    assert not watcher.wait(0)
    keep(listener, PUSH)
    assert watcher.wait(PATIENCE)
    assert [each.delivery for each in watcher.pending()] == [PUSH]
    assert keep(watcher, PUSH) is Kept.DUPLICATE


def test_too_many_that_wait_are_not_taken(opened):
    journal = opened(most_pending=2)
    assert [keep(journal, numbered(n)) for n in range(4)] == [
        Kept.NEW,
        Kept.NEW,
        Kept.FULL,
        Kept.FULL,
    ]
    journal.done([journal.pending()[0].number], "looked")
    assert keep(journal, numbered(9)) is Kept.NEW


def test_what_was_done_long_ago_is_forgotten_and_what_waits_is_not(opened, tmp_path):
    journal = opened()
    keep(journal, numbered(1))
    keep(journal, numbered(2))
    journal.done([journal.pending()[0].number], "looked")
    journal.close()
    with sqlite3.connect(tmp_path / "state/deliveries.db") as connection:
        connection.execute("UPDATE deliveries SET received = 0")
        connection.execute("UPDATE deliveries SET finished = 0 WHERE outcome IS NOT NULL")
    connection.close()
    again = opened()
    assert keep(again, numbered(3)) is Kept.NEW  # each start prunes with its first commit
    assert keep(again, numbered(1)) is Kept.NEW
    assert keep(again, numbered(2)) is Kept.DUPLICATE


def test_a_removed_file_is_begun_anew_and_its_numbers_mean_nothing_in_it(opened, tmp_path):
    journal = opened()
    keep(journal, PUSH)
    old = journal.pending()
    for path in (tmp_path / "state").iterdir():
        path.unlink()
    assert keep(journal, PUSH) is Kept.NEW
    journal.done([each.number for each in old], "looked")
    assert keep(journal, numbered(2)) is Kept.NEW
    assert [each.delivery.id for each in journal.pending()] == [PUSH.id, "delivery-2"]


def test_a_broken_file_is_put_aside(opened, tmp_path, told):
    (tmp_path / "state").mkdir()
    (tmp_path / "state/deliveries.db").write_bytes(b"no database at all" * 500)
    journal = opened()
    assert keep(journal, PUSH) is Kept.NEW
    assert "put aside as" in told[0]
    (aside,) = (tmp_path / "state").glob("deliveries.db.broken-*")
    assert aside.read_bytes().startswith(b"no database")


def test_a_file_that_breaks_while_it_is_used_refuses_and_is_begun_anew(opened, tmp_path, told):
    journal = opened()
    keep(journal, PUSH)
    path = tmp_path / "state/deliveries.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    with path.open("r+b") as file:
        file.write(b"x" * 40_000)
    with pytest.raises(JournalError, match="cannot be written"):
        keep(journal, numbered(2))
    assert journal.failures == 1
    assert keep(journal, numbered(2)) is Kept.NEW
    assert journal.trouble == ""
    assert "put aside as" in told[0]


def test_a_locked_file_refuses_and_takes_again_once_it_is_free(opened, tmp_path, monkeypatch):
    monkeypatch.setattr("mlops.adapters.journalfile._PATIENCE", 0.05)
    journal = opened()
    other = sqlite3.connect(tmp_path / "state/deliveries.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(JournalError, match="locked"):
        keep(journal, PUSH)
    assert journal.pending() == ()
    other.execute("ROLLBACK")
    other.close()
    assert keep(journal, PUSH) is Kept.NEW


def test_another_version_is_left_alone(opened, tmp_path):
    opened().close()
    path = tmp_path / "state/deliveries.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 7")
    connection.close()
    with pytest.raises(JournalError, match="another version"):
        opened()


def test_what_others_wrote_into_it_is_passed_over(opened, tmp_path):
    journal = opened()
    keep(journal, PUSH)
    with sqlite3.connect(tmp_path / "state/deliveries.db") as connection:
        connection.execute("UPDATE deliveries SET document = '[]'")
    connection.close()
    assert journal.pending() == ()
    keep(journal, numbered(2))
    assert [each.delivery.id for each in journal.pending()] == ["delivery-2"]


KILLED = """
import sys
from dataclasses import replace
from pathlib import Path
from mlops.adapters import journalfile
from mlops.adapters.journal import Journal
journal = Journal(Path(sys.argv[1]), print)
push = journalfile.delivery(sys.argv[2])
for number in range(100000):
    answers = [journal.add(replace(push, id=f"{number}-{part}")) for part in range(7)]
    for part, answer in enumerate(answers):
        answer.result()
        print(f"{number}-{part}", flush=True)
"""


def test_what_was_told_to_be_kept_is_there_after_a_kill(opened, tmp_path):
    path = tmp_path / "state/deliveries.db"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path), journalfile.text(PUSH)], stdout=subprocess.PIPE
    )
    told = [process.stdout.readline() for _ in range(200)]
    process.send_signal(signal.SIGKILL)
    told += process.stdout.readlines()
    process.stdout.close()
    process.wait()
    names = [line.decode().strip() for line in told if line.endswith(b"\n")]
    journal = opened()
    assert {each.delivery.id for each in journal.pending()} >= set(names)
    assert len(names) >= 200
