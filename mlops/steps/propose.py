"""`propose`: record, tag and pin, in one push; decided again where somebody was faster.

Repeating it after a crash finds its own record and pin, changes nothing, and succeeds.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import assert_never

from mlops.adapters.git import GitOpsBranch
from mlops.domain import message
from mlops.domain.digest import ReleaseId
from mlops.domain.release import ReleaseRecord, record_path
from mlops.domain.source import Commit
from mlops.errors import GitError, RefusedError
from mlops.manifests import kustomization
from mlops.policy import promotion
from mlops.policy.promotion import Direction, Promotion
from mlops.policy.refusal import Ground, Refusal
from mlops.ports import LostRace, Proposed, Published
from mlops.steps import record as records
from mlops.steps import tags
from mlops.steps.gitops import Target, open_branch, record_at, target_at
from mlops.steps.images import copies_of
from mlops.steps.sources import Source, open_source
from mlops.steps.tags import Tag
from mlops.steps.telling import say

ACTION = "run"  # of Mlops-Action
_TRIES = 60
_PAUSE, _CAP = 0.05, 2.0  # seconds
_LONGEST_NOTE = 1000  # characters: a task's results share 4 KB


@dataclass(frozen=True, slots=True)
class Proposal:
    """What one commit is to hold. `pinned` tells that the environment pins the release after it;
    `topic` is the branch it goes to in pull-request mode; `registry` the environment's own, where
    the image must be before."""

    changes: Mapping[str, bytes | None]
    message: str
    pinned: bool
    note: str = ""
    refs: Mapping[str, Commit] = field(default_factory=dict)
    topic: str = ""
    registry: str = ""


def run(env: Mapping[str, str]) -> None:
    """Publish the release; results `pinned`, `commit`, `note`."""
    source = open_source(env)
    branch = open_branch(source)
    release = ReleaseId.parse(source.inputs.text("release"))
    tag = tags.keep(source, release.digest, shared=branch.repository is source.repository)
    proposal, commit = settle(source, branch, release, tag)
    if tag is not None:
        tags.bring(source.repository, tag)
    source.inputs.result("pinned", "true" if proposal.pinned else "false")
    source.inputs.result("commit", commit.sha)
    source.inputs.result("note", proposal.note.encode()[:_LONGEST_NOTE].decode(errors="ignore"))
    say(proposal.note or f"{release.short} is in {source.inputs.text('environment')}")


def settle(
    source: Source, branch: GitOpsBranch, release: ReleaseId, tag: Tag | None
) -> tuple[Proposal, Commit]:
    """Make the record and publish it; errors as for `publish`."""
    made = records.make(source, release, tag.name if tag else None, datetime.now(UTC))
    source.state.write("record.json", dict(made.document))
    return publish(source, branch, made, tag)


def publish(
    source: Source, branch: GitOpsBranch, made: ReleaseRecord, tag: Tag | None
) -> tuple[Proposal, Commit]:
    """Decide on the fresh tip and publish, until it stands. Raises GitError after many lost races."""
    brought: set[str] = set()
    for attempt in range(_TRIES):
        with branch.turn() if attempt else nullcontext():
            tip = branch.refresh()
            proposal = decide(source, branch, tip, made, tag)
            if proposal.registry and proposal.registry not in brought:
                copies_of(source).bring(made.release, proposal.registry)
                brought.add(proposal.registry)
            match _pushed(source, branch, tip, proposal):
                case Published(commit):
                    return proposal, commit
                case Proposed(name, commit, url):
                    note = f"released, proposed on branch {name}" + (f": {url}" if url else "")
                    return replace(proposal, pinned=False, note=note), commit
                case LostRace():
                    say("somebody else was faster: deciding again")
                case other:
                    assert_never(other)
        longest = min(_CAP, _PAUSE * 2.0 ** min(attempt, 10))
        time.sleep(random.uniform(0.0, longest))  # noqa: S311 - spreads rivals
    raise GitError(
        "somebody else was faster again and again: nothing was changed",
        hint="Make another attempt: mlops run --again",
        retryable=True,
    )


def _pushed(
    source: Source, branch: GitOpsBranch, tip: Commit | None, proposal: Proposal
) -> Published | Proposed | LostRace:
    """Push the commit, or in pull-request mode put it where a person opens a pull request."""
    if source.project.gitops.mode == "push" or tip is None or not proposal.changes:
        return branch.publish(tip, proposal.changes, proposal.message, proposal.refs)
    changes, message = proposal.changes, proposal.message
    return branch.propose(tip, changes, message, proposal.topic, proposal.refs)


def decide(
    source: Source,
    branch: GitOpsBranch,
    tip: Commit | None,
    made: ReleaseRecord,
    tag: Tag | None,
) -> Proposal:
    """The commit for this tip: the record where it is the digest's first, the pin where it may."""
    release = made.release
    path = record_path(branch.path, release.model, release.digest)
    standing = record_at(branch, tip, release.model, release.digest) if tip else None
    first = ReleaseRecord.parse(standing, path) if standing is not None else made
    changes: dict[str, bytes | None] = {} if standing is not None else {path: made.dump()}
    if standing is not None:
        _compare(first, made)
    elif tag is not None and not tag.agrees:
        raise RefusedError(
            f"the tag {tag.name} stands already, at {tag.commit.short}, without a release record,"
            " and keeps other files than this run recorded",
            hint=f"Look at it: git show {tag.name}. If nobody needs it, delete it, and run again",
        )
    # the first record stands: the tag that it names was pushed with it
    refs = {} if tag is None or standing is not None else tag.refs
    environment = source.inputs.text("environment")
    if not environment or not source.inputs.flag("pin"):
        note = "" if not environment else "released, not pinned: --no-pin"
        return _recorded(source, release, changes, refs, note)
    target = target_at(branch, tip, environment, release.model)
    answer = _ask(source, first, target)
    if isinstance(answer, Refusal):
        return _recorded(source, release, changes, refs, _note(environment, answer))
    if answer.unchanged:  # by hand, before it had a record: this commit moves no pin
        return replace(_recorded(source, release, changes, refs, ""), pinned=True)
    return _pinned(source, release, target, answer, changes, refs)


def _compare(first: ReleaseRecord, made: ReleaseRecord) -> None:
    for key in records.differs(first, made):
        say(
            f"warning: {made.release.short} was recorded by {first.run} with another {key}:"
            " something in this project is not deterministic; the first record stands"
        )


def _ask(source: Source, record: ReleaseRecord, target: Target) -> Promotion | Refusal:
    """A run is automation: it heeds holds, quarantine, requirements, gates and order."""
    now = datetime.now(UTC)
    entry = promotion.Entry(
        release=record.release,
        record=record,
        # no environment comes before the one that receives releases first
        policy=replace(target.policy, sources=()),
        rules=(*source.model.gates, *target.policy.gates),
        pinned=target.pinned,
        target=target.record,
        direction=direction(source, target.record),
        holds=tuple(hold for hold in target.holds if hold.covers(source.model.name, now)),
        quarantine=target.quarantine,
    )
    return promotion.decide(entry, now, automatic=True)


def direction(source: Source, pinned: ReleaseRecord | None) -> Direction:
    """How this source lies to that of what is pinned."""
    repository = source.repository
    if pinned is None or not repository.has(pinned.source):
        return Direction.ASIDE
    if pinned.source == source.commit:
        return Direction.SAME
    if repository.is_ancestor(source.commit, pinned.source):
        return Direction.BACK
    forward = repository.is_ancestor(pinned.source, source.commit)
    return Direction.FORWARD if forward else Direction.ASIDE


def _note(environment: str, refusal: Refusal) -> str:
    if refusal.ground is Ground.HELD:
        return f"{environment} is held: released, not pinned"
    return f"{refusal.reason}: released, not pinned"


def _recorded(
    source: Source,
    release: ReleaseId,
    changes: Mapping[str, bytes | None],
    refs: Mapping[str, Commit],
    note: str,
) -> Proposal:
    subject = f"Release {_shown(release)}"
    words = message.compose(subject, _trailers(source, release), note)
    topic = f"record/{release.model}-{release.digest.short}"  # of each release one
    return Proposal(changes, words, pinned=False, note=note, refs=refs, topic=topic)


def _pinned(
    source: Source,
    release: ReleaseId,
    target: Target,
    answer: Promotion,
    changes: Mapping[str, bytes | None],
    refs: Mapping[str, Commit],
) -> Proposal:
    environment = answer.environment
    project = source.project
    own = target.policy.registry
    registry = own or (project.registry if project.layout is None else "")
    content = kustomization.with_pin(
        target.kustomization,
        release.model,
        release.digest,
        target.path,
        f"{registry}/{release.model}" if registry else None,
        anew=bool(own),
    )
    trailers = [(message.ENVIRONMENT, environment)]
    if answer.previous is not None:
        trailers.append((message.PREVIOUS, str(ReleaseId(release.model, answer.previous))))
    verdicts = "; ".join(f"gate {verdict.told}" for verdict in answer.verdicts)
    words = message.compose(
        f"Pin {_shown(release)} in {environment}",
        [*_trailers(source, release), *trailers],
        verdicts,
    )
    topic = f"run/{environment}/{release.model}"  # the next release takes its place
    pinned = {**changes, target.path: content}
    return Proposal(pinned, words, pinned=True, refs=refs, topic=topic, registry=own)


def _trailers(source: Source, release: ReleaseId) -> list[tuple[str, str]]:
    return [
        (message.ACTION, ACTION),
        (message.MODEL, str(release)),
        (message.SOURCE, source.commit.sha),
        (message.RUN, source.inputs.text("run")),
        (message.ACTOR, source.inputs.text("actor")),
    ]


def _shown(release: ReleaseId) -> str:
    return f"{release.model} sha256:{release.digest.short}…"
