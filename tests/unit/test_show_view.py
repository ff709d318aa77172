"""What `mlops show` prints for people."""

from __future__ import annotations

import json

from mlops.cli.show import _print
from mlops.domain.release import ReleaseRecord
from mlops.engine.show import Shown
from tests.fakes.estate import digest, record

LAYERS = [
    {"kind": kind, "digest": str(digest(kind)), "diffID": str(digest("d")), "size": size}
    for kind, size in (("base", 41_200_000), ("dependencies", 9_000_000), ("model", 1_000_000))
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
        ["model", str(digest("model"))[:19], "1.0", "MB"],
    ]
    at = lines.index("platforms:")
    assert lines[at + 1].split() == ["platform", "linux/amd64", "manifest", str(digest("m"))]
    assert max(map(len, lines)) < 120
