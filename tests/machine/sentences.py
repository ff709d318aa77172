"""What must hold, each sentence of it a method; checked on each commit of ours as it is made."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis.stateful import RuleBasedStateMachine, invariant

from mlops.engine.status import status
from tests.machine.branches import Branch
from tests.machine.observer import DIGEST, MODELS, Observer, Ours, in_force
from tests.machine.users import ENVIRONMENTS, User


class Sentences(RuleBasedStateMachine):
    """A branch, who watches it, and one user of mlops; what happens to it is another's subject."""

    def __init__(self, branch: Branch) -> None:
        super().__init__()
        self.branch = branch
        self.observer = Observer(ENVIRONMENTS)
        self.ada = User(branch.mine, "Ada", branch.clock)

    def teardown(self) -> None:
        try:
            self.observer.dirty = set(ENVIRONMENTS)
            self.every_pin_that_ever_was_is_in_history_once()
        finally:
            self.branch.close()

    def _place(self, where, model):
        return self.observer.places[where, model]

    def _whole(self, where) -> bool:
        sight = self.observer.sight
        return sight.path(where) in sight.files and sight.pins(where) is not None

    def _held(self, where, model) -> bool:
        return self.observer.sight.held(where, model, self.branch.clock())

    @property
    def _fresh(self) -> list[Ours]:
        return self.observer.fresh

    @invariant()
    def prod_never_pins_a_quarantined_or_unrecorded_digest_through_us(self):
        for ours in self._fresh:
            for changes in ours.moved.values():
                for model, (_, now) in changes.items():
                    assert now is not None, "took a pin out"
                    assert ours.after.record(model, now), "pinned without a record"
                    assert not ours.before.forbidden(model, now), "pinned what is in quarantine"
                    assert not ours.after.forbidden(model, now), (
                        f"quarantined what it pinned: {ours.message}"
                    )

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
            # a rollback that somebody else made first leaves its incident in their hold
            joined = ours.act.kind == "rollback" and not ours.moved
            assert ours.said("Mlops-Action") == ["hold" if joined else ours.act.kind]
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
                    if in_force(
                        hold, self.branch.clock()
                    ):  # one whose time has passed keeps nothing out
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
