"""A walk that goes on where an earlier one began finds what it would find alone."""

from __future__ import annotations

import subprocess
from itertools import islice
from random import Random

import pytest

from mlops.adapters.git import line, walked
from mlops.adapters.git.walked import Seen, Walked
from mlops.domain.source import Commit
from tests.system.git.test_git_line import DEV, _dag, _one_by_one


@pytest.fixture
def kept(monkeypatch):
    """However short a walk is, it is kept."""
    monkeypatch.setattr(line, "_LONG", 0)


def found(repository, tip: str, prefix: str = DEV):
    changes = line.Line(repository, prefix).walk(Commit(tip))
    return [(change.info.commit.sha, dict(change.files)) for change in changes]


def grown(sandbox, commits: int = 4) -> tuple:
    where = sandbox.clone("w")
    shas = [sandbox.commit(where, f"{n}", {f"{DEV}/f": f"{n}"}) for n in range(commits)]
    return sandbox.open(where), shas


def file(repository, prefix: str = DEV):
    return walked.path(repository.common_dir, (prefix,))


@pytest.mark.parametrize("seed", range(25))
def test_from_any_commit_to_any_other(sandbox, kept, seed):
    random = Random(seed)  # noqa: S311 - no secret
    where = sandbox.new("dag")
    script = "".join(_dag(random)).encode()
    subprocess.run(["git", "fast-import", "--quiet"], cwd=where, input=script, check=True)
    repository = sandbox.open(where)
    shas = sandbox.git(where, "rev-list", "--topo-order", "--reverse", "dag").split()
    for tip in random.sample(shas, min(5, len(shas))):
        if random.random() < 0.5:  # somebody asks for a part first
            part = line.Line(repository, DEV).walk(Commit(tip))
            list(islice(part, random.randint(0, 4)))
            part.close()
        assert found(repository, tip) == _one_by_one(line.Line(repository, DEV), repository, tip)


def test_what_was_walked_is_not_read_again(sandbox, kept, monkeypatch):
    repository, shas = grown(sandbox)
    before = found(repository, shas[-1])
    passed = []
    real = line._stop
    monkeypatch.setattr(line, "_stop", lambda *args: passed.append(args) or real(*args))
    assert found(repository, shas[-1]) == before
    assert len(passed) == 1


def test_a_walk_that_is_not_read_to_its_end_is_kept_as_far_as_it_was(sandbox, kept):
    repository, shas = grown(sandbox, 6)
    before = _one_by_one(line.Line(repository, DEV), repository, shas[-1])
    for read in (1, 3, 2):
        walk = line.Line(repository, DEV).walk(Commit(shas[-1]))
        assert [next(walk).info.commit.sha for _ in range(read)] == shas[::-1][:read]
        walk.close()
        assert walked.load(file(repository), (DEV,)).rest is not None
    assert found(repository, shas[-1]) == before
    assert walked.load(file(repository), (DEV,)).rest is None


def test_short_walks_are_not_kept(sandbox):
    repository, shas = grown(sandbox)
    found(repository, shas[-1])
    assert not file(repository).exists()


def test_each_prefix_has_its_own(sandbox, kept):
    repository, shas = grown(sandbox)
    assert len(found(repository, shas[-1])) == 4
    assert found(repository, shas[-1], "environments/prod") == []
    assert len(found(repository, shas[-1])) == 4


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[",
        b"[]",
        b"{}",
        b"\xff",
        b'{"version": 0, "prefixes": ["environments/dev"], "tip": "%s", "rest": null, "seen": []}',
        b'{"version": 1, "prefixes": ["environments/prod"], "tip": "%s", "rest": null, "seen": []}',
        b'{"version": 1, "prefixes": ["environments/dev"], "tip": "--all", "rest": null, "seen": []}',
        b'{"version": 1, "prefixes": ["environments/dev"], "tip": "%s", "rest": null, "seen": [["x\\n", {}]]}',
        b'{"version": 1, "prefixes": ["environments/dev"], "tip": "%s", "rest": null, "seen": [["%s", {"a": ["b"]}]]}',
        b'{"version": 1, "prefixes": ["environments/dev"], "tip": "%s", "rest": null, "seen": [["%s", 3]]}',
        b'{"version": 1, "prefixes": ["environments/dev"], "tip": "%s", "rest": "-x", "seen": []}',
    ],
)
def test_a_damaged_file_is_as_none(sandbox, kept, content):
    repository, shas = grown(sandbox)
    before = found(repository, shas[-1])
    file(repository).write_bytes(content.replace(b"%s", shas[-1].encode()))
    assert walked.load(file(repository), (DEV,)) is None
    assert found(repository, shas[-1]) == before


def test_where_it_cannot_be_written_it_is_not_kept(sandbox, kept):
    repository, shas = grown(sandbox)
    (repository.common_dir / "mlops").write_text("a file in its place")
    assert len(found(repository, shas[-1])) == 4


def test_a_shallow_clone_keeps_none_and_uses_none(sandbox, kept):
    repository, shas = grown(sandbox)
    sandbox.git(repository.root, "push", "-q", "origin", "HEAD:main")
    url = f"file://{sandbox.remote}"
    sandbox.git(sandbox.directory, "clone", "-q", "--depth=2", url, "s")
    shallow = sandbox.open(sandbox.directory / "s")
    assert [sha for sha, _ in found(shallow, shas[-1])] == [shas[3], shas[2]]
    assert not file(shallow).exists()
    (shallow.common_dir / "mlops").mkdir()
    walked.save(file(shallow), (DEV,), Walked(shas[-1], (Seen(shas[0], {}),)))
    assert [sha for sha, _ in found(shallow, shas[-1])] == [shas[3], shas[2]]
