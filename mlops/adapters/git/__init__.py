"""git, by its own binary (2.39 or newer): reading a project, writing the GitOps branch, claims."""

from mlops.adapters.git.claims import RunClaims
from mlops.adapters.git.command import Git, discover
from mlops.adapters.git.gitops import GitOpsBranch
from mlops.adapters.git.repository import Repository

__all__ = ["Git", "GitOpsBranch", "Repository", "RunClaims", "discover"]
