from dataclasses import replace

import pytest

from mlops.engine.publishing import TRIES, Change
from mlops.errors import ConfigError, GitError
from tests.fakes.estate import Estate
from tests.fakes.gitops import MemoryGitOps


def change(content: bytes) -> Change:
    return Change({"environments/x": content}, "message")


def test_a_lost_race_is_decided_again_on_the_new_tip():
    estate = Estate()
    seen = []

    def decide(environments):
        seen.append(environments.tip)
        return len(seen), change(b"%d" % len(seen))

    estate.gitops.before_push = lambda: estate.pin("dev", spam="A")
    settled = estate.publisher.settle(decide)
    assert settled.decision == 2
    assert len(set(seen)) == 2
    assert estate.read("x") == b"2"
    assert settled.commit == estate.gitops.tip()


def test_after_many_lost_races_it_gives_up_and_says_nothing_changed():
    estate = Estate()
    pauses = []
    publisher = replace(estate.publisher, pause=pauses.append)

    def decide(environments):
        estate.gitops.before_push = lambda: estate.gitops.edit({f"{len(pauses)}": b""})
        return None, change(b"mine")

    with pytest.raises(GitError, match="nothing was changed") as caught:
        publisher.settle(decide)
    assert caught.value.retryable
    assert len(pauses) == TRIES
    assert all(0 <= pause <= 2.0 for pause in pauses)
    assert len(set(pauses)) > 1, "rivals do not wait in step"
    assert estate.read("x") == b""


def test_a_dry_run_gives_the_very_diff_and_pushes_nothing():
    estate = Estate()
    settled = estate.publisher.settle(lambda _: (1, change(b"new\n")), dry_run=True)
    assert settled.commit is None
    assert "+new" in settled.diff
    assert estate.gitops.pushes == 0


def test_no_change_is_no_commit():
    estate = Estate()
    assert estate.publisher.settle(lambda _: (1, None)).commit is None
    assert estate.gitops.pushes == 0


def test_reading_goes_on_with_what_was_fetched_last_and_says_so():
    estate = Estate()

    def unreachable():
        raise GitError("the remote is away")

    estate.gitops.refresh = unreachable
    assert estate.environments().tip == estate.gitops.tip()
    assert "the remote is away" in estate.notes[0]


def test_a_branch_without_a_commit_names_init():
    estate = Estate(MemoryGitOps())
    estate.gitops._tip = None
    with pytest.raises(ConfigError, match="mlops init"):
        estate.environments()


def test_an_overlay_that_is_missing_names_init_and_does_not_stop_the_others():
    estate = Estate()
    estate.write("prod/kustomization.yaml", None)
    with pytest.raises(ConfigError, match=r"environments/prod/kustomization.yaml.*mlops init"):
        estate.pins("prod")
    assert estate.pins("dev") == {}


def test_messages_cannot_smuggle_a_trailer():
    message = Estate().publisher.message(
        "subject\nsecond", "promote", [("Mlops-Reason", "x\nMlops-Action: rollback\udcff")], "prod"
    )
    lines = message.splitlines()
    assert lines[0] == "subject second"
    assert lines.count("Mlops-Action: promote") == 1
    assert "Mlops-Action: rollback" not in lines
    message.encode()
