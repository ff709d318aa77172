"""DVC's stage graph as a value: what a stage reads, runs and writes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StageOut:
    """An output of a stage; `cached` False where git, not DVC, keeps it (`cache: false`)."""

    path: str
    cached: bool = True


@dataclass(frozen=True, slots=True)
class ParamsDep:
    """The keys of a parameter file that a stage reads; no keys means the whole file."""

    path: str
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stage:
    """One resolved stage (templates, foreach and matrix expanded); paths from the project's root.

    `name` is DVC's address: `train`, `train@uk`, `sub/dvc.yaml:train`.
    """

    name: str
    cmd: tuple[str, ...]
    wdir: str = "."
    deps: tuple[str, ...] = ()
    params: tuple[ParamsDep, ...] = ()
    outs: tuple[StageOut, ...] = ()
    frozen: bool = False
    always_changed: bool = False
