"""What discovery finds in the files of a repository, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# path from the repository's root → its text; a file that is no text, or too big, is empty
Files = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model as the repository shows it; paths from the root.

    `directory` is the part of the repository that is this model's own, empty for all of it.
    `inputs` are the files, code aside, that its stages read. `stages` are DVC addresses (none: the
    whole pipeline), `command` an argument vector for a project without DVC. `metric` is a numeric
    key that the metrics file has now, for an example.
    """

    name: str
    directory: str = ""
    requirements: str = ""
    code: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    paths: tuple[str, ...] = ("**",)
    stages: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    artifact: str = ""
    metrics: str = ""
    metric: str = ""


@dataclass(frozen=True, slots=True)
class Discovery:
    """What was found: `assumed` says why each thing is what it is, `missing` what was not found
    and what that means."""

    models: tuple[FoundModel, ...]
    assumed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Output:
    """A file or directory that a stage or script writes; `metric` where DVC calls it one."""

    path: str
    stage: str = ""
    metric: bool = False


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model with the reasons for what is said of it."""

    model: FoundModel
    reasons: tuple[str, ...]
