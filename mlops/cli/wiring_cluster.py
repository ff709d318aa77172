"""Builds what talks to a Kubernetes cluster; the library for it loads when a command first needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlops.domain.cluster import Access

if TYPE_CHECKING:
    from mlops.adapters.executors.tekton import TektonExecutor


def executor(access: Access) -> TektonExecutor:
    """The executor of a namespace. Raises ConfigError where no kubeconfig says which cluster."""
    from mlops.adapters.cluster import connect  # noqa: PLC0415 - a heavy library
    from mlops.adapters.executors.tekton import TektonExecutor  # noqa: PLC0415

    return TektonExecutor(connect(access))
