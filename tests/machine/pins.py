"""What must hold whatever happens to an estate, in whatever order, and whoever is faster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from mlops.domain.reference import Instant
from mlops.domain.source import Commit
from mlops.engine.hold import HoldOrder
from mlops.engine.rollback import RollbackOrder
from tests.fakes.estate import digest, release
from tests.machine import edits
from tests.machine.branches import Branch
from tests.machine.observer import MODELS, ROOT, Act, Sight
from tests.machine.sentences import Sentences
from tests.machine.users import ARTIFACTS, ENVIRONMENTS, LINES, NAMES, SOURCES, User, opening

LINE_DIGESTS = [[str(digest(name)) for name in line] for line in LINES]
RECORDED = st.sampled_from(NAMES)
ANY = st.sampled_from([*NAMES, "X"])  # X has no record
MODEL = st.sampled_from(["spam", "spam", "eggs"])  # most of it in one place: more meets
WHERE = st.sampled_from(["prod", "prod", "prod", "prod-eu", "staging", "staging", "dev"])
SELDOM = st.sampled_from([False, False, False, True])
STYLE = st.sampled_from(edits.STYLES)
UNTIL = st.sampled_from([None, None, 2, 30, 26 * 60])  # minutes
SKEW = st.sampled_from([0, 0, 0, -24, 24])  # hours that somebody else's clock is off
RACES = ("files", "hand", "broken", "rollback", "hold", "quarantine", "promotion", "resume")
RACE = st.one_of(st.none(), st.none(), st.sampled_from(RACES))


class Pins(Sentences):
    """One machine for two branches. What it says of the branch it knows from its observer alone."""

    branches: ClassVar[Callable[[], Branch]]
    counted: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__(type(self).branches())
        self.branch.listen = self._listen
        self.bob = User(self.branch.rival, "Bob", self.branch.clock)
        self.act: Act | None = None
        self.incidents: list[RollbackOrder] = []  # orders that were carried out
        self.ours: list[Commit] = []  # our last commits
        self.tips: list[Commit] = []
        self.numbers = count()
        self.raced = False
        self.readable: dict[str, tuple[dict, ...]] = {}

    # -- what happens

    @initialize()
    def estate(self):
        self.branch.edit(opening(), "begin")
        for name in "AB":
            for where in ENVIRONMENTS:
                self._promote("spam", name, where)

    def _listen(self, tip: Commit, ours: bool) -> None:
        sight = Sight(tip.sha, self.branch.tree(tip))
        assert not ours or self.act is not None
        message = self.branch.message(tip)
        self.observer.see(sight, message, self.act if ours else None, self.branch.clock())
        self.tips.append(tip)
        if ours:
            self.ours = [*self.ours[-3:], tip]
        for name in ENVIRONMENTS:
            if sight.pins(name) is not None and sight.path(name) in sight.files:
                self.readable[name] = tuple(sight.images(name))

    def _begin(self, what: str) -> None:
        type(self).counted[what] += 1
        self.branch.clock.pass_time(minutes=1)
        self.observer.fresh.clear()
        self.raced = False

    def _do(self, act: Act, order: Callable[[], object], race: Callable[[], object] | None = None):
        """What of ours happens, to the end or to a refusal; `race` right before its push."""
        self.act, outer = act, self.act

        def racing() -> None:
            self.raced, self.act = True, None
            race()
            self.act = act

        self.branch.before_push = racing if race else None
        try:
            return order()
        finally:
            self.branch.before_push = None
            self.act = outer

    def _rival(self, kind: str | None, model: str, name: str, where: str):
        """What somebody else does, right before our push."""
        if kind is None:
            return None
        bob, exact = self.bob, str(release(name, model))
        acts = {
            "files": lambda: self.branch.edit({f"{ROOT}/README.md": kind.encode()}, "words"),
            "hand": lambda: self._hand(where, model, digest=str(digest(name))),
            "broken": lambda: self._break(where, edits.BROKEN[1]),
            "rollback": lambda: self._do(
                Act("rollback", with_hold=True),
                lambda: bob.roll_back(RollbackOrder(where, (model,), reason="also bad")),
            ),
            "hold": lambda: self._do(
                Act("hold"), lambda: bob.hold(HoldOrder(where, model, "stop"))
            ),
            "resume": lambda: self._do(Act("resume"), lambda: bob.resume(where, model)),
            "quarantine": lambda: self._do(
                Act("quarantine"), lambda: bob.quarantine(exact, "bad", digest_only=False)
            ),
            "promotion": lambda: self._do(
                Act("promote", despite=True),
                lambda: bob.promote((exact,), where, despite=True),
            ),
        }
        return acts[kind]

    @rule(model=MODEL, name=RECORDED, race=RACE, where=WHERE)
    def watch_tick(self, model, name, race, where):
        """A new commit is seen, its run ends, and what policy lets through goes on."""
        self.run(model, name, race)
        made, self.observer.fresh = self.observer.fresh, []
        self.automation(model, name, where, race)
        self.observer.fresh[:0] = made
        self.counted.subtract(["automation"])  # one step of the machine

    @rule(model=MODEL, name=RECORDED, race=RACE)
    def any_run(self, model, name, race):
        self.run(model, name, race)

    def run(self, model, name, race):
        """What a run proposes at its end: the record where there is none, the pin where it may."""
        self._begin("run")
        was = self.observer.sight
        expected = self._admits("dev", model, name, automatic=True, recorded=True)
        rival = self._rival(race, model, name, "dev")
        pinned = self._do(Act("run", automatic=True), lambda: self.ada.propose(model, name), rival)
        if pinned is None:
            assert self.raced or was.pins("dev") is None or was.path("dev") not in was.files
        elif not self.raced:
            assert pinned == expected
        if pinned is not None:
            assert self.observer.sight.record(model, str(digest(name)))

    @rule(
        model=st.sampled_from([("spam",), ("spam",), ("eggs",), ("eggs", "spam")]),
        name=ANY,
        where=WHERE,
        despite=st.booleans(),
        race=RACE,
    )
    def promotion(self, model, name, where, despite, race):
        self._begin("promotion")
        expected = [self._admits(where, each, name, despite=despite) for each in model]
        before = dict(self.observer.standing[where])
        done = self._do(
            Act("promote", despite=despite),
            lambda: self.ada.promote(
                tuple(str(release(name, each)) for each in model), where, despite=despite
            ),
            self._rival(race, model[-1], name, where),
        )
        if not self.raced:
            whole = self._whole(where) and self._whole(SOURCES.get(where, where))
            assert done == (all(expected) and whole)
            assert done or self.observer.standing[where] == before

    def _promote(self, model, name, where) -> None:
        self.branch.clock.pass_time(minutes=1)
        self._do(
            Act("promote", despite=True),
            lambda: self.ada.promote((str(release(name, model)),), where, despite=True),
        )

    @rule(model=MODEL, name=RECORDED)
    def advance(self, model, name):
        """All the way to prod, whatever is held."""
        self._begin("advance")
        for where in ENVIRONMENTS:
            self._promote(model, name, where)

    @rule(model=MODEL, name=RECORDED, where=WHERE, race=RACE)
    def any_automation(self, **how):
        self.automation(**how)

    def automation(self, model, name, where, race):
        self._begin("automation")
        self._do(
            Act("promote", automatic=True),
            self.ada.automatic,
            self._rival(race, model, name, where),
        )
        if not self.raced:
            for target, source in SOURCES.items():
                for each, left in self.observer.standing[source].items():
                    if self._whole(target) and self._whole(source):
                        stays = self.observer.standing[target].get(each) == left
                        assert stays or not self._admits(target, each, left, automatic=True)

    @rule(
        where=WHERE,
        models=st.sampled_from([("spam",), ("spam",), (), ("eggs", "spam")]),
        how=st.sampled_from(["", "", "", "two", "three", "to", "at", "all"]),
        name=ANY,
        minutes=st.integers(1, 200),
        with_hold=st.booleans(),
        forbid=SELDOM,
        incident=st.booleans(),
        race=RACE,
    )
    def any_rollback(self, **how):
        self.rollback(**how)

    def rollback(self, where, models, how, name, minutes, with_hold, forbid, incident, race):
        self._begin("rollback")
        model = "spam" if "spam" in models or not models else models[0]
        order = RollbackOrder(
            where,
            {"to": (), "all": ()}.get(how, models),
            every=how == "all",
            to=str(release(name, model)) if how == "to" else "",
            at=Instant(self.branch.clock() - timedelta(minutes=minutes)) if how == "at" else None,
            steps={"two": 2, "three": 3}.get(how, 1),
            reason="bad",
            incident=f"INC-{next(self.numbers)}" if incident else "",
            hold=with_hold,
            quarantine=forbid,
        )
        before = dict(self.observer.standing[where])
        expected = self._expected(order)
        done = self._do(
            Act("rollback", with_hold=with_hold),
            lambda: self.ada.roll_back(order),
            self._rival(race, model, name, where),
        )
        now = self.observer.standing[where]
        moved = {each: now.get(each) for each in MODELS if before.get(each) != now.get(each)}
        if not self.raced:
            assert bool(moved) == done
            if expected is not None:
                assert moved == expected
        for ours in self._fresh:  # whoever was faster: no step further back than was asked for
            if ours.said("Mlops-Actor") == ["Ada"]:
                left = {each: was for each, (was, _) in ours.moved.get(where, {}).items()}
                assert left.items() <= before.items()
        # one that joined somebody else's hold is told by that hold, until it is lifted
        if any(o.moved and [order.incident] == o.said("Mlops-Incident") for o in self._fresh):
            self.incidents.append(order)

    @rule(name=RECORDED, race=st.one_of(st.none(), RACE), forbid=SELDOM)
    def incident(self, name, race, forbid):
        """What an on-call engineer types at 3 a.m."""
        self.rollback("prod", ("spam",), "", name, 1, True, forbid, True, race)

    def _expected(self, order: RollbackOrder) -> dict[str, str] | None:
        """Where a plain rollback must go; empty where it must be refused, None where that is left
        to other tests."""
        where = order.environment
        if order.to or order.at is not None or order.every:
            return None
        if not self._whole(where):
            return {}
        standing = self.observer.standing[where]
        models = order.models or [
            each for each in self.observer.last_moved.get(where, ()) if each in standing
        ]
        found = {}
        for model in models:
            sound = [
                each
                for each in (self._place(where, model).predecessors() if model in standing else ())
                if self.observer.sight.sound(model, each)
            ]
            if len(sound) < order.steps:
                return {}
            found[model] = sound[order.steps - 1]
        return found

    @precondition(lambda self: self.incidents)
    @rule(data=st.data())
    def repeat(self, data):
        """A runbook that fires again, at once or after anything else."""
        order = data.draw(st.sampled_from(self.incidents))
        self._begin("repeat")
        tip = self.observer.sight.commit
        done = self._do(Act("rollback"), lambda: self.ada.roll_back(order))
        where = order.environment
        undone = any(  # what it left is pinned again: it says so, and changes nothing
            self.observer.standing[where].get(each) in self._place(where, each).left
            for each in order.models or MODELS
        )
        assert done or undone or not self._whole(where)
        assert self.observer.sight.commit == tip, f"repeated: {order}"

    @rule(where=WHERE, model=st.sampled_from([*MODELS, "*"]), until=UNTIL, name=RECORDED, race=RACE)
    def hold(self, where, model, until, name, race):
        self._begin("hold")
        end = self.branch.clock() + timedelta(minutes=until) if until else None
        each = "spam" if model == "*" else model
        done = self._do(
            Act("hold"),
            lambda: self.ada.hold(HoldOrder(where, model, "freeze", end)),
            self._rival(race, each, name, where),
        )
        assert done == self._whole(where)
        assert not done or self._held(where, each)

    @rule(where=WHERE, model=st.sampled_from([*MODELS, "*"]))
    def resume(self, where, model):
        self._begin("resume")
        done = self._do(Act("resume"), lambda: self.ada.resume(where, model))
        names = [hold["model"] for hold in self.observer.sight.holds(where)]
        assert done == self._whole(where)
        assert not done or (model not in names and (model != "*" or not names))

    @rule(model=MODEL, name=RECORDED, digest_only=st.booleans(), where=WHERE, race=RACE)
    def quarantine(self, model, name, digest_only, where, race):
        self._begin("quarantine")
        exact = str(release(name, model))
        self._do(
            Act("quarantine"),
            lambda: self.ada.quarantine(exact, "bad", digest_only=digest_only),
            self._rival(race, model, name, where),
        )
        assert self.observer.sight.forbidden(model, str(digest(name)))

    @precondition(lambda self: self.observer.sight.quarantine())
    @rule(data=st.data())
    def lift(self, data):
        entry = data.draw(st.sampled_from(self.observer.sight.quarantine()))
        self._begin("lift")
        self._do(Act("lift"), lambda: self.ada.lift(f"{entry['model']}@{entry['digest']}"))
        assert entry not in self.observer.sight.quarantine()

    # -- what others do

    @rule(
        where=WHERE,
        model=MODEL,
        name=ANY,
        what=st.sampled_from(["pin", "pin", "remove", "tag", "beside", "other", "order", "style"]),
        style=STYLE,
        skew=SKEW,
    )
    def hand_edit(self, where, model, name, what, style, skew):
        self._begin("hand_edit")
        with self.branch.clock.off(hours=skew):
            self._hand(where, model, what=what, digest=str(digest(name)), style=style)

    def _hand(self, where, model, *, digest, what="pin", style=edits.plain) -> None:
        images = [dict(entry) for entry in self.readable[where]]
        own = next((entry for entry in images if entry["name"] == model), None)
        if own is None and what in ("pin", "tag"):
            own = {"name": model, "newName": f"registry.example.com/{model}"}
            images.append(own)
        match what:
            case "pin":
                own["digest"] = digest
            case "tag":
                own.pop("digest", None)
                own["newTag"] = "v1"
            case "beside" if own is not None:
                own["newTag"] = "v2"
            case "remove" if own is not None:
                images.remove(own)
            case "order":
                images.reverse()
            case "other":
                others = [entry for entry in images if entry["name"] == "postgres"]
                images = [e for e in images if e not in others] or images
                if not others:
                    images.append({"name": "postgres", "digest": edits.OLD})
        self.branch.edit({f"{ROOT}/{where}/kustomization.yaml": style(images)}, f"{what} by hand")

    @precondition(lambda self: self._left())
    @rule(data=st.data(), then=RECORDED)
    def believed_again(self, data, then):
        """A person promotes what a rollback left, and then another; both in spite of holds."""
        model, name = data.draw(st.sampled_from(self._left()))
        self._begin("believed_again")
        for each in (name, then):
            for where in ENVIRONMENTS:
                self._promote(model, each, where)

    def _left(self) -> list[tuple[str, str]]:
        return [
            (model, name)
            for model in MODELS
            for name in NAMES
            if str(digest(name)) in self._place("prod", model).left
        ]

    def _kept_out(self) -> list[tuple[str, str, str]]:
        return sorted(
            (where, model, each)
            for (where, model), place in self.observer.places.items()
            for each in place.kept_out
        )

    @precondition(lambda self: self._kept_out())
    @rule(data=st.data())
    def put_back(self, data):
        """Somebody who knows better puts back, by hand, what a rollback keeps out."""
        where, model, wanted = data.draw(st.sampled_from(self._kept_out()))
        self._begin("put_back")
        self._hand(where, model, digest=wanted)

    @rule(where=WHERE, content=st.sampled_from([*edits.BROKEN, None]))
    def broken(self, where, content):
        self._begin("broken")
        self._break(where, content)

    def _break(self, where, content) -> None:
        self.branch.edit({f"{ROOT}/{where}/kustomization.yaml": content}, "an accident")

    @precondition(lambda self: not all(self._whole(name) for name in ENVIRONMENTS))
    @rule(name=st.one_of(st.none(), RECORDED), style=STYLE)
    def mended(self, name, style):
        self._begin("mended")
        for where in ENVIRONMENTS:
            if not self._whole(where):
                what = "style" if name is None else "pin"
                self._hand(where, "spam", what=what, digest=str(digest(name or "A")), style=style)

    @rule(model=MODEL, name=ANY, skew=SKEW)
    def another_tool(self, model, name, skew):
        """Writes one digest into every environment that it can read, in one commit."""
        self._begin("another_tool")
        changes = {}
        for where in ENVIRONMENTS:
            old = (self.observer.sight.pins(where) or {}).get(model)
            if old is not None and list(self.observer.standing[where].values()).count(old) == 1:
                path = self.observer.sight.path(where)
                content = self.observer.sight.files[path]
                changes[path] = content.replace(old.encode(), str(digest(name)).encode())
        if changes:
            with self.branch.clock.off(hours=skew):
                self.branch.edit(changes, f"chore: bump {model}")

    @rule(word=st.sampled_from("abc"), skew=SKEW)
    def other_files(self, word, skew):
        self._begin("other_files")
        with self.branch.clock.off(hours=skew):
            self.branch.edit({f"{ROOT}/README.md": word.encode()}, "words")

    @precondition(lambda self: self.ours)
    @rule(data=st.data())
    def revert(self, data):
        commit = data.draw(st.sampled_from(self.ours))
        self._begin("revert")
        self.branch.revert(commit)

    @precondition(lambda self: len(self.tips) > 1)
    @rule(where=WHERE, name=ANY, pins=st.booleans(), skew=SKEW)
    def merge(self, where, name, pins, skew):
        """A colleague pulled without rebase: their work stood on the tip before this one."""
        self._begin("merge")
        base = self.tips[-2]
        files = self.branch.tree(base)
        path = self.observer.sight.path(where)
        changes = {f"{ROOT}/NOTES.md": name.encode()}
        old = self.observer.sight.pins(where) or {}
        if pins and path in files and list(old.values()).count(old.get("spam")) == 1:
            content = files[path].replace(old["spam"].encode(), str(digest(name)).encode())
            changes = {path: content}
        with self.branch.clock.off(hours=skew):
            self.branch.merge(base, changes)

    @rule(hours=st.sampled_from([1, 25]))
    def time_passes(self, hours):
        self._begin("time_passes")
        self.branch.clock.pass_time(hours=hours)

    # -- what the observer knows

    def _admits(
        self, where, model, name, *, automatic=False, despite=False, recorded=False
    ) -> bool:
        """Whether this release may enter, by the words of the interface."""
        sight, pinned = self.observer.sight, self.observer.standing[where].get(model)
        wanted = name if name.startswith("sha256:") else str(digest(name))
        if pinned == wanted:
            return True
        if not (recorded or sight.record(model, wanted)):
            return False
        if sight.forbidden(model, wanted) or (recorded and self._forbidden_new(model, name)):
            return False
        if self._held(where, model) and (automatic or not despite):
            return False
        source = SOURCES.get(where)
        if source and wanted not in [d for d, _ in self._place(source, model).began]:
            return False
        now = self.branch.clock()
        if source and automatic and wanted in sight.avoided(source, model, now):
            return False
        return not self._back(where, model, pinned, wanted, automatic)

    def _back(self, where, model, pinned, wanted, automatic) -> bool:
        order = next(
            (line for line in LINE_DIGESTS if {pinned, wanted} <= set(line)),
            None,
        )
        if order is None or self.observer.sight.record(model, pinned) is None:
            return False
        older = order.index(wanted) < order.index(pinned)
        here = [d for d, _ in self._place(where, model).began]
        return older and (automatic or wanted in here)

    def _forbidden_new(self, model, name) -> bool:
        md5 = ARTIFACTS[name]
        return any(entry.get("artifact") == md5 for entry in self.observer.sight.quarantine())
