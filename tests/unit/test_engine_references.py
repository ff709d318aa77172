from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlops.domain.digest import Digest, ReleaseId
from mlops.domain.environment import QuarantineEntry
from mlops.domain.reference import (
    Day,
    DigestReference,
    EnvironmentReference,
    Instant,
    PinReference,
    TimeReference,
    parse,
    parse_release,
    parse_until,
    parse_when,
    parse_zone,
)
from mlops.engine import references
from mlops.errors import RefusedError, UsageError
from mlops.manifests.overlay import dump_quarantine
from tests.fakes.estate import Estate, digest, release
from tests.fakes.gitops import START

NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
INSTANTS = st.datetimes(timezones=st.just(UTC)).map(Instant)
DAYS = st.dates(max_value=date(9999, 12, 30)).map(lambda day: parse_when(day.isoformat()))
REFERENCES = st.one_of(
    st.builds(DigestReference, NAMES, st.from_regex(r"[0-9a-f]{6,64}", fullmatch=True)),
    st.builds(PinReference, NAMES, NAMES, st.integers(0, 999_999)),
    st.builds(TimeReference, NAMES, NAMES, st.one_of(INSTANTS, DAYS)),
    st.builds(EnvironmentReference, NAMES),
)
HOSTILE = [
    "",
    "-",
    "--upload-pack=touch /tmp/x@prod",
    "-x@prod",
    "spam@-prod",
    "spam\0@prod",
    "spam@prod\n",
    "spam\n@prod",
    "spam@prod\nspam@dev",
    "$(rm -rf ~)@prod",
    "spam@$(id)",
    "spam@prod~$(id)",
    "spam @prod",
    "spam@prod~",
    "spam@prod~-1",
    "spam@prod~1~1",
    "spam@prod~٣",  # Arabic three: int() would take it
    "spаm@prod",  # Cyrillic а
    "spam＠prod",  # full width @
    "spam@prod@{}",
    "spam@prod@{yesterday}",
    "spam@prod@{2019-07-16",
    "spam@prod@{2019-13-40}",
    "spam@prod@{２０１９-07-16}",
    "spam@sha256:abc",
    "spam@sha256:ABCDEF",
    "spam@sha256:" + "0" * 65,
    "spam@sha512:" + "0" * 64,
    "@prod",
    "spam@",
    "../../etc@prod",
    "a/b@prod",
    "spam@prod/../dev",
    "\udcff@prod",
    "s" * 1000 + "@prod",
]


@given(REFERENCES)
def test_references_round_trip(reference):
    assert parse(str(reference)) == reference


@given(st.text())
@example("spam@prod@{0001-01-01T00:00:00+23:59}")
@example("spam@prod@{9999-12-31}")
@example("spam@prod@{2019-07-16T12:00:00+99:99}")
def test_anything_else_is_a_usage_error(text):
    try:
        found = parse(text)
    except UsageError:
        return
    assert parse(str(found)) == found


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_references_are_refused_in_plain_words(text):
    with pytest.raises(UsageError) as caught:
        parse_release(text)
    assert caught.value.message.isascii()
    assert caught.value.hint


def test_times_are_in_utc_and_days_in_the_zone_asked_for():
    vienna = ZoneInfo("Europe/Vienna")
    assert parse_when("2019-07-16T12:00:00Z") == Instant(datetime(2019, 7, 16, 12, tzinfo=UTC))
    assert parse_when("2019-07-16 14:00+02:00") == Instant(datetime(2019, 7, 16, 12, tzinfo=UTC))
    assert parse_when("2019-07-16T14:00", vienna) == Instant(datetime(2019, 7, 16, 12, tzinfo=UTC))
    short = parse_when("2019-03-31", vienna)  # summer time begins: 23 hours
    assert isinstance(short, Day)
    assert short.end - short.start == timedelta(hours=23)


def test_zones():
    assert parse_zone("UTC") is UTC
    assert parse_zone("-03:30") == timezone(-timedelta(hours=3, minutes=30))
    for text in ("Mars/Olympus", "../etc/passwd", "/etc/passwd", "\0", "America", "+99:99"):
        with pytest.raises(UsageError, match="no time zone"):
            parse_zone(text)


def test_until_takes_spans_and_nothing_that_has_passed():
    now = datetime(2024, 1, 1, tzinfo=UTC)
    assert parse_until("4h", now) == now + timedelta(hours=4)
    assert parse_until("90min", now) == now + timedelta(minutes=90)
    assert parse_until("2024-01-02", now) == now + timedelta(days=1)
    for text in ("2023-12-31", "0s", "999999w", "soon", "-4h", "4", "٤h"):
        with pytest.raises(UsageError):
            parse_until(text, now)


def resolved(estate: Estate, text: str) -> ReleaseId:
    return references.release(estate.environments(), text)


def test_a_unique_prefix_of_six_digits_names_a_release():
    estate = Estate()
    estate.released("A", "B", to=())
    name = digest("A").hex
    assert resolved(estate, f"spam@sha256:{name[:6]}") == release("A")
    assert resolved(estate, f"spam@sha256:{name}") == release("A")


def test_an_ambiguous_prefix_lists_what_it_could_mean():
    estate = Estate()
    twins = [Digest("abcdef" + "0" * 58), Digest("abcdef" + "1" * 58)]
    for twin in twins:
        estate.write(f"releases/spam/{twin.hex}.json", b"{}")
    with pytest.raises(UsageError) as caught:
        resolved(estate, "spam@sha256:abcdef")
    for twin in twins:
        assert str(twin) in str(caught.value)
    assert resolved(estate, "spam@sha256:abcdef0").digest == twins[0]


def test_a_pin_without_record_is_found_by_prefix_too():
    estate = Estate()
    estate.pin("prod", spam="A")
    assert resolved(estate, f"spam@sha256:{digest('A').hex[:8]}") == release("A")


def test_what_an_environment_pins_and_pinned_before():
    estate = Estate()
    estate.released("A", "B", "C")
    assert resolved(estate, "spam@prod") == release("C")
    assert resolved(estate, "spam@prod~1") == release("B")
    assert resolved(estate, "spam@prod~2") == release("A")
    with pytest.raises(RefusedError, match="had only 2 good releases of spam"):
        resolved(estate, "spam@prod~3")


def test_what_a_rollback_left_is_not_one_back_and_the_message_says_so():
    estate = Estate()
    estate.released("A", "B")
    estate.ours("rollback", "prod", spam="A")
    with pytest.raises(RefusedError, match="had no good releases of spam") as caught:
        resolved(estate, "spam@prod~1")
    assert "what a rollback left" in str(caught.value)
    assert "mlops history prod" in caught.value.hint


def test_a_digest_in_the_place_of_an_environment_is_recognised():
    with pytest.raises(UsageError, match=r"Did you mean spam@sha256:3943090c\?"):
        resolved(Estate(), "spam@3943090c")
    with pytest.raises(UsageError, match="There is: dev, staging, prod"):
        resolved(Estate(), "spam@39430")


def test_one_back_after_a_rollback_is_what_stood_before_its_target():
    estate = Estate()
    estate.released("Z", "A", "B")
    estate.ours("rollback", "prod", spam="A")
    assert resolved(estate, "spam@prod~1") == release("Z")


def test_one_back_is_never_quarantined_and_never_without_a_record():
    estate = Estate()
    estate.released("A", "B")
    estate.pin("prod", spam="unrecorded")
    estate.released("C")
    entry = QuarantineEntry("spam", digest("B"), START, "Ada", "bad")
    estate.write("quarantine.yaml", dump_quarantine([entry]))
    assert resolved(estate, "spam@prod~1") == release("A")


def test_a_time_and_a_day():
    estate = Estate()
    estate.released("A", to=("prod",))
    first = estate.gitops.clock()
    estate.gitops.clock.pass_time(days=2)
    estate.released("B", to=("prod",))
    assert resolved(estate, f"spam@prod@{{{Instant(first)}}}") == release("A")
    assert resolved(estate, "spam@prod@{2024-01-02}") == release("A")
    with pytest.raises(UsageError, match="pinned 2 releases of spam on 2024-01-03") as caught:
        resolved(estate, "spam@prod@{2024-01-03}")
    assert release("A").short in str(caught.value)
    assert release("B").short in str(caught.value)
    with pytest.raises(RefusedError, match="prod pinned no spam on 2023-01-01"):
        resolved(estate, "spam@prod@{2023-01-01}")


def test_a_day_of_one_release_that_went_and_came_back_has_one_answer():
    estate = Estate()
    estate.released("A", to=("prod",))
    estate.write("prod/kustomization.yaml", Estate().read("prod/kustomization.yaml"))
    estate.pin("prod", spam="A")
    assert resolved(estate, "spam@prod@{2024-01-01}") == release("A")


def test_never_pinned_and_taken_out():
    estate = Estate()
    with pytest.raises(RefusedError, match=r"^prod has never pinned spam$"):
        resolved(estate, "spam@prod")
    estate.pin("prod", spam="A")
    estate.write("prod/kustomization.yaml", Estate().read("prod/kustomization.yaml"))
    with pytest.raises(RefusedError, match="prod pins no spam now"):
        resolved(estate, "spam@prod")


@pytest.mark.parametrize(
    ("text", "nearest"),
    [("spma@prod", "spam"), ("spam@prd", "prod"), ("spam@pord@{2024-01-01}", "prod")],
)
def test_unknown_names_give_the_nearest(text, nearest):
    with pytest.raises(UsageError, match=f"Did you mean {nearest}"):
        resolved(Estate(), text)


def test_an_environment_alone_where_one_is_allowed():
    environments = Estate().environments()
    found = references.release_or_environment(environments, "prod")
    assert found == EnvironmentReference("prod")
    with pytest.raises(UsageError, match="Did you mean prod"):
        references.release_or_environment(environments, "prood")


def test_a_shallow_clone_does_not_guess_what_stood_before():
    estate = Estate()
    estate.released("A", "B", to=("prod",))
    estate.gitops.shallow.add(estate.gitops.tip())
    with pytest.raises(RefusedError, match="cut off"):
        resolved(estate, "spam@prod~1")


def test_a_prefix_is_found_though_another_environment_cannot_be_read():
    estate = Estate()
    estate.released("A", to=("prod",))
    estate.write("staging/kustomization.yaml", b"[")
    found = references.release(estate.environments(), f"spam@sha256:{digest('A').hex[:8]}")
    assert found.digest == digest("A")
