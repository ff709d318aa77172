"""`pull-requests:` of mlops.yaml: what `mlops watch` does with those of others."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mlops.config.validation import Section
from mlops.domain.pulls import PullsConfig


class PullRequestsSection(Section):
    """What `mlops watch` does with pull requests into the tracked branches."""

    plan: bool = Field(
        default=False,
        description="whether a comment on each says what it would do, and, once it is merged and released,"
        " what became of it; it is planned from git alone, and nothing of it is carried out",
    )

    run: Literal["never", "approved"] = Field(
        default="never",
        description="`approved`: run those of the repository's own branches, and those of forks that somebody who"
        " belongs to the repository wrote or approved, commit by commit; recorded, and pinned nowhere",
    )

    def frozen(self) -> PullsConfig:
        return PullsConfig(self.plan, self.run == "approved")
