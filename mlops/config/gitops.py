"""`gitops:` of mlops.yaml: where pins and release records live, and how they get there."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mlops.config.fields import Branch, FilePath, GitUrl
from mlops.config.validation import Section
from mlops.domain.project import GitOpsConfig

_Way = Literal["push", "pull-request"]


class GitOpsSection(Section):
    """Where pins and release records live."""

    url: GitUrl = Field(default="", description="the GitOps repository; default: this one")
    branch: Branch = Field(default="", description="its branch; default: the branch of the source")
    path: FilePath = Field(
        default="environments", description="the directory that holds the environments"
    )
    mode: _Way = Field(default="push", description="how commits of ours reach that branch")
    rollback: _Way | None = Field(
        default=None, description="how rollbacks reach it; default: as `mode`"
    )
    auto_merge: bool = Field(
        default=False,
        alias="auto-merge",
        description="whether the forge is asked to merge pull requests of pins once it may",
    )

    def frozen(self) -> GitOpsConfig:
        rollback = self.rollback or self.mode
        return GitOpsConfig(self.url, self.branch, self.path, self.mode, rollback, self.auto_merge)
