"""`mlops runs submit` as a target: what a person types, and what it prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.conformance import statuses
from tests.conformance.targets import Ended, Refused

USAGE = 2  # the exit code of what is refused


class CommandTarget:
    """Meets `targets.Target`; `root` is a directory of its own, where no project is."""

    name = "local"

    def __init__(self, root: Path, mapping: Mapping[str, str]) -> None:
        self._root = root
        self._images = [word for pair in mapping.items() for word in ("--image", "=".join(pair))]

    def submit(self, text: str) -> Refused | list[Ended]:
        answer = self.answer(text)
        return answer if isinstance(answer, Refused) else statuses.ended(answer)

    def answer(self, text: str) -> Refused | list[dict[str, Any]]:
        """The documents that it prints: the run and its TaskRuns."""
        argv = [sys.executable, "-m", "mlops", "runs", "submit", "-f", "-", *self._images]
        done = subprocess.run(
            [*argv, "--runtime", "sandbox", "--with-taskruns", "--output", "json"],
            cwd=self._root,
            env={**os.environ, "XDG_STATE_HOME": str(self._root / "state")},
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == USAGE:
            return Refused(done.stderr)
        assert done.returncode in (0, 1), done.stderr
        items: list[dict[str, Any]] = json.loads(done.stdout)["items"]
        assert (done.returncode == 0) == (
            statuses.ended(items)[0].phase in ("Succeeded", "Pending")
        )
        return items
