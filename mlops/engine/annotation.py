"""What a commit of ours says about one pin: its action, actor, reason, incident, run.

A squash or a merge may carry the words of several actions, a cherry-pick those of another place: only
words that speak of this very pin count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

from mlops.domain.digest import Digest, ReleaseId
from mlops.domain.message import ACTION, ENVIRONMENT, MODEL, PREVIOUS
from mlops.ports import CommitInfo

Words = Mapping[str, str]
_Trailers = tuple[tuple[str, str], ...]


def words(info: CommitInfo, environment: str, release: ReleaseId, previous: Digest | None) -> Words:
    """Trailer → value, of the action that pinned `release` in `environment` in place of `previous`.

    Every message of ours begins its trailers with the action; where there are several, the last that
    concerns this pin counts. Empty where none does: then the commit is a person's, or another tool's.
    """
    found: Words = {}
    for action in _actions(info.trailers):
        if _concerns(action, environment, release, previous):
            found = dict(reversed(action))  # of a key that stands there twice, the first value
    return found


def _actions(trailers: _Trailers) -> Iterator[_Trailers]:
    starts = [at for at, (key, _) in enumerate(trailers) if key == ACTION]
    for start, end in pairwise([*starts, len(trailers)]):
        # the first takes what stands before it along: a person may have put it into another order
        yield trailers[0 if start == starts[0] else start : end]


def _concerns(
    action: _Trailers, environment: str, release: ReleaseId, previous: Digest | None
) -> bool:
    """Whether the words are about this pin: what they say was replaced must be what was replaced, so
    that a squash does not tell of a rollback from what was never left."""
    if (ENVIRONMENT, environment) not in action or (MODEL, str(release)) not in action:
        return False
    before = f"{release.model}@"
    told = [value for key, value in action if key == PREVIOUS and value.startswith(before)]
    return not told or (previous is not None and str(ReleaseId(release.model, previous)) in told)
