"""`mlops demo`: the whole story on a sample project."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from mlops.cli import options, render
from mlops.demo.evidence import Evidence
from mlops.demo.stage import Stage
from mlops.demo.story import Story, play
from mlops.errors import OutsideError, UsageError

_PROJECT = Path(__file__).resolve().parent.parent / "demo" / "project"
_STYLES = {"title": "1;36", "tell": "2", "command": "1", "check": "32"}

_Directory = Annotated[
    Path | None,
    typer.Argument(
        metavar="DIR", help="Where to play; default: mlops-demo, or the next free name."
    ),
]


def demo(directory: _Directory = None, *, verbose: options.Verbose = False) -> int:
    """Play the whole story on a sample project, in a directory that is left to play in.

    Runs exactly the commands that it shows, and stops where something is not as it tells.
    """
    base = _place(directory)
    started = time.monotonic()
    stage = Stage(base / "wine", _show, _paint)
    _lay_out(stage.directory)
    render.line(f"The demo plays in {base}: a project, its git remote and its DVC remote.")
    play(Story(stage, Evidence(base / "remote.git")))
    _farewell(stage, time.monotonic() - started)
    return 0


def _place(directory: Path | None) -> Path:
    """An absolute path that does not exist, or is an empty directory."""
    if directory is not None:
        place = directory.absolute()
        if place.is_file() or (place.is_dir() and any(place.iterdir())):
            raise UsageError(
                f"{place} is there already", hint="Name a new directory: mlops demo DIR"
            )
        return place
    number, place = 1, Path.cwd() / "mlops-demo"
    while place.exists():
        number += 1
        place = Path.cwd() / f"mlops-demo-{number}"
    return place


def _lay_out(project: Path) -> None:
    try:
        shutil.copytree(_PROJECT, project, ignore=shutil.ignore_patterns("__pycache__"))
    except OSError as exc:
        raise OutsideError(f"cannot write {project}: {exc.strerror or exc}") from exc


def _farewell(stage: Stage, seconds: float) -> None:
    stage.title("Yours to play with")
    render.line(f"All as told, in {seconds:.0f} s. Go on where the demo stopped:")
    render.line("")
    for command in (
        f"cd {stage.directory}",
        "mlops status",
        "mlops resume prod                  # end the hold",
        "mlops history prod                 # every pin, by whom and why",
        "git -C . log --oneline origin/main",
        f"rm -rf {stage.directory.parent}",
    ):
        render.line(f"  {command}")


def _show(text: str) -> None:
    """A line of the demo, in its colours: what the commands in it print is clean already."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _paint(style: str, text: str) -> str:
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if render.colours(sys.stdout) else text
