from dataclasses import replace

from mlops.domain.project import GitOpsConfig
from tests.fakes.estate import digest
from tests.machine import edits, users
from tests.machine.branches import MemoryBranch
from tests.machine.observer import ROOT
from tests.machine.users import User, opening


def test_a_run_whose_release_a_hand_pinned_before_says_that_it_records_it():
    branch = MemoryBranch()
    branch.edit(opening(), "begin")
    pinned = edits.plain([{"name": "spam", "digest": str(digest("F"))}])
    branch.edit({f"{ROOT}/dev/kustomization.yaml": pinned}, "by hand")
    assert User(branch, "Ada", branch.clock).propose("spam", "F") is True
    message = branch.message(branch.tip())
    assert message.startswith("Release spam")
    assert "Mlops-Previous" not in message
    assert "Mlops-Environment" not in message


def test_in_pull_request_mode_a_run_proposes_record_and_pin_together(monkeypatch):
    branch = MemoryBranch()
    branch.edit(opening(), "begin")
    tip = branch.tip()
    config = GitOpsConfig(mode="pull-request", rollback="pull-request")
    monkeypatch.setattr(users, "PROJECT", replace(users.PROJECT, gitops=config))
    assert User(branch, "Ada", branch.clock).propose("spam", "F") is False
    assert branch.tip() == tip
    ((name, (base, files, _)),) = branch.proposals.items()
    assert (name, base) == ("mlops/run/dev/spam", tip)
    assert str(digest("F")).encode() in files[f"{ROOT}/dev/kustomization.yaml"]
    assert f"{ROOT}/releases/spam/{digest('F').hex}.json" in files
