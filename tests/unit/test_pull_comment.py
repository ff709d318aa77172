"""The comment on a pull request: strangers' texts are shown and do nothing, and it always fits."""

from __future__ import annotations

import html
import re

from hypothesis import given
from hypothesis import strategies as st

from mlops.domain.plan import Change, Impact, Kind, Plan, PlanStep
from mlops.domain.release import MetricChange, ReleaseRecord
from mlops.domain.source import Commit
from mlops.manifests.markdown import code
from mlops.manifests.pullcomment import LIMIT, Told, compose, marker

HEAD, BASE = Commit("a" * 40), Commit("b" * 40)
HOSTILE = (
    "@everybody | `x` </code><script>alert(1)</script> [a](https://x) #1 :bomb: www.x.com\n\n# h"
)


def plan(*changes: Change, reason: str = "why") -> Plan:
    steps = (PlanStep("train", reason),)
    return Plan("spam", HEAD, BASE, Impact(changes=changes), steps, "a summary")


def released(**more: object) -> ReleaseRecord:
    document = {
        "release": f"spam@sha256:{'1' * 64}",
        "source": {"commit": HEAD.sha},
        "gates": [{"rule": "accuracy ≥ 0.9", "value": 0.84, "verdict": "fail: 0.84 is below it"}],
        "platforms": [{"platform": "linux/amd64", "manifest": f"sha256:{'2' * 64}"}],
    }
    return ReleaseRecord.of(document | more)


def test_before_merge_it_has_impact_and_steps_with_reasons() -> None:
    change = Change(Kind.CODE, "src/train.py")
    text = compose("spam-filter", HEAD, BASE, [Told("spam", plan(change, reason="src/ changed"))])
    assert text.startswith("<!-- mlops pull-request spam-filter -->\n### mlops:")
    assert "| <code>train</code> | <code>src/ changed</code> |" in text
    assert "| code | <code>src/train&#46;py changed</code> |" in text


def test_after_a_release_it_has_metrics_against_the_base_gates_and_digests() -> None:
    told = Told(
        "spam",
        released=released(),
        base=released(release=f"spam@sha256:{'3' * 64}"),
        metrics=(MetricChange("accuracy", 0.8, 0.84), MetricChange("new", None, 1.0)),
    )
    text = html.unescape(compose("p", HEAD, BASE, [told]))
    assert "| metric | base, <code>spam@sha256:333333333333</code> | now | change |" in text
    assert (
        "| <code>accuracy</code> | <code>0.8</code> | <code>0.84</code> | <code>+0.04</code> |"
        in text
    )
    assert "| <code>new</code> | – | <code>1</code> | – |" in text
    assert "❌ <code>fail: 0.84 is below it</code>" in text
    assert f"<code>sha256:{'1' * 64}</code>" in text
    assert f"<code>sha256:{'2' * 64}</code>" in text


def test_a_fault_is_told_in_place_of_a_plan() -> None:
    text = compose("p", HEAD, None, [Told("spam", fault="mlops.yaml:3: no")])
    assert "not planned. <code>mlops&#46;yaml&#58;3&#58; no</code>" in text


@given(st.text(st.characters(codec="utf-8") | st.sampled_from("@|`<>&#:*_[]()\n\r\\~$")))
def test_any_text_is_one_line_of_code_without_markup(text: str) -> None:
    shown = code(text)
    if shown == "–":
        return
    inner = shown.removeprefix("<code>").removesuffix("</code>")
    assert not re.search(r"[@|`<>*_\[\]()\\~$!\"':.{}+]", inner)
    assert not re.search(r"&(?!#\d{2,3};)", inner)
    assert "#" not in re.sub(r"&#\d{2,3};", "", inner)
    assert inner.isprintable()
    assert len(html.unescape(inner)) <= 200


@given(st.lists(st.sampled_from([HOSTILE, "x" * 10_000, "ü" * 300, "", "a|b"]), max_size=8))
def test_hostile_names_change_no_row_and_no_marker(names: list[str]) -> None:
    changes = tuple(Change(Kind.CODE, name) for name in names)
    text = compose("p", HEAD, BASE, [Told(f"m{n}", plan(*changes)) for n in range(3)])
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert all(row.count("|") == 3 for row in rows)
    assert text.count("<!--") == 1
    assert "@" not in text


def test_what_does_not_fit_is_left_out_by_lines_and_counted() -> None:
    changes = tuple(Change(Kind.CODE, "ü|" * 90 + str(n)) for n in range(60))
    models = [Told(f"m{n}", plan(*changes)) for n in range(40)]
    text = compose("p", HEAD, BASE, models, note="A note of ours.")
    assert len(text.encode()) <= LIMIT
    assert text.startswith(marker("p"))
    left = re.search(r"^(\d+) more lines do not fit here", text, re.MULTILINE)
    assert left is not None
    assert text.endswith("A note of ours.\n")
    assert all(row.endswith("|") for row in text.splitlines() if row.startswith("|"))
    whole = compose("p", HEAD, BASE, models[:1])
    assert "do not fit" not in whole


def test_long_tables_and_many_models_say_what_they_leave_out() -> None:
    changes = tuple(Change(Kind.CODE, str(n)) for n in range(61))
    assert "1 more are left out here." in compose("p", HEAD, BASE, [Told("m", plan(*changes))])
    assert "And 1 more models." in compose("p", HEAD, BASE, [Told("m", plan())] * 41)
