"""The image store of a run, and what builds into it."""

from __future__ import annotations

import os
from pathlib import Path

from mlops.adapters.baserunner import SandboxedBase
from mlops.adapters.bases import LocalBases
from mlops.adapters.layout import OciLayout
from mlops.adapters.uv import Uv
from mlops.build.strategy import Toolchain
from mlops.errors import UsageError
from mlops.steps.inputs import Inputs

_LAYOUT = "oci:"


def open_store(inputs: Inputs) -> OciLayout:
    """The store that the parameter `registry` names. Raises UsageError where it is none we know."""
    registry = inputs.text("registry")
    if not registry.startswith(_LAYOUT):
        raise UsageError(
            f"the registry {registry} is not supported yet",
            hint="Use the embedded one: registry: oci:.mlops/registry",
        )
    return OciLayout(Path(registry.removeprefix(_LAYOUT)))


def toolchain(store: OciLayout, directory: Path) -> Toolchain:
    """The outside programs of a build; `directory` has the user's own settings of uv."""
    return Toolchain(Uv(directory), SandboxedBase(store, _cache()), LocalBases())


def _cache() -> Path:
    """The machine's cache (docs/explanation/contract.md)."""
    chosen = os.environ.get("MLOPS_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlops"
