"""`mlops image`: run a release's image, look into it, take it elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from mlops.cli import image_inspect, image_out, image_refs, opening, options, render, wiring_images
from mlops.cli.image_refs import Ref
from mlops.domain.release import ReleaseRecord

app = typer.Typer(
    no_args_is_help=True,
    help="Images of releases: run one, look into it, copy it, write it to a file.",
)

app.command("inspect")(image_inspect.inspect)
app.command("export")(image_out.export)
app.command("copy")(image_out.copy)


@app.command()
def run(
    ref: Ref,
    *,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="The port to listen on; default: that of serve.port."),
    ] = None,
    repo: options.Repo = options.HERE,
    verbose: options.Verbose = False,
) -> int:
    """Start the default command of a release's image here, in the sandbox, until it ends.

    Example:  mlops image run spam@prod --port 8080

    Ask it:  curl -d '{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [[7, 2]]}]}'
    http://127.0.0.1:8080/v2/models/spam/infer
    """
    opened = opening.open_project(repo)
    record = image_refs.record(opened, ref)
    return wiring_images.serve(opened, record.release, port or 0)


@app.command()
def layers(
    ref: Ref,
    *,
    repo: options.Repo = options.HERE,
    output: options.Out = options.Output.TEXT,
    verbose: options.Verbose = False,
) -> None:
    """List an image's layers: group, digest, size, and with which releases each is shared.

    Example:  mlops image layers spam@prod
    """
    opened = opening.open_project(repo)
    record = image_refs.record(opened, ref)
    known = opened.records(record.release.model)
    rows = [_row(layer, record, known) for layer in record.document.get("layers", ())]
    render.answer(rows, output, lambda: _print(rows))


def _row(
    layer: Mapping[str, Any], record: ReleaseRecord, known: tuple[ReleaseRecord, ...]
) -> dict[str, Any]:
    shared = [
        str(other.release)
        for other in known
        if other.release != record.release
        and any(
            there.get("digest") == layer.get("digest") for there in other.document.get("layers", ())
        )
    ]
    return {**layer, "shared": shared}


def _print(rows: list[dict[str, Any]]) -> None:
    cells = [
        (
            str(row.get("kind", "")),
            str(row.get("digest", ""))[:19],
            render.size(int(row.get("size", 0))),
            f"{len(row['shared'])} other release{'' if len(row['shared']) == 1 else 's'}"
            if row["shared"]
            else "-",
        )
        for row in rows
    ]
    render.table(("layer", "digest", "size", "shared with"), cells)
