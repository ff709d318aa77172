"""Carries out Tekton documents on this machine."""

from mlops.adapters.executors.local.executor import LocalExecutor
from mlops.adapters.executors.local.runtime.host import HostTool

__all__ = ["HostTool", "LocalExecutor"]
