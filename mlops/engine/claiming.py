"""Claims: one decision for each commit and model, made once, by whoever wins it.

A claim goes queued → claimed → submitted → outcome: a watcher queues it before anything runs, `mlops run`
begins with claiming, or takes over what is queued. One whose holder died before its outcome is taken over.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from mlops.domain.source import Commit
from mlops.domain.watching import Tip
from mlops.errors import UsageError
from mlops.ports import Claim, Claims, Clock

QUEUED = "queued"
CLAIMED = "claimed"
SUBMITTED = "submitted"
SETTLED = "outcome"
FAILED = "failed"
INTERRUPTED = "interrupted"
GIVEN_UP = "given up"  # outside systems failed so many attempts that the watcher makes no other
SKIPPED = "skipped"  # no run is made, and the reason says why
SUPERSEDED = "superseded"  # something newer was decided before its run began
OUTCOMES = ("succeeded", FAILED, "nothing", SKIPPED, SUPERSEDED, INTERRUPTED, GIVEN_UP)
_NAME_BUDGET = 40
_RUN = re.compile(r"refs/mlops/runs/(?P<subject>.+-[0-9a-f]{12})-(?P<attempt>[0-9]{1,9})\Z")


def run_name(model: str, source: Commit, attempt: int) -> str:
    """A run's name: a DNS label of at most 63 characters (model ≤ 40, 12 hex digits, attempt)."""
    return f"{model[:_NAME_BUDGET]}-{source.sha[:12]}-{attempt}"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who this process is, and how to tell that another one is gone."""

    me: Callable[[], Mapping[str, Any]]
    dead: Callable[[Mapping[str, Any]], bool]


@dataclass(frozen=True, slots=True)
class Decision:
    """The newest claim on a commit and model: its attempt, and how far it is."""

    attempt: int
    claim: Claim

    @property
    def state(self) -> str:
        """`queued`, `claimed`, `submitted` or `outcome`; empty where the claim says none of these."""
        found = self.claim.document.get("state")
        return found if found in (QUEUED, CLAIMED, SUBMITTED, SETTLED) else ""

    @property
    def run(self) -> str:
        return self.claim.ref.removeprefix("refs/mlops/runs/")

    @property
    def queued(self) -> bool:
        """Whether it was decided that a run is made, and nobody began it: it has no holder."""
        return self.state == QUEUED

    @property
    def trigger(self) -> str:
        """What asked for another attempt at a commit that ran already, in words; else empty."""
        return str(self.claim.document.get("trigger") or "")

    @property
    def stands(self) -> str:
        """The state, or once it has one the outcome: what people are told."""
        return self.outcome or self.state

    @property
    def open(self) -> bool:
        """Whether the decision is still to be carried out: claimed, submitted, or ended by what says
        nothing about the commit."""
        return self.state != SETTLED or self.outcome in (INTERRUPTED, GIVEN_UP)

    @property
    def outcome(self) -> str:
        """`succeeded`, `failed`, `nothing`, `skipped`, `superseded`, `interrupted` or `given up`; empty
        before the outcome."""
        return str(self.claim.document.get("outcome", "")) if self.state == SETTLED else ""

    @property
    def reason(self) -> str:
        return str(self.claim.document.get("reason", ""))

    @property
    def why(self) -> str:
        """Why a watcher decided it; empty where nobody watched."""
        return str(self.claim.document.get("why") or "")

    @property
    def release(self) -> str:
        return str(self.claim.document.get("release", ""))

    def expired(self, now: datetime) -> bool:
        """Whether the time that the run could take has passed: it counts where the holder was on
        another machine, of which nothing else is known."""
        try:
            return now > datetime.fromisoformat(str(self.claim.document.get("expires")))
        except ValueError:
            return False

    @property
    def failures(self) -> int:
        """How many attempts in a row outside systems failed."""
        return self._count("failures")

    @property
    def refusals(self) -> int:
        """How often what is queued could not begin."""
        return self._count("refusals")

    def _count(self, key: str) -> int:
        found = self.claim.document.get(key)
        return found if isinstance(found, int) and found > 0 else 0

    @property
    def after(self) -> datetime | None:
        """When the next attempt may be made without anybody asking; None where that was not said."""
        try:
            found = datetime.fromisoformat(str(self.claim.document.get("after")))
        except ValueError:
            return None
        return found if found.tzinfo else None

    @property
    def source(self) -> Commit | None:
        """The commit; None where the claim does not say it."""
        return _commit(self.claim.document.get("source"))

    @property
    def tip(self) -> Tip | None:
        """Where which ref stood when a watcher decided; None where nobody watched."""
        ref, commit = self.claim.document.get("ref"), _commit(self.claim.document.get("tip"))
        return Tip(ref, commit) if isinstance(ref, str) and ref and commit is not None else None

    @property
    def floor(self) -> str:
        """The commit up to which all was decided for sure when this was; empty where it was decided alone."""
        return str(self.claim.document.get("floor") or "")

    @property
    def since(self) -> datetime | None:
        """When it was decided, aware; None where that was not said."""
        document = self.claim.document
        try:
            found = datetime.fromisoformat(str(document.get("decided") or document.get("since")))
        except ValueError:
            return None
        return found if found.tzinfo else None

    @property
    def holder(self) -> Mapping[str, Any]:
        found = self.claim.document.get("holder")
        return found if isinstance(found, Mapping) else {}


def _commit(text: object) -> Commit | None:
    try:
        return Commit.parse(str(text))
    except UsageError:
        return None


def newest(claims: Claims, model: str, source: Commit) -> Decision | None:
    """The claim of the last attempt at this commit and model, None where nobody decided yet."""
    prefix = run_name(model, source, 0)[:-1]
    found = []
    for claim in claims.list(prefix):
        attempt = claim.ref.rpartition("-")[2]
        if attempt.isdigit() and claim.ref.endswith(prefix + attempt):
            found.append(Decision(int(attempt), claim))
    return max(found, key=lambda decision: decision.attempt, default=None)


def subject(model: str, source: Commit) -> str:
    """What every claim on a commit and model begins with; the attempt follows."""
    return run_name(model, source, 0)[: -len("-0")]


def subject_of(claim: Claim) -> str:
    """The `subject` that a claim is about; empty where its name says none."""
    match = _RUN.match(claim.ref)
    return match["subject"] if match is not None else ""


def tried(decision: Decision) -> bool:
    """Whether a run was, or will be, made of it; what others were to try never was, and counts with the next push."""
    return decision.outcome not in (SKIPPED, SUPERSEDED, GIVEN_UP)


def decisions(claims: Iterable[Claim]) -> dict[str, Decision]:
    """Of all claims, by `subject`, the one of the last attempt."""
    found: dict[str, Decision] = {}
    for claim in claims:
        match = _RUN.match(claim.ref)
        if match is None:
            continue
        decision = Decision(int(match["attempt"]), claim)
        last = found.get(match["subject"])
        if last is None or last.attempt < decision.attempt:
            found[match["subject"]] = decision
    return found


def under_way(claims: Iterable[Claim], holder: Holder, now: datetime) -> tuple[str, ...]:
    """The runs that began and, as far as is known, are not over. Of a cluster's the holder's death says nothing:
    they go on without it."""
    begun = (each for each in decisions(claims).values() if each.state in (CLAIMED, SUBMITTED))
    return tuple(
        each.run
        for each in begun
        if not each.expired(now)
        and (each.claim.document.get("executor") == "tekton" or not holder.dead(each.holder))
    )


def queue(
    model: str,
    source: Commit,
    tip: Tip,
    why: str,
    actor: str,
    since: datetime,
    attempt: int = 1,
) -> dict[str, Any]:
    """The claim of a run of a model at a source, in state `queued`: decided because a ref stood at `tip`,
    `why` in words. It has a token of its own, and no holder."""
    return {
        "run": run_name(model, source, attempt),
        "model": model,
        "source": source.sha,
        "ref": tip.ref,
        "tip": tip.commit.sha,
        "why": why,
        "state": QUEUED,
        "token": secrets.token_hex(16),
        "actor": actor,
        "since": since.isoformat(),
    }


def inherited(last: Decision | None) -> dict[str, Any]:
    """What the claim of a run keeps of the decision that was queued: for which ref and tip, why, since when, and
    of one that is still to be carried out the trigger."""
    if last is None or not last.claim.document.get("ref"):
        return {}
    kept = ("ref", "tip", "floor", "why", "decided", *(["trigger"] if last.open else []))
    found = {key: last.claim.document[key] for key in kept if key in last.claim.document}
    return {"decided": last.claim.document.get("since"), **found}


def document(
    name: str,
    model: str,
    source: Commit,
    plan: str,
    holder: Holder,
    now: Clock,
    actor: str,
    lasts: float,
) -> dict[str, Any]:
    """A fresh claim, in state `claimed`; after `lasts` seconds its holder must be dead."""
    return {
        "run": name,
        "model": model,
        "source": source.sha,
        "plan": plan,
        "state": CLAIMED,
        "token": secrets.token_hex(16),
        "holder": dict(holder.me()),
        "actor": actor,
        "since": now().isoformat(),
        "expires": (now() + timedelta(seconds=lasts)).isoformat(),
    }


def moved(claim: Claim, state: str, **more: Any) -> dict[str, Any]:
    """The claim's next document, with a token of its own so that equal blobs never meet."""
    return {**claim.document, "state": state, "token": secrets.token_hex(16), **more}
