"""`mlops gc`: old claims go, and nothing is decided again."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import jsonschema
import pytest

from mlops.adapters.git.pulls import PullRefs
from mlops.adapters.git.sight import RemoteTips
from mlops.adapters.git.steps import FirstParents
from mlops.cli import answers
from mlops.cli.gc import gc
from mlops.cli.options import Output
from mlops.domain.cron import Cron
from mlops.domain.source import Commit
from mlops.domain.watching import Tip
from mlops.engine import claiming, marking
from mlops.engine.collect import Collector, runs
from tests.system.watch.watching import claims

LATER = datetime(2126, 1, 1, tzinfo=UTC)


def collect(one, now=LATER):
    tips = RemoteTips(one.repository, "origin", one.claims)
    collector = Collector(one.repository, FirstParents(one.repository), "environments")
    old = collector.old(tips.look(one.watcher.tracked), now, timedelta(days=180))
    return runs(one.claims.remove(old))


@pytest.mark.parametrize("each", ["push", "commit"])
def test_what_no_tip_leans_on_goes_and_nothing_is_decided_again(watched, user, sandbox, each):
    one = watched("a", each=each)
    done = []
    for number in range(4):
        (choice,) = [c for c in one.decided() if c[2] == "queued"]
        one.finish(choice[1])
        done.append(choice[1])
        sandbox.commit(user, str(number), {"train.py": str(number)})
        sandbox.git(user, "push", "-q", "origin", "main")
    (last,) = one.decided()
    assert collect(one, one.clock) == ()
    gone = collect(one)
    assert gone == tuple(sorted(f"spam-{sha[:12]}-1" for sha in done))
    assert list(claims(sandbox)) == [f"spam-{last[1][:12]}-1"]  # open, and at the tip
    again = watched("b", each=each)
    assert again.decided() == []
    assert again.waiting() == [last[1]]


@pytest.mark.parametrize("each", ["push", "commit"])
def test_what_a_tip_without_a_claim_is_compared_with_stays(watched, user, sandbox, each):
    project = "apiVersion: mlops/v1\nkind: Project\nname: shop\nmodels: {spam: {paths: [src]}}\n"
    sandbox.commit(user, "Narrow it", {"mlops.yaml": project})
    sandbox.git(user, "push", "-q", "origin", "main")
    one = watched("a", each=each)
    ((_, source, _),) = one.decided()
    one.finish(source)
    sandbox.commit(user, "Docs", {"docs/a.md": "1"})
    sandbox.git(user, "push", "-q", "origin", "main")
    assert one.decided() == []
    assert collect(one) == ()
    assert watched("b", each=each).decided() == []


def test_the_claims_down_to_one_floor_stay_together(watched, user, sandbox):
    one = watched("a", each="commit")
    ((_, first, _),) = one.decided()
    one.finish(first)
    for name in "123":
        sandbox.commit(user, name, {"train.py": name})
    sandbox.git(user, "push", "-q", "origin", "main")
    new = [sha for _, sha, _ in one.decided()]
    for sha in new:
        one.finish(sha)
    assert collect(one) == (f"spam-{first[:12]}-1",)
    assert watched("b", each="commit").decided() == []


def test_the_command(watched, user, capsys):
    one = watched("a")
    ((_, source, _),) = one.decided()
    one.finish(source)
    gc(repo=user, window="0s", output=Output.JSON, dry_run=True)
    found = json.loads(capsys.readouterr().out)
    jsonschema.validate(found, answers.schema("gc"))
    assert found == []


APPROVED = "refs/mlops/approved/"


def removed(user, capsys, **more) -> list[str]:
    capsys.readouterr()
    gc(repo=user, window="0s", output=Output.JSON, **more)
    return [each["run"] for each in json.loads(capsys.readouterr().out)]


def test_of_a_pull_request_that_stands_nothing_goes_and_of_one_that_is_gone_all(
    watched, user, sandbox, capsys
):
    one = watched("a")
    tip = Commit(sandbox.git(user, "rev-parse", "HEAD"))
    head = sandbox.commit(user, "Theirs", {"train.py": "theirs"})
    sandbox.git(user, "push", "-q", "origin", "HEAD:refs/pull/3/head")
    sandbox.git(user, "reset", "-q", "--hard", tip.sha)
    refs = PullRefs(one.repository)
    made = refs.settle(refs.fetch(3), tip)
    at = Tip("refs/pull/3/head", Commit(head))
    queued = claiming.queue("spam", made, at, "pull request 3", "Ada", one.now())
    one.claims.put(queued["run"], queued, None)
    assert removed(user, capsys) == []
    one.finish(made.sha)
    assert removed(user, capsys) == []
    assert sandbox.git(user, "ls-remote", "origin", f"{APPROVED}*").endswith(head)

    sandbox.git(sandbox.remote, "update-ref", "-d", "refs/pull/3/head")
    assert removed(user, capsys, dry_run=True) == [queued["run"]]
    assert claims(sandbox)
    assert removed(user, capsys) == [queued["run"]]
    assert sandbox.git(user, "ls-remote", "origin", f"{APPROVED}*", "refs/mlops/runs/*") == ""
    assert sandbox.git(user, "for-each-ref", APPROVED) == ""
    assert removed(user, capsys) == []


def test_what_is_run_of_a_pull_request_stays_while_its_run_is_to_be_made(
    watched, user, sandbox, capsys
):
    one = watched("a")
    tip = Commit(sandbox.git(user, "rev-parse", "HEAD"))
    made = PullRefs(one.repository).settle(tip, tip)
    queued = claiming.queue("spam", made, Tip("refs/pull/3/head", tip), "", "Ada", one.now())
    one.claims.put(queued["run"], queued, None)
    assert removed(user, capsys) == []
    assert sandbox.git(user, "ls-remote", "origin", f"{APPROVED}*") != ""


def test_marks_of_triggers_that_no_model_has_go(watched, user, sandbox, capsys):
    project = (
        "apiVersion: mlops/v1\nkind: Project\nname: shop\n"
        "models: {spam: {triggers: [{cron: 0 3 * * 1}]}}\n"
    )
    sandbox.commit(user, "Each Monday", {"mlops.yaml": project})
    sandbox.git(user, "push", "-q", "origin", "main")
    one = watched("a")
    marks = marking.Marks(one.claims, one.now)
    since = {"state": marking.WATCHED, "since": one.now().isoformat()}
    stays, went = Cron("0 3 * * 1"), Cron("0 4 * * 2")
    for owner, trigger in (("spam", stays), ("spam", went), ("ham", stays)):
        assert marks.put(owner, trigger, None, **since)
    young = datetime.now(UTC) + timedelta(days=1)
    marks.put("eggs", stays, None, **{**since, "since": young.isoformat()})
    gone = sorted(marking.name(*each) for each in (("spam", went), ("ham", stays)))
    assert sorted(removed(user, capsys)) == gone
    left = {marking.name("spam", stays), marking.name("eggs", stays)}
    assert set(claims(sandbox)) == left


def test_what_stands_in_the_clone_alone_goes_too(watched, user, sandbox):
    sandbox.script(sandbox.remote / "hooks" / "update", 'case "$1" in refs/mlops/*) exit 1;; esac')
    one = watched("a")
    ((_, first, _),) = one.decided()
    one.finish(first)
    second = sandbox.commit(user, "2", {"train.py": "2"})
    sandbox.git(user, "push", "-q", "origin", "main")
    one.look()
    one.finish(second)
    assert collect(one) == (f"spam-{first[:12]}-1",)
    assert list(claims(sandbox, one.where, "refs/mlops/here/")) == [f"spam-{second[:12]}-1"]
    assert one.decided() == []


def test_what_stands_here_over_a_claim_of_the_remote_stays(watched, user, sandbox):
    one = watched("a")
    ((_, first, _),) = one.decided()
    sandbox.script(sandbox.remote / "hooks" / "update", 'case "$1" in refs/mlops/*) exit 1;; esac')
    one.finish(first)
    sandbox.commit(user, "2", {"train.py": "2"})
    sandbox.git(user, "push", "-q", "origin", "main")
    one.look()
    assert collect(one) == ()
    assert one.waiting() == [sandbox.git(user, "rev-parse", "HEAD")]
