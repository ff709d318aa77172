"""`mlops runs submit`: carry out any Tekton v1 PipelineRun or TaskRun, on this machine or on a cluster."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlops.adapters import process
from mlops.cli import (
    options,
    render,
    runs_carry,
    runs_choice,
    runs_cluster,
    runs_dry,
    runs_files,
    runs_options,
    runs_place,
    wiring_lock,
)
from mlops.cli.runs_choice import Choice
from mlops.domain.run import Phase
from mlops.errors import UsageError
from mlops.tekton import bundle, runs

if TYPE_CHECKING:
    from mlops.adapters.executors.local import LocalExecutor
    from mlops.tekton.document import PipelineRun

_PENDING = "PipelineRunPending"


def submit(
    file: Annotated[
        list[str],
        typer.Option(
            "--filename",
            "-f",
            metavar="FILE",
            help="A YAML file, a directory of them, or - for stdin; may be given several times.",
            show_default=False,
        ),
    ],
    *,
    executor: runs_options.Executor = "",
    namespace: runs_options.Namespace = "",
    param: Annotated[
        list[str] | None,
        typer.Option(
            "--param", "-p", metavar="NAME=VALUE", help="A parameter; arrays and objects as JSON."
        ),
    ] = None,
    workspace: Annotated[
        list[str] | None,
        typer.Option(
            "--workspace",
            "-w",
            metavar="NAME=DIR",
            help="A workspace: a directory here, or emptyDir.",
        ),
    ] = None,
    image: runs_options.Images = None,
    image_map: runs_options.ImageMapFile = None,
    runtime: runs_options.Runtime = "",
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="The run's name, instead of the file's.")
    ] = "",
    jobs: runs_options.Jobs = 0,
    logs: runs_options.Logs = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Start it, print its name, and come back at once.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check everything and say what would run; run nothing."),
    ] = False,
    with_taskruns: Annotated[
        bool,
        typer.Option("--with-taskruns", help="With -o json: a List of the run and its TaskRuns."),
    ] = False,
    repo: options.Repo = options.HERE,
    output: options.Out = options.Output.TEXT,
) -> int:
    """Carry out Tekton PipelineRuns and TaskRuns, with the Tasks and Pipelines that the files hold.

    Waits, and prints how it ended and its results; -o json gives the run with its status as Tekton has
    it. Exit code 1 where the run failed, 2 where it is refused, 130 where it was interrupted.

    Examples:  mlops runs submit -f run.yaml    mlops runs submit -f tasks/ -f run.yaml -p greeting=hello
    """
    place = runs_place.here(repo, executor, namespace)
    if place.cluster is not None:
        how = runs_cluster.Flags(detach=detach, dry_run=dry_run, logs=logs, whole=with_taskruns)
        runs_cluster.refuse(workspace or (), runtime, jobs)
        images = runs_choice.chosen(image or (), image_map, "").mapping
        pairs = runs_files.pairs(param or (), "--param", "NAME=VALUE")
        wanted = runs_cluster.Wanted(tuple(file), pairs, name, images)
        return runs_cluster.submit(place, wanted, how, output)
    runs_place.make(place)
    asked = _Asked(tuple(file), tuple(param or ()), tuple(workspace or ()), name)
    programs = asked.programs(place.root.parent / "claims")
    choice = runs_choice.chosen(image or (), image_map, runtime)
    if place.opened is not None:
        choice = runs_choice.with_locked(choice, wiring_lock.locked_images(place.opened))
    kept = runs_place.local(place, choice=choice, jobs=jobs)
    for program in programs:
        _new(kept, program.name)
    if dry_run:
        runs_dry.answer(programs, output)
        return 0
    if detach:
        flags = ["--jobs", str(jobs), "--repo", str(repo.absolute())]
        return _detach(kept, programs, choice, flags)
    found = []
    for program in programs:
        carry = partial(kept.submit, program, new=True, keep=choice.keep)
        found.append(runs_carry.carry_out(kept, program.name, carry, logs=logs))
        if found[-1].phase is Phase.CANCELLED:
            break
    return runs_carry.answer(kept, found, output, with_taskruns=with_taskruns)


@dataclasses.dataclass(frozen=True, slots=True)
class _Asked:
    """What the command line says about the runs."""

    files: tuple[str, ...]
    params: tuple[str, ...]
    workspaces: tuple[str, ...]
    name: str

    def programs(self, claims: Path) -> list[PipelineRun]:
        """The runs of the files, checked. Raises ConfigError and UsageError."""
        params = runs_files.pairs(self.params, "--param", "NAME=VALUE")
        wanted = runs_files.pairs(self.workspaces, "--workspace", "NAME=DIRECTORY or NAME=emptyDir")
        held = bundle.read(runs_files.contents(self.files))
        if not held.runs:
            raise UsageError(
                f"{', '.join(self.files)}: no PipelineRun or TaskRun in it",
                hint="A Pipeline or Task alone says what could run; a run says with which parameters",
            )
        if self.name and len(held.runs) > 1:
            raise UsageError(f"--name names one run, and there are {len(held.runs)}")
        found = []
        for submitted in held.runs:
            runs_files.check_workspaces(submitted.raw, held.others, wanted)
            raw, made = runs_files.with_workspaces(submitted.raw, wanted, claims)
            mine = dataclasses.replace(
                held,
                claims=held.claims | {each["metadata"]["name"] for each in made},
                others=(*held.others, *made),
            )
            run = dataclasses.replace(submitted, raw=raw)
            found.append(runs.program(mine, run, params=params, name=self.name))
        return found


def _new(kept: LocalExecutor, name: str) -> None:
    """Raises UsageError where there is a run of that name: as a cluster does."""
    there = kept.status(name)
    if there is not None:
        over = there.phase.done
        what = (
            f"Go on with it: mlops runs retry {name}"
            if over
            else f"Follow it: mlops runs logs -f {name}"
        )
        raise UsageError(
            f"there is a run {name} already: {there.phase}",
            hint=f"{what}; or choose another name: --name",
        )


def _detach(
    kept: LocalExecutor, programs: Sequence[PipelineRun], choice: Choice, flags: Sequence[str]
) -> int:
    """Lay the runs down as pending, and start each in a session of its own."""
    for program in programs:
        pending = dataclasses.replace(program, status=_PENDING)
        kept.submit(pending, runs_carry.Silent(), new=True, keep=choice.keep)
        argv = [sys.executable, "-m", "mlops", "runs", "start", program.name, *flags]
        pid = process.start_detached(argv, kept.path(program.name) / "executor.log")
        render.line(program.name)
        render.note(f"process {pid} carries it out; follow it: mlops runs logs -f {program.name}")
    return 0
