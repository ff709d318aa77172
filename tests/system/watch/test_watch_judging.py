"""What a tip calls for: each push or each commit, skips, and branches that are rewritten or gone."""

from __future__ import annotations

import subprocess

import pytest

from mlops.domain.watching import Tracked
from tests.system.watch.watching import claims

TWO = (
    "apiVersion: mlops/v1\nkind: Project\nname: shop\nmodels:\n"
    "  spam: {paths: ['spam/**']}\n  ham: {paths: ['ham/**']}\n"
)


@pytest.fixture
def push(sandbox, user):
    """Commits files and pushes `main`; the commit."""

    def make(message="Change", files=None, *, ref="HEAD:main", force=False):
        sha = sandbox.commit(user, message, files or {"train.py": message})
        sandbox.git(user, "push", "-q", *(["-f"] if force else []), "origin", ref)
        return sha

    return make


def commits(sandbox, user, *names: str, path: str = "train.py") -> list[str]:
    return [sandbox.commit(user, name, {path: name}) for name in names]


def decided(one) -> list[str]:
    return [sha for _, sha, state in one.decided() if state == "queued"]


# -- each push, each commit


def test_each_push_is_of_the_tip_alone(watched, user, sandbox, push):
    one = watched("a")
    one.look()
    commits(sandbox, user, "1", "2")
    tip = push("3")
    assert decided(one) == [tip]


def test_each_commit_is_of_every_first_parent_commit_oldest_first(watched, user, sandbox, push):
    one = watched("a", each="commit")
    first = sandbox.git(user, "rev-parse", "HEAD")
    assert decided(one) == [first]  # and not what was before it
    new = [*commits(sandbox, user, "1", "2"), push("3")]
    assert decided(one) == new
    assert one.waiting() == [first, *new]
    assert decided(one) == []
    sandbox.git(user, "checkout", "-q", "-b", "side")
    side = commits(sandbox, user, "side", path="side.py")
    sandbox.git(user, "checkout", "-q", "main")
    main = commits(sandbox, user, "main")
    sandbox.git(user, "merge", "-q", "--no-edit", "side")
    merge = sandbox.git(user, "rev-parse", "HEAD")
    sandbox.git(user, "push", "-q", "origin", "main")
    again = watched("a", each="commit", clone=False)
    assert decided(again) == [*main, merge]
    assert side[0] not in again.waiting()


def test_a_push_of_three_hundred_commits_takes_a_push_for_each_hundred(watched, user, sandbox):
    one = watched("a", each="commit")
    one.look()
    stream = "".join(
        f"commit refs/heads/main\ncommitter A <a@b> {1767225600 + n} +0000\ndata 1\n{n % 10}\n"
        + ("from refs/heads/main^0\n" if n == 0 else "")
        + f"M 100644 inline train.py\ndata 3\n{n:03}\n"
        for n in range(300)
    )
    subprocess.run(["git", "fast-import", "--quiet"], input=stream.encode(), cwd=user, check=True)
    sandbox.git(user, "push", "-q", "origin", "main")
    counter = sandbox.script(
        sandbox.remote / "hooks" / "pre-receive", f"echo x >> {sandbox.directory}/n"
    )
    assert counter.exists()
    found = decided(one)
    assert len(found) == len(set(found)) == 300
    assert found[-1] == sandbox.git(user, "rev-parse", "main")
    assert one.waiting()[1:] == found
    assert (sandbox.directory / "n").read_text().count("x") == 3


def test_a_kill_between_two_of_its_pushes_loses_and_repeats_nothing(watched, user, sandbox, push):
    one = watched("a", each="commit")
    one.look()
    new = [*commits(sandbox, user, "1", "2", "3"), push("4")]
    put = one.claims.put_each

    def half(documents, previous):
        some = dict(list(documents.items())[1:3])  # not the oldest, not the newest
        put(some, previous)
        raise KeyboardInterrupt

    one.claims.put_each = half
    with pytest.raises(KeyboardInterrupt):
        one.look()
    again = watched("b", each="commit")
    again.look()
    assert sorted(again.waiting()) == sorted([*new, one.waiting()[0]])
    assert len(claims(sandbox)) == 5


def test_a_new_branch_goes_on_from_what_was_decided_elsewhere(watched, user, sandbox):
    one = watched("a", each="commit", tracked=Tracked(("*",)))
    one.look()
    sandbox.git(user, "checkout", "-q", "-b", "topic")
    new = commits(sandbox, user, "1", "2")
    sandbox.git(user, "push", "-q", "origin", "topic")
    assert decided(one) == new


def test_what_a_person_ran_before_is_where_a_branch_begins(watched, user, sandbox, push):
    one = watched("a", each="commit")
    tip = sandbox.git(user, "rev-parse", "HEAD")
    document = {"model": "spam", "source": tip, "state": "outcome", "outcome": "succeeded"}
    one.claims.put(f"spam-{tip[:12]}-1", document, None)
    assert one.decided() == []
    assert claims(sandbox)[f"spam-{tip[:12]}-1"]["ref"] == "refs/heads/main"
    new = [*commits(sandbox, user, "1"), push("2")]
    assert decided(watched("b", each="commit")) == new


# -- skips


@pytest.mark.parametrize(
    "mark", ["[skip ci]", "[ci skip]", "[skip tkn]", "[tkn skip]", "[Skip CI]"]
)
@pytest.mark.parametrize("each", ["push", "commit"])
def test_marks_in_the_message(watched, user, push, each, mark):
    one = watched("a", each=each)
    one.look()
    marked = push(f"Format\n\nNothing else {mark}")
    (seen,) = one.look()
    (choice,) = [choice for choice in seen.choices if choice.source.sha == marked]
    assert choice.state == "skipped"
    assert "its message says [" in choice.why
    tip = push("Go on")
    assert decided(one) == [tip]
    assert decided(watched("b", each=each)) == []


def test_a_branch_that_begins_with_a_mark_forgets_no_commit_after_it(watched, user, sandbox, push):
    marked = push("Format [skip ci]")
    one = watched("a", each="commit")
    assert decided(one) == []
    assert claims(sandbox)[f"spam-{marked[:12]}-1"]["outcome"] == "skipped"
    new = [*commits(sandbox, user, "1"), push("2")]
    assert decided(watched("b", each="commit")) == new


@pytest.mark.parametrize("each", ["push", "commit"])
def test_paths_of_models(watched, user, push, sandbox, each):
    base = push("Two models", {"mlops.yaml": TWO})
    one = watched("a", each=each)
    assert sorted(one.decided()) == [("ham", base, "queued"), ("spam", base, "queued")]
    ham = push("Ham", {"ham/a.py": "1"})
    assert one.decided() == [("ham", ham, "queued")]
    push("Docs", {"docs/a.md": "1"})
    (seen,) = one.look()
    assert [(c.state, c.run) for c in seen.choices] == [("skipped", "")] * 2
    assert seen.choices[0].why.startswith("nothing to do: only docs/")
    both = push("Both", {"ham/a.py": "2", "spam/a.py": "2"})
    assert sorted(one.decided()) == [("ham", both, "queued"), ("spam", both, "queued")]
    assert watched("b", each=each).decided() == []


@pytest.mark.parametrize(
    ("pipeline", "path", "concerns"),
    [
        ("stages: {train: {cmd: x, deps: [lib/a.py]}}", "lib/a.py", True),
        ("stages: {train: {cmd: x, deps: [lib]}}", "lib/a.py", True),
        ("stages: {train: {cmd: x, wdir: lib, deps: [../other/b.py]}}", "other/b.py", True),
        ("stages: {train: {cmd: x, deps: ['${dir}/b.py']}}", "other/b.py", True),
        ("stages: {train: {cmd: x, deps: [lib]}}", "docs/a.md", False),
        ("stages: {}", "params.yaml", True),
        ("stages: {}", "data/x.dvc", True),
        ("stages: {}", "mlops.lock", True),
    ],
)
def test_what_a_pipeline_reads_concerns_its_model(watched, user, push, pipeline, path, concerns):
    push("Two models", {"mlops.yaml": TWO, "dvc.yaml": pipeline})
    one = watched("a")
    one.look()
    tip = push("Change", {path: "1"})
    assert decided(one) == ([tip, tip] if concerns else [])


def test_what_was_passed_over_counts_with_the_next_push(watched, user, push):
    push("Two models", {"mlops.yaml": TWO})
    one = watched("a")
    one.look()
    changed = push("Spam [skip ci]", {"spam/a.py": "1"})
    assert decided(one) == []
    docs = push("Docs", {"docs/a.md": "1"})
    assert one.decided() == [("spam", docs, "queued")]
    one.watcher.supersede({f"spam-{docs[:12]}-1": "something newer"})
    more = push("More docs", {"docs/a.md": "2"})
    assert one.decided() == [("spam", more, "queued")]
    assert changed not in one.waiting()


# -- refs that are rewritten, gone, or strangely named


@pytest.mark.parametrize("each", ["push", "commit"])
def test_a_force_push_decides_what_is_new_and_takes_back_what_waited(
    watched, user, sandbox, push, each
):
    one = watched("a", each=each)
    start = sandbox.git(user, "rev-parse", "HEAD")
    one.look()
    old = push("old")
    assert decided(one) == [old]
    sandbox.git(user, "reset", "-q", "--hard", start)
    middle = commits(sandbox, user, "middle")
    new = push("new", force=True)
    assert decided(one) == ([*middle, new] if each == "commit" else [new])
    assert old not in one.waiting()
    document = claims(sandbox)[f"spam-{old[:12]}-1"]
    assert (document["state"], document["outcome"]) == ("outcome", "superseded")
    assert document["reason"] == "main no longer holds it"
    sandbox.git(user, "push", "-q", "-f", "origin", f"{old}:main")
    assert decided(one) == []  # decided once, whatever became of it


def test_a_branch_that_is_deleted_and_made_again(watched, user, sandbox):
    one = watched("a", tracked=Tracked(("*",)))
    one.look()
    sandbox.git(user, "checkout", "-q", "-b", "topic")
    (tip,) = commits(sandbox, user, "1")
    sandbox.git(user, "push", "-q", "origin", "topic")
    assert decided(one) == [tip]
    sandbox.git(user, "push", "-q", "origin", "--delete", "topic")
    assert [seen.tip.name for seen in one.look()] == ["main"]
    assert claims(sandbox)[f"spam-{tip[:12]}-1"]["reason"] == "topic is gone"
    (new,) = commits(sandbox, user, "2")
    sandbox.git(user, "push", "-q", "origin", "topic")
    assert decided(one) == [new]


def test_a_branch_that_is_merged_and_deleted_keeps_its_decision(watched, user, sandbox):
    one = watched("a", tracked=Tracked(("*",)))
    one.look()
    (tip,) = commits(sandbox, user, "1")
    sandbox.git(user, "push", "-q", "origin", "HEAD:topic")
    assert decided(one) == [tip]
    sandbox.git(user, "push", "-q", "origin", "main", ":topic")
    assert decided(one) == []
    assert tip in one.waiting()


def test_a_tag_that_moves_is_decided_anew(watched, user, sandbox):
    one = watched("a", tracked=Tracked((), ("v*",)))
    (old,) = commits(sandbox, user, "1")
    sandbox.git(user, "push", "-q", "origin", "HEAD:refs/tags/v1")
    assert decided(one) == [old]
    sandbox.git(user, "reset", "-q", "--hard", "HEAD~1")
    (new,) = commits(sandbox, user, "2")
    sandbox.git(user, "push", "-q", "-f", "origin", "HEAD:refs/tags/v1")
    assert decided(one) == [new]
    assert one.waiting() == [new]


@pytest.mark.parametrize(
    "name",
    ["--upload-pack=x", "$(touch${IFS}hacked)", "a;b", "Großes/Ünïcode", "x" * 200, "-", "a'b\"c"],
)
def test_branches_named_like_anything(watched, user, sandbox, name):
    one = watched("a", tracked=Tracked(("*",)))
    (tip,) = commits(sandbox, user, name)
    sandbox.git(user, "push", "-q", "origin", f"HEAD:refs/heads/{name}")
    assert tip in decided(one)
    assert claims(sandbox)[f"spam-{tip[:12]}-1"]["ref"] == f"refs/heads/{name}"
    assert not list(sandbox.directory.rglob("hacked"))
