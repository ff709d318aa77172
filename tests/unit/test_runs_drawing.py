"""Pictures of a run: layers, SVG and DOT, whatever names and messages hold."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops.cli.drawing.dot import dot
from mlops.cli.drawing.layers import lay_out
from mlops.cli.drawing.nodes import lasting, nodes
from mlops.cli.drawing.svg import svg
from mlops.domain.run import Phase, RunResult, TaskState

NOON = datetime(2019, 7, 16, 12, tzinfo=UTC)
SVG = "{http://www.w3.org/2000/svg}"


def parsed(found):
    return ET.fromstring(svg(found))  # noqa: S314 - our own


def task(name, phase=Phase.SUCCEEDED, after=(), **fields):
    if phase not in (Phase.PENDING, Phase.SKIPPED):
        fields = {
            "started": NOON,
            "finished": NOON + timedelta(seconds=2) if phase.done else None,
            **fields,
        }
    return TaskState(name, phase, after=tuple(after), **fields)


def run(*tasks, name="r", phase=Phase.RUNNING):
    return RunResult(name, phase, "", "", NOON, None, tasks)


@st.composite
def graphs(draw):
    count = draw(st.integers(0, 25))
    return {
        f"n{at}": tuple(
            f"n{each}" for each in draw(st.sets(st.integers(0, at - 1), max_size=4)) if at
        )
        if at
        else ()
        for at in range(count)
    }


@given(graphs())
def test_every_node_stands_right_of_what_it_comes_after_and_on_none(parents):
    found = lay_out(parents)
    assert set(found.places) == set(parents)
    assert len(set(found.places.values())) == len(parents)
    for name, others in parents.items():
        assert all(found.places[name][0] > found.places[other][0] for other in others)
    ends = sorted((line[0], line[-1]) for line in found.lines)
    assert ends == sorted(
        (found.places[p], found.places[n]) for n, ps in parents.items() for p in ps
    )
    places = set(found.places.values())
    for line in found.lines:
        assert not places & set(line[1:-1]), "a line runs through no box"
        assert all(right[0] == left[0] + 1 for left, right in itertools.pairwise(line))


def test_a_chain_of_thousands_and_a_wide_graph_are_laid_out():
    chain = {f"n{at}": (f"n{at - 1}",) if at else () for at in range(3000)}
    assert lay_out(chain).layers == 3000
    wide = {"a": (), **{f"n{at}": ("a",) for at in range(3000)}}
    assert lay_out(wide).rows == 3000


def test_a_picture_names_each_task_and_how_it_stands():
    tasks = (
        task("fetch"),
        task("train.0", after=["fetch"], task="train"),
        task(
            "train.1", Phase.FAILED, ["fetch"], task="train", message="step main exited with code 1"
        ),
        task("package", Phase.SKIPPED, ["train"], reason="Parent Tasks were skipped"),
        task("lint", Phase.PENDING, ["fetch"], waits="16 tasks of this run work already"),
        task("clean-up", Phase.RUNNING, final=True),
    )
    root = parsed(run(*tasks))
    texts = [each.text for each in root.iter(f"{SVG}text")]
    for wanted in ("r: Running", "fetch", "✓ Succeeded · 2.0 s", "train", "✗ 1 failed, 1 succeeded",
                   "- Skipped", "· Pending", "finally", "clean-up", "▶ Running"):  # fmt: skip
        assert wanted in texts
    titles = [each.text for each in root.iter(f"{SVG}title")]
    assert "train: 1 failed, 1 succeeded: step main exited with code 1" in titles
    assert "package: Skipped: Parent Tasks were skipped" in titles
    assert "lint: Pending: 16 tasks of this run work already" in titles
    assert len([each for each in root.iter(f"{SVG}path") if each.get("class") == "edge"]) == 3
    assert root.get("role") == "img"
    assert "prefers-color-scheme: dark" in root.find(f"{SVG}style").text


def test_boxes_do_not_overlap_and_lie_in_the_picture():
    names = [f"n{at}" for at in range(40)]
    tasks = [
        task(name, after=names[at // 3 : at // 3 + 1] if at > 2 else [])
        for at, name in enumerate(names)
    ]
    root = parsed(run(*tasks, task("end", final=True), task("end-2", final=True)))
    boxes = [
        tuple(float(each.get(key)) for key in ("x", "y", "width", "height"))
        for each in root.iter(f"{SVG}rect")
        if each.get("class") == "box"
    ]
    assert len(boxes) == 42
    wide, high = float(root.get("width")), float(root.get("height"))
    assert all(x >= 0 and x + w <= wide and y >= 0 and y + h <= high for x, y, w, h in boxes)
    for (x, y, w, h), (x2, y2, _, _) in itertools.combinations(boxes, 2):
        assert abs(x - x2) >= w or abs(y - y2) >= h


HOSTILE = [
    '"><script>alert(1)</script>',
    "</title></svg><svg onload=alert(1)>",
    "]]>&amp;&lt;",
    "a\x00b\x1b[8m\x07",
    "gpj.\u202etxt\u2066",
    '\\"; }; digraph x { "',
    "\\N \\G \\l",
    "two\nlines\r\n",
    "x" * 5000,
]


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_from_outside_are_texts(text):
    found = run(
        task("a", Phase.FAILED, message=text),
        task(text, Phase.SKIPPED, ["a"], reason=text),
        name=text,
    )
    root = parsed(found)
    assert {each.tag.removeprefix(SVG) for each in root.iter()} == {
        "svg", "title", "style", "defs", "marker", "path", "rect", "text", "g",
    }  # fmt: skip
    for each in root.iter():
        assert not [key for key in each.attrib if key.startswith("on") or "href" in key]
        for value in (each.text or "", *each.attrib.values()):
            assert not {"\u202e", "\u2066", "\x1b", "\x00", "\x07"} & set(value)
    tokens = re.sub(r'"(?:[^"\\]|\\.)*"', "S", dot(found))
    assert tokens.count("{") == tokens.count("}") == 1
    assert "script" not in tokens
    assert "->" in tokens


def test_dot_names_what_svg_does():
    found = dot(
        run(task("a"), task("b", Phase.FAILED, ["a"], message="why"), task("z", final=True))
    )
    assert '"a" -> "b";' in found
    assert 'label="✗ b\\nFailed · 2.0 s", tooltip="why"' in found
    assert "subgraph cluster_finally" in found


def test_what_is_not_there_is_not_drawn_to():
    assert nodes(run(task("b", after=["gone"])))[0].after == ()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (-5, "0.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (3599.6, "1 h 00 min"),
        (7630, "2 h 07 min"),
    ],
)
def test_durations(seconds, text):
    assert lasting(timedelta(seconds=seconds)) == text
