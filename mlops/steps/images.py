"""The image store of a run."""

from __future__ import annotations

from pathlib import Path

from mlops.adapters import bases
from mlops.adapters.layout import OciLayout
from mlops.adapters.registry.copies import Copies
from mlops.adapters.registry.store import RegistryStore
from mlops.adapters.rootfs import machine_cache
from mlops.build import custody, host
from mlops.ports import ImageStore
from mlops.steps.sources import Source
from mlops.steps.telling import say

_LAYOUT = "oci:"


def open_store(source: Source) -> ImageStore:
    """The store that the parameter `registry` names: a layout, or a registry with its copies in the
    machine's cache. Raises UsageError where it names none."""
    registry = source.inputs.text("registry")
    if registry.startswith(_LAYOUT):
        return OciLayout(Path(registry.removeprefix(_LAYOUT)))
    model = source.model.name
    names = (model, f"{model}-env", host.REPOSITORY, bases.REPOSITORY, custody.REPOSITORY)
    return RegistryStore(registry, OciLayout(machine_cache() / "images"), names, say)


def copies_of(source: Source) -> Copies:
    """What brings the run's release into the registry of an environment."""
    own = source.inputs.text("registry").partition("/")[0]
    local = OciLayout(machine_cache() / "images")

    def other(registry: str, model: str) -> RegistryStore:
        ours = registry.partition("/")[0] == own
        return RegistryStore(registry, local, (model,), say, ours=ours)

    return Copies(lambda _: open_store(source), other, say)


def prefix(source: Source) -> str:
    """What stands before the names of images in the store: empty in a layout."""
    registry = source.inputs.text("registry")
    return "" if registry.startswith(_LAYOUT) else f"{registry}/"
