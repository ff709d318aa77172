"""Runs carried out by Tekton Pipelines on a Kubernetes cluster."""

from mlops.adapters.executors.tekton.executor import TektonExecutor

__all__ = ["TektonExecutor"]
