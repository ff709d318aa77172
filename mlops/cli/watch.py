"""`mlops watch`: one decision for every observed tip of the tracked branches, in one repository or in many."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from mlops.cli import listening, opening, options, render, watchtales, wiring_cluster
from mlops.cli.watched import WatchedProject
from mlops.config.watchlist import parse_watchlist
from mlops.domain.lineup import Queued
from mlops.domain.watchlist import INTERVAL, Watched
from mlops.engine.daemon import Daemon, Looked
from mlops.engine.outcome import Outcome, outcome_json
from mlops.engine.retrying import moment
from mlops.errors import MlopsError, UsageError
from mlops.ports.children import Child


def watch(
    *,
    once: Annotated[bool, typer.Option("--once", help="Look once, decide, and end.")] = False,
    interval: Annotated[float, typer.Option(help="Seconds between two looks.", min=1.0)] = INTERVAL,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Watch the repositories of this file, instead of the one here."
        ),
    ] = None,
    executor: Annotated[
        str, typer.Option(help="Where runs are carried out: local, or tekton.")
    ] = "",
    listen: listening.Listen = "",
    secret_file: listening.SecretFile = None,
    tls_cert: listening.TlsCert = None,
    tls_key: listening.TlsKey = None,
    proxy: listening.Proxy = None,
    repo: options.Repo = options.HERE,
    output: options.Out = options.Output.TEXT,
    verbose: options.Verbose = False,
) -> int:
    """Decide every new tip of the tracked branches: at most one run for each model.

    Each run is carried out by a process of its own, which goes on where the watcher ends. With --verbose, and as the
    first process of a container or in a pod, the watcher tells what its runs say, too.

    Examples:  mlops watch --once    mlops watch --config watcher.yaml    mlops watch --listen 127.0.0.1:8080
    """
    wiring_cluster.require_executor(executor)
    asked = listening.Options(listen, secret_file, tls_cert, tls_key, tuple(proxy or ()))
    asked.check(once=once)
    quiet = () if verbose else ("--quiet",)
    if config is None:
        root = opening.open_project(repo).root
        here = Watched(root.name, interval=interval)
        listed = [WatchedProject(here, root, executor, quiet, once)]
        total, state = 0, root / ".mlops" / "watch"
    else:
        listed, total, state = _listed(config, executor, quiet, once=once)
    tales = watchtales.Tales(watchtales.wanted(verbose=verbose))
    told = _Told(several=len(listed) > 1, once=once, tales=tales)
    metrics = listening.counted(asked, told)
    daemon = Daemon(listed, metrics or told, total)
    ending = _end_when_asked(daemon)
    with listening.heeded(state, asked, daemon, listed, metrics):
        left = daemon.once() if once else daemon.run()
    for each in listed:
        each.resign()
    for each in listed if once else ():
        each.finish()
    if ending:
        return _ended(ending[0], left)
    if once:
        tales.finish()
        answer = [outcome_json(each) for each in told.outcomes]
        render.answer(answer, output, partial(_print, told.outcomes))
        return told.code
    return 0


def _listed(
    file: Path, executor: str, options: tuple[str, ...], *, once: bool
) -> tuple[list[WatchedProject], int, Path]:
    """The repositories of a watcher.yaml, how many runs at once, and its directory of state.

    Raises ConfigError, UsageError.
    """
    try:
        found = parse_watchlist(file.read_bytes(), str(file))
    except OSError as exc:
        raise UsageError(f"cannot read {file}: {exc.strerror}") from exc
    here = file.resolve().parent
    state = here / found.state
    return (
        [
            WatchedProject(
                each,
                here / each.path if each.path else state / f"{each.name}.git",
                executor,
                options,
                once,
            )
            for each in found.repositories
        ],
        found.runs,
        state,
    )


def _end_when_asked(daemon: Daemon) -> list[int]:
    """End at SIGTERM and SIGINT, also as the first process of a container; the signal that came, once it did."""
    came: list[int] = []

    def ask(number: int, _: FrameType | None) -> None:
        came.append(number)
        daemon.stop()

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, ask)
    return came


def _ended(number: int, left: tuple[Queued, ...]) -> int:
    for each in left:
        render.note(
            f"{each.run} goes on without the watcher; follow it: mlops runs logs {each.run}"
        )
    render.note("the watcher has ended")
    return 128 + number


@dataclass
class _Told:
    """Meets `engine.daemon.Listener`: tells people, and keeps what `--once` answers."""

    several: bool
    once: bool
    tales: watchtales.Tales
    code: int = 0
    _kept: dict[tuple[str, str, str], Outcome] = field(default_factory=dict)
    _said: dict[str, frozenset[str]] = field(default_factory=dict)

    def looked(self, name: str, found: Looked | MlopsError, seconds: float) -> None:
        said: dict[str, bool] = {}  # text → whether it is of a failure
        if isinstance(found, MlopsError):
            said[str(found)] = True
            self.code = max(self.code, found.exit_code)
        elif found.leader:
            then = "leaving it to that" if self.once else "standing by, to take over when it ends"
            said[f"{found.leader} watches already: {then}"] = False
        else:
            for each in found.outcomes:
                said[f"{each.model}: {each.note}".removeprefix(": ")] = each.failed
            self._keep(name, found.outcomes)
        for text, failed in said.items():
            if text not in self._said.get(name, ()):
                (render.fail if failed else render.note)(self._about(name) + text)
        self._said[name] = frozenset(said)

    def began(self, queued: Queued, child: Child) -> None:
        render.note(
            f"{self._about(queued.project)}{queued.run} begins: process {child.pid}, {child.log}"
        )
        self.tales.began(queued.run, child)

    def ended(self, queued: Queued, outcome: Outcome) -> None:
        self._keep(queued.project, (outcome,))
        self.tales.ended(queued.run, failed=outcome.failed)
        said = render.fail if outcome.failed else render.note
        text = outcome.note or outcome.release
        said(f"{self._about(queued.project)}{outcome.model}: {text}{_next(outcome)}")

    def stands(self, waiting: int, working: int) -> None:
        pass

    @property
    def outcomes(self) -> list[Outcome]:
        """The newest of each run, in the order in which they were first told."""
        return list(self._kept.values())

    def _keep(self, name: str, outcomes: Sequence[Outcome]) -> None:
        if not self.once:
            return
        for each in outcomes:
            about = (name, each.model, each.run or each.note)
            before = self._kept.get(about)
            if (
                before is None or each.fresh or not before.fresh
            ):  # later looks find what ran standing
                self._kept[about] = each
        fresh = any(each.failed and each.fresh for each in outcomes)
        self.code = max(self.code, int(fresh))

    def _about(self, name: str) -> str:
        return f"{name}: " if self.several else ""


def _next(outcome: Outcome) -> str:
    """When the next attempt is due, where this one failed just now."""
    if outcome.due is None or not outcome.fresh:
        return ""
    return f"; the next attempt is due {moment(outcome.due)}"


def _print(outcomes: list[Outcome]) -> None:
    for outcome in outcomes:
        if outcome.fresh and outcome.release and not outcome.failed:
            render.line(outcome.release)
