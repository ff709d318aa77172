from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops.config.environment import parse_holds, parse_quarantine
from mlops.domain.digest import Digest
from mlops.domain.environment import Hold, QuarantineEntry
from mlops.errors import ConfigError
from mlops.manifests.overlay import dump_holds, dump_quarantine, rfc3339

calm = settings(deadline=None)  # the machine may be busy
A, B = Digest("a" * 64), Digest("b" * 64)
SINCE = datetime(2019, 7, 16, 12, tzinfo=UTC)

HOLD = Hold("spam", SINCE, "ana", "wrong labels: all of them", A, None, "12", (A, B))


def test_holds_as_a_whole():
    assert dump_holds(
        [HOLD, Hold("*", SINCE, "bo", "freeze", until=SINCE + timedelta(1))]
    ).decode() == (
        f"""\
holds:
- model: spam
  digest: {A}
  since: "2019-07-16T12:00:00Z"
  actor: ana
  reason: "wrong labels: all of them"
  incident: "12"
  avoid:
  - {A}
  - {B}
- model: "*"
  since: "2019-07-16T12:00:00Z"
  until: "2019-07-17T12:00:00Z"
  actor: bo
  reason: freeze
"""
    )


def test_quarantine_as_a_whole():
    entry = QuarantineEntry("spam", A, SINCE, "ana", "leaks", "0123", "1234e56")
    assert dump_quarantine([entry]).decode() == (
        f'quarantine:\n- model: spam\n  digest: {A}\n  artifact: "0123"\n  source: "1234e56"\n'
        '  since: "2019-07-16T12:00:00Z"\n  actor: ana\n  reason: leaks\n'
    )


def test_nothing_is_an_empty_list():
    assert dump_holds([]) == b"holds: []\n"
    assert dump_quarantine([]) == b"quarantine: []\n"
    assert parse_holds(dump_holds([])) == ()


@pytest.mark.parametrize(
    ("previous", "top"),
    [
        (b"# ours\n\n# read the runbook\nholds: []  # none\n", b"# ours\n\n# read the runbook\n"),
        (b"\xef\xbb\xbf# ours\r\nholds: []\r\n", b"# ours\r\n"),
        (b"\n\nholds: []\n# tail\n", b""),
        (b"holds: []\n", b""),
        (b"", b""),
        (None, b""),
        (b"# only", b""),
    ],
)
def test_a_heading_stays(previous, top):
    assert dump_holds([HOLD], previous) == top + dump_holds([HOLD])
    assert parse_holds(dump_holds([HOLD], previous)) == (HOLD,)


def test_writing_twice_changes_nothing():
    once = dump_holds([HOLD], b"# ours\nholds: []\n")
    assert dump_holds(parse_holds(once), once) == once


def test_times_are_written_in_utc():
    there = datetime(2019, 7, 16, 14, 0, 0, 250, tzinfo=timezone(timedelta(hours=2)))
    assert rfc3339(there) == "2019-07-16T12:00:00.000250Z"


@pytest.mark.parametrize("reason", ["nul\0", "\udcff"])
def test_a_reason_that_no_file_can_hold_is_refused(reason):
    with pytest.raises(ConfigError, match="cannot be written"):
        dump_holds([Hold("spam", SINCE, "ana", reason)])


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
full = texts.filter(lambda text: text.strip() != "")
models = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
digests = st.binary(min_size=32, max_size=32).map(lambda raw: Digest(raw.hex()))
times = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
later = st.datetimes(datetime(2100, 1, 2), datetime(9999, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
holds = st.builds(
    Hold,
    models | st.just("*"),
    times,
    texts,
    texts,
    st.none() | digests,
    st.none() | later,
    st.none() | full,
    st.lists(digests, max_size=3).map(tuple),
)
entries = st.builds(
    QuarantineEntry, models, digests, times, texts, texts, st.none() | full, st.none() | full
)


@calm
@given(st.lists(holds, max_size=4).map(tuple))
def test_holds_are_read_back_as_they_were(value):
    content = dump_holds(value, b"# heading\n")
    assert parse_holds(content) == value
    assert len(yaml.safe_load(content)["holds"]) == len(value)


@calm
@given(st.lists(entries, max_size=4).map(tuple))
def test_quarantine_is_read_back_as_it_was(value):
    assert parse_quarantine(dump_quarantine(value)) == value
