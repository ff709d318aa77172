"""DVC: what it versions at a commit, its stage graph, its remote, and its commands."""

from mlops.adapters.dvc.store import DvcStore

__all__ = ["DvcStore"]
