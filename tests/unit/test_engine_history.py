from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops.domain.history import PinRow
from mlops.domain.reference import Instant, parse_when
from mlops.engine.history import History
from mlops.errors import RefusedError
from mlops.manifests import kustomization
from tests.fakes.estate import KUSTOMIZATION, Estate, digest
from tests.fakes.gitops import MemoryGitOps


def history(estate: Estate, environment: str = "prod") -> History:
    return estate.environments().history(environment)


def names(rows, alphabet="ABCDEFG") -> list[str]:
    by_digest = {digest(name): name for name in alphabet}
    return [by_digest[row.digest] for row in rows]


def at(estate: Estate, when: datetime, model: str | None = "spam") -> list[str]:
    return names(history(estate).at(Instant(when), model))


def test_one_row_for_each_pin_that_ever_was_newest_first():
    estate = Estate()
    estate.released("A", "B", to=("prod",))
    estate.ours("rollback", "prod", spam="A")
    rows = list(history(estate).rows())
    assert names(rows) == ["A", "B", "A"]
    assert [row.action for row in rows] == ["rollback", "promote", "promote"]
    assert [row.previous for row in rows] == [digest("B"), digest("A"), None]
    assert rows[0].until is None
    assert [row.until for row in rows[1:]] == [row.since for row in rows[:-1]]


def test_hand_edits_count_and_trailers_of_another_pin_do_not_annotate():
    estate = Estate()
    estate.pin("prod", spam="A")
    estate.ours("promote", "prod", spam="B")
    words = (
        "squash\n\nMlops-Action: rollback\nMlops-Environment: prod\nMlops-Model: spam@sha256:00\n"
    )
    estate.write("prod/kustomization.yaml", estate._pinned("prod", {"spam": "C"}), words)
    assert [row.action for row in history(estate).rows()] == ["edit", "promote", "edit"]


def test_a_commit_for_another_environment_does_not_annotate():
    estate = Estate()
    estate.ours("promote", "staging", spam="A")
    message = f"cherry-pick\n\nMlops-Action: promote\nMlops-Environment: staging\nMlops-Model: spam@{digest('A')}\n"
    estate.write("prod/kustomization.yaml", estate._pinned("prod", {"spam": "A"}), message)
    (row,) = history(estate).rows()
    assert row.action == "edit"


def test_a_pin_taken_out_ends_and_one_put_back_begins_again():
    estate = Estate()
    estate.pin("prod", spam="A")
    bare = Estate().read("prod/kustomization.yaml")
    estate.write("prod/kustomization.yaml", bare)
    gone = estate.gitops.clock()
    estate.pin("prod", spam="A")
    now, then = history(estate).rows("spam")
    assert (then.until, now.until, now.previous) == (gone, None, None)
    assert at(estate, gone) == []


def test_two_models_in_one_commit_are_two_rows_of_it():
    estate = Estate()
    estate.pin("prod", spam="A", eggs="B")
    estate.pin("prod", spam="C", eggs="D")
    moved = history(estate).last_moved()
    assert [(row.model, row.digest) for row in moved] == [
        ("eggs", digest("D")),
        ("spam", digest("C")),
    ]
    assert names(history(estate).rows("eggs")) == ["D", "B"]


def test_images_that_are_no_model_of_ours_are_left_out():
    estate = Estate()
    estate.pin("prod", redis="A")
    assert list(history(estate).rows()) == []


def test_a_version_that_cannot_be_read_is_noted_and_its_mending_made_the_change():
    estate = Estate()
    estate.pin("prod", spam="A")
    good = estate._pinned("prod", {"spam": "B"})
    estate.write("prod/kustomization.yaml", b"images: [unclosed\n")
    mended = estate.write("prod/kustomization.yaml", good)
    rows = list(history(estate).rows())
    assert names(rows) == ["B", "A"]
    assert rows[0].commit == mended
    assert rows[1].until == rows[0].since
    assert len(estate.notes) == 1
    assert "environments/prod/kustomization.yaml" in estate.notes[0]


def test_broken_now_keeps_the_past():
    estate = Estate()
    estate.pin("prod", spam="A")
    estate.write("prod/kustomization.yaml", b"[]\n")
    assert names(history(estate).rows()) == ["A"]


def test_stops_reading_where_the_caller_stops():
    estate = Estate()
    for name in "ABCDEFG":
        estate.pin("prod", spam=name)
    read = []
    real = estate.gitops.line

    def counted(tip, prefix):
        for change in real(tip, prefix):
            read.append(change)
            yield change

    estate.gitops.line = counted
    found = list(islice(history(estate).rows("spam"), 2))
    assert names(found) == ["G", "F"]
    assert len(read) <= 3


def test_each_version_is_parsed_once(monkeypatch):
    estate = Estate()
    for name in "ABCDEFG":
        estate.pin("prod", spam=name)
    fetched = []
    real = estate.gitops.blobs
    monkeypatch.setattr(estate.gitops, "blobs", lambda blobs: fetched.extend(blobs) or real(blobs))
    past = history(estate)
    list(past.rows())
    list(past.rows("spam"))
    assert len(fetched) == len(set(fetched)) == 8


def test_order_is_the_lines_and_no_interval_runs_backwards():
    estate = Estate()
    clock = estate.gitops.clock
    estate.pin("prod", spam="A")
    clock.pass_time(days=1)
    estate.pin("prod", spam="B")  # by a machine whose clock is a day ahead
    clock.pass_time(hours=-20)
    estate.pin("prod", spam="C")
    rows = list(history(estate).rows())
    assert names(rows) == ["C", "B", "A"]
    assert all(row.until is None or row.since <= row.until for row in rows)
    assert rows[1].since == rows[0].since
    assert at(estate, clock()) == ["C"]
    assert at(estate, clock() - timedelta(hours=1)) == ["A"]


def test_a_tip_from_the_future_stands_now():
    estate = Estate()
    estate.pin("prod", spam="A")
    estate.gitops.clock.pass_time(days=1)
    estate.pin("prod", spam="B")
    estate.gitops.clock.pass_time(hours=-12)
    (row, _) = history(estate).rows("spam")
    assert row.since == estate.gitops.clock()
    assert at(estate, estate.gitops.clock()) == ["B"]


def test_at_a_days_every_pin_in_force_even_one_of_the_same_second():
    estate = Estate()
    estate.pin("prod", spam="A")
    estate.gitops.clock.at = datetime(2024, 3, 1, 23, 58, tzinfo=UTC)
    estate.pin("prod", spam="B")
    estate.gitops.clock.pass_time(minutes=-1)
    estate.pin("prod", spam="C")
    day = parse_when("2024-03-01")
    assert names(history(estate).at(day, "spam")) == ["C", "B", "A"]
    assert names(history(estate).at(parse_when("2024-03-02"), "spam")) == ["C"]
    assert history(estate).at(parse_when("2023-12-31"), "spam") == ()


def test_a_shallow_clone_says_where_history_ends_and_does_not_guess():
    estate = Estate()
    estate.pin("prod", spam="A")
    early = estate.gitops.clock()
    estate.gitops.clock.pass_time(days=1)
    cut = estate.pin("prod", spam="B")
    estate.pin("prod", spam="C")
    estate.gitops.shallow.add(cut)
    rows = list(history(estate).rows())
    assert [(row.cut, row.previous) for row in rows] == [(False, digest("B")), (True, None)]
    with pytest.raises(RefusedError, match=f"cut off at {cut.short}.*--unshallow"):
        history(estate).at(Instant(early), "spam")
    with pytest.raises(RefusedError, match="cut off"):
        history(estate).at(Instant(early))
    assert at(estate, estate.gitops.clock()) == ["C"]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["spam", "eggs"]),
        st.sampled_from([*"ABC", None]),
        st.integers(-3, 10),  # minutes: clocks are skewed
    ),
    max_size=25,
)


def pinned(content: bytes, model: str, name: str | None) -> bytes:
    if name is None:
        return kustomization.without_pin(content, model, "k")
    return kustomization.with_pin(content, model, digest(name), "k")


@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_rows_tell_the_line_as_it_was(steps):
    """Against a model that keeps every state: each pin once, and `at` what stood then."""
    estate = Estate(MemoryGitOps())
    clock = estate.gitops.clock
    began: list[tuple[str, str, int]] = []
    states: list[tuple[datetime, dict[str, str]]] = []
    standing: dict[str, str] = {}
    for number, (model, name, minutes) in enumerate(steps):
        clock.pass_time(minutes=minutes - 1)
        before = estate.read("prod/kustomization.yaml")
        content = pinned(before, model, name)
        if content == before:
            continue  # not a commit that changes the file: its time does not count
        estate.write("prod/kustomization.yaml", content)
        if name is not None and standing.get(model) != name:
            began.append((model, name, number))
        standing = {k: v for k, v in {**standing, model: name}.items() if v is not None}
        states.append((clock(), dict(standing)))
    clock.at = max([clock(), *(when for when, _ in states)])
    rows: list[PinRow] = list(history(estate).rows())
    assert [(r.model, r.digest) for r in reversed(rows)] == sorted_within(began)
    assert {r.model: r.digest for r in rows if r.until is None} == digests(standing)
    for when, _ in states:
        then = [state for moment, state in states if moment <= when][-1]
        found = history(estate).at(Instant(when))
        assert {r.model: r.digest for r in found} == digests(then)


def sorted_within(began):
    return [(model, digest(name)) for model, name, _ in began]


def digests(state):
    return {model: digest(name) for model, name in state.items()}


def renamed(estate, old, new, **more):
    """`git mv` of an overlay, in one commit, with other files of it changed besides."""
    estate.gitops.clock.pass_time(minutes=1)
    changes = {
        f"environments/{old}/kustomization.yaml": None,
        f"environments/{new}/kustomization.yaml": estate.read(f"{old}/kustomization.yaml"),
    }
    estate.gitops.edit(changes | more, "rename")


def past(estate, name):
    return [(row.release.digest, row.action) for row in estate.environments().history(name).rows()]


def test_a_renamed_overlay_is_followed_to_its_former_name():
    estate = Estate()
    estate.write("prod/kustomization.yaml", None, "no prod yet")
    estate.write("production/kustomization.yaml", KUSTOMIZATION)
    estate.ours("promote", "production", spam="A")
    estate.ours("promote", "production", spam="B")
    renamed(estate, "production", "prod")
    estate.ours("promote", "prod", spam="C")
    assert past(estate, "prod") == [(digest(name), "promote") for name in "CBA"]
    assert any("prod was called production until" in note for note in estate.notes)
    assert estate.environments().history("prod").rows("spam").__next__().environment == "prod"


def test_an_overlay_that_is_copied_or_made_anew_has_no_former_name():
    estate = Estate()
    estate.write("prod/kustomization.yaml", None, "no prod yet")
    estate.ours("promote", "staging", spam="A")
    estate.write("prod/kustomization.yaml", estate.read("staging/kustomization.yaml"), "copy")
    assert past(estate, "prod") == [(digest("A"), "edit")]
    assert not any("was called" in note for note in estate.notes)


def test_where_two_could_be_the_former_one_nobody_guesses():
    estate = Estate()
    estate.write("prod/kustomization.yaml", None, "no prod yet")
    for name in ("one", "two"):
        estate.write(f"{name}/kustomization.yaml", KUSTOMIZATION)
        estate.ours("promote", name, spam="A")
    renamed(estate, "one", "prod", **{"environments/two/kustomization.yaml": None})
    assert past(estate, "prod") == [(digest("A"), "edit")]


def test_read_together_every_past_is_what_it_is_alone():
    estate = Estate()
    estate.released(*"ABC")
    estate.pin("staging", spam="A", eggs="D")
    alone = {name: past(estate, name) for name in ("dev", "staging", "prod")}
    environments = estate.environments()
    environments.read_together()
    for name in ("prod", "dev", "staging"):
        rows = environments.history(name).rows()
        assert [(row.release.digest, row.action) for row in rows] == alone[name]
