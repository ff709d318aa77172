"""Claims on a remote that may not take them: what it refuses stands in this clone until it does.

Decision record 0019. What is kept here is a claim as any other, below `refs/mlops/here/`, with one more key:
`over`, the object id of the remote's own claim that it is to take the place of (empty: there was none). Where the
remote's claim is another one by now, somebody else decided, and what is kept here counts no more.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from mlops.adapters.git.claims import PREFIX, NotTakenError, RunClaims
from mlops.adapters.git.repository import Repository
from mlops.ports import Claim

HERE = "refs/mlops/here/"
_OVER = "over"
_PAUSE = 600.0  # seconds


class StandInClaims:
    """Meets `ports.Claims`: those of a remote, and where it refuses them refs of this clone in their place."""

    def __init__(
        self, repository: Repository, remote: str, say: Callable[[str], None] = lambda _: None
    ) -> None:
        self._remote = RunClaims(repository, remote)
        self._here = RunClaims(repository, None, HERE)
        self._say = say
        self._told = False
        self._next = -math.inf  # when the remote may be asked to take what is kept here

    def read(self, run: str) -> Claim | None:
        there, kept = self._remote.read(run), self._here.read(run)
        return _standing(kept) if kept is not None and _counts(kept, there) else there

    def list(self, prefix: str = "") -> tuple[Claim, ...]:
        return self._merged(self._remote.list(prefix), self._here.list(prefix))

    def put(self, run: str, document: Mapping[str, Any], previous: Claim | None) -> Claim | None:
        return self.put_each({run: document}, {run: previous} if previous else {})[run]

    def put_each(
        self,
        documents: Mapping[str, Mapping[str, Any]],
        previous: Mapping[str, Claim] = MappingProxyType({}),
    ) -> dict[str, Claim | None]:
        """See `ports.Claims`. What the remote refuses is written here."""
        kept = {run: claim for run in documents if (claim := self._moves(run, previous))}
        open_ = {run: document for run, document in documents.items() if run not in kept}
        found = self._move_here({run: documents[run] for run in kept}, kept)
        try:
            return found | self._remote.put_each(
                open_, {r: previous[r] for r in open_ if r in previous}
            )
        except NotTakenError as exc:
            self._tell(exc)
            self._next = min(self._next, time.monotonic() + _PAUSE)
        for run, document in open_.items():
            there, before = self._remote.read(run), previous.get(run)
            if there is not None and (before is None or there.object_id != before.object_id):
                mine = there.document.get("token") == document.get("token")
                found[run] = there if mine else None
                continue
            over = {**document, _OVER: before.object_id if before else ""}
            claim = self._here.put(run, over, self._here.read(run))
            found[run] = _standing(claim) if claim is not None else None
        return found

    def settle(self) -> None:
        """See `ports.Claims`. A remote that refuses is asked again after ten minutes at the soonest."""
        if time.monotonic() < self._next:
            return
        kept = {_run(claim): claim for claim in self._here.list()}
        self._next = time.monotonic() + _PAUSE if kept else math.inf
        if not kept:
            return
        there = {_run(claim): claim for claim in self._remote.list()}
        counts = {run: claim for run, claim in kept.items() if _counts(claim, there.get(run))}
        self._here.remove([claim for run, claim in kept.items() if run not in counts])
        documents = {run: _standing(claim).document for run, claim in counts.items()}
        try:
            moved = self._remote.put_each(documents, {r: there[r] for r in counts if r in there})
        except NotTakenError as exc:
            self._tell(exc)
            return
        self._here.remove([counts[run] for run in moved])

    def kept(self) -> tuple[Claim, ...]:
        """What stands here alone."""
        return self._here.list()

    def remove(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        """See `RunClaims.remove`. What stands here over a claim of the remote stays: that would count again."""
        kept = {claim.object_id: claim for claim in self._here.list()}
        mine = [claim for claim in claims if claim.object_id in kept]
        alone = [c for c in mine if not kept[c.object_id].document.get(_OVER)]
        gone = self._here.remove([kept[claim.object_id] for claim in alone])
        over = {claim.object_id for claim in gone}
        others = [claim for claim in claims if claim.object_id not in kept]
        return [
            *(claim for claim in alone if claim.object_id in over),
            *(self._remote.remove(others) if others else ()),
        ]

    # -- what a look needs (adapters/git/sight.py)

    def known(self, refs: Mapping[str, str]) -> tuple[Claim, ...]:
        return self._merged(self._remote.known(refs), self._here.list())

    def absent(self, refs: Mapping[str, str]) -> Sequence[str]:
        return self._remote.absent(refs)

    def _moves(self, run: str, previous: Mapping[str, Claim]) -> Claim | None:
        """The claim kept here that `previous` has of a run; None where it has the remote's."""
        before = previous.get(run)
        kept = self._here.read(run) if before is not None else None
        return kept if kept and before and kept.object_id == before.object_id else None

    def _move_here(
        self, documents: Mapping[str, Mapping[str, Any]], kept: Mapping[str, Claim]
    ) -> dict[str, Claim | None]:
        over = {
            run: {**document, _OVER: kept[run].document.get(_OVER, "")}
            for run, document in documents.items()
        }
        moved = self._here.put_each(over, kept) if over else {}
        return {run: _standing(claim) if claim else None for run, claim in moved.items()}

    def _merged(self, there: Sequence[Claim], kept: Sequence[Claim]) -> tuple[Claim, ...]:
        found = {_run(claim): claim for claim in there}
        for claim in kept:
            if _counts(claim, found.get(_run(claim))):
                found[_run(claim)] = _standing(claim)
        return tuple(found[run] for run in sorted(found))

    def _tell(self, exc: NotTakenError) -> None:
        if not self._told:
            self._told = True
            self._say(
                f"warning: {exc}. Until then decisions stand in this clone alone, and another one may run the "
                "same again"
            )


def _run(claim: Claim) -> str:
    return claim.ref.removeprefix(PREFIX).removeprefix(HERE)


def _counts(kept: Claim, there: Claim | None) -> bool:
    """Whether what is kept here takes the place of the remote's claim."""
    return bool(kept.document.get(_OVER, "") == (there.object_id if there is not None else ""))


def _standing(kept: Claim) -> Claim:
    """A claim that is kept here, as if it stood on the remote."""
    document = {key: value for key, value in kept.document.items() if key != _OVER}
    return replace(kept, ref=PREFIX + _run(kept), document=document)
