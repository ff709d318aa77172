"""Whatever is pushed, whoever dies, and whichever watcher is slower: every observed tip is decided, and run once.

Git is real; what trains is a stub. A longer hunt: MLOPS_EXAMPLES=500 pytest tests/system/watch/test_machine.py
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mlops.adapters.git import Repository, discover
from mlops.domain.source import Commit
from mlops.domain.watching import Seen, Tracked
from mlops.engine import claiming
from tests.system.watch.stub import Killed, Machine, carry_out
from tests.system.watch.watching import Watched

MODELS = {"spam": "spam.py", "ham": "ham.py"}
PROJECT = "apiVersion: mlops/v1\nkind: Project\nname: shop\nmodels:\n" + "".join(
    f"  {model}: {{paths: [{path}]}}\n" for model, path in MODELS.items()
)
# what a commit changes, and what its message says
KINDS = {
    "spam": ("spam.py", ""),
    "ham": ("ham.py", ""),
    "docs": ("docs/a.md", ""),
    "pin": ("environments/dev/a.yaml", ""),
    "marked": ("spam.py", " [skip ci]"),
}
REFS = ("refs/heads/main", "refs/heads/topic", "refs/heads/a;b", "refs/tags/v1")
BRANCH = st.sampled_from(REFS[:3])
KIND = st.sampled_from([*KINDS, "spam", "spam"])
WHO = st.sampled_from([0, 1])
SELDOM = st.sampled_from([False, False, False, True])


class Forge:
    """A bare repository, written to as pushes would."""

    def __init__(self, place: Path) -> None:
        self.place = place / "remote.git"
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", self.place], check=True)
        self.kinds: dict[str, str] = {}
        self.parents: dict[str, str] = {}
        self.count = 0

    def git(self, *argv: str, stdin: str = "") -> str:
        run = subprocess.run(
            ["git", *argv],
            cwd=self.place,
            input=stdin,
            text=True,
            capture_output=True,
            check=True,
        )
        return run.stdout.strip()

    def tips(self) -> dict[str, str]:
        form = "--format=%(refname) %(objectname)"
        lines = self.git("for-each-ref", form, "refs/heads", "refs/tags").splitlines()
        return dict(line.split(" ") for line in lines)

    def commit(self, ref: str, parent: str, kinds: list[str]) -> None:
        """Commits on top of `parent`, and the ref there, in one step."""
        stream = ""
        for number, kind in enumerate(kinds):
            self.count += 1
            path, mark = KINDS[kind]
            message = f"{self.count}{mark}"
            stream += (
                f"commit refs/tmp\nmark :{number + 1}\ncommitter A <a@b> {1767225600 + self.count} +0000\n"
                f"data {len(message)}\n{message}\nfrom {parent if not number else f':{number}'}\n"
                f"M 100644 inline {path}\ndata {len(str(self.count))}\n{self.count}\n"
            )
        marks = self.place / "marks"
        self.git("fast-import", "--quiet", "--force", f"--export-marks={marks}", stdin=stream)
        made = dict(line.split(" ") for line in marks.read_text().splitlines())
        before = parent
        for number, kind in enumerate(kinds):
            sha = made[f":{number + 1}"]
            self.kinds[sha], self.parents[sha] = kind, before
            before = sha
        self.git("update-ref", ref, before)
        self.git("update-ref", "-d", "refs/tmp")

    def line(self, sha: str) -> list[str]:
        found = [sha]
        while found[-1] in self.parents:
            found.append(self.parents[found[-1]])
        return found


class Watching(RuleBasedStateMachine):
    each: ClassVar[str] = "push"

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.place = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.forge = Forge(self.place)
        self.machine = Machine()
        self.observed: dict[str, None] = {}  # commits that were a tip when a look ended
        self.late: dict[int, object] = {}  # who → what it saw, and did not decide on yet

    @initialize()
    def begin(self):
        first = "0"
        stream = (
            "commit refs/heads/main\nmark :1\ncommitter A <a@b> 1767225600 +0000\ndata 1\n0\n"
            f"M 100644 inline mlops.yaml\ndata {len(PROJECT)}\n{PROJECT}\n"
        )
        self.forge.git("fast-import", "--quiet", stdin=stream)
        first = self.forge.git("rev-parse", "main")
        self.first = first
        self.forge.kinds[first] = "first"
        self.watchers = []
        for name in "ab":
            place = self.place / name
            subprocess.run(["git", "clone", "-q", self.forge.place, place], check=True)
            self.watchers.append(self.watcher(place))

    def watcher(self, place: Path) -> Watched:
        sandbox = SimpleNamespace(open=self.open)
        tracked = Tracked(("*",), ("v*",))
        return Watched(
            sandbox,
            place,
            each=self.each,
            tracked=tracked,
            dead=lambda holder: holder.get("pid") in self.machine.dead,
        )

    def open(self, place: Path) -> Repository:
        return self.stack.enter_context(Repository(discover(place)))

    # -- what happens on the forge

    @rule(ref=BRANCH, kinds=st.lists(KIND, min_size=1, max_size=4))
    def push(self, ref, kinds):
        tips = self.forge.tips()
        self.forge.commit(ref, tips.get(ref) or next(iter(tips.values()), self.first), kinds)

    @rule(ref=BRANCH, back=st.integers(1, 4), kinds=st.lists(KIND, max_size=3))
    def force(self, ref, back, kinds):
        tip = self.forge.tips().get(ref)
        if tip is not None:
            line = self.forge.line(tip)
            base = line[min(back, len(line) - 1)]
            if kinds:
                self.forge.commit(ref, base, kinds)
            else:
                self.forge.git("update-ref", ref, base)

    @rule(ref=BRANCH)
    def delete(self, ref):
        self.forge.git("update-ref", "-d", ref)

    @rule(ref=st.sampled_from(REFS), number=st.integers(0, 50))
    def put_anywhere(self, ref, number):
        """A branch is made again, a tag moves, a branch goes back."""
        known = list(self.forge.kinds)
        self.forge.git("update-ref", ref, known[number % len(known)])

    # -- what watchers do

    @rule(who=WHO)
    def look(self, who):
        self.note(self.watchers[who].look())

    @rule(who=WHO)
    def see(self, who):
        """It looks, and is slow to decide."""
        another = self.watcher(self.watchers[who].where).watcher
        self.late[who] = another.tips.look(another.tracked)

    @rule(who=WHO)
    def decide_late(self, who):
        """It decides on what it saw some time ago."""
        sight = self.late.pop(who, None)
        if sight is not None:
            one = self.watchers[who]
            inner = one.watcher.tips
            one.watcher.tips = SimpleNamespace(look=lambda _: sight)
            one.watcher.look()
            one.watcher.tips = inner
            self.restart(who)

    @rule(who=WHO, share=st.sampled_from(["none", "some", "all"]), skip=st.integers(0, 3))
    def die_deciding(self, who, share, skip):
        """Before its claims are pushed, between two of them, or right after."""
        one = self.watchers[who]
        put = one.claims.put_each

        def last(documents, previous=None):
            names = list(documents)
            some = {"none": [], "some": names[skip:][: len(names) // 2], "all": names}[share]
            if some:
                put({name: documents[name] for name in some}, previous or {})
            raise Killed

        one.claims.put_each = last
        with suppress(Killed):
            self.note(one.look())
        self.restart(who)

    @rule(who=WHO)
    def restart(self, who):
        self.late.pop(who, None)
        self.watchers[who] = self.watcher(self.watchers[who].where)

    @rule(
        who=WHO,
        number=st.integers(0, 5),
        dies=st.sampled_from(["", "", "", "claimed", "submitted", "trained"]),
        fails=SELDOM,
        meddles=SELDOM,
    )
    def run(self, who, number, dies, fails, meddles):
        other = self.watchers[1 - who]

        def during():
            if meddles:  # the other one looks, and runs what it may
                other.look()
                carry_out(other, self.machine, number)

        carry_out(self.watchers[who], self.machine, number, dies=dies, fails=fails, during=during)

    # -- what must hold

    def note(self, seen: tuple[Seen, ...]) -> None:
        """Right after a look: all that it saw is decided."""
        claims = claiming.decisions(self.watchers[0].claims.list())
        for each in seen:
            assert not each.trouble, each.trouble
            if each.tip.branch and self.each == "commit":
                self.check_commits(each.tip.commit.sha, claims)
            else:
                self.check_tip(each.tip.commit.sha, claims, branch=each.tip.branch)
        self.observed |= dict.fromkeys(each.tip.commit.sha for each in seen)

    def check_tip(self, tip: str, claims, *, branch: bool) -> None:
        line = self.forge.line(tip)
        source = next(sha for sha in line if self.forge.kinds[sha] != "pin")
        for model, path in MODELS.items():
            if claiming.subject(model, Commit(source)) in claims or self.marked(source):
                continue
            assert branch, f"{source} of a tag is not decided for {model}"
            for sha in line:
                known = claims.get(claiming.subject(model, Commit(sha)))
                if known is not None and known.outcome not in ("skipped", "superseded"):
                    break
                assert self.path(sha) != path, f"{sha} below {tip} is not decided for {model}"
            else:
                raise AssertionError(f"nothing up to {tip} is decided for {model}")

    def check_commits(self, tip: str, claims) -> None:
        line = self.forge.line(tip)
        known = next((n for n, sha in enumerate(line) if sha in self.observed), None)
        for sha in line[:known] if known is not None else ():
            for model, path in MODELS.items():
                if self.path(sha) == path and not self.marked(sha):
                    subject = claiming.subject(model, Commit(sha))
                    assert subject in claims, f"{sha} is not decided for {model}"

    def marked(self, sha: str) -> bool:
        return self.forge.kinds[sha] == "marked"

    def path(self, sha: str) -> str:
        return KINDS.get(self.forge.kinds[sha], ("", ""))[0]

    @invariant()
    def one_attempt_each(self):
        refs = self.forge.git("for-each-ref", "--format=%(refname)", "refs/mlops/runs").split()
        assert all(ref.endswith("-1") for ref in refs), refs

    def teardown(self):
        try:
            if hasattr(self, "watchers"):
                self.finish()
        finally:
            self.stack.close()

    def finish(self) -> None:
        """In the end both agree, nothing is left, and no run that was through was made again."""
        for _ in range(200):
            self.note(self.watchers[0].look())
            if carry_out(self.watchers[0], self.machine) is None:
                break
        assert self.watchers[0].watcher.waiting() == ()
        fresh = [c for seen in self.watchers[1].look() for c in seen.choices if c.fresh]
        assert fresh == []
        assert self.watchers[1].watcher.waiting() == ()
        claims = claiming.decisions(self.watchers[0].claims.list()).values()
        assert all(each.state == "outcome" for each in claims)


class EachCommit(Watching):
    each = "commit"


EXAMPLES = int(os.environ.get("MLOPS_EXAMPLES", "8"))
for machine in (Watching, EachCommit):
    machine.TestCase.settings = settings(
        max_examples=EXAMPLES,
        stateful_step_count=20,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],  # a smaller example takes minutes to find
        suppress_health_check=list(HealthCheck),
    )


@pytest.mark.timeout(3600)
class TestEachPush(Watching.TestCase):
    pass


@pytest.mark.timeout(3600)
class TestEachCommit(EachCommit.TestCase):
    pass
