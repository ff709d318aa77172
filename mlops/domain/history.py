"""History as a value: every pin that ever was, with when, who and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mlops.domain.digest import Digest, ReleaseId
from mlops.domain.source import Commit

EDIT = "edit"  # a commit that carries no trailer of ours about this pin: a person's, another tool's
PROMOTE = "promote"
ROLLBACK = "rollback"
RUN = "run"


@dataclass(frozen=True, slots=True)
class PinRow:
    """One pin of one model in one environment, from the commit that wrote it to the one that
    replaced it.

    `previous` is what the same commit took away, None where nothing was pinned. `since` and `until`
    are aware, in UTC, and never run backwards: a commit whose clock was ahead of a later one's
    counts from the later one's time. `until` is None while the pin stands. `action` is `run`,
    `promote`, `rollback` or `edit`. `cut` marks a row whose own commit lies beyond the end of a
    shallow clone: it stood at `since` and began then or earlier, `previous` and the commit's words are unknown.
    """

    environment: str
    release: ReleaseId
    previous: Digest | None
    since: datetime
    until: datetime | None
    commit: Commit
    author: str
    action: str = EDIT
    actor: str = ""
    reason: str = ""
    incident: str = ""
    run: str = ""
    cut: bool = False

    @property
    def model(self) -> str:
        return self.release.model

    @property
    def digest(self) -> Digest:
        return self.release.digest
