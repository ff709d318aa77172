from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from mlops.domain.lineup import Limits, Queued
from mlops.domain.source import Commit
from mlops.policy import lineup

START = datetime(2026, 11, 28, tzinfo=UTC)


def queued(
    number: int, project: str = "shop", model: str = "spam", ref: str = "refs/heads/main"
) -> Queued:
    source = Commit.parse(f"{number:040x}")
    run = f"{model}-{source.sha[-12:]}-1"
    return Queued(project, run, model, source, ref, START + timedelta(seconds=number))


QUEUES = st.lists(
    st.builds(
        queued,
        st.integers(0, 50),
        st.sampled_from("ab"),
        st.sampled_from(["spam", "ham"]),
        st.sampled_from(["refs/heads/main", "refs/heads/x"]),
    ),
    max_size=20,
    unique_by=lambda each: (each.project, each.run),
)


@given(QUEUES, st.integers(0, 20), st.integers(1, 4), st.integers(0, 6))
def test_no_limit_is_passed_and_no_turn_is_left_unused(found, split, runs, total):
    working, waiting = found[:split], found[split:]
    limits = {"a": Limits(runs), "b": Limits(2)}
    begun = lineup.begin(waiting, working, limits, total)
    assert len(set(begun)) == len(begun)
    assert set(begun) <= set(waiting)
    before, after = (
        Counter(e.project for e in working),
        Counter(e.project for e in [*working, *begun]),
    )
    for project, limit in limits.items():
        assert after[project] <= max(limit.runs, before[project])
    assert not total or len(working) + len(begun) <= max(total, len(working))
    for left in set(waiting) - set(begun):
        full = after[left.project] >= limits[left.project].runs
        assert full or (total and len(working) + len(begun) >= total)
        assert full or all(one.since <= left.since for one in begun)


def test_who_was_decided_first_begins_first():
    assert lineup.begin([queued(3), queued(1)], [], {}, 0) == (queued(1),)


def test_a_newer_tip_of_the_same_ref_and_model_takes_the_place_of_older_ones():
    limits = {"shop": Limits(1, superseding=True)}
    found = lineup.superseded([queued(2), queued(3)], [queued(1)], limits)
    assert [(each.queued, each.by, each.working) for each in found] == [
        (queued(2), queued(3).source, False),
        (queued(1), queued(3).source, True),
    ]


def test_other_refs_models_and_projects_are_left_alone_and_queue_keeps_all():
    limits = {"shop": Limits(1, superseding=True), "other": Limits(1, superseding=True)}
    others = [queued(9, ref="refs/heads/x"), queued(9, model="ham"), queued(9, project="other")]
    assert lineup.superseded(others, [queued(1)], limits) == ()
    assert lineup.superseded([queued(2)], [queued(1)], {"shop": Limits(1)}) == ()


@given(QUEUES, st.integers(0, 20))
def test_the_newest_of_each_ref_and_model_never_gives_way(found, split):
    limits = {name: Limits(1, superseding=True) for name in "ab"}
    gone = {
        (e.queued.project, e.queued.run)
        for e in lineup.superseded(found[split:], found[:split], limits)
    }
    for each in found:
        rivals = [
            o for o in found if (o.project, o.model, o.ref) == (each.project, each.model, each.ref)
        ]
        newest = max(rivals, key=lambda one: (one.since, one.run))
        assert ((each.project, each.run) in gone) == (each.source != newest.source)
