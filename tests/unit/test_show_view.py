"""What `mlops show` prints for people."""

from __future__ import annotations

import json

from mlops.cli.show import _print
from mlops.domain.release import ReleaseRecord
from mlops.engine.show import Shown, show
from tests.fakes.estate import Estate, digest, record

LAYERS = [
    {"kind": kind, "digest": str(digest(kind)), "diffID": str(digest("d")), "size": size}
    for kind, size in (("base", 41_200_000), ("dependencies", 9_000_000), ("model", 1_400))
]
PLATFORMS = [{"platform": "linux/amd64", "manifest": str(digest("m")), "layers": LAYERS}]


def test_layers_have_a_line_each_and_platforms_do_not_repeat_them(capsys) -> None:
    document = {**record("A").document, "layers": LAYERS, "platforms": PLATFORMS}
    shown = Shown(ReleaseRecord.parse(json.dumps(document).encode(), "a.json"), ("prod",), None)
    _print(shown, None)
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("layers:")
    assert [line.split() for line in lines[start + 1 : start + 4]] == [
        ["base", str(digest("base"))[:19], "41.2", "MB"],
        ["dependencies", str(digest("dependencies"))[:19], "9.0", "MB"],
        ["model", str(digest("model"))[:19], "1.4", "kB"],
    ]
    at = lines.index("platforms:")
    assert lines[at + 1].split() == ["platform", "linux/amd64", "manifest", str(digest("m"))]
    assert max(map(len, lines)) < 120


def test_a_model_of_another_environment_is_told_with_the_release_that_had_it(capsys) -> None:
    estate = Estate()
    artifact = {"path": "models/spam.pkl", "md5": "a" * 32}
    old, new, third = ("spam-env@" + str(digest(name)) for name in ("old", "new", "third"))
    estate.record("A", artifact=artifact, environment=old, created="2024-01-01T00:00:00Z")
    estate.record("B", artifact=artifact, environment=new, created="2024-01-02T00:00:00Z")
    estate.record("C", environment=third, created="2023-01-02T00:00:00Z")
    of = {name: show(estate.environments(), record(name).release) for name in "ABC"}
    assert of["A"].trained is None
    assert of["C"].trained is None
    _print(of["B"], None)
    expected = f"model: first released as {record('A').release.short}, with the environment {old}"
    assert expected in capsys.readouterr().out.splitlines()
