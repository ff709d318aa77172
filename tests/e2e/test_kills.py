"""kill -9 at every program that is started and every file that is renamed, by `run`, `rollback` and `lock`.

The places are taken from a trace of a command that was left alone. After kills the same command,
typed again, must work, and the project must look as if nothing had happened. `make test` kills a command at up to
three places, one after another, and then lets it end; and it leaves out, for `run`, the places at which a program
starts that only reads. `make test-kills` has these too, and a project for each place.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest

from tests.fakes.wheels import index, wheel

KILLING = Path(__file__).parent / "killing"
CHUNKS = 6
EVERYWHERE = os.environ.get("MLOPS_TEST_KILLS") == "all"  # make test-kills
TOGETHER = 1 if EVERYWHERE else 3  # kills of one project
# Programs that only read: a kill there is a kill between what comes before and after.
READING = re.compile(
    r"start (git --no-pager (rev-parse|rev-list|cat-file|config|remote|symbolic-ref|log|ls-remote|"
    r"merge-base|for-each-ref|check-ref-format|diff|status|ls-files|var)|kubectl|kustomize|uv (--version|cache))\b"
)
ROLLBACK = ("rollback", "prod", "--reason", "wrong prices", "--incident", "I-7", "--yes")


@pytest.fixture(scope="session")
def changed(released, tmp_path_factory):
    """A commit that calls for training, pushed and not run yet."""
    project = sys.modules["spam"].copy(released, tmp_path_factory.mktemp("changed") / "project")
    project.write("params.yaml", "train: {accuracy: 0.95}\n")
    project.commit("Train harder")
    return project


@pytest.fixture(scope="session")
def twice(changed, tmp_path_factory):
    """Two releases have been in prod."""
    project = sys.modules["spam"].copy(changed, tmp_path_factory.mktemp("twice") / "project")
    project.mlops("run", "--quiet")
    project.mlops("promote", "spam@dev")
    project.mlops("promote", "spam@staging")
    return project


@pytest.fixture(scope="session")
def alone(twice, tmp_path_factory):
    """The same without a remote: the local branch, checked out, is the commit point."""
    project = sys.modules["spam"].copy(twice, tmp_path_factory.mktemp("alone") / "project")
    project.git("merge", "-q", "--ff-only", project.tip())
    project.git("remote", "remove", "origin")
    return project


def traced(project, *argv: str, at: str = "") -> tuple[int, list[str]]:
    """Run a command under the trace; its exit code, and the places it came to."""
    trace = project.path.parent / "trace"
    trace.unlink(missing_ok=True)
    env = {"PYTHONPATH": str(KILLING), "KILLING_TRACE": str(trace), "KILLING_AT": at}
    done = project.mlops(*argv, code=None, **env)
    return done.returncode, trace.read_text().splitlines() if trace.exists() else []


def places(project, *argv: str) -> list[str]:
    """Every kind of place once: where it is come to first, and where it is come to last."""
    code, lines = traced(project, *argv)
    assert code == 0
    first: dict[str, str] = {}
    last: dict[str, str] = {}
    for line in lines:
        kind = re.sub(r" #\d+$", "", line)
        first.setdefault(kind, line)
        last[kind] = line
    return list(dict.fromkeys([*first.values(), *last.values()]))


def together(found: list[str]) -> list[list[str]]:
    """The places, those of one project together, in the order in which a command comes to them."""
    return [found[at : at + TOGETHER] for at in range(0, len(found), TOGETHER)]


def killed_at(project, places: list[str], *argv: str) -> int:
    """Kill a command at each place in turn; how often it came there. It may end by itself before."""
    return sum(traced(project, *argv, at=place)[0] == -9 for place in places)


def settle(project, *argv: str):
    """The next command: it works, whatever was cut short."""
    return project.mlops(*argv)


def sound(project, branch: str) -> None:
    """Nothing is half done: repositories are whole, the work tree is clean, every command reads."""
    project.git("fsck", "--strict", "--no-dangling")
    assert project.git("status", "--porcelain") == ""
    project.mlops("status")
    names = project.git(
        "ls-tree", "-r", "--name-only", branch, "environments/releases"
    ).splitlines()
    for name in names:
        record = json.loads(project.git("show", f"{branch}:{name}"))
        assert record["release"].endswith(Path(name).stem)
        tag = f"refs/tags/mlops/spam/{Path(name).stem[:12]}"
        assert project.git("rev-parse", f"{tag}^") == record["source"]["commit"]


def actions(project, branch: str, key: str, value: str) -> list[str]:
    """Commits of the branch that carry this trailer."""
    shape = f"--format=%H %(trailers:key={key},valueonly,separator=%x20)"
    lines = project.git("log", shape, branch).splitlines()
    return [line.split()[0] for line in lines if value in line.partition(" ")[2]]


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_run_survives_a_kill_anywhere(changed, tmp_path, chunk):
    copy = sys.modules["spam"].copy
    found = places(copy(changed, tmp_path / "traced"), "run", "--quiet")
    assert len(found) > 40
    if not EVERYWHERE:
        found = [place for place in found if not READING.search(place)]
    assert any("push" in place for place in found)
    assert any("rename" in place for place in found)
    killed = 0
    mine = found[chunk::CHUNKS]
    for number, place in enumerate(together(mine)):
        project = copy(changed, tmp_path / str(number))
        head = project.git("rev-parse", "HEAD")
        before = project.git("ls-tree", "-r", "--name-only", project.tip(), "environments/releases")
        killed += killed_at(project, place, "run", "--quiet")
        release = settle(project, "run", "--quiet").stdout.strip()
        tip = project.tip()
        project.git("fetch", "-q", "origin", "+refs/tags/mlops/*:refs/tags/mlops/*")
        sound(project, tip)
        assert project.git("rev-parse", "HEAD") == head, place
        assert release.endswith(project.pinned("dev")), place
        records = project.git(
            "ls-tree", "-r", "--name-only", tip, "environments/releases"
        ).splitlines()
        assert len(records) == len(before.splitlines()) + 1, place
        assert len(actions(project, tip, "Mlops-Source", head)) == 1, place
        claims = project.git("ls-remote", "origin", f"refs/mlops/runs/spam-{head[:12]}-*").split()
        assert len(claims) == 2, (place, claims)
        project.git("fetch", "-q", "origin", f"{claims[1]}:refs/claim")
        assert json.loads(project.git("cat-file", "-p", "refs/claim"))["outcome"] == "succeeded", (
            place
        )
        project.git("update-ref", "-d", "refs/claim")
    assert killed > len(mine) // 2, "the places of the trace were not come to again"


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("remote", [True, False])
def test_rollback_survives_a_kill_anywhere(twice, alone, tmp_path, remote):
    copy = sys.modules["spam"].copy
    start = twice if remote else alone
    branch = "origin/main" if remote else "main"
    found = places(copy(start, tmp_path / "traced"), *ROLLBACK)
    assert any(("push" if remote else "rename") in place for place in found)
    killed = 0
    for number, place in enumerate(together(found)):
        project = copy(start, tmp_path / str(number))
        bad = project.git("show", f"{branch}:environments/prod/kustomization.yaml")
        good = project.git("show", f"{branch}:environments/staging/kustomization.yaml")
        assert bad.count("digest:") == good.count("digest:") == 1
        killed += killed_at(project, place, *ROLLBACK)
        settle(project, *ROLLBACK)
        if remote:
            project.tip()
        sound(project, branch)
        text = project.git("show", f"{branch}:environments/prod/kustomization.yaml")
        assert text != bad, place
        assert len(actions(project, branch, "Mlops-Action", "rollback")) == 1, place
        holds = project.git("show", f"{branch}:environments/prod/holds.yaml")
        assert holds.count("I-7") == 1, place
    assert killed > len(found) // 2, "the places of the trace were not come to again"


@pytest.fixture
def locking(made, tmp_path):
    """A locked package, pushed; then one more is required, and both files must change."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for name in ("inner", "outer"):
        wheel(wheels, name, {f"{name}.py": "x = 1\n"})
    with index(wheels) as (place, _):
        project = sys.modules["spam"].copy(made, tmp_path / "start")
        project.env.update(
            {
                "UV_CACHE_DIR": str(tmp_path / "uv"),
                "UV_NO_CONFIG": "1",
                "UV_DEFAULT_INDEX": f"http://{place}",
            }
        )
        project.write("requirements.txt", "inner\n")
        project.mlops("lock")
        project.commit("Lock inner")
        project.write("requirements.txt", "inner\nouter\n")
        yield project


LOCKS = ("requirements.lock", "mlops.lock")


def locks(project) -> dict[str, bytes]:
    return {name: (project.path / name).read_bytes() for name in LOCKS}


@pytest.mark.timeout(1800)
def test_lock_survives_a_kill_anywhere(locking, tmp_path):
    def copied(name: str):
        project = sys.modules["spam"].copy(locking, tmp_path / name)
        project.env.update(
            {key: text for key, text in locking.env.items() if key.startswith("UV_")}
        )
        return project

    before = locks(locking)
    whole = copied("whole")
    found = places(whole, "lock")
    after = locks(whole)
    assert whole.mlops("lock", "--check").stdout == "the locks are fresh\n"
    if not EVERYWHERE:
        found = [place for place in found if not READING.search(place)]
    assert all(before[name] != after[name] for name in LOCKS)
    renames = [place for place in found if place.rpartition(" #")[0].endswith(LOCKS)]
    assert [place.split()[-2] for place in renames] == list(LOCKS), found
    cut = set()
    for number, place in enumerate(found):
        project = copied(str(number))
        assert traced(project, "lock", at=place)[0] == -9, place
        stands = locks(project)
        assert all(stands[name] in (before[name], after[name]) for name in LOCKS), place
        cut.add(tuple(stands[name] == after[name] for name in LOCKS))
        told = project.mlops("lock", "--check", code=1).stdout
        assert "requirements.lock: requirements.txt changed since it was locked" in told, place
        assert "stale: run mlops lock" in told
        project.mlops("lock")
        assert locks(project) == after, place
        changed = project.git("diff", "--name-only", "HEAD").splitlines()
        assert {*changed} == {"requirements.txt", *LOCKS}, place
        assert project.git("ls-files", "--others", "--exclude-standard") == "", place
    assert cut == {(False, False), (True, False)}, "one of the two writes was not come to"


def test_half_a_lock_that_is_committed_starts_no_run(locking):
    """What a kill between the two files left, committed as it is."""
    assert traced(locking, "lock", at="lock | rename mlops.lock #1")[0] == -9
    locking.git("add", "requirements.txt", *LOCKS)
    locking.commit("Half a lock")
    said = locking.mlops("run", "--quiet", code=None)
    assert said.returncode == 2, said.stderr
    assert "requirements.lock: requirements.txt changed since it was locked" in said.stderr
    assert "mlops lock" in said.stderr
