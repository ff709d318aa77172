"""`mlops guard` on real repositories: each commit of a push as somebody or some tool made it."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count

import pytest

from mlops.adapters.git.ranges import Ranges
from mlops.domain.environment import Hold
from mlops.domain.project import ModelConfig, Project
from mlops.domain.release import record_path
from mlops.domain.source import Commit
from mlops.engine.guard import Guard
from mlops.engine.hold import HoldOrder, hold, resume
from mlops.engine.preflight import Preflight
from mlops.engine.promote import PromoteOrder, Promoter
from mlops.engine.publishing import Publisher
from mlops.engine.quarantine import lift, quarantine
from mlops.engine.rollback import RollbackOrder, Roller
from mlops.errors import RefusedError
from mlops.manifests.overlay import dump_holds
from tests.fakes.deployment import NOW, Deployment, banned, held
from tests.fakes.estate import digest, record, release

KUSTOMIZATION = "environments/prod/kustomization.yaml"
HOLDS = "environments/prod/holds.yaml"
NAMES = ("A", "B", "C", "D")


@pytest.fixture
def prod(sandbox) -> Deployment:
    """A and B have records; prod pins A."""
    found = Deployment.begin(sandbox.new("deploy"), "A", "B")
    found.commit(found.pinned("A"))
    return found


@pytest.fixture
def judged(sandbox) -> Callable[..., list[tuple[str, str]]]:
    """base, head → rule and environment of each violation."""

    def check(
        prod: Deployment, base: str | None, head: str = "", now: datetime = NOW
    ) -> list[tuple[str, str]]:
        repository = sandbox.open(prod.where)
        guard = Guard(repository, Ranges(repository), "environments", lambda: now)
        found = guard.check(Commit(base) if base else None, Commit(head or prod.head))
        return [(each.violation.rule.value, each.violation.environment) for each in found]

    return check


HELD = [("hold", "prod")]


def test_a_held_pin_moves_with_its_hold_alone(prod, judged):
    base = prod.commit(prod.holds(held("A")))
    prod.commit(prod.pinned("B"))
    assert judged(prod, base) == HELD
    prod.git("reset", "-q", "--hard", base)
    prod.commit({**prod.pinned("B"), **prod.holds(held("B"))})
    assert judged(prod, base) == []


def test_a_hold_lifted_in_one_commit_and_the_pin_moved_in_the_next_pass(prod, judged):
    base = prod.commit(prod.holds(held("A")))
    prod.commit(prod.holds())
    prod.commit(prod.pinned("B"))
    assert judged(prod, base) == []
    prod.git("reset", "-q", "--hard", base)
    prod.commit({**prod.holds(), **prod.pinned("B")})
    assert judged(prod, base) == HELD


def test_a_revert_of_a_rollback_is_refused(prod, judged):
    prod.commit(prod.pinned("B"))
    rollback = prod.commit({**prod.pinned("A"), **prod.holds(held("A", avoid=(digest("B"),)))})
    prod.git("revert", "--no-edit", "HEAD")
    assert judged(prod, rollback) == HELD


def test_a_held_pin_taken_out_is_refused(prod, judged):
    base = prod.commit(prod.holds(held("A")))
    prod.commit(prod.pinned(None))
    assert judged(prod, base) == HELD


@pytest.mark.parametrize("kept", [True, False])
def test_a_held_environment_keeps_its_hold_and_gives_the_model_its_own(prod, judged, kept):
    base = prod.commit(prod.holds(held(None, "*")))
    own = [held("B")] if kept else []
    prod.commit({**prod.pinned("B"), **prod.holds(held(None, "*"), *own)})
    assert judged(prod, base) == ([] if kept else HELD)


def test_an_until_that_has_passed_by_the_clock_of_whoever_guards(prod, judged, monkeypatch):
    base = prod.commit(prod.holds(held("A", until=NOW + timedelta(hours=1))))
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2031-01-01T00:00:00Z")
    prod.commit(prod.pinned("B"))
    assert judged(prod, base) == HELD, "a commit from the future does not end it"
    assert judged(prod, base, now=NOW + timedelta(hours=2)) == []


def test_a_hold_that_is_shortened_or_keeps_less_out_is_not_kept(prod, judged):
    base = prod.commit(prod.holds(held("A", avoid=(digest("C"),))))
    for weaker in (
        held("B", until=NOW + timedelta(hours=1), avoid=(digest("C"),)),
        held("B", avoid=()),
    ):
        prod.commit({**prod.pinned("B"), **prod.holds(weaker)})
        assert judged(prod, base) == HELD
        prod.git("reset", "-q", "--hard", base)


def test_a_digest_written_into_the_hold_beforehand_is_refused(prod, judged):
    base = prod.commit(prod.holds(held("A")))
    prod.commit(prod.holds(held("B")))
    prod.commit(prod.pinned("B"))
    assert judged(prod, base) == HELD


def test_holds_deleted_alone_lift_them_with_a_pin_they_do_not(prod, judged):
    base = prod.commit(prod.holds(held("A")))
    prod.commit({HOLDS: None})
    assert judged(prod, base) == []
    prod.git("reset", "-q", "--hard", base)
    prod.commit({HOLDS: None, **prod.pinned("B")})
    assert judged(prod, base) == HELD


def test_a_kustomization_deleted_or_renamed_takes_the_held_pin_out(prod, judged):
    base = prod.commit(prod.holds(held("A")))
    prod.git("mv", KUSTOMIZATION, "environments/prod/kustomization.yml")
    prod.commit({})
    assert judged(prod, base) == HELD


def test_an_environment_that_is_renamed_with_its_hold_passes_and_without_does_not(prod, judged):
    base = prod.commit(prod.holds(held("A")))
    prod.git("mv", "environments/prod", "environments/production")
    prod.commit({})
    assert judged(prod, base) == []
    prod.commit({"environments/production/holds.yaml": None})
    prod.git("reset", "-q", "--hard", base)
    prod.git("mv", "environments/prod", "environments/production")
    prod.commit({"environments/production/holds.yaml": None})
    assert judged(prod, base) == HELD


@pytest.mark.parametrize("path", [KUSTOMIZATION, HOLDS, "environments/quarantine.yaml"])
@pytest.mark.parametrize("kind", ["yaml", "link", "directory"])
def test_what_cannot_be_read_is_refused(prod, judged, path, kind):
    base = prod.commit({**prod.holds(held("A")), **prod.quarantine(banned("Z"))})
    target = prod.where / path
    target.unlink()
    if kind == "yaml":
        target.write_text("images: [\n")
    elif kind == "link":
        target.symlink_to("/etc/hostname")
    else:
        target.mkdir()
        (target / "file").write_text("x")
    prod.commit({})
    assert [rule for rule, _ in judged(prod, base)] == ["unreadable"]


@pytest.mark.parametrize("path", ["environments", "environments/prod"])
def test_a_directory_that_becomes_a_link_or_a_submodule_is_refused(prod, judged, path):
    base = prod.head
    prod.git("rm", "-rq", "--cached", path)
    prod.git("update-index", "--add", "--cacheinfo", f"160000,{base},{path}")
    prod.git("commit", "-q", "-m", "a submodule")
    assert ("unreadable", "") in judged(prod, base)
    prod.git("reset", "-q", "--hard", base)
    prod.git("mv", path, "elsewhere")
    (prod.where / path).symlink_to("elsewhere")
    prod.commit({})
    assert ("unreadable", "") in judged(prod, base)


def test_a_hold_is_not_forgotten_where_a_file_was_broken_before(prod, judged):
    prod.commit(prod.holds(held("A")))
    broken = prod.commit({HOLDS: b"holds: [\n"})
    prod.commit({**prod.pinned("B"), **prod.holds()})
    assert judged(prod, broken) == HELD
    prod.git("reset", "-q", "--hard", broken)
    whole = (prod.where / KUSTOMIZATION).read_bytes()
    unreadable = prod.commit({**prod.holds(held("A")), KUSTOMIZATION: b"images: {\n"})
    prod.commit({KUSTOMIZATION: whole})
    assert judged(prod, unreadable) == [], "what the hold names was put back"
    prod.commit(prod.pinned("B"))
    assert judged(prod, unreadable) == HELD


def test_a_quarantined_digest_is_not_pinned_under_any_name(prod, judged):
    base = prod.commit(prod.quarantine(banned("B")))
    prod.commit(prod.pinned("B", "dev"))
    prod.commit(prod.pinned("B", "staging", model="other"))
    assert judged(prod, base) == [("quarantine", "dev"), ("quarantine", "staging")]


def test_the_next_release_with_the_same_artifact_is_not_pinned(prod, judged):
    artifact = record("A").artifact
    prod.commit({**prod.recorded("C", artifact={"path": "m", "md5": artifact})})
    base = prod.commit(prod.quarantine(banned("A", artifact=artifact)))
    prod.commit(prod.pinned("C", "dev"))
    prod.commit(prod.pinned("C", "dev", model="other"))
    assert judged(prod, base) == [("quarantine", "dev")] * 2


def test_an_entry_leaves_quarantine_by_a_lift_alone(prod, judged):
    base = prod.commit(prod.quarantine(banned("B", artifact="f" * 32), banned("C")))
    for files in (
        prod.quarantine(banned("C")),
        prod.quarantine(banned("B"), banned("C")),
        {"environments/quarantine.yaml": None},
    ):
        prod.commit(files)
        assert ("quarantine", "") in judged(prod, base)
        prod.git("reset", "-q", "--hard", base)
    prod.ours("lift", prod.quarantine(banned("C")), ("Mlops-Model", str(release("B"))))
    assert judged(prod, base) == []
    prod.ours("lift", prod.quarantine(), ("Mlops-Model", str(release("B"))))
    assert judged(prod, base) == [("quarantine", "")], "it named another release"


def test_no_commit_pins_what_it_takes_out_of_quarantine(prod, judged):
    base = prod.commit(prod.quarantine(banned("B")))
    named = ("Mlops-Model", str(release("B")))
    prod.ours("lift", {**prod.quarantine(), **prod.pinned("B")}, named)
    assert judged(prod, base) == [("quarantine", "prod")]


def test_an_unrecorded_digest_of_ours_is_refused_other_images_and_a_tag_pass(prod, judged):
    base = prod.head
    prod.commit(prod.pinned("X"))
    prod.commit(prod.pinned("X", model="eggs"))
    prod.commit(prod.pinned("X", model="nginx"))
    assert judged(prod, base) == [("record", "prod")] * 2
    tagged = b"kind: Kustomization\nimages:\n  - name: spam\n    newTag: v1\n"
    base = prod.commit({KUSTOMIZATION: tagged})
    prod.commit(prod.pinned("X"))
    assert judged(prod, base) == [], "the tag became its own digest"
    base = prod.commit(prod.pinned("A"))
    prod.commit({KUSTOMIZATION: tagged})
    prod.commit(prod.pinned("X"))
    assert judged(prod, base) == [("record", "prod")], "a tag of the same push opens no door"


def test_under_a_hold_a_tag_becomes_a_digest_and_does_not_move(prod, judged):
    tagged = b"kind: Kustomization\nimages:\n  - name: spam\n    newTag: v1\n"
    base = prod.commit({KUSTOMIZATION: tagged, **prod.holds(held(None))})
    prod.commit(prod.pinned("A"))
    assert judged(prod, base) == []
    prod.git("reset", "-q", "--hard", base)
    prod.commit({KUSTOMIZATION: tagged.replace(b"v1", b"v2")})
    assert judged(prod, base) == HELD


@pytest.mark.parametrize("content", [None, b"{}\n"])
def test_a_record_is_written_once(prod, judged, content):
    base = prod.head
    prod.commit({record_path("environments", "spam", digest("B")): content})
    assert judged(prod, base) == [("record", "")]


def test_a_record_under_another_name_than_its_own_is_refused(prod, judged):
    base = prod.head
    prod.commit({record_path("environments", "spam", digest("C")): record("B").dump()})
    assert judged(prod, base) == [("record", "")]


def test_a_new_branch_is_judged_by_what_stands_on_it(prod, judged):
    assert judged(prod, None) == []
    prod.commit({**prod.pinned("X", "dev"), **prod.quarantine(banned("A"))})
    assert judged(prod, None) == [("record", "dev"), ("quarantine", "prod")]


def test_a_base_that_head_does_not_have_is_refused(prod, judged):
    base = prod.commit(prod.pinned("B"))
    prod.git("reset", "-q", "--hard", "HEAD~1")
    assert judged(prod, base) == [("line", "")], "wound back"
    prod.commit({"README.md": b"x"})
    assert judged(prod, base) == [("line", "")], "replaced"


def test_two_incidents_at_once_hold_each_its_own_model(prod, judged):
    prod.commit({**prod.recorded("A", "eggs"), **prod.recorded("B", "eggs")})
    prod.commit(prod.pinned("B", model="eggs"))
    spam = held("A", incident="INC-7")
    base = prod.commit(prod.holds(spam))
    eggs = held("A", "eggs", incident="INC-8")
    both = prod.commit({**prod.pinned("A", model="eggs"), **prod.holds(eggs, spam)})
    assert judged(prod, base) == []
    prod.commit({**prod.pinned("B", model="eggs"), **prod.holds(spam)})
    assert judged(prod, both) == HELD, "the second rollback reverted alone"


# -- merges


def test_a_branch_cut_before_the_hold_does_not_smuggle_its_pin_in(prod, judged):
    prod.git("checkout", "-qb", "feature")
    prod.commit(prod.pinned("B"))
    prod.git("checkout", "-q", "main")
    base = prod.commit(prod.holds(held("A")))
    prod.git("merge", "-q", "--no-ff", "--no-edit", "feature")
    assert judged(prod, base) == HELD


@pytest.mark.parametrize("pushed", [False, True])
def test_a_merge_that_takes_the_other_side_whole_lifts_no_hold(prod, judged, pushed):
    start = prod.head
    prod.git("checkout", "-qb", "feature")
    prod.commit(prod.pinned("B"))
    prod.git("checkout", "-q", "main")
    base = prod.commit(prod.holds(held("A")))
    prod.git("merge", "-q", "--no-commit", "--no-ff", "feature")
    prod.git("rm", "-q", HOLDS)
    prod.git("commit", "-q", "-m", "theirs")
    assert judged(prod, base if pushed else start) == HELD


def test_a_branch_that_was_up_to_date_is_judged_commit_by_commit(prod, judged):
    base = prod.commit(prod.holds(held("A")))
    prod.git("checkout", "-qb", "feature")
    prod.commit(prod.holds())
    prod.commit(prod.pinned("B"))
    prod.git("checkout", "-q", "main")
    prod.git("merge", "-q", "--no-ff", "--no-edit", "feature")
    assert judged(prod, base) == []


def test_a_pull_without_rebase_brings_nothing_of_its_own(prod, judged):
    prod.commit(prod.pinned("B"))
    start = prod.head
    prod.git("checkout", "-qb", "colleague")
    prod.commit({"src/train.py": b"x"})
    prod.git("checkout", "-q", "main")
    prod.ours("rollback", {**prod.pinned("A"), **prod.holds(held("A"))})
    prod.ours("resume", prod.holds())
    base = prod.ours("promote", prod.pinned("B"))
    prod.git("checkout", "-q", "colleague")
    prod.git("merge", "-q", "--no-ff", "--no-edit", "main")
    assert judged(prod, base) == []
    assert judged(prod, start) == [], "nor seen from further back"


def test_a_merge_that_would_hide_hand_made_pins_from_history_is_refused(prod, judged):
    prod.git("checkout", "-qb", "colleague")
    prod.commit({"src/train.py": b"x"})
    prod.git("checkout", "-q", "main")
    base = prod.commit(prod.pinned("B"))
    prod.git("checkout", "-q", "colleague")
    prod.git("merge", "-q", "--no-ff", "--no-edit", "main")
    assert judged(prod, base) == [("line", "")]


def test_ten_thousand_commits_take_three_processes(prod, sandbox, monkeypatch):
    base = prod.head
    stream = [
        f"commit refs/heads/main\ncommitter A <a@b> {i} +0000\ndata 1\nx\n" for i in range(10_000)
    ]
    first = stream[0] + f"from {base}\n"
    other = "".join(
        text + f"M 100644 inline src/f{i % 7}\ndata 5\n{i:05}\n"
        for i, text in enumerate(stream[1:])
    )
    prod.git("fast-import", "--quiet", "--force", text=first + other)
    repository = sandbox.open(prod.where)
    started = []
    original = type(repository.git).attempt
    monkeypatch.setattr(
        type(repository.git),
        "attempt",
        lambda self, *args, **more: started.append(args[0]) or original(self, *args, **more),
    )
    guard = Guard(repository, Ranges(repository), "environments", lambda: NOW)
    assert guard.check(Commit(base), Commit(prod.git("rev-parse", "main"))) == ()
    assert len(started) <= 4


@pytest.mark.parametrize("seed", range(3))
def test_nothing_that_our_own_commands_do_is_refused(sandbox, judged, seed):
    """Whatever a person asks of us in whatever order, guard as a required check lets it through."""
    pick = random.Random(seed)  # noqa: S311 - chooses what a test does
    where = Deployment.begin(sandbox.new("deploy"), *NAMES)
    again = {"artifact": {"path": "m", "md5": record("A").artifact}}
    where.commit(where.recorded("E", **again))
    for name in ("staging", "prod"):
        policy = b"apiVersion: mlops/v1\nkind: Environment\n"
        where.change({f"environments/{name}/environment.yaml": policy})
    base = where.commit(where.pinned("A"))
    ticks = count()
    publisher = Publisher(
        gitops=sandbox.gitops(where.where, remote=None),
        project=Project("demo", (ModelConfig("eggs"), ModelConfig("spam"))),
        actor="Ada",
        now=lambda: NOW + timedelta(minutes=next(ticks)),
        pause=lambda _: None,
    )
    promoter = Promoter(publisher, sandbox.open(where.where))
    roller = Roller(publisher, Preflight(deadline=5))

    def named() -> str:
        return str(release(pick.choice((*NAMES, "E"))))

    def rollback() -> None:
        order = RollbackOrder(
            "prod", reason="x", quarantine=pick.random() < 0.3, hold=pick.random() < 0.7
        )
        roller.roll_back(order)

    acts = [
        lambda: promoter.promote(PromoteOrder((named(),), "prod", pick.random() < 0.6)),
        lambda: promoter.promote(PromoteOrder((named(),), "prod", True)),
        rollback,
        lambda: hold(publisher, HoldOrder("prod", pick.choice(("spam", "*")), f"{next(ticks)}")),
        lambda: resume(publisher, "prod", pick.choice(("spam", "*"))),
        lambda: quarantine(publisher, named(), "x", digest_only=pick.random() < 0.5),
        lambda: lift(publisher, named()),
    ]
    for _ in range(60):
        with contextlib.suppress(RefusedError):
            pick.choice(acts)()
    assert int(where.git("rev-list", "--count", f"{base}..main")) > 15
    later = NOW + timedelta(days=1)
    assert judged(where, base, where.git("rev-parse", "main"), now=later) == []


def test_a_revert_of_the_second_rollback_under_a_hold_is_refused(prod, judged):
    def keeping(pin, since, *avoid):
        hold = Hold("spam", since, "Ada", "bad", digest(pin), avoid=tuple(map(digest, avoid)))
        return {**prod.pinned(pin), HOLDS: dump_holds([hold])}

    prod.commit({record_path("environments", "spam", digest("C")): record("C").dump()})
    prod.commit(keeping("B", NOW, "C"))
    base = prod.commit(keeping("A", NOW + timedelta(minutes=1), "C", "B"))
    prod.commit(keeping("B", NOW, "C"), "Revert")
    assert judged(prod, base) == [("hold", "prod")]
    base = prod.head
    prod.commit(keeping("C", NOW, "B"), "by hand")
    assert judged(prod, base) == [("hold", "prod")], "the hold keeps it out"
    base = prod.commit(keeping("B", NOW, "C"))
    prod.ours("promote", keeping("C", NOW, "B"), ("Mlops-Model", str(release("C"))))
    assert judged(prod, base) == [], "a person promoted it in spite of the hold"
