"""What must hold whatever happens to an estate, in whatever order, and whoever is faster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from mlops.domain.reference import Instant
from mlops.domain.source import Commit
from mlops.engine.hold import HoldOrder
from mlops.engine.rollback import RollbackOrder
from mlops.engine.status import status
from tests.fakes.estate import digest, release
from tests.machine import edits
from tests.machine.branches import Branch
from tests.machine.observer import DIGEST, MODELS, ROOT, Act, Observer, Ours, Sight
from tests.machine.users import ARTIFACTS, ENVIRONMENTS, NAMES, SOURCES, User, opening

RECORDED = st.sampled_from(NAMES)
ANY = st.sampled_from([*NAMES, "X"])  # X has no record
MODEL = st.sampled_from(["spam", "spam", "eggs"])  # most of it in one place: more meets
WHERE = st.sampled_from(["prod", "prod", "prod", "prod-eu", "staging", "dev"])
SELDOM = st.sampled_from([False, False, False, True])
STYLE = st.sampled_from(edits.STYLES)
UNTIL = st.sampled_from([None, None, 2, 30, 26 * 60])  # minutes
SKEW = st.sampled_from([0, 0, 0, -24, 24])  # hours that somebody else's clock is off
RACES = ("files", "hand", "broken", "rollback", "hold", "quarantine", "promotion", "resume")
RACE = st.one_of(st.none(), st.none(), st.sampled_from(RACES))


class Pins(RuleBasedStateMachine):
    """One machine for two branches. What it says of the branch it knows from its observer alone."""

    branches: ClassVar[Callable[[], Branch]]
    counted: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.branch = type(self).branches()
        self.observer = Observer(ENVIRONMENTS)
        self.act: Act | None = None
        self.branch.listen = self._listen
        self.ada = User(self.branch.mine, "Ada", self.branch.clock)
        self.bob = User(self.branch.rival, "Bob", self.branch.clock)
        self.incidents: list[RollbackOrder] = []  # orders that were carried out
        self.ours: list[Commit] = []  # our last commits
        self.tips: list[Commit] = []
        self.raced = False
        self.readable: dict[str, tuple[dict, ...]] = {}

    def teardown(self) -> None:
        try:
            self.observer.dirty = set(ENVIRONMENTS)
            self.every_pin_that_ever_was_is_in_history_once()
        finally:
            self.branch.close()

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

    @rule(model=MODEL, name=RECORDED, race=RACE)
    def run(self, model, name, race):
        """What a run proposes at its end: the record where there is none, the pin where it may."""
        self._begin("run")
        was = self.observer.sight
        expected = self._admits("dev", model, name, automatic=True, recorded=True)
        rival = self._rival(race, model, name, "dev")
        pinned = self._do(
            Act("run", automatic=True), lambda: self.ada.propose(model, name), rival
        )
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
            incident=f"INC-{len(self.incidents)}" if incident else "",
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
        if any([order.incident] == ours.said("Mlops-Incident") for ours in self._fresh):
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
        assert done or not self._whole(order.environment)
        assert self.observer.sight.commit == tip, f"repeated: {order}"

    @rule(
        where=WHERE, model=st.sampled_from([*MODELS, "*"]), until=UNTIL, name=RECORDED, race=RACE
    )
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

    def _place(self, where, model):
        return self.observer.places[where, model]

    def _whole(self, where) -> bool:
        sight = self.observer.sight
        return sight.path(where) in sight.files and sight.pins(where) is not None

    def _held(self, where, model) -> bool:
        return self.observer.sight.held(where, model, self.branch.clock())

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
        order = [str(digest(each)) for each in NAMES]
        if pinned not in order or self.observer.sight.record(model, pinned) is None:
            return False
        older = order.index(wanted) < order.index(pinned)
        here = [d for d, _ in self._place(where, model).began]
        return older and (automatic or wanted in here)

    def _forbidden_new(self, model, name) -> bool:
        md5 = ARTIFACTS[name]
        return any(entry.get("artifact") == md5 for entry in self.observer.sight.quarantine())

    @property
    def _fresh(self) -> list[Ours]:
        return self.observer.fresh

    # -- what holds

    @invariant()
    def prod_never_pins_a_quarantined_or_unrecorded_digest_through_us(self):
        for ours in self._fresh:
            for changes in ours.moved.values():
                for model, (_, now) in changes.items():
                    assert now is not None, "took a pin out"
                    assert ours.after.record(model, now), "pinned without a record"
                    assert not ours.before.forbidden(model, now), "pinned what is in quarantine"
                    assert not ours.after.forbidden(model, now), f"quarantined what it pinned: {ours.message}"

    @invariant()
    def our_automation_never_changes_what_is_held(self):
        for ours in self._fresh:
            for name, changes in ours.moved.items():
                passes = ours.act.kind == "rollback" or ours.act.despite
                for model in changes:
                    assert passes or not ours.before.held(name, model, ours.now)

    @invariant()
    def every_pin_that_ever_was_is_in_history_once(self):
        dirty, self.observer.dirty = self.observer.dirty, set()
        environments = self.ada.environments() if dirty else None
        for name in dirty:
            rows = list(environments.history(name).rows())
            for model in MODELS:
                own = [row for row in rows if row.model == model]
                began = self._place(name, model).began
                assert [str(row.digest) for row in reversed(own)] == [d for d, _ in began]
                for row, (_, commit) in zip(reversed(own), began, strict=True):
                    assert not commit or (row.commit.sha == commit and row.action != "edit")
                for newer, older in pairwise(own):
                    assert older.until is not None
                    assert older.since <= older.until <= newer.since
            stands = {row.model: str(row.digest) for row in rows if row.until is None}
            assert stands == self.observer.standing[name]

    @invariant()
    def other_bytes_never_change(self):
        for ours in self._fresh:
            for path in ours.changed:
                if path.endswith("/kustomization.yaml"):
                    name = path.split("/")[1]
                    _same_but_for(ours, path, ours.moved[name])
                else:
                    assert path.endswith(("/holds.yaml", "/quarantine.yaml", ".json"))

    @invariant()
    def rollback_twice_never_returns_to_what_was_rolled_back_from(self):
        for ours in self._fresh:
            if ours.act.kind == "rollback":
                for name, changes in ours.moved.items():
                    for model, (_, now) in changes.items():
                        assert now not in self._place(name, model).left

    @invariant()
    def a_rollback_goes_to_what_was_there(self):
        for ours in self._fresh:
            if ours.act.kind == "rollback":
                for name, changes in ours.moved.items():
                    for model, (_, now) in changes.items():
                        began = [d for d, _ in self._place(name, model).began]
                        assert began.count(now) > 1

    @invariant()
    def a_hold_written_by_rollback_keeps_out_what_was_left(self):
        for ours in self._fresh:
            for name in ENVIRONMENTS:
                for model in MODELS:
                    keeps = {
                        digest
                        for hold in self.observer.sight.holds(name)
                        if hold["model"] == model
                        for digest in hold.get("avoid") or ()
                    }
                    assert self._place(name, model).kept_out <= keeps
            if ours.act.kind == "rollback" and ours.act.with_hold:
                for name, changes in ours.moved.items():
                    for model, (was, now) in changes.items():
                        hold = next(h for h in ours.after.holds(name) if h["model"] == model)
                        assert was in hold["avoid"]
                        assert now not in hold["avoid"]
                        assert hold["digest"] == now

    @invariant()
    def every_commit_of_ours_says_what_it_does(self):
        for ours in self._fresh:
            assert ours.said("Mlops-Action") == [ours.act.kind]
            assert ours.said("Mlops-Actor")[0] in ("Ada", "Bob")
            told = {str(text) for text in ours.said("Mlops-Model")}
            previous = set(ours.said("Mlops-Previous"))
            if ours.act.kind in ("run", "promote", "rollback") and ours.moved:
                ((name, changes),) = ours.moved.items()
                assert ours.said("Mlops-Environment") == [name]
                assert told == {f"{model}@{now}" for model, (_, now) in changes.items()}
                assert previous == {f"{m}@{was}" for m, (was, _) in changes.items() if was}
            else:
                assert not ours.moved, ours.message
                assert not previous, ours.message

    @invariant()
    def status_agrees_with_what_stands(self):
        if self._fresh and all(self._whole(name) for name in ENVIRONMENTS):
            now = self.branch.clock()
            for row in status(self.ada.environments()):
                pinned = self.observer.standing[row.environment].get(row.model)
                assert (str(row.release.digest) if row.release else None) == pinned
                assert (row.hold is not None) == self._held(row.environment, row.model)
                sight = self.observer.sight
                assert row.quarantined == bool(pinned and sight.forbidden(row.model, pinned))
                assert row.release is None or row.since is not None
                assert row.since is None or row.since <= now

    @invariant()
    def no_hold_keeps_out_what_our_own_commit_pins(self):
        for ours in self._fresh:
            for name, changes in ours.moved.items():
                for hold in ours.after.holds(name):
                    _, now = changes.get(hold["model"], (None, None))
                    assert now is None or now not in (hold.get("avoid") or ())


def _same_but_for(ours: Ours, path: str, changes) -> None:
    """The bytes beside the digests that moved are those that stood; a new entry is inserted."""
    old, new = ours.before.files[path].decode(), ours.after.files[path].decode()
    fresh = [model for model, (was, _) in changes.items() if was is None]
    if not fresh:
        assert DIGEST.split(old) == DIGEST.split(new)
        pairs = zip(DIGEST.findall(old), DIGEST.findall(new), strict=True)
        assert sorted((a, b) for a, b in pairs if a != b) == sorted(changes.values())
        return
    others = [d for d in DIGEST.findall(old) if d not in [was for was, _ in changes.values()]]
    assert not Counter(others) - Counter(DIGEST.findall(new))
    for line in old.splitlines(keepends=True):
        if "images" not in line and "newTag" not in line and not DIGEST.search(line):
            assert line.rstrip("\r\n,") in new
    kept = {e["name"]: e for e in ours.before.images(path.split("/")[1])}
    for entry in ours.after.images(path.split("/")[1]):
        if entry["name"] not in changes:
            assert kept[entry["name"]] == entry
