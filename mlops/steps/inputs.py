"""What a task tells its step: parameters, directories and results, all through the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mlops.domain.digest import Digest
from mlops.domain.source import Commit
from mlops.errors import UsageError
from mlops.manifests.parameter import decode


@dataclass(frozen=True, slots=True)
class Inputs:
    """A step's environment; names are those of the Task's params, workspaces and results."""

    env: Mapping[str, str]

    def text(self, name: str) -> str:
        """A parameter as it was meant. Raises UsageError where the task does not pass it."""
        return decode(self._get("PARAM_" + _upper(name), f"parameter {name}"))

    def flag(self, name: str) -> bool:
        return self.text(name) == "true"

    def commit(self, name: str) -> Commit | None:
        """None where the parameter is empty."""
        found = self.text(name)
        return Commit.parse(found) if found else None

    def digest(self, name: str) -> Digest | None:
        """None where the parameter is empty."""
        found = self.text(name)
        return Digest.parse(found) if found else None

    @property
    def source(self) -> Commit:
        return Commit.parse(self.text("source"))

    def directory(self, name: str) -> Path:
        """A workspace, or the exchange."""
        return Path(self._get("MLOPS_" + _upper(name), f"directory {name}"))

    def result(self, name: str, value: str) -> None:
        """Write a result of the task."""
        path = Path(self._get("RESULT_" + _upper(name), f"result {name}"))
        path.write_text(value, encoding="utf-8")

    def _get(self, key: str, what: str) -> str:
        try:
            return self.env[key]
        except KeyError:
            raise UsageError(
                f"{what} is missing: {key} is not set", hint="Steps are called by a run: mlops run"
            ) from None


def _upper(name: str) -> str:
    return name.upper().replace("-", "_")
