"""Where runs are kept that a command is about, and finding one by a part of its name."""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mlops.cli import opening, wiring, wiring_cluster
from mlops.cli.runs_choice import Choice
from mlops.cli.runs_kept import Kept
from mlops.cli.wiring import Opened
from mlops.domain.cluster import Access, ClusterConfig
from mlops.domain.run import RunResult
from mlops.domain.source import Commit
from mlops.errors import GitUsageError, OutsideError, UsageError

if TYPE_CHECKING:
    from mlops.adapters.executors.local import LocalExecutor

_SOURCE = "dev.mlops/source"  # the label of a run of ours: the commit that it is about
_USUAL = Choice()
_SHOWN = 8  # names that an error lists


@dataclass(frozen=True, slots=True)
class Place:
    """The runs of the project here, or of this user where there is no project (`opened` None); those
    of a namespace where `cluster` says which."""

    root: Path
    opened: Opened | None
    cluster: Access | None = None


def here(start: Path, executor: str = "", namespace: str = "") -> Place:
    """The project at `start` or above, else `$XDG_STATE_HOME/mlops/runs`; or the namespace of the
    cluster that it uses. Raises UsageError where `executor` is none."""
    place = _machine(start)
    config = place.opened.project if place.opened is not None else None
    chosen = executor or (config.executor if config is not None else "local")
    if chosen not in ("local", "tekton"):
        raise UsageError(f"there is no executor {chosen!r}", hint="There is: local, tekton")
    if chosen == "local":
        if namespace:
            raise UsageError(
                "--namespace is of a cluster, and runs are on this machine",
                hint="Say --executor tekton",
            )
        return place
    wanted = config.cluster if config is not None else ClusterConfig()
    access = Access(wanted.context, namespace or wanted.namespace)
    return dataclasses.replace(place, cluster=access)


def _machine(start: Path) -> Place:
    try:
        opened = opening.open_project(start)
    except GitUsageError:
        raise
    except UsageError:
        state = os.environ.get("XDG_STATE_HOME", "")
        home = Path(state) if state.startswith("/") else Path.home() / ".local" / "state"
        return Place(home / "mlops" / "runs", None)
    return Place(opened.state / "runs", opened)


def make(place: Place) -> None:
    """Make the directory of the runs. Raises OutsideError, naming it, where that cannot be."""
    try:
        place.root.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        hint = "" if place.opened is not None else "XDG_STATE_HOME says where runs are kept"
        raise OutsideError(f"cannot write to {place.root}: {exc.strerror}", hint=hint) from exc


def executor(
    place: Place,
    *,
    run: RunResult | None = None,
    choice: Choice = _USUAL,
    jobs: int = 0,
    patience: float = wiring_cluster.QUESTION,
) -> Kept:
    """The executor of a place; with `run`, one that can carry that run on. A cluster may be away for
    `patience` seconds."""
    if place.cluster is None:
        return local(place, run=run, choice=choice, jobs=jobs)
    if choice.runtime or jobs:
        raise UsageError("--runtime and --jobs are of this machine, and the run is on a cluster")
    return wiring_cluster.executor(place.cluster, installs(place), patience=patience)


def installs(place: Place) -> str:
    """The namespace that the project's tekton/install is for, where there is one."""
    return wiring_cluster.installs(place.opened.root) if place.opened is not None else ""


def local(
    place: Place,
    *,
    run: RunResult | None = None,
    choice: Choice = _USUAL,
    jobs: int = 0,
) -> LocalExecutor:
    """The executor of this machine; with `run`, one that can carry that run on."""
    from mlops.adapters.executors.local import LocalExecutor  # noqa: PLC0415 - a heavy library
    from mlops.adapters.layout import OciLayout  # noqa: PLC0415
    from mlops.adapters.rootfs import machine_cache  # noqa: PLC0415

    opened, images = place.opened, choice.mapping
    if opened is not None and opened.project.layout is not None:
        source = "" if run is None else run.labels.get(_SOURCE, "")
        lock = opened.planner.lock(Commit(source)) if source else None
        return opened.executor_for(lock, choice.runtime, jobs, images)
    runtime = choice.runtime or (opened.project.runtime if opened is not None else "auto")
    cache, count = machine_cache(), wiring.at_once(jobs)
    store = OciLayout(cache / "images")
    return LocalExecutor(place.root, store, runtime, cache, jobs=count, mapping=images)


def find(kept: Kept, text: str) -> RunResult:
    """The run of that name, or the only one whose name begins so. Raises UsageError, with the
    nearest names, where there is none or several."""
    exact = kept.status(text)
    if exact is not None:
        return exact
    names = kept.names()
    begun = [name for name in names if text and name.startswith(text)]
    if len(begun) == 1 and (found := kept.status(begun[0])) is not None:
        return found
    if begun:
        raise UsageError(f"{text!r} begins the names of several runs", hint=_listed(begun))
    near = difflib.get_close_matches(text, names, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(near)}?" if near else _listed(names)
    raise UsageError(f"no run {text!r} is kept here", hint=hint)


def _listed(names: Sequence[str]) -> str:
    if not names:
        return "There are none: mlops runs submit -f FILE"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"There is: {', '.join(names[:_SHOWN])}{more}"


def offered_tasks(ctx: typer.Context, incomplete: str) -> list[str]:
    """For completion: the tasks of the run that was named before, its matrix's combinations too."""
    return _of_run(ctx, incomplete, lambda run: [n for t in run.tasks for n in (t.of, t.name)])


def offered_steps(ctx: typer.Context, incomplete: str) -> list[str]:
    """For completion: the steps of the task that was named before, else of all."""
    words = [*ctx.args, ""]  # a command line that is not whole stays unread
    task = words[words.index("--task") + 1] if "--task" in words else ctx.params.get("task")

    def names(run: RunResult) -> list[str]:
        told = [each for each in run.tasks if not task or task in (each.of, each.name)]
        return [step.name for each in told for step in each.steps]

    return _of_run(ctx, incomplete, names)


def _of_run(
    ctx: typer.Context, incomplete: str, names: Callable[[RunResult], list[str]]
) -> list[str]:
    try:
        name = ctx.params.get("name") or next(word for word in ctx.args if word[:1] != "-")
        run = find(executor(here(Path())), name)
        return [each for each in dict.fromkeys(names(run)) if each.startswith(incomplete)]
    except Exception:  # noqa: BLE001 - a traceback in the middle of somebody's typing helps nobody
        return []


def offered(incomplete: str) -> list[str]:
    """For completion: names of runs that begin so; whatever goes wrong, there is nothing to offer."""
    try:
        root = here(Path()).root
        return sorted(each.name for each in root.iterdir() if each.name.startswith(incomplete))
    except Exception:  # noqa: BLE001 - a traceback in the middle of somebody's typing helps nobody
        return []
