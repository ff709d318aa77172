from tests.fakes.estate import digest
from tests.machine import edits
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
