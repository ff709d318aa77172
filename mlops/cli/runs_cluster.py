"""`mlops runs submit --executor tekton`: documents to a cluster, as their files have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from mlops.cli import options, render, runs_carry, runs_files, runs_place, wiring_cluster
from mlops.cli.runs_place import Place
from mlops.domain.cluster import Access
from mlops.domain.imagename import ImageMap, ImageName
from mlops.domain.run import Phase
from mlops.errors import UsageError
from mlops.tekton import asked
from mlops.tekton.asked import Asked


@dataclass(frozen=True, slots=True)
class Flags:
    """How to go about it."""

    detach: bool
    dry_run: bool
    logs: bool
    whole: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line says about the runs."""

    files: tuple[str, ...]
    params: Mapping[str, str]
    name: str
    images: ImageMap


def refuse(workspaces: Sequence[str], runtime: str, jobs: int) -> None:
    """Raises UsageError for options of this machine."""
    for given, option in ((workspaces, "--workspace"), (runtime, "--runtime"), (jobs, "--jobs")):
        if given:
            raise UsageError(
                f"{option} is of this machine, and the run goes to a cluster",
                hint="Say it in the file" if option == "--workspace" else "Leave it out",
            )


def submit(place: Place, wanted: Wanted, flags: Flags, output: options.Output) -> int:
    """Send the runs one after the other, and wait for each; the exit code."""
    runs = asked.read(
        runs_files.contents(wanted.files),
        params=wanted.params,
        name=wanted.name,
        image=partial(_led, wanted.images),
    )
    patience = wiring_cluster.QUESTION if flags.dry_run else wiring_cluster.LASTING
    installs = runs_place.installs(place)
    kept = wiring_cluster.executor(place.cluster or Access(), installs, patience=patience)
    if flags.dry_run:
        for run in runs:
            kept.check(run)
        found = [list(run.documents) for run in runs]
        render.answer(found, output, lambda: _admitted(runs))
        return 0
    if flags.detach:
        for run in runs:
            kept.create(run)
            render.line(run.name)
            render.note(f"the cluster carries it out; follow it: mlops runs logs -f {run.name}")
        return 0
    results = []
    for run in runs:
        carry = partial(kept.submit, run, new=True)
        results.append(runs_carry.carry_out(kept, run.name, carry, logs=flags.logs))
        if results[-1].phase is Phase.CANCELLED:
            break
    return runs_carry.answer(kept, results, output, with_taskruns=flags.whole)


def _admitted(runs: Sequence[Asked]) -> None:
    for run in runs:
        render.line(f"{run.run['kind']} {run.name}: the cluster would admit it")


def _led(images: ImageMap, text: str) -> str:
    """The image to take for one that a document names; one that a reference will tell stays."""
    if "$(" in text or not images.rules:
        return text
    led = images.lead(ImageName.parse(text))
    if led is None:
        return text
    if not isinstance(led, ImageName):
        raise UsageError(
            f"--image: a cluster cannot take {text} from a directory of this machine",
            hint="Name an image of a registry",
        )
    return str(led)
