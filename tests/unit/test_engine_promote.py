from dataclasses import replace

import pytest

from mlops.domain.environment import GateRule, Hold, QuarantineEntry
from mlops.domain.project import ModelConfig, Project
from mlops.engine.promote import PromoteOrder, Promoter
from mlops.errors import ConfigError, RefusedError, RegistryError, UsageError
from mlops.manifests.overlay import dump_holds, dump_quarantine
from tests.fakes.estate import Estate, digest, release
from tests.fakes.gitops import START
from tests.fakes.sources import MemorySources

LINE = MemorySources("ABCDE")


def promote(estate: Estate, *references: str, line: MemorySources = LINE, dry_run=False, **more):
    promoter = Promoter(estate.publisher, line)
    return promoter.promote(PromoteOrder(references, **more), dry_run=dry_run)


def automatic(estate: Estate, line: MemorySources = LINE, **more):
    return Promoter(estate.publisher, line).automatic(**more)


def held(estate: Estate, environment: str, model: str = "spam", **more) -> None:
    hold = Hold(model, START, "Eve", "the feed is broken", **more)
    estate.write(f"{environment}/holds.yaml", dump_holds([hold]))


def let_automation(estate: Estate, environment: str, source: str, soak: str = "0s") -> None:
    policy = f"apiVersion: mlops/v1\nkind: Environment\nfrom: {source}\nauto: true\nsoak: {soak}\n"
    estate.write(f"{environment}/environment.yaml", policy.encode())


def released(*names: str, to=("dev",)) -> Estate:
    estate = Estate()
    estate.released(*names, to=to)
    return estate


def test_moves_the_digest_to_the_environment_after_the_furthest():
    estate = released("A")
    for environment in ("staging", "prod"):
        (move,) = promote(estate, "spam@dev").decision
        assert (move.environment, move.previous) == (environment, None)
        assert estate.pins(environment) == {"spam": digest("A")}
    settled = promote(estate, "spam@dev")
    assert settled.commit is None
    assert settled.decision[0].unchanged


def test_a_release_that_nobody_pins_enters_the_first_environment():
    estate = released("A", to=())
    (move,) = promote(estate, str(release("A"))).decision
    assert move.environment == "dev"


def test_only_the_pin_changes():
    estate = released("A", "B")
    promote(estate, str(release("A")), target="staging")
    before = estate.read("staging/kustomization.yaml")
    promote(estate, str(release("B")), target="staging")
    after = estate.read("staging/kustomization.yaml")
    assert after == before.replace(digest("A").hex.encode(), digest("B").hex.encode())


def test_several_models_move_in_one_commit():
    estate = released("A")
    estate.released("E", model="eggs", to=("dev",))
    pushes = estate.gitops.pushes
    settled = promote(estate, "spam@dev", "eggs@dev")
    assert estate.gitops.pushes == pushes + 1
    assert estate.pins("staging") == {"eggs": digest("E"), "spam": digest("A")}
    rows = list(estate.environments().history("staging").rows())
    assert {row.commit for row in rows} == {settled.commit}
    assert {row.action for row in rows} == {"promote"}


def test_all_or_nothing():
    estate = released("A")
    with pytest.raises(RefusedError, match="has no release record"):
        promote(estate, "spam@dev", f"eggs@{digest('nobody')}", target="staging")
    assert estate.pins("staging") == {}


def test_references_that_do_not_go_together():
    estate = released("A", "B", to=("dev",))
    estate.released("E", model="eggs", to=("dev", "staging"))
    with pytest.raises(UsageError, match="2 releases of spam"):
        promote(estate, str(release("A")), str(release("B")))
    with pytest.raises(UsageError, match=r"different environments.*--to"):
        promote(estate, "spam@dev", "eggs@dev")
    assert promote(estate, "spam@dev", "spam@dev").decision[0].environment == "staging"


def test_the_commit_says_all_that_history_tells():
    estate = released("A", "B", to=("dev", "staging"))
    promote(estate, str(release("A")), target="prod", reason="first\nlaunch")
    promote(estate, str(release("B")), target="prod")
    new, old = estate.environments().history("prod").rows("spam")
    assert (new.action, new.actor, new.previous) == ("promote", "Ada", digest("A"))
    assert (old.reason, new.reason) == ("first launch", "")
    assert new.run.startswith("spam-")
    info = next(iter(estate.gitops.line(estate.gitops.tip(), "environments"))).info
    assert info.trailer("Mlops-Previous") == str(release("A"))
    assert info.trailer("Mlops-Source") == estate.environments().record(release("B")).source.sha


def test_unrecorded_and_quarantined_are_refused():
    estate = released("A")
    with pytest.raises(RefusedError, match="no release record"):
        promote(estate, f"spam@{digest('nobody')}", target="dev")
    entry = QuarantineEntry("spam", digest("A"), START, "Ada", "leaks")
    estate.write("quarantine.yaml", dump_quarantine([entry]))
    with pytest.raises(RefusedError, match=r"quarantined.*leaks"):
        promote(estate, "spam@dev")


def test_the_models_own_gates_are_asked_again():
    estate = released("A")
    model = ModelConfig("spam", gates=(GateRule("accuracy", min=0.99),))
    publisher = replace(estate.publisher, project=Project("demo", (model,)))
    with pytest.raises(RefusedError, match="accuracy"):
        Promoter(publisher, LINE).promote(PromoteOrder(("spam@dev",)))
    lower = ModelConfig("spam", gates=(GateRule("accuracy", min=0.9),))
    publisher = replace(publisher, project=Project("demo", (lower,)))
    (move,) = Promoter(publisher, LINE).promote(PromoteOrder(("spam@dev",))).decision
    assert [verdict.verdict for verdict in move.verdicts] == ["pass"]


def test_a_held_environment_needs_a_word_and_keeps_its_hold():
    estate = released("A", "B", to=("dev", "staging"))
    promote(estate, str(release("A")), target="prod")
    held(estate, "prod", digest=digest("A"), avoid=(digest("C"),))
    with pytest.raises(RefusedError, match=r"held by Eve: the feed is broken.*--despite-hold"):
        promote(estate, "spam@staging")
    (move,) = promote(estate, "spam@staging", despite_hold=True).decision
    assert move.notes
    (hold,) = estate.environments().state("prod").holds
    assert (hold.digest, hold.avoid, hold.actor) == (digest("B"), (digest("C"),), "Eve")


def test_a_pin_moved_under_a_hold_of_the_environment_gets_one_of_its_own():
    estate = released("A", to=("dev", "staging"))
    held(estate, "prod", "*")
    promote(estate, "spam@staging", despite_hold=True)
    holds = estate.environments().state("prod").holds
    assert [(hold.model, hold.digest) for hold in holds] == [("*", None), ("spam", digest("A"))]


def test_a_hold_that_arrives_during_the_push_wins():
    estate = released("A", to=("dev",))
    estate.gitops.before_push = lambda: held(estate, "staging")
    with pytest.raises(RefusedError, match="held by Eve"):
        promote(estate, "spam@dev")
    assert estate.pins("staging") == {}


def test_a_reference_means_what_it_meant_when_it_was_typed():
    """dev moves on while staging is pushed: what was seen is what is promoted."""
    estate = released("A", to=("dev",))

    def move_on():
        estate.record("B")
        estate.ours("run", "dev", spam="B")

    estate.gitops.before_push = move_on
    promote(estate, "spam@dev")
    assert estate.pins("staging") == {"spam": digest("A")}
    assert estate.pins("dev") == {"spam": digest("B")}


def test_a_person_may_promote_older_source_that_was_never_there_and_is_told():
    estate = released("A", "B")
    promote(estate, str(release("B")), target="staging")
    (move,) = promote(estate, str(release("A")), target="staging").decision
    assert "older source" in move.notes[0]
    promote(estate, str(release("B")), target="staging")
    with pytest.raises(RefusedError, match="mlops rollback staging spam --to"):
        promote(estate, str(release("A")), target="staging")


def test_a_dry_run_prints_the_diff_of_one_line():
    estate = released("A", "B")
    promote(estate, str(release("A")), target="staging")
    tip = estate.gitops.tip()
    settled = promote(estate, str(release("B")), target="staging", dry_run=True)
    changed = [line for line in settled.diff.splitlines() if line[:1] in "+-"]
    assert [line.split()[-1] for line in changed[2:]] == [str(digest("A")), str(digest("B"))]
    assert estate.gitops.tip() == tip


def test_without_an_embedded_layout_the_image_name_is_written():
    estate = released("A")
    project = Project("demo", (ModelConfig("spam"),), registry="registry.example.com/ml")
    publisher = replace(estate.publisher, project=project)
    Promoter(publisher, LINE).promote(PromoteOrder(("spam@dev",)))
    assert b"newName: registry.example.com/ml/spam" in estate.read("staging/kustomization.yaml")


def test_automation_moves_what_policy_lets_it_move_and_says_why_not():
    estate = released("A", to=("dev",))
    let_automation(estate, "staging", "dev")
    let_automation(estate, "prod", "staging", soak="30m")
    (moved,), (left,) = automatic(estate)
    assert [(m.environment, m.release) for m in moved.decision] == [("staging", release("A"))]
    assert left.environment == "prod"
    assert "asks for 30 min" in left.refusal.reason
    estate.gitops.clock.pass_time(minutes=31)
    (moved,), left = automatic(estate)
    assert [(m.environment, m.release) for m in moved.decision] == [("prod", release("A"))]
    assert (automatic(estate), left) == (((), ()), ())


def test_automation_leaves_what_is_held():
    estate = released("A", to=("dev",))
    let_automation(estate, "staging", "dev")
    held(estate, "staging", "*")
    moved, (left,) = automatic(estate)
    assert moved == ()
    assert "held by Eve" in left.refusal.reason
    assert estate.pins("staging") == {}


def test_automation_never_moves_back():
    estate = released("A", "B", to=("dev",))
    let_automation(estate, "staging", "dev")
    automatic(estate)
    estate.pin("dev", spam="A")
    moved, (left,) = automatic(estate)
    assert moved == ()
    assert "older source" in left.refusal.reason


def test_automation_decides_again_after_a_lost_race():
    estate = released("A", to=("dev",))
    let_automation(estate, "staging", "dev")
    estate.gitops.before_push = lambda: held(estate, "staging")
    moved, (left,) = automatic(estate)
    assert (moved, left.environment) == ((), "staging")


def test_what_automation_left_is_told_once_whatever_the_races():
    estate = released("A", to=("dev",))
    estate.released("E", model="eggs", to=("dev",))
    let_automation(estate, "staging", "dev")
    held(estate, "staging", "eggs")
    estate.gitops.before_push = lambda: estate.write("README.md", b"news")
    (moved,), left = automatic(estate)
    assert [move.release for move in moved.decision] == [release("A")]
    assert [each.release for each in left] == [release("E", "eggs")]


def test_a_dry_run_of_automation_writes_nothing():
    estate = released("A", to=("dev",))
    let_automation(estate, "staging", "dev")
    (moved,), _ = automatic(estate, dry_run=True)
    assert digest("A").hex in moved.diff
    assert estate.pins("staging") == {}


def test_gate_verdicts_go_into_the_commit_that_pins():
    estate = released("A")
    messages = []
    real = estate.gitops.publish

    def heard(base, changes, message, refs=None):
        messages.append(message)
        return real(base, changes, message, refs)

    estate.gitops.publish = heard
    model = ModelConfig("spam", gates=(GateRule("accuracy", min=0.9),))
    publisher = replace(estate.publisher, project=Project("demo", (model,)))
    Promoter(publisher, LINE).promote(PromoteOrder(("spam@dev",)))
    assert "gate accuracy ≥ 0.9: is 0.95 pass" in messages[0]


def test_automation_goes_on_past_an_environment_that_cannot_be_read():
    estate = released("A", to=("dev",))
    let_automation(estate, "staging", "dev")
    let_automation(estate, "prod", "dev")
    estate.write("staging/kustomization.yaml", b"- a list\n")
    unread: list[ConfigError] = []
    (moved,), left = automatic(estate, unread=unread.append)
    assert ([m.environment for m in moved.decision], left) == (["prod"], ())
    assert [str(each).partition(":")[0] for each in unread] == [
        "environments/staging/kustomization.yaml"
    ]


class Copied:
    """What was brought where, and with which pins standing; `down` are registries that refuse."""

    def __init__(self, estate: Estate, *down: str) -> None:
        self.estate, self.down, self.seen = estate, down, []

    def needed(self, release, into, sources=()):
        self.seen.append(("asked", release.digest, into, tuple(sources)))
        return "2 blobs, 3.0 MB"

    def bring(self, release, into, sources=()):
        if into in self.down:
            raise RegistryError(f"{into} is down")
        self.seen.append(("brought", release.digest, into, self.estate.pins("staging")))


def with_registry(estate: Estate, environment: str, registry: str, more: str = "") -> None:
    text = f"apiVersion: mlops/v1\nkind: Environment\nregistry: {registry}\n{more}"
    estate.write(f"{environment}/environment.yaml", text.encode())


def overlay(estate: Estate, environment: str) -> str:
    tip = estate.gitops.tip()
    return estate.gitops.read(tip, f"environments/{environment}/kustomization.yaml").decode()


def test_the_image_is_where_the_environment_wants_it_before_the_pin():
    estate = released("A")
    with_registry(estate, "staging", "r.example.com/staging")
    copied = Copied(estate)
    Promoter(estate.publisher, LINE, copied).promote(PromoteOrder(("spam@dev",)))
    assert copied.seen == [("brought", digest("A"), "r.example.com/staging", {})]
    assert "newName: r.example.com/staging/spam" in overlay(estate, "staging").replace('"', "")
    with_registry(estate, "staging", "other.example.com/ml")
    estate.released("B", to=("dev",))
    Promoter(estate.publisher, LINE, copied).promote(PromoteOrder(("spam@dev",)))
    text = overlay(estate, "staging").replace('"', "")
    assert "newName: other.example.com/ml/spam" in text
    assert "r.example.com/staging" not in text


def test_an_image_that_cannot_be_brought_moves_no_pin():
    estate = released("A")
    with_registry(estate, "staging", "r.example.com/staging")
    tip = estate.gitops.tip()
    promoter = Promoter(estate.publisher, LINE, Copied(estate, "r.example.com/staging"))
    with pytest.raises(RegistryError, match="is down"):
        promoter.promote(PromoteOrder(("spam@dev",)))
    assert estate.gitops.tip() == tip


def test_a_dry_run_asks_and_copies_nothing():
    estate = released("A")
    with_registry(estate, "staging", "r.example.com/staging")
    with_registry(estate, "prod", "r.example.com/prod", "from: staging\n")
    copied = Copied(estate)
    said, minded = [], []
    publisher = replace(estate.publisher, say=said.append, note=minded.append)
    Promoter(publisher, LINE, copied).promote(PromoteOrder(("spam@dev",)), dry_run=True)
    assert [text.partition(": ")[2] for text in said] == ["2 blobs, 3.0 MB"]
    assert minded == []  # nothing to be warned of
    others = ("r.example.com/prod",)
    assert copied.seen == [("asked", digest("A"), "r.example.com/staging", others)]
    assert estate.pins("staging") == {}


def test_automation_goes_on_where_one_registry_is_down():
    estate = released("A")
    for name in ("staging", "prod"):
        more = "from: dev\nauto: true\n"
        with_registry(estate, name, f"r.example.com/{name}", more)
    unread = []
    copied = Copied(estate, "r.example.com/staging")
    Promoter(estate.publisher, LINE, copied).automatic(unread=unread.append)
    assert [str(each) for each in unread] == ["r.example.com/staging is down"]
    assert (estate.pins("staging"), estate.pins("prod")) == ({}, {"spam": digest("A")})
