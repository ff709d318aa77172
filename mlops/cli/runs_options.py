"""The options that commands about runs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlops.cli import runs_place

_EXECUTORS = ("local", "tekton")
_RUNTIMES = ("auto", "sandbox", "podman", "docker", "process")
Name = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run, or how its name begins.",
        autocompletion=runs_place.offered,
        show_default=False,
    ),
]
Jobs = Annotated[
    int,
    typer.Option(
        "--jobs",
        "-j",
        metavar="N",
        min=0,
        max=10_000,
        help="How many tasks work at once; default: MLOPS_JOBS, else 8 for each core.",
        show_default=False,
    ),
]
Runtime = Annotated[
    str,
    typer.Option(
        "--runtime",
        metavar="RUNTIME",
        help="Where steps run: sandbox, podman, docker, process, or auto.",
        autocompletion=lambda incomplete: [
            each for each in _RUNTIMES if each.startswith(incomplete)
        ],
        show_default=False,
    ),
]
Logs = Annotated[bool, typer.Option("--logs", help="Print what the steps say, as they say it.")]
Images = Annotated[
    list[str] | None,
    typer.Option(
        "--image",
        metavar="FROM=TO",
        help="Take another image where the documents name FROM; * stands for anything, host for this machine.",
        show_default=False,
    ),
]
ImageMapFile = Annotated[
    Path | None,
    typer.Option(
        "--image-map",
        metavar="FILE",
        help="Such pairs in a YAML file; default: MLOPS_IMAGE_MAP.",
        show_default=False,
    ),
]
Executor = Annotated[
    str,
    typer.Option(
        "--executor",
        metavar="EXECUTOR",
        help="Where runs are carried out: local, or tekton, a cluster; default: as mlops.yaml says.",
        autocompletion=lambda incomplete: [
            each for each in _EXECUTORS if each.startswith(incomplete)
        ],
        show_default=False,
    ),
]
Namespace = Annotated[
    str,
    typer.Option(
        "--namespace",
        "-n",
        metavar="NAMESPACE",
        help="The cluster's namespace; default: as mlops.yaml or the kubeconfig says.",
        show_default=False,
    ),
]
