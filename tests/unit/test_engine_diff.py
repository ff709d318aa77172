import pytest

from mlops.domain.reference import EnvironmentReference
from mlops.engine.diff import Difference, diff
from mlops.errors import RefusedError, UsageError
from tests.fakes.estate import Estate, release, source
from tests.fakes.sources import MemorySources

LOCKS = {
    ("A", "requirements.lock"): b"numpy==1.0 --hash=x\nscikit-learn==1.7.1\n",
    ("C", "requirements.lock"): b"numpy==1.0 --hash=y\nscikit-learn==1.7.2\npandas==2.0\n",
}
LINE = MemorySources("ABCD", LOCKS)


def recorded() -> Estate:
    estate = Estate()
    estate.record(
        "A",
        data=[{"path": "data/a.csv", "md5": "1"}, {"path": "data/b.csv", "md5": "2"}],
        params={"train": {"depth": 3, "rate": 0.1}},
        base={"ref": "host", "manifest": "sha256:1"},
        metrics={"accuracy": 0.9, "by": {"class": 1}, "note": "text"},
        locks={"requirements.lock": "1"},
    )
    estate.record(
        "C",
        data=[{"path": "data/a.csv", "md5": "3"}],
        params={"train": {"depth": 4, "rate": 0.1}},
        base={"ref": "host", "manifest": "sha256:2"},
        metrics={"accuracy": 0.95, "by": {"class": 1}, "note": "other"},
        locks={"requirements.lock": "2"},
    )
    return estate


def test_everything_that_changed_between_two_releases():
    (found,) = diff(recorded().environments(), LINE, release("A"), release("C"))
    assert [info.commit for info in found.commits] == [source("C"), source("B")]
    assert not found.backwards
    assert found.data == (
        Difference("data/a.csv", "1", "3"),
        Difference("data/b.csv", "2", None),
    )
    assert found.params == (Difference("train.depth", "3", "4"),)
    assert found.dependencies == (
        Difference("pandas", None, "2.0"),
        Difference("scikit-learn", "1.7.1", "1.7.2"),
    )
    assert found.base == Difference("base", "host sha256:1", "host sha256:2")
    assert found.metrics == (Difference("accuracy", "0.9", "0.95"),)
    assert found.unknown == ()


def test_backwards_says_so():
    (found,) = diff(recorded().environments(), LINE, release("C"), release("A"))
    assert found.backwards
    assert len(found.commits) == 2


def test_the_same_release_twice_is_no_difference():
    (found,) = diff(recorded().environments(), LINE, release("A"), release("A"))
    assert (found.commits, found.data, found.metrics, found.base) == ((), (), (), None)
    assert not found.backwards


def test_environments_compare_model_by_model():
    estate = recorded()
    estate.pin("prod", spam="A")
    estate.pin("staging", spam="C")
    estate.record("E", "eggs")
    estate.pin("staging", eggs="E")
    sides = EnvironmentReference("prod"), EnvironmentReference("staging")
    eggs, spam = diff(estate.environments(), LINE, *sides)
    assert (eggs.old, eggs.new) == (None, release("E", "eggs"))
    assert (spam.old, spam.new) == (release("A"), release("C"))
    assert diff(estate.environments(), LINE, sides[0], sides[0]) == ()
    (mixed,) = diff(estate.environments(), LINE, release("A"), sides[1])
    assert mixed.new == release("C")


def test_what_cannot_be_compared_is_named():
    estate = recorded()
    (found,) = diff(estate.environments(), MemorySources("A", LOCKS), release("A"), release("C"))
    assert len(found.unknown) == 2
    assert source("C").short in found.unknown[0]
    assert "requirements.lock" in found.unknown[1]
    assert found.params


def test_two_models_and_no_record():
    environments = recorded().environments()
    with pytest.raises(UsageError, match="two models"):
        diff(environments, LINE, release("A"), release("E", "eggs"))
    with pytest.raises(RefusedError, match="no record"):
        diff(environments, LINE, release("A"), release("B"))


def test_hostile_records_are_no_crash():
    estate = Estate()
    estate.record("A", data="x", params=[1], base=7, metrics=None, locks=None)
    estate.record("C", data=[1, {"md5": 1}], params={"a": {}}, base={}, metrics={"x": "1"})
    (found,) = diff(estate.environments(), LINE, release("A"), release("C"))
    assert found.metrics == ()


def test_of_two_environments_only_the_models_that_are_named():
    estate = Estate()
    estate.released("A", to=("dev",))
    estate.pin("dev", eggs="B")
    sides = EnvironmentReference("staging"), EnvironmentReference("dev")
    found = diff(estate.environments(), LINE, *sides, models=["spam"])
    assert [each.model for each in found] == ["spam"]
    with pytest.raises(UsageError, match="no model 'spma'"):
        diff(estate.environments(), LINE, *sides, models=["spma"])
