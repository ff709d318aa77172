"""What must hold whatever happens to an estate, and in whatever order."""

import os
from itertools import pairwise

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mlops.engine.hold import HoldOrder, hold, resume
from mlops.engine.preflight import Preflight
from mlops.engine.promote import PromoteOrder, Promoter
from mlops.engine.quarantine import lift, quarantine
from mlops.engine.rollback import RollbackOrder, Roller
from mlops.errors import RefusedError
from mlops.policy.quarantine import quarantined
from tests.fakes.estate import ENVIRONMENTS, Estate, digest, release
from tests.fakes.sources import MemorySources

NAMES = "ABCD"
RECORDED = st.sampled_from(NAMES)
ANY = st.sampled_from([*NAMES, "X"])  # X has no record
MODELS = st.sampled_from(["spam", "spam", "eggs"])  # most of it in one place: more meets
WHERE = st.sampled_from(["prod", "prod", "prod", "staging", "dev"])
SELDOM = st.sampled_from([False, False, False, True])

NOTE = b"# note\n"


class Pins(RuleBasedStateMachine):
    """`began` is every pin that ever was, oldest first, as an observer of the tips saw it."""

    def __init__(self) -> None:
        super().__init__()
        self.estate = Estate()
        for model in ("eggs", "spam"):
            for name in NAMES:  # two releases share an artifact, and the other model's digests
                md5 = "f" * 32 if name in "CD" else f"{ord(name):032x}"
                self.estate.record(name, model, artifact={"path": "m", "md5": md5})
        for environment, before in (("staging", "dev"), ("prod", "staging")):
            policy = f"apiVersion: mlops/v1\nkind: Environment\nfrom: {before}\nauto: true\n"
            self.estate.write(f"{environment}/environment.yaml", policy.encode())
        self.began = {name: [] for name in ENVIRONMENTS}
        self.seen = {name: {} for name in ENVIRONMENTS}
        self.incidents: list[RollbackOrder] = []  # orders that were carried out
        for name in "AB":
            self.advance("spam", name)

    # -- what happens

    def _observe(self, ours: bool) -> None:
        environments = self.estate.environments()
        for name in ENVIRONMENTS:
            pins = dict(environments.state(name).pins)
            for model, pinned in sorted(pins.items(), reverse=True):  # as rows of one commit stand
                if self.seen[name].get(model) == pinned:
                    continue
                self.began[name].append((model, pinned))
                if ours:
                    self._sound(environments, model, pinned)
            self.seen[name] = pins

    def _sound(self, environments, model, pinned) -> None:
        record = environments.record(release_of(model, pinned))
        assert record is not None, "pinned without a record"
        assert not quarantined(pinned, record.artifact, environments.quarantine)

    def _try(self, act) -> bool:
        self.estate.gitops.clock.pass_time(minutes=1)
        try:
            act()
        except RefusedError:
            return False
        finally:
            self.estate.gitops.before_push = None
        return True

    @rule(model=MODELS, name=ANY, where=WHERE, despite=st.booleans())
    def promotion(self, model, name, where, despite):
        self.promote(model, name, where, despite)

    def promote(self, model, name, where, despite):
        order = PromoteOrder((str(release(name, model)),), where, despite_hold=despite)
        before = dict(self.seen[where])
        held = self._held(where, model)
        done = self._try(lambda: self._promoter().promote(order))
        self._observe(ours=True)
        if not done or (held and not despite):
            assert self.seen[where] == before

    def _promoter(self) -> Promoter:
        return Promoter(self.estate.publisher, MemorySources(NAMES))

    @rule()
    def automation(self):
        held = [
            (where, model, self.seen[where].get(model))
            for where in ENVIRONMENTS
            for model in ("eggs", "spam")
            if self._held(where, model)
        ]
        self._try(lambda: self._promoter().automatic())
        self._observe(ours=True)
        for where, model, pinned in held:
            assert self.seen[where].get(model) == pinned, "automation moved what is held"

    @rule(
        where=WHERE,
        models=st.sampled_from([("spam",), ("spam",), (), ("eggs", "spam")]),
        steps=st.sampled_from([1, 1, 1, 2]),
        with_hold=st.booleans(),
        forbid=SELDOM,
        raced=SELDOM,
    )
    def rollback(self, where, models, steps, with_hold, forbid, raced):
        order = RollbackOrder(
            where,
            models,
            steps=steps,
            reason="bad",
            incident=f"INC-{len(self.incidents)}",
            hold=with_hold,
            quarantine=forbid,
        )
        before = dict(self.seen[where])
        barred = self._left_by_rollbacks(where)
        if raced:
            self.estate.gitops.before_push = lambda: self.estate.write("README.md", b"news")
        roller = Roller(self.estate.publisher, Preflight())
        done = self._try(lambda: roller.roll_back(order))
        self._observe(ours=True)
        moved = {m: d for m, d in self.seen[where].items() if before.get(m) != d}
        assert bool(moved) == done
        for model, pinned in moved.items():
            assert pinned not in barred[model], "returned to what was rolled back from"
            assert (model, pinned) in self.began[where][: -len(moved)], "never was there"
            if with_hold:
                assert self._held(where, model)
        if done:
            self.incidents.append(order)

    @precondition(lambda self: self.incidents)
    @rule(data=st.data())
    def repeat(self, data):
        """A runbook that fires again, at once or after anything else."""
        order = data.draw(st.sampled_from(self.incidents))
        tip = self.estate.gitops.tip()
        assert self._try(lambda: Roller(self.estate.publisher, Preflight()).roll_back(order))
        assert self.estate.gitops.tip() == tip, "repeating an incident changed something"

    @rule(model=MODELS, name=RECORDED)
    def advance(self, model, name):
        """All the way to prod, whatever is held."""
        for where in ENVIRONMENTS:
            self.promote(model, name, where, despite=True)

    def _left_by_rollbacks(self, where):
        found = {"eggs": set(), "spam": set()}
        for row in self.estate.environments().history(where).rows():
            if row.action == "rollback":
                found[row.model].add(row.previous)
        return found

    def _held(self, where, model) -> bool:
        state = self.estate.environments().state(where)
        return state.hold(model, self.estate.gitops.clock()) is not None

    @rule(where=WHERE, model=st.sampled_from(["eggs", "spam", "*"]))
    def hold(self, where, model):
        self._try(lambda: hold(self.estate.publisher, HoldOrder(where, model, "freeze")))
        assert self._held(where, "spam" if model == "*" else model)

    @rule(where=WHERE, model=st.sampled_from(["eggs", "spam", "*"]))
    def resume(self, where, model):
        self._try(lambda: resume(self.estate.publisher, where, model))
        assert model not in [h.model for h in self.estate.environments().state(where).holds]

    @rule(model=MODELS, name=RECORDED, digest_only=st.booleans())
    def quarantine(self, model, name, digest_only):
        reference = str(release(name, model))
        self._try(
            lambda: quarantine(self.estate.publisher, reference, "bad", digest_only=digest_only)
        )
        assert quarantined(digest(name), None, self.estate.environments().quarantine)

    @precondition(lambda self: self.estate.environments().quarantine)
    @rule(data=st.data())
    def lift(self, data):
        entry = data.draw(st.sampled_from(self.estate.environments().quarantine))
        self._try(lambda: lift(self.estate.publisher, f"{entry.model}@{entry.digest}"))
        assert entry not in self.estate.environments().quarantine

    @rule(model=MODELS, name=ANY, where=WHERE)
    def hand_edit(self, model, name, where):
        self.estate.pin(where, **{model: name})
        self._observe(ours=False)

    @precondition(lambda self: not self.estate.read("prod/kustomization.yaml").startswith(NOTE))
    @rule()
    def comment(self):
        path = "prod/kustomization.yaml"
        self.estate.write(path, NOTE + self.estate.read(path))

    # -- what holds

    @invariant()
    def every_pin_that_ever_was_is_in_history_once(self):
        environments = self.estate.environments()
        for name in ENVIRONMENTS:
            rows = list(environments.history(name).rows())
            told = [(row.model, row.digest) for row in reversed(rows)]
            assert told == self.began[name]
            assert {r.model: r.digest for r in rows if r.until is None} == self.seen[name]
            for model in ("eggs", "spam"):
                own = [row for row in rows if row.model == model]
                for newer, older in pairwise(own):
                    assert (older.until, older.digest) == (newer.since, newer.previous)

    @invariant()
    def a_hold_of_a_model_names_no_digest_that_it_keeps_out(self):
        for name in ENVIRONMENTS:
            for each in self.estate.environments().state(name).holds:
                assert each.digest not in each.avoid

    @invariant()
    def no_other_byte_changed(self):
        for name in ENVIRONMENTS:
            content = self.estate.read(f"{name}/kustomization.yaml").removeprefix(NOTE)
            assert content.startswith(b"# by a person\napiVersion:")


def release_of(model, pinned):
    return release("A", model).__class__(model, pinned)


Pins.TestCase.settings = settings(
    max_examples=int(os.environ.get("MLOPS_TEST_EXAMPLES", "12")),
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestPins = Pins.TestCase
