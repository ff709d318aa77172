"""`mlops gc`: old claims go, and nothing is decided again."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import jsonschema
import pytest

from mlops.adapters.git.sight import RemoteTips
from mlops.adapters.git.steps import FirstParents
from mlops.cli import answers
from mlops.cli.gc import gc
from mlops.cli.options import Output
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
