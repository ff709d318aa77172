"""The argument that commands on images share."""

from __future__ import annotations

from typing import Annotated

import typer

from mlops.cli.completion import releases as complete_release

Ref = Annotated[
    str,
    typer.Argument(
        metavar="REF",
        help="A release: spam@prod, spam@sha256:9f2c…",
        autocompletion=complete_release,
    ),
]
