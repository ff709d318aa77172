"""History on real git, through what people and other tools do to a branch."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mlops.domain.digest import Digest
from mlops.domain.reference import Instant
from mlops.engine import references
from mlops.engine.status import status
from tests.fakes.estate import digest, release
from tests.system.git.chronicle import Chronicle


@pytest.fixture
def chronicle(sandbox) -> Chronicle:
    return Chronicle(sandbox)


# -- merges


def test_a_colleagues_pull_without_rebase_hides_no_pin(chronicle):
    chronicle.ours("promote", spam="A")
    chronicle.pull()
    chronicle.work("a")
    chronicle.ours("promote", spam="B")
    chronicle.ours("rollback", spam="A")
    chronicle.pull()
    chronicle.push()
    assert chronicle.told() == ["A rollback", "B promote", "A promote"]
    assert [row.actor for row in chronicle.rows()] == ["Bob"] * 3


def test_several_such_merges_in_a_row(chronicle):
    for name, pushed in (("A", True), ("B", False), ("C", False), ("D", True)):
        chronicle.work(f"before {name}")
        chronicle.ours("promote", spam=name)
        chronicle.pull()
        if pushed:
            chronicle.push()
    assert chronicle.told() == ["D promote", "C promote", "B promote", "A promote"]


def test_a_criss_cross_of_two_branches_tells_every_pin_once(chronicle):
    chronicle.ours("promote", spam="A")
    chronicle.pull()
    chronicle.git("switch", "-qc", "feature")
    one = chronicle.work("one")
    chronicle.git("switch", "-q", "main")
    chronicle.work("two")
    chronicle.git("branch", "keep")
    chronicle.git("merge", "-q", "--no-edit", one)  # main takes feature …
    chronicle.git("switch", "-q", "feature")
    chronicle.git("merge", "-q", "--no-edit", "keep")  # … and feature takes what main was
    chronicle.ours("promote", spam="B")
    chronicle.git("switch", "-q", "main")
    chronicle.pull()
    chronicle.git("merge", "-q", "--no-edit", "feature")
    chronicle.push()
    chronicle.ours("promote", spam="C")
    assert chronicle.told() == ["C promote", "B promote", "A promote"]


def test_a_pin_on_a_merged_branch_is_the_merges(chronicle):
    chronicle.ours("promote", spam="A")
    chronicle.pull()
    chronicle.git("switch", "-qc", "feature")
    chronicle.edited("prod", spam="B")
    chronicle.git("switch", "-q", "main")
    chronicle.work("main goes on")
    chronicle.git("merge", "-q", "--no-ff", "--no-edit", "feature")
    merge = chronicle.head()
    chronicle.push()
    newest = chronicle.rows()[0]
    assert (newest.commit.sha, newest.action, newest.previous) == (merge, "edit", digest("A"))
    assert chronicle.told() == ["B edit", "A promote"]


# -- reverts, cherry-picks, squashes


def test_a_revert_is_an_edit_that_brings_back(chronicle):
    chronicle.ours("promote", spam="A")
    chronicle.ours("promote", spam="B")
    chronicle.pull()
    chronicle.git("revert", "--no-edit", "HEAD")
    chronicle.push()
    assert chronicle.told() == ["A edit", "B promote", "A promote"]
    assert chronicle.rows()[0].actor == ""
    chronicle.git("revert", "--no-edit", "HEAD")
    chronicle.push()
    assert chronicle.told() == ["B edit", "A edit", "B promote", "A promote"]


def test_a_cherry_pick_for_another_environment_is_an_edit_there(chronicle):
    chronicle.ours("promote", "staging", spam="A")
    chronicle.pull()
    content = chronicle.with_pins("prod", spam="A")
    message = chronicle.git("log", "-1", "--format=%B")
    chronicle.commit(
        message + "\n(cherry picked from commit 0123)", {chronicle.kustomization("prod"): content}
    )
    chronicle.push()
    assert chronicle.told("prod") == ["A edit"]
    assert chronicle.told("staging") == ["A promote"]


def test_a_cherry_pick_of_our_commit_keeps_its_words_where_it_does_the_same(chronicle):
    chronicle.ours("promote", spam="A")
    promoted = chronicle.ours("promote", spam="B")
    chronicle.pull()
    chronicle.git("revert", "--no-edit", "HEAD")
    chronicle.git("cherry-pick", "-x", promoted)
    chronicle.push()
    assert chronicle.told() == ["B promote", "A edit", "B promote", "A promote"]


def squashed(chronicle, *messages: str) -> None:
    """What was pushed since the tag `before`, as one commit with the given paragraphs."""
    chronicle.pull()
    chronicle.git("reset", "-q", "--soft", "before")
    chronicle.git("commit", "-q", "-m", "squash", "-m", "".join(messages))
    chronicle.push("--force")


def before(chronicle) -> None:
    chronicle.pull()
    chronicle.git("tag", "before")


def message(chronicle, commit: str) -> str:
    """The trailers of a commit."""
    chronicle.git("fetch", "-q", "origin")
    return chronicle.git("log", "-1", "--format=%(trailers)", commit) + "\n"


def test_a_squash_tells_the_action_that_made_the_pin(chronicle):
    chronicle.ours("promote", spam="A")
    before(chronicle)
    one = chronicle.ours("promote", spam="B", eggs="C")
    two = chronicle.ours("rollback", eggs="D", more=[("Mlops-Reason", "bad eggs")])
    squashed(chronicle, message(chronicle, one), message(chronicle, two))
    rows = {row.model: row for row in chronicle.rows()[:2]}
    assert (rows["spam"].action, rows["spam"].reason) == ("promote", "")
    assert rows["eggs"].action == "edit", "eggs went from nothing to D: nobody rolled that back"
    assert rows["eggs"].reason == ""


def test_a_squash_of_two_actions_on_one_model_tells_the_last(chronicle):
    before(chronicle)
    one = chronicle.ours("run", spam="A")
    chronicle.git("fetch", "-q")
    first = message(chronicle, one)
    text = first.replace(str(digest("A")), str(digest("B"))).replace("run", "promote")
    chronicle.ours("run", spam="B")
    squashed(chronicle, first, text.replace("Bob", "Eve"))
    (row,) = chronicle.rows()
    assert (row.action, row.actor, row.digest) == ("promote", "Eve", digest("B"))


def test_a_squashed_rollback_bars_nothing_that_was_never_left(chronicle):
    chronicle.ours("promote", spam="A")
    chronicle.ours("promote", spam="B")
    before(chronicle)
    one = chronicle.ours("promote", spam="C")
    two = chronicle.ours("rollback", spam="D")
    squashed(chronicle, message(chronicle, one), message(chronicle, two))
    assert chronicle.told() == ["D edit", "B promote", "A promote"]
    assert references.predecessors(chronicle.environments(), "prod", "spam") == (
        digest("B"),
        digest("A"),
    )


# -- renamed overlays


def renamed(chronicle, old: str, new: str, *more: str) -> str:
    chronicle.pull()
    chronicle.git("mv", f"environments/{old}", f"environments/{new}")
    for path in more:
        chronicle.git("rm", "-q", "-r", path)
    chronicle.git("commit", "-q", "-m", f"{old} is {new} now")
    chronicle.names = tuple(new if name == old else name for name in chronicle.names)
    chronicle.push()
    return chronicle.head()


def test_the_history_of_a_renamed_overlay_goes_on(chronicle):
    chronicle.ours("promote", spam="A")
    chronicle.ours("promote", spam="B")
    commit = renamed(chronicle, "prod", "production")
    chronicle.ours("promote", "production", spam="C")
    assert chronicle.told("production") == ["C promote", "B promote", "A promote"]
    assert f"production was called prod until {commit[:7]}" in " ".join(chronicle.notes)
    assert {row.environment for row in chronicle.rows("production")} == {"production"}
    found = references.predecessors(chronicle.environments(), "production", "spam")
    assert found == (digest("B"), digest("A"))


def test_a_rename_that_moves_a_pin_too_is_none(chronicle):
    chronicle.ours("promote", spam="A")
    chronicle.pull()
    chronicle.git("mv", "environments/prod", "environments/production")
    chronicle.names = ("dev", "staging", "production")
    chronicle.edited("production", "two things at once", spam="B")
    chronicle.push()
    assert chronicle.told("production") == ["B edit"]


def test_a_rename_that_touches_comments_is_one(chronicle):
    chronicle.ours("promote", spam="A")
    chronicle.pull()
    content = (chronicle.person / chronicle.kustomization("prod")).read_text()
    chronicle.git("mv", "environments/prod", "environments/production")
    chronicle.names = ("dev", "staging", "production")
    chronicle.commit(
        "rename", {chronicle.kustomization("production"): content.replace("person", "team")}
    )
    chronicle.push()
    assert chronicle.told("production") == ["A promote"]


def test_an_overlay_renamed_and_renamed_back(chronicle):
    chronicle.ours("promote", spam="A")
    renamed(chronicle, "prod", "live")
    chronicle.ours("promote", "live", spam="B")
    renamed(chronicle, "live", "prod")
    chronicle.ours("promote", spam="C")
    assert chronicle.told() == ["C promote", "B promote", "A promote"]


def test_where_two_overlays_go_nobody_guesses(chronicle):
    chronicle.ours("promote", "staging", spam="A")
    chronicle.ours("promote", spam="A")
    chronicle.names = ("dev", "prod")
    renamed(chronicle, "prod", "production", "environments/staging")
    assert chronicle.told("production") == ["A edit"]


# -- hands and other tools


@pytest.mark.parametrize(
    "author",
    ["Renovate Bot <bot@renovateapp.com>", "argocd-image-updater <x@y>", "fluxcdbot <f@x>"],
)
def test_a_pin_by_another_tool_is_told_with_its_author(chronicle, author):
    chronicle.ours("promote", spam="A")
    chronicle.pull()
    (chronicle.person / chronicle.kustomization("prod")).write_text(
        chronicle.with_pins("prod", spam="B")
    )
    chronicle.git("commit", "-q", "-a", "--author", author, "-m", "chore: update the digest")
    chronicle.push()
    newest = chronicle.rows()[0]
    assert (newest.author, newest.action, newest.actor) == (author, "edit", "")
    assert chronicle.told() == ["B edit", "A promote"]


def test_kustomize_edit_set_image_rewrites_the_file_and_moves_one_pin(chronicle):
    chronicle.ours("promote", spam="A", eggs="B")
    chronicle.pull()
    lines = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nimages:\n"
    for name, letter in (("eggs", "B"), ("spam", "C")):  # sorted, without comments, no indentation
        lines += f"- digest: {digest(letter)}\n  name: {name}\n"
    chronicle.commit(
        "kustomize edit", {chronicle.kustomization("prod"): lines + "resources:\n- ../base\n"}
    )
    chronicle.push()
    assert chronicle.told() == ["C edit", "eggs B promote", "A promote"]


def test_a_digest_of_somebody_elses_image_is_no_pin(chronicle):
    chronicle.ours("promote", spam="A")
    chronicle.pull()
    chronicle.edited("prod", "postgres", postgres="B")
    chronicle.edited("prod", "postgres again", postgres="C")
    chronicle.push()
    assert chronicle.told() == ["A promote"]


def test_a_pin_moved_and_moved_back_in_one_push_is_told(chronicle):
    chronicle.ours("promote", spam="A")
    chronicle.pull()
    chronicle.edited("prod", "there", spam="B")
    chronicle.edited("prod", "and back", spam="A")
    chronicle.push()
    assert chronicle.told() == ["A edit", "B edit", "A promote"]


def test_what_changes_no_pin_is_no_row(chronicle):
    chronicle.ours("promote", spam="A")
    chronicle.pull()
    path = chronicle.person / chronicle.kustomization("prod")
    path.chmod(0o755)
    chronicle.commit("a mode", {})
    text = path.read_text().replace("# by a person", "# by another person")
    chronicle.commit("a comment", {chronicle.kustomization("prod"): text})
    chronicle.push()
    assert chronicle.told() == ["A promote"]


def test_an_overlay_deleted_and_made_again(chronicle):
    chronicle.ours("promote", spam="A")
    chronicle.pull()
    path = chronicle.kustomization("prod")
    content = (chronicle.person / path).read_text()
    chronicle.commit("gone", {path: None})
    gone = datetime.fromtimestamp(int(chronicle.git("log", "-1", "--format=%ct")), UTC)
    chronicle.commit("again", {path: content})
    chronicle.push()
    now, then = chronicle.rows()
    assert (now.previous, now.until, then.until) == (None, None, gone)
    assert chronicle.told() == ["A edit", "A promote"]


def test_a_broken_version_in_between_changes_nothing(chronicle):
    chronicle.ours("promote", spam="A")
    chronicle.pull()
    path = chronicle.kustomization("prod")
    content = (chronicle.person / path).read_text()
    chronicle.commit("a conflict", {path: f"<<<<<<< HEAD\n{content}"})
    chronicle.commit("mended", {path: content})
    mended = chronicle.edited("prod", "and moved", spam="B")
    chronicle.push()
    assert chronicle.told() == ["B edit", "A promote"]
    assert chronicle.rows()[0].commit.sha == mended
    assert any("cannot be read" in note for note in chronicle.notes)


# -- clocks


@pytest.mark.parametrize("off", [-86_400, 86_400])
def test_a_clock_a_day_off_changes_no_order(chronicle, off):
    chronicle.ours("promote", spam="A")
    chronicle.clock += off
    chronicle.ours("promote", spam="B")
    chronicle.clock -= off
    chronicle.ours("promote", spam="C")
    chronicle.pull()
    chronicle.clock += off
    chronicle.work("by the same clock")
    chronicle.clock -= off
    chronicle.ours("promote", spam="D")
    chronicle.pull()
    chronicle.push()
    assert chronicle.told() == ["D promote", "C promote", "B promote", "A promote"]
    rows = chronicle.rows()
    assert all(row.until is None or row.since <= row.until for row in rows)
    assert [row.until for row in rows[1:]] == [row.since for row in rows[:-1]]


def test_status_and_references_agree_with_the_rows(chronicle):
    for name in "ABC":
        chronicle.ours("promote", spam=name)
    environments = chronicle.environments()
    rows = chronicle.rows()
    (spam,) = [
        row for row in status(environments) if (row.environment, row.model) == ("prod", "spam")
    ]
    assert (spam.since, spam.release) == (rows[0].since, release("C"))
    assert references.release(environments, "spam@prod~1") == release("B")
    past = environments.history("prod")
    middle = past.at(Instant(rows[1].since), "spam")
    assert [row.digest for row in middle] == [Digest(rows[1].digest.hex)]
