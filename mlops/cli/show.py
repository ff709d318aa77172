"""`mlops show`: what a release is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

import typer

from mlops.cli import completion, opening, options, pins, render, wiring
from mlops.domain.digest import ReleaseId
from mlops.engine import references
from mlops.engine.show import Shown
from mlops.engine.show import show as read
from mlops.errors import MlopsError

_FIRST = ("release", "image", "source", "created", "run", "base", "artifact")


def show(
    ref: Annotated[
        str,
        typer.Argument(
            metavar="REF",
            help="A release: spam@prod, spam@prod~1, spam@sha256:9f2c41.",
            autocompletion=completion.releases,
        ),
    ],
    *,
    tz: pins.Zone = "UTC",
    no_fetch: pins.NoFetch = False,
    repo: options.Repo = options.HERE,
    output: options.Out = options.Output.TEXT,
    verbose: options.Verbose = False,
) -> None:
    """The release record: source, data, parameters, layers, metrics, gates, run.

    Examples:  mlops show spam@prod    mlops show spam@prod~1 --output json
    """
    opened = opening.open_project(repo)
    found = pins.environments(opened, no_fetch=no_fetch)
    release = references.release(found, ref, pins.zone(tz))
    shown = read(found, release)
    attestations = _attestations(opened, release)
    entry = shown.quarantine
    answer = {
        **shown.record.document,
        "environments": list(shown.environments),
        "quarantine": entry.reason if entry else None,
        "attestations": attestations,
    }
    render.answer([answer], output, lambda: _print(shown, attestations))


def _attestations(opened: wiring.Opened, release: ReleaseId) -> list[str] | None:
    """The digests of what is attached to the image; None where the registry cannot be asked."""
    try:
        return [
            str(each.get("digest"))
            for each in opened.images_of(release.model).referrers(release.digest)
        ]
    except MlopsError as exc:
        render.warn(f"attestations were not looked up: {exc}")
        return None


def _print(shown: Shown, attestations: list[str] | None) -> None:
    document = shown.record.document
    rest = sorted(key for key in document if key not in (*_FIRST, "schema", "model"))
    for key in (*_FIRST, *rest):
        if key in document:
            _print_value(key, _PLAINER.get(key, _same)(document[key]))
    if shown.trained:
        place = render.safe(str(shown.trained.document.get("environment", "unknown")))
        told = f"first released as {shown.trained.release.short}, with the environment {place}"
        render.line(f"model: {told}")
    render.line(f"environments: {', '.join(shown.environments) or 'none pins it'}")
    if shown.quarantine:
        render.line(f"quarantine: {render.safe(shown.quarantine.reason)}")
    if attestations is not None:
        render.line(f"attestations: {', '.join(attestations) or 'none'}")


def _same(value: Any) -> Any:
    return value


def _platforms(value: Any) -> Any:
    """Without each platform's layers, which stand in `layers` or, in full, in the JSON."""
    return _each(value, lambda entry: {key: entry[key] for key in entry if key != "layers"})


def _layers(value: Any) -> Any:
    return _each(value, _layer)


def _each(value: Any, shown: Callable[[Mapping[str, Any]], Any]) -> Any:
    """Each entry as it is shown; what is no list of mappings is left as it is."""
    if not isinstance(value, list) or not all(isinstance(entry, Mapping) for entry in value):
        return value
    return [shown(entry) for entry in value]


def _layer(layer: Mapping[str, Any]) -> str:
    size = layer.get("size")
    told = render.size(size) if isinstance(size, int) else ""
    return f"{layer.get('kind', '')!s:14}{str(layer.get('digest', ''))[:19]}  {told:>10}"


def _picked(value: Any, keys: tuple[str, ...]) -> Any:
    if not isinstance(value, list) or not all(isinstance(each, Mapping) for each in value):
        return value
    return [{key: each[key] for key in keys if key in each} for each in value]


_PLAINER: Mapping[str, Callable[[Any], Any]] = {"layers": _layers, "platforms": _platforms}


def _print_value(key: str, value: Any) -> None:
    lines = list(_lines(value))
    if len(lines) == 1 and not isinstance(value, Mapping | list):
        render.line(f"{key}: {render.safe(lines[0])}")
        return
    render.line(f"{key}:" if lines else f"{key}: none")
    for text in lines:
        render.line(f"  {render.safe(text)}")


def _lines(value: Any, name: str = "") -> Iterator[str]:
    """The leaves of a JSON value, one line each: `metrics.accuracy 0.93`; a list item in one line."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _lines(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list):
        for item in value:
            text = "  ".join(_lines(item)) if isinstance(item, Mapping) else _scalar(item)
            yield f"{name} {text}" if name else text
    elif value not in (None, ""):
        yield f"{name} {_scalar(value)}" if name else _scalar(value)


def _scalar(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
