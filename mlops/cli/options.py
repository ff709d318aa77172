"""The options that many commands share, spelled once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Output(StrEnum):
    """How an answer is printed."""

    TEXT = "text"
    JSON = "json"
    YAML = "yaml"


Repo = Annotated[
    Path,
    typer.Option(
        "--repo",
        metavar="DIR",
        help="The project's directory, or one below it.",
        show_default=False,
    ),
]
Out = Annotated[
    Output, typer.Option("--output", "-o", help="text for people, json or yaml for programs.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the diff that would be made; write nothing.")
]
Yes = Annotated[
    bool, typer.Option("--yes", "-y", help="Answer yes where a question would be asked.")
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Say more; show tracebacks of bugs.")
]
Reason = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Why: kept in git for whoever asks later.")
]
Incident = Annotated[
    str, typer.Option("--incident", metavar="ID", help="The incident that this belongs to.")
]
Model = Annotated[
    str,
    typer.Option("--model", metavar="MODEL", help="One model of mlops.yaml; default: all of them."),
]

HERE = Path()
