"""Cron expressions: what is refused, and the moments, against a reading of crontab(5) minute by minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops.domain.cron import Cron, check, check_zone, moments

BERLIN = "Europe/Berlin"


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


def first(cron: Cron, after: datetime, count: int = 1) -> list[datetime]:
    return list(islice(moments(cron, after), count))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@daily",
        "* * * *",
        "0 0 3 * * 1",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "*/0 * * * *",
        "5-1 * * * *",
        "* * * FOO *",
        "a b c d e",
        "-1 * * * *",
        "0 0 L/2 * L",
        "0 0 31 2,4 *",
        "0 0 30 2 *",
        "0 0 30 2 */9",
        ",".join(["1"] * 200) + " * * * *",
    ],
)
def test_what_is_no_expression_or_never_comes_is_refused(text):
    with pytest.raises(ValueError, match="expected a cron expression"):
        check(text)


@given(st.text(st.sampled_from("0123456789*/-,L#MONJAN W?"), max_size=30))
def test_any_text_is_an_expression_that_comes_or_is_refused(text):
    try:
        check(text)
    except ValueError:
        return
    assert first(Cron(text), utc(2026, 1, 1))


@pytest.mark.parametrize(
    "name", ["", "Mars/Base", "../../etc/passwd", "/etc/passwd", "Europe", "a\0b"]
)
def test_what_is_no_time_zone_is_refused(name):
    with pytest.raises(ValueError, match="expected a time zone"):
        check_zone(name)


def test_a_fixed_time_that_the_night_lacks_comes_after_the_gap():
    found = first(Cron("30 2 * * *", BERLIN), utc(2026, 3, 27, 12), 3)
    assert found == [utc(2026, 3, 28, 1, 30), utc(2026, 3, 29, 1), utc(2026, 3, 30, 0, 30)]


def test_two_fixed_times_in_the_gap_are_one_moment():
    found = first(Cron("0,30 2 29 3 *", BERLIN), utc(2026, 3, 28), 2)
    assert found == [utc(2026, 3, 29, 1), utc(2027, 3, 29, 0)]


@pytest.mark.parametrize("minutes", range(0, 180, 7))
def test_a_fixed_time_in_the_repeated_hour_comes_once(minutes):
    """From wherever one looks: 02:30 is 00:30 UTC, and not again at 01:30 UTC."""
    start = utc(2026, 10, 24, 23) + timedelta(minutes=minutes)
    found = first(Cron("30 2 * * *", BERLIN), start)
    assert found == [
        utc(2026, 10, 25, 0, 30) if start < utc(2026, 10, 25, 0, 30) else utc(2026, 10, 26, 1, 30)
    ]


def test_what_comes_every_so_often_follows_elapsed_time():
    found = first(Cron("*/30 * * * *", BERLIN), utc(2026, 10, 24, 23, 59), 6)
    assert found == [utc(2026, 10, 25) + timedelta(minutes=30 * number) for number in range(6)]


def _field(least: int, most: int):
    one = st.integers(least, most)
    spans = st.tuples(one, one).map(sorted).map(lambda pair: f"{pair[0]}-{pair[1]}")
    listed = st.lists(one, min_size=1, max_size=3).map(lambda found: ",".join(map(str, found)))
    steps = st.integers(1, most).map("*/{}".format)
    return st.one_of(st.just("*"), one.map(str), spans, listed, steps)


def _values(text: str, least: int, most: int) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        low, _, high = span.partition("-")
        start, end = (least, most) if span == "*" else (int(low), int(high or low))
        found |= set(range(start, end + 1, int(step or 1)))
    return found


def _matches(text: str, when: datetime) -> bool:
    """crontab(5): day of the month and day of the week are alternatives, unless one begins with `*`."""
    minute, hour, day, month, weekday = text.split()
    on_day = when.day in _values(day, 1, 31)
    on_weekday = when.isoweekday() % 7 in {value % 7 for value in _values(weekday, 0, 6)}
    both = day.startswith("*") or weekday.startswith("*")
    return (
        when.minute in _values(minute, 0, 59)
        and when.hour in _values(hour, 0, 23)
        and when.month in _values(month, 1, 12)
        and (on_day and on_weekday if both else on_day or on_weekday)
    )


@given(
    st.tuples(_field(0, 59), _field(0, 23), _field(1, 28), st.just("*"), _field(0, 6)).map(
        " ".join
    ),
    st.integers(0, 5 * 366 * 24 * 60 * 60),
)
def test_moments_are_those_of_a_reading_minute_by_minute(text, second):
    after = utc(2024, 1, 1) + timedelta(seconds=second)
    end = after + timedelta(hours=26)
    each = after.replace(second=0, microsecond=0) + timedelta(minutes=1)
    wanted = []
    while each <= end:
        if _matches(text, each):
            wanted.append(each)
        each += timedelta(minutes=1)
    found = []
    for moment in moments(Cron(check(text)), after):
        if moment > end:
            break
        found.append(moment)
    assert found == wanted


@given(
    st.sampled_from(["30 2 * * *", "*/20 * * * *", "0 */3 * * *", "15 1-4 * * SUN", "5 2,3 * * *"]),
    st.sampled_from([BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"]),
    st.integers(0, 2 * 366 * 24 * 60),
)
def test_moments_are_the_same_from_wherever_one_looks(text, zone, minute):
    """What comes after a moment does not depend on where the looking began."""
    start = utc(2026, 1, 1) + timedelta(minutes=minute)
    assert ZoneInfo(zone)
    cron = Cron(text, zone)
    here = first(cron, start, 4)
    assert here == sorted(set(here))
    assert first(cron, here[0], 3) == here[1:]
