"""What of a run's images can be seen before anything of it runs: that each is to be had."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from mlops.adapters.executors.local.runtime.runtimes import Runtimes
from mlops.errors import RegistryError, UnreachableError
from mlops.tekton.place import Place

_AT_ONCE = 8  # registries that are asked


def check_images(runtimes: Runtimes, named: Mapping[str, Place]) -> None:
    """`named` are the images, each with its first place in the documents.

    Raises RegistryError with the place of the first that is not to be had, UnreachableError where
    that is for a registry that cannot be asked.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        asked = {name: pool.submit(runtimes.check, name) for name in named}
    for name, answer in asked.items():
        failure = answer.exception()
        if isinstance(failure, UnreachableError):
            raise UnreachableError(named[name].complaint(failure.message), hint=failure.hint)
        if isinstance(failure, RegistryError):
            raise RegistryError(named[name].complaint(failure.message), hint=failure.hint)
        if failure is not None:
            raise failure
