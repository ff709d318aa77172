"""The release record of a run (docs/explanation/contract.md, state/), as a whole document."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from mlops.build.strategy import BUILDER
from mlops.domain.digest import Digest, ReleaseId
from mlops.domain.dvcfiles import join
from mlops.domain.release import SCHEMA, ReleaseRecord
from mlops.domain.source import DataObject
from mlops.steps.circumstances import Circumstances
from mlops.steps.sources import Source
from mlops.steps.times import stamp


def make(source: Source, release: ReleaseId, tag: str | None, now: datetime) -> ReleaseRecord:
    """The record; `tag` keeps the recorded dvc.lock, None without DVC."""
    state = source.state
    made = state.read("release.json")
    here = Circumstances.of(source)
    return ReleaseRecord.of(
        {
            "schema": SCHEMA,
            "release": str(release),
            "model": release.model,
            "image": made["image"],
            "environment": state.read("environment.json")["image"],
            "source": {
                "repository": here.repository,
                "commit": source.commit.sha,
                "url": here.location,
            },
            "data": _data(source),
            "params": _params(source),
            "compatibility": dict(source.model.compatibility),
            "locks": _locks(source),
            "base": made["base"],
            "platforms": made["platforms"],
            "layers": made["layers"],
            "artifact": state.read("artifact.json"),
            "dvc": _dvc(source, tag),
            "metrics": _plain(state.read("metrics.json")),
            "gates": state.read("verdicts.json"),
            "run": _run(source, here, made["finished"]),
            "created": stamp(now),
        }
    )


def _run(source: Source, here: Circumstances, finished: str) -> dict[str, Any]:
    return {
        "name": here.run,
        "attempt": int(source.inputs.text("attempt")),
        "executor": here.executor,
        "runtime": here.runtime,
        "network": here.network,
        "started": here.started,
        "finished": finished,
        "document": f"sha256:{source.inputs.text('document')}",
        "env": dict(source.model.train.env),
        "plan": source.inputs.text("plan"),
    }


def _data(source: Source) -> list[dict[str, Any]]:
    """What `.dvc` files version, and the outputs that DVC versions."""
    found: dict[str, dict[str, Any]] = {}
    for data in source.dvc.tracked(source.commit) if source.has_dvc else ():
        found[data.path] = _object(data.object)
    for each in source.state.read("outputs.json"):
        if each["cached"]:
            found[each["path"]] = {key: each[key] for key in each if key != "cached"}
    return [found[path] for path in sorted(found)]


def _object(data: DataObject) -> dict[str, Any]:
    pairs = (("path", data.path), ("md5", data.md5), ("size", data.size), ("nfiles", data.nfiles))
    return {key: value for key, value in pairs if value is not None}


def _params(source: Source) -> dict[str, dict[str, Any]]:
    """File → key → value, as the recorded dvc.lock has them for the model's stages."""
    stages = {stage.name: stage for stage in source.scope}
    found: dict[str, dict[str, Any]] = {}
    for name, locked in source.recorded().items():
        for path, values in locked.params.items():
            found.setdefault(join(stages[name].wdir, path), {}).update(_plain(values))
    return found


def _locks(source: Source) -> dict[str, str]:
    """Path → sha256 of each lock, and the builder whose compressor decided the bytes."""
    paths = ("mlops.lock", source.model.build.lock)
    contents = {path: source.repository.read(source.commit, path) for path in paths}
    contents |= source.recorded_locks()
    digests = {path: str(Digest.of(content)) for path, content in contents.items() if content}
    return {**digests, "builder": BUILDER}


def _dvc(source: Source, tag: str | None) -> dict[str, Any] | None:
    if tag is None:
        return None
    locks = source.recorded_locks()
    first = min(locks, key=lambda path: len(PurePosixPath(path).parts), default="dvc.lock")
    return {"lock": first, "tag": tag}


def _plain(value: Any) -> Any:
    """As JSON can carry it: what is no finite number becomes its text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, str | int | float) else str(value)


def differs(first: ReleaseRecord, second: ReleaseRecord) -> tuple[str, ...]:
    """In what two records of one digest differ that should not: nondeterminism."""
    keys = ("source", "data", "metrics", "params", "artifact")
    one, two = first.document, second.document
    return tuple(key for key in keys if _compared(one, key) != _compared(two, key))


def _compared(document: Mapping[str, Any], key: str) -> Any:
    found = document.get(key)
    return found.get("commit") if key == "source" and isinstance(found, Mapping) else found
