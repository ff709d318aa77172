"""`mlops image inspect`: what an image says of itself, read where it lies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mlops.cli import image_refs, opening, options, render
from mlops.cli.image_refs import Ref
from mlops.domain.digest import Digest
from mlops.errors import MlopsError
from mlops.ports import ImageStore


def inspect(
    ref: Ref,
    *,
    repo: options.Repo = options.HERE,
    output: options.Out = options.Output.TEXT,
    verbose: options.Verbose = False,
) -> None:
    """Show an image's configuration, base, layers, and what is attached to it.

    Examples:  mlops image inspect spam@prod    mlops image inspect spam@prod --output json
    """
    from mlops.build import image as images  # noqa: PLC0415

    opened = opening.open_project(repo)
    release = image_refs.record(opened, ref).release
    store = opened.images_of(release.model)
    found = images.load(store, release.digest)
    answer = {
        "release": str(release),
        "platform": found.platform,
        "created": render.stamp(found.created),
        "base": {
            "ref": found.annotation(images.BASE_NAME),
            "digest": found.annotation(images.BASE_DIGEST),
            "manifest": found.annotation(images.BASE_MANIFEST),
        },
        "entrypoint": list(found.entrypoint),
        "command": list(found.command),
        "user": found.user,
        "directory": found.directory,
        "ports": list(found.ports),
        "env": dict(found.env),
        "labels": dict(found.labels),
        "size": sum(layer.size for layer in found.layers),
        "layers": [
            {
                "kind": str(layer.kind),
                "package": layer.package or None,
                "digest": str(layer.digest),
                "diffID": str(layer.diff_id),
                "size": layer.size,
                "mediaType": layer.media_type,
            }
            for layer in found.layers
        ],
        "attached": _attached(store, release.digest),
    }
    render.answer([answer], output, lambda: _print(answer))


def _attached(store: ImageStore, digest: Digest) -> list[dict[str, Any]] | None:
    """What refers to the image; None where the registry cannot be asked."""
    try:
        return [
            {"digest": str(each.get("digest")), "artifactType": each.get("artifactType")}
            for each in store.referrers(digest)
        ]
    except MlopsError as exc:
        render.warn(f"what is attached was not looked up: {exc}")
        return None


def _print(answer: Mapping[str, Any]) -> None:
    for name, text in _lines(answer):
        render.line(f"{name:<11}{text}")
    cells = [
        (
            layer["kind"],
            layer["package"] or "-",
            layer["digest"][:19],
            render.size(layer["size"]),
            layer["mediaType"].rpartition(".")[2],
        )
        for layer in answer["layers"]
    ]
    render.table(("layer", "package", "digest", "size", "packed"), cells)


def _lines(answer: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "release", answer["release"]
    yield "platform", answer["platform"]
    yield "created", answer["created"]
    base = answer["base"]
    if base["ref"]:
        yield "base", f"{base['ref']} {base['digest']}"
    runs = [*answer["entrypoint"], *answer["command"]]
    yield "runs", " ".join(runs) or "-"
    yield "as user", answer["user"] or "root"
    yield "in", answer["directory"] or "/"
    if answer["ports"]:
        yield "listens on", ", ".join(map(str, answer["ports"]))
    for title in ("env", "labels"):
        for name, value in sorted(answer[title].items()):
            yield title, f"{name}={value}"
    for each in answer["attached"] or ():
        yield "attached", f"{each['digest']} {each['artifactType'] or ''}".rstrip()
    yield "size", render.size(answer["size"])
