"""Tekton's own code as a judge: the program that `make oracle` builds."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

PROGRAM = Path(__file__).parents[2] / ".cache" / "bin" / "oracle"
# of these Tekton knows nothing, and what they hold has no effect on one machine
OTHERS = frozenset({"ClusterRole", "ClusterRoleBinding", "LimitRange", "Role", "RoleBinding"})


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one document of a file: `error` is why it is not accepted."""

    file: str
    index: int
    kind: str
    name: str
    accepted: bool
    error: str


class Oracle:
    """The program, running. Raises FileNotFoundError where it was not built."""

    def __enter__(self) -> Self:
        if not PROGRAM.exists():
            raise FileNotFoundError(f"{PROGRAM} is not there: run make oracle, which needs Go")
        self._process = subprocess.Popen(
            [PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._process.communicate()

    def judge(self, text: str) -> list[Verdict]:
        """A verdict for each document that the text holds."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"file": "", "text": text}) + "\n")
        process.stdin.flush()
        found = []
        for line in iter(process.stdout.readline, "\n"):
            assert line, f"the oracle ended with {process.wait()}"
            found.append(Verdict(**json.loads(line)))
        return found

    def refusal(self, text: str) -> str:
        """Why one of the documents is refused; empty where none is."""
        wrong = [v for v in self.judge(text) if not v.accepted and v.kind not in OTHERS]
        return wrong[0].error or "refused" if wrong else ""
