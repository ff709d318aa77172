"""Marks: what was handled of a trigger, in a claim of its own beside those of runs, moved by compare-and-swap."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from mlops.domain.trigger import Trigger, Updates, key
from mlops.engine.claiming import Holder
from mlops.ports import Claim, Claims, Clock

PREFIX = "trigger."  # a dot is in no run's name
WATCHED = "watched"  # seen; nothing of it waits to be done
CLAIMED = "claimed"  # somebody does it, or did when they died
ASKED = "asked"  # done: a run is queued, or a change pushed
STATES = (WATCHED, CLAIMED, ASKED)
PROJECT = "project."  # the owner of what is of no model; a dot is in no model's name
_LONGEST = timedelta(hours=6)  # that one may be at it, where nobody can tell whether they live


@dataclass(frozen=True, slots=True)
class Mark:
    """The state of a trigger, as its claim says; what is unreadable counts as absent."""

    claim: Claim

    @property
    def state(self) -> str:
        return self.text("state")

    def text(self, name: str) -> str:
        return str(self.claim.document.get(name) or "")

    def time(self, name: str) -> datetime | None:
        try:
            found = datetime.fromisoformat(self.text(name))
        except ValueError:
            return None
        return found if found.tzinfo else None

    @property
    def failures(self) -> int:
        """How often in a row it failed."""
        found = self.claim.document.get("failures")
        return found if isinstance(found, int) and found > 0 else 0

    @property
    def moved(self) -> datetime | None:
        """When it was moved last, as far as it says."""
        times = map(self.time, ("since", "moment", "begun", "handled_at"))
        return max(filter(None, times), default=None)

    def taken(self, holder: Holder, now: datetime) -> bool:
        """Whether somebody who lives, as far as can be told, is at it."""
        if self.state != CLAIMED:
            return False
        begun = self.time("begun")
        held = self.claim.document.get("holder")
        if begun is None or not isinstance(held, dict) or now - begun > _LONGEST:
            return False
        return not holder.dead(held)


@dataclass(frozen=True, slots=True)
class Marks:
    """All marks of a project, read at once; None where a trigger has none."""

    claims: Claims
    now: Clock

    def all(self) -> dict[str, Mark]:
        """By name. Raises GitError."""
        found = self.claims.list(PREFIX.rstrip("."))  # what claims are listed by is no name's end
        return {claim.ref.rpartition("/")[2]: Mark(claim) for claim in found}

    def put(
        self, owner: str, trigger: Trigger | Updates, mark: Mark | None, **more: Any
    ) -> Mark | None:
        """Move a trigger's mark on; None where somebody else did."""
        before = mark.claim if mark is not None else None
        kept = dict(before.document) if before is not None else {}
        named = {"model": owner.removesuffix("."), "trigger": str(trigger), "token": ""}
        put = self.claims.put(name(owner, trigger), {**kept, **named, **more}, before)
        return Mark(put) if put is not None else None

    def begun(self, owner: str, trigger: Trigger | Updates, mark: Mark | None) -> Mark | None:
        """The mark where it can be gone by; else it begins anew, and None."""
        if mark is not None and mark.state in STATES and mark.time("since") is not None:
            return mark
        self.put(owner, trigger, mark, state=WATCHED, since=self.now().isoformat())
        return None


def name(owner: str, trigger: Trigger | Updates) -> str:
    """The name of its claim."""
    return f"{PREFIX}{key(owner, trigger)}"


def old(
    claims: Iterable[Claim], live: Collection[str], now: datetime, window: timedelta
) -> tuple[Claim, ...]:
    """The marks of triggers that are not among the `live` (names), and that nobody moved for `window`."""
    marks = (each for each in claims if each.ref.rpartition("/")[2].startswith(PREFIX))
    gone = (each for each in marks if each.ref.rpartition("/")[2] not in live)
    return tuple(
        each for each in gone if (moved := Mark(each).moved) is not None and now - moved > window
    )
