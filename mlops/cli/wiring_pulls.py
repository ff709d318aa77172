"""The pull requests of one project under watch. A thread of its own looks at them: no run waits for it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

from mlops.adapters.git.pulls import PullRefs
from mlops.cli import opening, pulls, render
from mlops.cli.wiring import Opened
from mlops.cli.wiring_forge import Forges
from mlops.engine.pullruns import PullRuns
from mlops.engine.pullwatch import Known, PullWatch
from mlops.errors import MlopsError

_PATIENCE = 60.0  # seconds that the end waits for a look


@dataclass
class WatchedPulls:
    """Looks at the pull requests of the project at `place`, never twice at once."""

    place: Path
    branches: tuple[str, ...] = ()  # instead of the project's, where given
    _forges: Forges = field(default_factory=Forges)
    _known: Known = field(default_factory=Known)
    _thread: threading.Thread | None = None
    _said: str = ""

    def look(self, opened: Opened) -> None:
        """Look at them, soon, where the project wants it. Never fails."""
        busy = self._thread is not None and self._thread.is_alive()
        wanted = opened.project.pull_requests
        if (wanted.plan or wanted.run) and not busy:
            self._thread = threading.Thread(target=self._work, name="pull requests", daemon=True)
            self._thread.start()

    def finish(self) -> None:
        """Wait for the look that is under way, not for long."""
        if self._thread is not None:
            self._thread.join(_PATIENCE)

    def _work(self) -> None:
        try:
            opened = opening.open_project(self.place)  # its own: git's helper is one look's
            try:
                self._look(opened)
            finally:
                opened.repository.close()
        except MlopsError as exc:
            self._warn(f"pull requests are looked at later: {exc}")

    def _look(self, opened: Opened) -> None:
        talk = self._forges.talk(opened)
        if talk is None:
            return
        opened.gitops.refresh()
        branches = self.branches or opened.project.branches
        reviewer = pulls.reviewer(opened)
        refs, wanted = PullRefs(opened.repository), opened.project.pull_requests
        runs = None
        if wanted.run:
            runs = PullRuns(refs, opened.planner, opened.claims, opened.now, opened.actor)
        known, say = self._known, self._warn
        PullWatch(talk, refs, reviewer, branches, known, say, runs, wanted.plan).look()

    def _warn(self, text: str) -> None:
        """Say it, the same once."""
        if text != self._said:
            self._said = text
            render.warn(text)
