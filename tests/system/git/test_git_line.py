"""History follows the line of pushed tips, through the merges that `git pull` makes."""

from __future__ import annotations

import subprocess
from random import Random

import pytest

from mlops.adapters.git import line
from mlops.adapters.git.stream import Stream
from mlops.domain.source import Commit
from mlops.ports import Published

PIN = "environments/dev/kustomization.yaml"
DEV = "environments/dev"


class Story:
    """A colleague who works on main, and pins that are pushed beside them."""

    def __init__(self, sandbox):
        self.sandbox = sandbox
        self.mine = sandbox.clone("colleague")
        self.gitops = sandbox.gitops(sandbox.clone("automation"))
        self.clock = 1_700_000_000
        self.pins = []

    def _tick(self):
        self.clock += 60
        stamp = f"@{self.clock} +0000"
        return {"GIT_COMMITTER_DATE": stamp, "GIT_AUTHOR_DATE": stamp}

    def pin(self, content, path=PIN, message="pin\n\nMlops-Action: promote"):
        done = self.gitops.publish(self.gitops.refresh(), {path: content.encode()}, message)
        assert isinstance(done, Published)
        self.pins.append(done.commit.sha)
        return done.commit.sha

    def work(self, name, content="x", where=None):
        place = where or self.mine
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(content)
        self.sandbox.git(place, "add", name)
        self.sandbox.git(place, "commit", "-q", "-m", f"work on {name}")
        return self.sandbox.git(place, "rev-parse", "HEAD")

    def pull(self, *args):
        self.sandbox.git(self.mine, "pull", "-q", "--no-rebase", "--no-edit", *args)
        return self.sandbox.git(self.mine, "rev-parse", "HEAD")

    def push(self):
        self.sandbox.git(self.mine, "push", "-q", "origin", "HEAD:main")

    def line(self, prefix=DEV):
        return [
            change.info.commit.sha for change in self.gitops.line(self.gitops.refresh(), prefix)
        ]


@pytest.fixture
def story(sandbox):
    return Story(sandbox)


def test_a_straight_line(story):
    one = story.pin("1")
    story.pull()
    story.work("train.py", "2")
    story.push()
    two = story.pin("2")
    story.pin("3", "environments/prod/kustomization.yaml")
    assert story.line() == [two, one]
    changes = list(story.gitops.line(story.gitops.tip(), DEV))
    blobs = [change.files[PIN] for change in changes]
    assert blobs[0][0] == blobs[1][1]
    assert blobs[1][0] is None
    assert story.gitops.blob(blobs[0][1]) == b"2"
    assert changes[0].info.trailer("Mlops-Action") == "promote"
    assert not any(change.cut for change in changes)
    assert len(story.line("environments")) == 3
    assert len(story.line("")) == 5
    assert story.line("environments/de") == []


def test_a_pull_without_rebase(story):
    one = story.pin("1")
    story.pull()
    story.work("a")
    two, three = story.pin("2"), story.pin("3")
    merge = story.pull()
    story.push()
    first_parents = story.sandbox.git(story.mine, "log", "--first-parent", "--format=%H").split()
    assert two not in first_parents  # what plain history would tell
    assert story.line() == [three, two, one]
    assert merge in story.line("")
    four = story.pin("4")
    assert story.line() == [four, three, two, one]


def test_several_in_a_row(story):
    one = story.pin("1")
    story.pull()
    story.work("a")
    two = story.pin("2")
    story.pull()  # not pushed
    story.work("b")
    three = story.pin("3")
    story.pull()
    story.push()
    story.work("c")
    four, five = story.pin("4"), story.pin("5")
    story.pull()
    story.push()
    six = story.pin("6")
    assert story.line() == [six, five, four, three, two, one]


def test_pins_that_cancel_out_are_told_too(story):
    """The merge leaves the directory as its first parent had it: it must be seen nevertheless."""
    one = story.pin("1")
    story.pull()
    story.work("a")
    bad, back = story.pin("2"), story.pin("1")
    story.pull()
    story.push()
    assert story.line() == [back, bad, one]


def test_a_feature_branch_comes_in_by_its_merge(story):
    """Forge-style: main is the first parent, and carries the pins."""
    one = story.pin("1")
    story.pull()
    story.sandbox.git(story.mine, "switch", "-qc", "feature")
    story.work("a")
    story.work(f"{DEV}/notes", "by hand")
    two = story.pin("2")
    story.sandbox.git(story.mine, "switch", "-q", "main")
    story.pull()
    story.sandbox.git(story.mine, "merge", "-q", "--no-ff", "--no-edit", "feature")
    merge = story.sandbox.git(story.mine, "rev-parse", "HEAD")
    story.push()
    three = story.pin("3")
    assert story.line() == [three, merge, two, one]
    change = next(
        c for c in story.gitops.line(story.gitops.tip(), DEV) if c.info.commit.sha == merge
    )
    assert set(change.files) == {f"{DEV}/notes"}


def test_a_feature_branch_that_merged_main_before(story):
    one = story.pin("1")
    story.pull()
    story.sandbox.git(story.mine, "switch", "-qc", "feature")
    story.work("a")
    two = story.pin("2")
    story.pull("origin", "main")  # main's pins are reached from the feature branch too
    story.work("b")
    story.sandbox.git(story.mine, "switch", "-q", "main")
    story.pull()
    story.sandbox.git(story.mine, "merge", "-q", "--no-ff", "--no-edit", "feature")
    story.push()
    assert story.line() == [two, one]


def test_where_both_sides_bring_pins_the_first_parent_counts(story):
    """Another GitOps branch, merged into this one."""
    one = story.pin("1")
    story.pull()
    story.sandbox.git(story.mine, "switch", "-qc", "other")
    foreign = story.work(f"{DEV}/other")
    story.sandbox.git(
        story.mine, "commit", "-q", "--amend", "-m", "pin\n\nMlops-Action: promote", "--no-edit"
    )
    story.sandbox.git(story.mine, "switch", "-q", "main")
    two = story.pin("2")
    story.pull()
    story.sandbox.git(story.mine, "merge", "-q", "--no-ff", "--no-edit", "other")
    merge = story.sandbox.git(story.mine, "rev-parse", "HEAD")
    story.push()
    assert story.line() == [merge, two, one]
    assert foreign not in story.line()


def test_the_same_branch_pushed_without_a_merge_of_its_own(story):
    """The feature branch merged main, and main was fast-forwarded to it."""
    one = story.pin("1")
    story.pull()
    story.sandbox.git(story.mine, "switch", "-qc", "feature")
    story.work("a")
    two = story.pin("2")
    story.pull("origin", "main")
    story.push()
    assert story.line() == [two, one]


def test_pins_by_hand_without_a_trailer_are_told_once(story):
    one = story.pin("1")
    story.pull()
    story.work("a")
    story.pin("2", message="by hand")
    merge = story.pull()
    story.push()
    assert story.line() == [merge, one]
    change = next(iter(story.gitops.line(story.gitops.tip(), DEV)))
    assert story.gitops.blob(change.files[PIN][1]) == b"2"


def test_a_conflict_solved_by_the_colleague(story):
    one = story.pin("1")
    story.pull()
    story.work(PIN, "mine")
    two = story.pin("2")
    story.sandbox.git(story.mine, "pull", "-q", "--no-rebase", code=1)
    (story.mine / PIN).write_text("both")
    story.sandbox.git(story.mine, "commit", "-qam", "merge")
    merge = story.sandbox.git(story.mine, "rev-parse", "HEAD")
    story.push()
    assert story.line() == [merge, two, one]
    change = next(iter(story.gitops.line(story.gitops.tip(), DEV)))
    assert [story.gitops.blob(blob) for blob in change.files[PIN]] == [b"2", b"both"]


def test_an_octopus(story):
    one = story.pin("1")
    story.pull()
    for name in ("x", "y"):
        story.sandbox.git(story.mine, "switch", "-qc", name, "main")
        story.work(name)
    story.sandbox.git(story.mine, "switch", "-q", "main")
    story.work("a")
    two = story.pin("2")
    story.sandbox.git(story.mine, "fetch", "-q")
    story.sandbox.git(story.mine, "merge", "-q", "-m", "three", "x", "origin/main", "y")
    story.push()
    assert story.line() == [two, one]


@pytest.mark.parametrize("skew", [-86_400 * 30, 86_400 * 30])
def test_clocks_that_are_wrong(story, monkeypatch, skew):
    one = story.pin("1")
    story.pull()
    monkeypatch.setenv("GIT_COMMITTER_DATE", f"@{1_600_000_000 + skew} +0000")
    story.work("a")
    story.work("b")
    monkeypatch.setenv("GIT_COMMITTER_DATE", "@1600000000 +0000")
    two = story.pin("2")
    monkeypatch.setenv("GIT_COMMITTER_DATE", f"@{1_600_000_000 - skew} +0000")
    story.pull()
    story.push()
    assert story.line() == [two, one]


def test_links_and_submodules_are_no_files(story):
    one = story.pin("1")
    story.pull()
    (story.mine / PIN).unlink()
    (story.mine / PIN).symlink_to("/etc/passwd")
    (story.mine / DEV / "only").symlink_to("x")
    linked = story.sandbox.commit(story.mine, "link", {})
    story.push()
    assert story.line() == [linked, one]
    change = next(iter(story.gitops.line(story.gitops.tip(), DEV)))
    assert set(change.files) == {PIN}
    assert change.files[PIN][1] is None


def test_odd_names(story):
    names = [f"{DEV}/commit {'0' * 40} x", f"{DEV}/:100644", f"{DEV}/new\nline", f"{DEV}/é"]
    for name in names:
        story.pin("1", name)
    found = [path for change in story.gitops.line(story.gitops.tip(), DEV) for path in change.files]
    assert found == names[::-1]
    assert len(story.line(names[2])) == 1


def test_a_shallow_clone_marks_its_end(story):
    story.pin("1")
    story.pin("1", f"{DEV}/environment.yaml")
    two, three = story.pin("2"), story.pin("3")
    story.sandbox.git(
        story.sandbox.directory, "clone", "-q", "--depth=3", f"file://{story.sandbox.remote}", "s"
    )
    gitops = story.sandbox.gitops(story.sandbox.directory / "s")
    changes = list(gitops.line(gitops.tip(), DEV))
    assert [change.info.commit.sha for change in changes] == [three, two, story.pins[1]]
    assert [change.cut for change in changes] == [False, False, True]
    assert set(changes[2].files) == {PIN, f"{DEV}/environment.yaml"}
    assert all(old is None for old, _ in changes[2].files.values())
    last = list(gitops.line(gitops.tip(), "environments/prod"))
    assert [(change.cut, dict(change.files)) for change in last] == [(True, {})]


def test_what_is_not_asked_for_is_not_read(story, monkeypatch):
    """Stopping early ends the process, and long straight history takes one."""
    where = story.sandbox.directory / "automation"
    lines = [
        "blob\nmark :1\ndata 1\nx\n",
        *(
            f"commit refs/heads/long\ncommitter A <a@b> {1_600_000_000 + n} +0000\ndata 2\n{n % 90 + 10}\n"
            f"M 100644 :1 {'environments/dev' if n % 2 else 'src'}/f{n}\n\n"
            for n in range(1000)
        ),
    ]
    (where / "import").write_text("".join(lines))
    with (where / "import").open() as script:
        subprocess.run(["git", "fast-import", "--quiet"], cwd=where, stdin=script, check=True)
    started = []
    real = Stream.__init__

    def counting(self, git, *args, **kwargs):
        started.append((args[0], self))
        real(self, git, *args, **kwargs)

    monkeypatch.setattr(Stream, "__init__", counting)
    tip = Commit(story.sandbox.git(where, "rev-parse", "long"))
    walk = story.gitops.line(tip, DEV)
    assert f"{DEV}/f999" in next(walk).files
    walk.close()
    assert [name for name, _ in started if name == "log"] == ["log"]
    assert all(stream._process.returncode is not None for name, stream in started if name == "log")
    assert sum(1 for _ in story.gitops.line(tip, DEV)) == 500
    assert [name for name, _ in started if name == "log"] == ["log", "log"]


def test_merges_do_not_each_cost_a_process(story, monkeypatch):
    """Ordinary merges of feature branches are told apart by reading, not by asking git each time."""
    for number in range(6):
        story.sandbox.git(story.mine, "switch", "-qc", f"f{number}")
        story.work(f"a{number}")
        story.sandbox.git(story.mine, "switch", "-q", "main")
        story.sandbox.git(story.mine, "merge", "-q", "--no-ff", "--no-edit", f"f{number}")
    story.push()
    asked = []
    monkeypatch.setattr(line.Line, "_only_from", lambda *args: asked.append(args))
    assert story.line() == []
    assert asked == []


def _dag(random):
    """A fast-import script of commits with up to three parents, wrong clocks among them; each has
    a file of its own, and some change the overlay."""
    for number in range(1, random.randint(6, 25)):
        near = range(max(1, number - random.choice([1, 2, 6])), number)
        parents = random.sample(near, min(len(near), random.choice([1, 1, 2, 3])))
        when = 1_600_000_000 + number * 60 + random.choice([0, 0, 0, random.randint(-3000, 3000)])
        message = random.choice(["work\n", "pin\n\nMlops-Action: promote\n"])
        yield f"commit refs/heads/dag\nmark :{number}\ncommitter A <a@b> {when} +0000\n"
        yield f"data {len(message)}\n{message}"
        yield "".join(
            f"{'merge' if at else 'from'} :{parent}\n" for at, parent in enumerate(parents)
        )
        yield f"M 100644 inline f{number}\ndata 1\nx\n"
        if number == 1 or random.random() < 0.5:
            yield f"M 100644 inline {PIN}\ndata 1\n{random.choice('123')}\n"
        yield "\n"


def _one_by_one(walk, repository, tip):
    """The line as its definition says, each commit compared with the next by itself."""
    at, found = tip, []
    while at is not None:
        parent = walk.followed(repository.commit(Commit(at)).parents)
        changes = repository.changed(Commit(parent) if parent else None, Commit(at), DEV)
        if changes:
            found.append((at, {change.path: (change.old, change.new) for change in changes}))
        at = parent
    return found


@pytest.mark.parametrize("seed", range(25))
def test_the_line_is_what_a_walk_commit_by_commit_finds(sandbox, seed):
    where = sandbox.new("dag")
    script = "".join(_dag(Random(seed))).encode()  # noqa: S311 - no secret
    subprocess.run(["git", "fast-import", "--quiet"], cwd=where, input=script, check=True)
    repository = sandbox.open(where)
    tip = sandbox.git(where, "rev-parse", "dag")
    walk = line.Line(repository, DEV)
    found = [(change.info.commit.sha, dict(change.files)) for change in walk.walk(Commit(tip))]
    assert found == _one_by_one(line.Line(repository, DEV), repository, tip)
