"""Documents that go to a cluster as their files have them: it alone says what they may hold.

What is carried out here is read by `bundle`, which refuses what one machine cannot do. A cluster has
resolvers, other kinds, and admission of its own; so here is checked only what must be known to send.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mlops import documents
from mlops.errors import ConfigError, UsageError
from mlops.tekton import bundle, names
from mlops.tekton.place import Place

Json = Mapping[str, Any]
RUNS = ("PipelineRun", "TaskRun")
_STEPS = ("steps", "sidecars")


@dataclass(frozen=True, slots=True)
class Asked:
    """A run as it is asked for, and the other documents of its files. `status` is its spec's."""

    run: Json
    others: tuple[Json, ...]

    @property
    def name(self) -> str:
        return str(self.run["metadata"]["name"])

    @property
    def status(self) -> str:
        return str((self.run.get("spec") or {}).get("status") or "")

    @property
    def documents(self) -> tuple[Json, ...]:
        return (self.run, *self.others)


def read(
    files: Iterable[tuple[str, bytes]],
    *,
    params: Mapping[str, str],
    name: str = "",
    image: Callable[[str], str] = str,
) -> tuple[Asked, ...]:
    """The runs that files ask for, each with what stands beside it.

    `params` lie over those of each run: JSON where that is an array or object, else text. `image` gives
    the name to take for one that a document names. Raises ConfigError, with file and line, on what is no
    Kubernetes document; UsageError where nothing is a run.
    """
    runs: list[Json] = []
    others: list[Json] = []
    origins = []
    for origin, content in files:
        origins.append(origin)
        for document in documents.load_all(content, origin, limit=bundle.LIMIT):
            for value, at in _flat(document.value, Place(document)):
                whole = _imaged(value, image)
                if value["kind"] not in RUNS:
                    others.append(whole)
                    continue
                runs.append(_with_params(_named(whole, at, name), params))
    if not runs:
        raise UsageError(f"{', '.join(origins)}: no PipelineRun or TaskRun in it")
    if name and len(runs) > 1:
        raise UsageError(f"--name names one run, and there are {len(runs)}")
    return tuple(Asked(run, tuple(others)) for run in runs)


def _flat(value: Any, at: Place) -> Iterator[tuple[Json, Place]]:
    if value is None:
        return
    if not isinstance(value, Mapping) or not isinstance(value.get("kind"), str):
        raise at.error("is no Kubernetes document: it must be a map with a kind", "")
    if value["kind"] == "List":
        for index, item in enumerate(value.get("items") or ()):
            yield from _flat(item, at / "items" / index)
        return
    if not isinstance(value.get("metadata"), Mapping):
        raise (at / "metadata").error("is missing", "")
    yield value, at


def _named(run: Json, at: Place, name: str) -> Json:
    metadata = dict(run["metadata"])
    given = name or metadata.get("name") or ""
    if not given and metadata.get("generateName"):
        given = names.generated(str(metadata["generateName"]))
    metadata.pop("generateName", None)
    if not names.is_object(given):
        where = at / "metadata" / "name"
        raise where.error(f"{given!r} cannot be a name", names.OBJECT_HINT)
    return {**run, "metadata": {**metadata, "name": given}}


def _with_params(run: Json, params: Mapping[str, str]) -> Json:
    if not params:
        return run
    spec = run.get("spec")
    if not isinstance(spec, Mapping):
        raise ConfigError(f"{run['kind']} {run['metadata']['name']} has no spec")
    given = {each.get("name"): each for each in spec.get("params") or ()}
    for name, text in params.items():
        given[name] = {"name": name, "value": _value(text)}
    return {**run, "spec": {**spec, "params": list(given.values())}}


def _value(text: str) -> Any:
    """An array or object where the text is one as JSON; else the text."""
    if text[:1] not in ("[", "{"):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _imaged(value: Any, image: Callable[[str], str]) -> Any:
    """A document with the images of its steps and sidecars as `image` has them."""
    if isinstance(value, list):
        return [_imaged(each, image) for each in value]
    if not isinstance(value, Mapping):
        return value
    found = {key: _imaged(each, image) for key, each in value.items()}
    if value.get("kind") == "StepAction" and isinstance(found.get("spec"), dict):
        _take(found["spec"], image)
    for key in _STEPS:
        for each in found.get(key) or () if isinstance(found.get(key), list) else ():
            _take(each, image)
    _take(found.get("stepTemplate"), image)
    return found


def _take(container: Any, image: Callable[[str], str]) -> None:
    if isinstance(container, dict) and isinstance(container.get("image"), str):
        container["image"] = image(container["image"])
