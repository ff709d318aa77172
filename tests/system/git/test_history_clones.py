"""History in clones that lack something: shallow, partial, bare, linked, or force-pushed away."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime

import pytest

from mlops.domain.reference import Instant
from mlops.engine import references
from mlops.engine.status import status
from mlops.errors import GitError, RefusedError
from tests.fakes.estate import digest, release
from tests.system.git.chronicle import Chronicle, _told

UNSHALLOW = "git fetch --unshallow"


@pytest.fixture
def chronicle(sandbox) -> Chronicle:
    found = Chronicle(sandbox)
    for name in "ABC":
        found.ours("promote", spam=name)
        found.pull()
        found.work(f"after {name}")
        found.push()
    return found


def cloned(chronicle, *args: str, name: str = "odd"):
    """Another clone, made as a server would have it made."""
    sandbox = chronicle.sandbox
    url = f"file://{sandbox.remote}"
    sandbox.git(sandbox.remote, "config", "uploadpack.allowFilter", "true")
    sandbox.git(sandbox.directory, "clone", "-q", *args, url, name)
    return sandbox.directory / name


def told(environments) -> list[str]:
    return [_told(row) for row in environments.history("prod").rows()]


# -- shallow


@pytest.fixture
def shallow(chronicle):
    """Cut off after B was promoted and C came: B stands at the end, nobody knows since when."""
    where = cloned(chronicle, "--depth=4")
    return chronicle.environments(chronicle.sandbox.gitops(where))


def test_a_shallow_history_says_where_it_ends(shallow):
    rows = list(shallow.history("prod").rows())
    assert [(row.digest, row.cut) for row in rows] == [(digest("C"), False), (digest("B"), True)]
    assert rows[1].action == "edit"
    assert rows[1].previous is None
    assert f"cut off at {rows[1].commit.short}" in shallow.history("prod").cut_off


def test_a_shallow_clone_refuses_to_say_what_was_before(shallow):
    early = datetime(2023, 11, 14, tzinfo=UTC)
    with pytest.raises(RefusedError, match="is cut off at") as caught:
        shallow.history("prod").at(Instant(early), "spam")
    assert UNSHALLOW in caught.value.hint
    with pytest.raises(RefusedError, match="is cut off at"):
        references.release(shallow, "spam@prod@{2023-11-01}")
    with pytest.raises(RefusedError, match="is cut off at") as caught:
        references.release(shallow, "spam@prod~2")
    assert UNSHALLOW in caught.value.hint


def test_a_shallow_clone_answers_what_it_knows(shallow):
    assert references.release(shallow, "spam@prod~1") == release("B")
    assert references.release(shallow, "spam@prod") == release("C")


def test_an_age_that_lies_beyond_the_end_is_unknown(chronicle):
    where = cloned(chronicle, "--depth=1")
    environments = chronicle.environments(chronicle.sandbox.gitops(where))
    (row,) = [r for r in status(environments) if (r.environment, r.model) == ("prod", "spam")]
    assert row.release == release("C")
    assert row.since is None
    with pytest.raises(RefusedError, match="is cut off at"):
        references.release(environments, "spam@prod~1")


def test_a_clone_that_was_deepened_knows_the_rest(chronicle):
    where = cloned(chronicle, "--depth=1")
    chronicle.sandbox.git(where, "fetch", "-q", "--unshallow")
    assert told(chronicle.environments(chronicle.sandbox.gitops(where))) == [
        "C promote",
        "B promote",
        "A promote",
    ]


# -- partial


@pytest.mark.parametrize("filtered", ["blob:none", "tree:0"])
def test_a_partial_clone_brings_what_history_needs(chronicle, filtered):
    where = cloned(chronicle, f"--filter={filtered}", "--no-checkout")
    environments = chronicle.environments(chronicle.sandbox.gitops(where))
    assert told(environments) == ["C promote", "B promote", "A promote"]
    assert references.release(environments, "spam@prod~1") == release("B")


def test_a_partial_clone_that_cannot_reach_its_remote_says_so(chronicle):
    where = cloned(chronicle, "--filter=blob:none", "--no-checkout")
    gitops = chronicle.sandbox.gitops(where)
    shutil.move(chronicle.sandbox.remote, chronicle.sandbox.directory / "away.git")
    environments = chronicle.environments(gitops, fetch=False)
    with pytest.raises(GitError, match="partial clone") as caught:
        told(environments)
    assert "remote" in caught.value.hint


# -- bare, linked


def test_bare_and_linked_clones_tell_the_same(chronicle):
    sandbox = chronicle.sandbox
    bare = sandbox.directory / "bare.git"
    sandbox.git(sandbox.directory, "clone", "-q", "--bare", str(sandbox.remote), "bare.git")
    linked = sandbox.directory / "linked"
    sandbox.git(chronicle.person, "worktree", "add", "-q", "--detach", str(linked), "HEAD~1")
    expected = ["C promote", "B promote", "A promote"]
    for where in (bare, linked):
        assert told(chronicle.environments(sandbox.gitops(where))) == expected


# -- force-pushed


def force_pushed(chronicle) -> str:
    """Somebody takes the promotion of C out of the branch, and goes on; gives the tip that was."""
    former = chronicle.gitops.refresh().sha
    chronicle.pull("--rebase")
    chronicle.git("reset", "-q", "--hard", "HEAD~2")
    chronicle.edited("prod", "instead", spam="D")
    chronicle.push("--force")
    return former


def test_after_a_force_push_history_is_that_of_the_branch_alone(chronicle):
    force_pushed(chronicle)
    assert chronicle.told() == ["D edit", "B promote", "A promote"]


def test_a_force_push_is_noticed_and_named(chronicle):
    tip = chronicle.gitops.refresh()
    assert chronicle.gitops.overwritten(tip) is None
    former = force_pushed(chronicle)
    tip = chronicle.gitops.refresh()
    lost = chronicle.gitops.overwritten(tip)
    assert lost is not None
    assert lost.commit.sha == former
    chronicle.ours("promote", spam="E")  # much later, in another process: the reflog knows
    again = chronicle.sandbox.gitops(chronicle.sandbox.directory / "automation")
    assert again.overwritten(again.refresh()).commit.sha == former


def test_a_bare_clone_notices_it_at_the_fetch(chronicle):
    sandbox = chronicle.sandbox
    sandbox.git(sandbox.directory, "clone", "-q", "--bare", str(sandbox.remote), "bare.git")
    gitops = sandbox.gitops(sandbox.directory / "bare.git")
    gitops.refresh()
    former = force_pushed(chronicle)
    tip = gitops.refresh()
    assert gitops.overwritten(tip).commit.sha == former


def test_a_force_push_of_other_work_is_no_news_here(chronicle):
    chronicle.pull("--rebase")
    chronicle.work("draft")
    chronicle.push()
    chronicle.gitops.refresh()
    chronicle.git("commit", "-q", "--amend", "-m", "better words")
    chronicle.push("--force")
    assert chronicle.gitops.overwritten(chronicle.gitops.refresh()) is None


def test_a_fresh_clone_knows_nothing_of_it(chronicle):
    force_pushed(chronicle)
    gitops = chronicle.sandbox.gitops(cloned(chronicle))
    assert gitops.overwritten(gitops.refresh()) is None
