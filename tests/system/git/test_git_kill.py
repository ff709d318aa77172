"""kill -9 at every rename, link, removal and program that publishing goes through.

The points are enumerated by counting: a forked process kills itself at the n-th, for n from 1 until
it gets through. What it had started is left to run on, as in life.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from mlops.adapters.git import Repository, discover
from mlops.domain.source import Commit
from mlops.ports import Published

PIN = "environments/dev/kustomization.yaml"
HOLDS = "environments/dev/holds.yaml"
RECORD = "environments/releases/spam/abc.json"
CHANGES = {PIN: b"1\n", HOLDS: None, RECORD: b"{}\n"}
_PR_SET_CHILD_SUBREAPER = 36


@pytest.fixture(autouse=True)
def adopt_orphans(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Programs whose starter was killed become our children, so that we can wait for them."""
    monkeypatch.setenv("GIT_AUTHOR_DATE", "@1600000000 +0000")  # the same commits in each round
    monkeypatch.setenv("GIT_COMMITTER_DATE", "@1600000000 +0000")
    libc = ctypes.CDLL(None)
    assert libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    yield
    _reap()
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def killed_at(number: int, act: Callable[[], object]) -> bool:
    """Run `act` in a process that kills itself at its n-th step; False where it got through."""
    child = os.fork()
    if child == 0:
        try:
            _arm(number)
            act()
            os._exit(0)
        finally:
            os._exit(3)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False


def _arm(number: int) -> None:
    steps = iter(range(1, number))

    def step() -> None:
        if next(steps, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    def before(holder: object, name: str) -> None:
        real = getattr(holder, name)

        def wrapper(*args: object, **kwargs: object) -> object:
            step()
            return real(*args, **kwargs)

        setattr(holder, name, wrapper)

    for name in ("replace", "rename", "link", "unlink", "remove", "mkdir", "rmdir", "fsync"):
        before(os, name)
    before(subprocess.Popen, "__init__")  # before a program starts
    before(subprocess.Popen, "communicate")  # while it runs


def _state(place: Path) -> str:
    """All that is on disk below `place`, in one digest."""
    digest = hashlib.sha256()
    for path in sorted(place.rglob("*")):
        # what an index or a reflog says of time differs from run to run, and so do random names
        name = str(path.relative_to(place))
        if "objects/" in name:  # unreachable until a ref says otherwise
            continue
        digest.update(re.sub(r"-new-[0-9a-f]{12}", "-new", name).encode())
        if path.is_file() and "/logs/" not in name:
            volatile = path.name.startswith("index") or name.endswith(("/lock", "intent.json"))
            digest.update(b"" if volatile else path.read_bytes())
    return digest.hexdigest()


def _kills(begin: Callable[[], Path], act: Callable[[], object]) -> Iterator[int]:
    """For each kill point that left something new on disk: its number, with that state restored.

    Where a program that was left running changed it further, both are given: the state in which it
    runs on, and the one when it had ended.
    """
    seen = set()
    for number in count(1):
        place = begin()
        if not killed_at(number, act):
            _reap()
            return
        at_once = _state(place)
        _reap()
        ended = _state(place)
        if ended not in seen:
            seen.add(ended)
            yield number
            if at_once != ended:
                begin()
                killed_at(number, act)
                yield number


@pytest.fixture
def template(sandbox):
    place = sandbox.new("a")
    sandbox.commit(place, "first", {"train.py": "1\n", PIN: "0\n", HOLDS: "held\n", "b": "b\n"})
    (place / "train.py").write_text("dirty\n")
    (place / "b").write_text("staged\n")
    sandbox.git(place, "add", "b")
    return place.rename(sandbox.directory / "template")


def _head(place: Path) -> Commit:
    with Repository(discover(place)) as repository:  # `_reap` waits for all that it started
        return repository.head()


MINE = "M  b\n M train.py"


def _copies(template: Path, where: Path) -> Callable[[], Path]:
    def begin() -> Path:
        if where.exists():
            shutil.rmtree(where)
        shutil.copytree(template, where, symlinks=True)
        token = where / ".git" / "mlops" / "index-token"
        if token.exists():  # copies are no hard links: make the lock one again
            (where / ".git" / "index.lock").unlink()
            (where / ".git" / "index.lock").hardlink_to(token)
        return where

    return begin


def _check(sandbox, where, gitops, base) -> bool:
    """Either state, entirely; whether it is the new one."""
    tip = gitops.refresh()
    new = tip != base
    assert sandbox.git(where, "status", "--porcelain", "--ignored") == MINE
    assert (where / PIN).read_text() == ("1\n" if new else "0\n")
    assert (where / HOLDS).exists() is not new
    assert (where / RECORD).exists() is new
    assert bool(sandbox.git(where, "tag")) is new
    assert not (where / ".git" / "index.lock").exists()
    done = gitops.publish(tip, {PIN: b"2\n"}, "next")
    assert isinstance(done, Published)
    assert sandbox.git(where, "status", "--porcelain", "--ignored") == MINE
    return new


def test_without_a_remote_checked_out(sandbox, template):
    where = sandbox.directory / "a"
    base = _head(template)

    def publish() -> None:
        sandbox.gitops(where, remote=None).publish(base, CHANGES, "pin", {"t": base})

    news, pending = {}, 0
    for number in _kills(_copies(template, where), publish):
        pending += (where / ".git" / "mlops" / "intent.json").exists()
        gitops = sandbox.gitops(where, remote=None)
        news.setdefault(number, _check(sandbox, where, gitops, base))
        gitops.repository.close()
        _reap()
        assert [left.name for left in (where / ".git" / "mlops").iterdir()] == ["lock"]
    assert list(news.values()) == sorted(news.values())  # the old state, then the new
    assert set(news.values()) == {False, True}
    assert pending > 5


def test_the_recovery_itself(sandbox, template):
    """Killed with the intent on disk, then killed again at every step of finishing it."""
    where, half = sandbox.directory / "a", sandbox.directory / "half"
    base = _head(template)

    def publish() -> None:
        sandbox.gitops(where, remote=None).publish(base, CHANGES, "pin", {"t": base})

    for _ in _kills(_copies(template, where), publish):
        if (where / ".git" / "mlops" / "intent.json").exists():
            _reap()
            shutil.copytree(where, half, symlinks=True)
            break
    points = 0
    for _ in _kills(_copies(half, where), lambda: sandbox.gitops(where, remote=None)):
        points += 1
        gitops = sandbox.gitops(where, remote=None)
        assert _check(sandbox, where, gitops, base)
        gitops.repository.close()
        _reap()
    assert points > 5


def test_without_a_remote_not_checked_out(sandbox, template):
    sandbox.git(template, "switch", "-qc", "work")
    where = sandbox.directory / "a"
    base = _head(template)

    def publish() -> None:
        sandbox.gitops(where, remote=None).publish(base, CHANGES, "pin", {"t": base})

    news = []
    for _ in _kills(_copies(template, where), publish):
        gitops = sandbox.gitops(where, remote=None)
        tip = gitops.refresh()
        news.append(tip != base)
        assert gitops.read(tip, PIN) == (b"1\n" if tip != base else b"0\n")
        assert bool(sandbox.git(where, "tag")) is (tip != base)
        assert isinstance(gitops.publish(tip, {PIN: b"2\n"}, "next"), Published)
        assert sandbox.git(where, "status", "--porcelain") == MINE
        gitops.repository.close()
        _reap()
        assert [left.name for left in (where / ".git" / "mlops").iterdir()] == ["lock"]
    assert set(news) == {False, True}


def test_with_a_remote(sandbox):
    sandbox.clone("a")
    template, where = sandbox.directory / "template", sandbox.directory / "place"
    template.mkdir()
    sandbox.remote.rename(template / "remote.git")
    (sandbox.directory / "a").rename(template / "a")
    sandbox.git(template / "a", "remote", "set-url", "origin", str(where / "remote.git"))
    base = _head(template / "a")

    def publish() -> None:
        sandbox.gitops(where / "a").publish(base, {PIN: b"1\n"}, "pin", {"t": base})

    news = []
    for _ in _kills(_copies(template, where), publish):
        gitops = sandbox.gitops(where / "a")
        tip = gitops.refresh()
        done = gitops.publish(tip, {PIN: b"2\n"}, "next", {"t": base})
        if not isinstance(done, Published):  # the push that was left running came in between
            tip = done.tip
            done = gitops.publish(tip, {PIN: b"2\n"}, "next", {"t": base})
        assert isinstance(done, Published)
        news.append(tip != base)
        assert gitops.read(tip, PIN) == (b"1\n" if tip != base else None)
        gitops.repository.close()
        _reap()
        assert sandbox.git(where / "remote.git", "rev-parse", "main") == done.commit.sha
        assert sandbox.git(where / "a", "status", "--porcelain") == ""
        assert sandbox.git(where / "a", "rev-parse", "HEAD") == base.sha
    assert set(news) == {False, True}
