import pytest

from mlops.domain.environment import Hold, QuarantineEntry
from mlops.engine.show import show
from mlops.engine.state import Environments
from mlops.engine.status import StatusRow, status
from mlops.errors import ConfigError, RefusedError, UsageError
from mlops.manifests.overlay import dump_holds, dump_quarantine
from tests.fakes.estate import Estate, digest, record, release, source
from tests.fakes.gitops import START


def rows(estate: Estate) -> dict[tuple[str, str], StatusRow]:
    return {(row.environment, row.model): row for row in status(estate.environments())}


def test_environments_times_models():
    estate = Estate()
    estate.released("A", to=("dev",))
    since = estate.gitops.clock()
    estate.released("B", to=("dev", "prod"))
    found = rows(estate)
    assert len(found) == 6
    dev = found["dev", "spam"]
    assert (dev.release, dev.source, dev.hold) == (release("B"), source("B"), None)
    assert dev.since is not None
    assert dev.since > since
    assert found["dev", "eggs"].release is None
    assert found["staging", "spam"].release is None


def test_a_pin_without_record_is_shown_without_source():
    estate = Estate()
    estate.pin("prod", spam="X")
    row = rows(estate)["prod", "spam"]
    assert (row.release, row.source) == (release("X"), None)


def test_holds_and_quarantine_are_shown():
    estate = Estate()
    estate.released("A", to=("prod",))
    hold = Hold("spam", START, "Eve", "bad")
    estate.write("prod/holds.yaml", dump_holds([Hold("*", START, "Bob", "party"), hold]))
    artifact = record("A").artifact
    entry = QuarantineEntry("spam", digest("Z"), START, "Ada", "leaks", artifact=artifact)
    estate.write("quarantine.yaml", dump_quarantine([entry]))
    found = rows(estate)
    assert found["prod", "spam"].hold == hold
    assert found["prod", "spam"].quarantined
    eggs = found["prod", "eggs"].hold
    assert eggs is not None
    assert eggs.actor == "Bob"
    assert not found["prod", "eggs"].quarantined


def test_a_model_that_left_the_project_is_shown_while_pinned():
    estate = Estate(models=("eggs",))
    estate.released("A", to=("prod",))
    assert rows(estate)["prod", "spam"].release == release("A")
    assert ("dev", "spam") not in rows(estate)


def test_a_shallow_clone_does_not_guess_an_age():
    estate = Estate()
    estate.released("A", "B", to=("prod",))
    estate.gitops.shallow.add(estate.gitops.tip())
    assert rows(estate)["prod", "spam"].since is None


def test_reads_no_further_than_it_needs():
    estate = Estate()
    estate.released(*"ABCDEFG", to=("prod",))
    walked = []
    real = estate.gitops.line

    def counted(tip, *prefixes):
        for change in real(tip, *prefixes):
            walked.append(change.info.subject)
            yield change

    estate.gitops.line = counted
    rows(estate)
    assert walked == ["promote prod"]


def test_show_says_where_a_release_stands():
    estate = Estate()
    made = estate.record("A")
    estate.pin("dev", spam="A")
    estate.pin("prod", spam="A")
    estate.write("staging/kustomization.yaml", b"[")
    shown = show(estate.environments(), made)
    assert shown.environments == ("dev", "prod")
    assert shown.record.source == source("A")
    assert shown.quarantine is None


def test_show_without_a_record_and_with_a_damaged_one():
    estate = Estate()
    with pytest.raises(RefusedError, match="no record of spam@sha256"):
        show(estate.environments(), release("A"))
    path = f"releases/spam/{digest('A').hex}.json"
    estate.write(path, b"[1]")
    with pytest.raises(ConfigError, match=path):
        show(estate.environments(), release("A"))
    estate.write(path, record("B").dump())
    with pytest.raises(ConfigError, match="this is the record of"):
        show(estate.environments(), release("A"))


def test_a_branch_without_a_commit_says_what_is_to_be_pushed():
    estate = Estate()
    with pytest.raises(ConfigError, match="Commit and push what mlops init wrote"):
        Environments.load(estate.gitops, None, estate.environments().project, START)


def test_chosen_environments_and_models_alone_are_told_and_read():
    estate = Estate()
    estate.released("A", to=("dev", "prod"))
    estate.write("staging/kustomization.yaml", b"[")
    found = status(estate.environments(), ("prod", "dev"), ("spam",))
    assert [(row.environment, row.model) for row in found] == [("dev", "spam"), ("prod", "spam")]
    assert all(row.since is not None for row in found)
    assert [row.model for row in status(estate.environments(), ("prod",))] == ["eggs", "spam"]


@pytest.mark.parametrize(("names", "models"), [(("prd",), ()), ((), ("spma",))])
def test_what_is_not_there_cannot_be_chosen(names, models):
    estate = Estate()
    estate.released("A")
    with pytest.raises(UsageError, match=r"no (model|environment)"):
        status(estate.environments(), names, models)
