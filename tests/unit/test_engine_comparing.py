"""What `mlops run --again` says of the release that it gave."""

from __future__ import annotations

from mlops.engine.comparing import told
from tests.fakes.estate import digest, record


def made(name: str, **layers: str):
    document = [{"kind": kind, "digest": str(digest(of))} for kind, of in layers.items()]
    return record(name, layers=document)


ONE = made("A", base="b", dependencies="d", model="m")


def test_the_same_and_nothing_to_compare_with():
    assert told(str(ONE.release), [ONE], ONE) == "the same release as before"
    assert told(str(ONE.release), [ONE, made("B")], None) == "the same release as before"
    assert told(str(ONE.release), [], ONE) == ""


def test_another_one_names_the_layers_that_differ():
    two = made("B", base="b", dependencies="other", model="other", code="new")
    assert told(str(two.release), [ONE], two) == (
        f"another release than {ONE.release.short}: layers that differ: dependencies, model, code"
    )
    same = made("B", base="b", dependencies="d", model="m")
    assert told(str(same.release), [ONE], same).endswith("its configuration differs")
    assert told(str(same.release), [ONE], None) == f"another release than {ONE.release.short}"


def test_records_without_sound_layers_are_compared_all_the_same():
    odd = record("B", layers={"kind": "base"})
    assert "layers that differ: base, dependencies, model" in told(str(odd.release), [ONE], odd)
