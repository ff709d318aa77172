"""The one comment on a pull request: what it would do, and what became of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlops.domain.plan import Plan
from mlops.domain.release import MetricChange, ReleaseRecord
from mlops.domain.source import Commit
from mlops.manifests.markdown import code, table

LIMIT = 65_000  # bytes in UTF-8: GitHub takes 65,536 characters, and no forge less
_ROWS = 60  # of one table
_MODELS = 40


@dataclass(frozen=True, slots=True)
class Told:
    """What there is to say of one model. `plan` is None where none could be made, `fault` says why.
    `released` is the record of the pull request's own release, `base` that of what it is compared with in `metrics`."""

    model: str
    plan: Plan | None = None
    fault: str = ""
    released: ReleaseRecord | None = None
    base: ReleaseRecord | None = None
    metrics: tuple[MetricChange, ...] = ()


def marker(project: str) -> str:
    """The hidden first line by which the comment is found again; `project` is a name of mlops.yaml."""
    return f"<!-- mlops pull-request {project} -->"


def compose(
    project: str, head: Commit, since: Commit | None, models: Sequence[Told], note: str = ""
) -> str:
    """The whole comment, never longer than LIMIT: what does not fit is left out by whole lines, and the
    last line says how many. `note` is a sentence of ours, Markdown."""
    done = bool(models) and all(each.released is not None for each in models)
    title = "released" if done else "what this pull request would do"
    against = f", against {code(since.short)}" if since is not None else ""
    lines = [marker(project), f"### mlops: {title}", "", f"Commit {code(head.short)}{against}."]
    for told in models[:_MODELS]:
        lines += ["", *_model(told)]
    if len(models) > _MODELS:
        lines += ["", f"And {len(models) - _MODELS} more models."]
    return _cut(lines, ["", note] if note else [])


def _cut(lines: Sequence[str], last: Sequence[str]) -> str:
    whole = "\n".join((*lines, *last)) + "\n"
    if len(whole.encode()) <= LIMIT:
        return whole
    room = LIMIT - len("\n".join(last).encode()) - 200
    kept = []
    for line in lines:
        room -= len(line.encode()) + 1
        if room < 0:
            break
        kept.append(line)
    left = f"{len(lines) - len(kept)} more lines do not fit here. All of it: `mlops plan`."
    return "\n".join((*kept, "", left, *last)) + "\n"


def _model(told: Told) -> Iterator[str]:
    name = f"**{code(told.model)}**"
    if told.released is not None:
        yield f"{name}: released as {code(str(told.released.release))}"
        yield from _released(told.released, told.base, told.metrics)
    elif told.plan is None:
        yield f"{name}: not planned. {code(told.fault, 1000)}"
    elif told.plan.nothing:
        yield f"{name}: {code(told.plan.summary)}"
    else:
        yield f"{name}: {_count(len(told.plan.impact.changes), 'change')}"
        yield from _planned(told.plan)


def _planned(plan: Plan) -> Iterator[str]:
    steps = [(code(step.name), code(step.reason, 500)) for step in plan.steps]
    changes = [(str(each.kind), code(each.text)) for each in plan.impact.changes]
    yield from _listed(("step", "why"), steps)
    yield from _listed(("it touches", "what"), changes)
    if plan.kept:
        yield f"\n{code(plan.kept, 500)}"


def _released(
    record: ReleaseRecord, base: ReleaseRecord | None, metrics: Sequence[MetricChange]
) -> Iterator[str]:
    compared = f"base, {code(base.release.short)}" if base is not None else "base"
    rows = [_metric(each) for each in metrics]
    yield from _listed(("metric", compared, "now", "change"), rows)
    yield from _listed(("gate", "value", "verdict"), _gates(record.document.get("gates")))
    yield from _listed(("image", "digest"), _images(record))


def _gates(found: Any) -> list[tuple[str, ...]]:
    entries = (
        [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []
    )
    rows: list[tuple[str, ...]] = []
    for each in entries:
        verdict = str(each.get("verdict", ""))
        mark = "✅" if verdict.startswith("pass") else "❌"
        rows.append(
            (code(str(each.get("rule", ""))), _value(each.get("value")), f"{mark} {code(verdict)}")
        )
    return rows


def _images(record: ReleaseRecord) -> list[tuple[str, ...]]:
    platforms = record.document.get("platforms")
    entries = platforms if isinstance(platforms, list) else []
    manifests = [each for each in entries if isinstance(each, Mapping) and each.get("manifest")]
    return [
        ("all platforms", code(str(record.release.digest))),
        *((code(str(each.get("platform", ""))), code(str(each["manifest"]))) for each in manifests),
    ]


def _metric(each: MetricChange) -> tuple[str, ...]:
    change = "–"
    if each.before is not None and each.now is not None:
        change = code(f"{each.now - each.before:+.6g}") if each.now != each.before else "none"
    return code(each.name), _value(each.before), _value(each.now), change


def _value(found: Any) -> str:
    exact = isinstance(found, int | float) and not isinstance(found, bool)
    if exact:
        return code(f"{found:.6g}")
    return code(str(found), 60) if found is not None else "–"


def _listed(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table after an empty line, with at most _ROWS rows."""
    if not rows:
        return
    yield ""
    yield from table(headings, rows[:_ROWS])
    if len(rows) > _ROWS:
        yield f"\n{len(rows) - _ROWS} more are left out here."


def _count(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
