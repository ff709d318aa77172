"""What a deployment changes, shown to people."""

from __future__ import annotations

from mlops.adapters.cluster import differing


def secret(**data: str) -> dict:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": "s",
            "uid": "1",
            "resourceVersion": "7",
            "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": str(data),
                "mine": "yes",
            },
        },
        "data": data,
    }


def test_of_a_secret_is_shown_which_value_changes_and_none():
    shown = differing.diff(secret(a="aHVudGVyMg==", b="c2FtZQ=="), secret(a="bmV3", b="c2FtZQ=="))
    assert [line for line in shown.splitlines() if line[:1] in "+-"][2:] == [
        '-  a: "***"',
        '+  a: "*** (changed)"',
    ]
    for value in ("aHVudGVyMg==", "bmV3", "c2FtZQ=="):
        assert value not in shown


def test_neither_making_nor_removing_a_secret_shows_a_value():
    plain = {**secret(a="aHVudGVyMg=="), "stringData": {"b": "hunter3"}}
    for shown in (differing.diff(None, plain), differing.diff(plain, None)):
        assert "***" in shown
        assert "mine" in shown
        assert "aHVudGVyMg==" not in shown
        assert "hunter3" not in shown


def test_what_the_api_keeps_is_no_change():
    before, after = secret(a="eA=="), secret(a="eA==")
    after["metadata"] |= {"resourceVersion": "8", "generation": 2, "managedFields": [{}]}
    after["status"] = {"x": 1}
    assert differing.change(before, after) == "unchanged"
    assert differing.diff(before, after) == ""
    assert differing.change(None, after) == "created"
    assert differing.change(before, secret(a="eQ==")) == "configured"
