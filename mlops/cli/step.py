"""`mlops step NAME`: what a task's step of a run calls; hidden, since nobody types it."""

from __future__ import annotations

import importlib
import os
from typing import Annotated

import typer

from mlops.errors import UsageError

STEPS = ("fetch", "data", "build", "train", "validate", "push", "package", "attest", "propose")


def step(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"One of {', '.join(STEPS)}.")],
) -> None:
    """Do the work of one task of a run, told by its environment."""
    if name not in STEPS:
        raise UsageError(f"no step {name!r}", hint=f"There are: {', '.join(STEPS)}")
    module = importlib.import_module(f"mlops.steps.{name}")  # this step's libraries, no other's
    module.run(os.environ)
