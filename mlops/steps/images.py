"""The image store of a run."""

from __future__ import annotations

from pathlib import Path

from mlops.adapters.layout import OciLayout
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
