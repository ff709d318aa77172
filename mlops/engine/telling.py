"""Tells a forge what became of commits: a status for each commit and model that a decision was made about.

What is to be said comes from the claims and release records alone, so it does not matter who made the decision,
nor when: what could not be said is said at the next look. Only differences are written.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote

from mlops.domain.digest import ReleaseId
from mlops.domain.forge import State, Status
from mlops.domain.pulls import PULLS
from mlops.domain.release import ReleaseRecord, record_path
from mlops.domain.source import Commit
from mlops.engine import claiming
from mlops.engine.claiming import Decision
from mlops.errors import ForgeError, MlopsError
from mlops.ports import GitOps
from mlops.ports.forge import Forge

CONTEXT = "mlops/"  # before the model's name
MOST = 50  # commits whose statuses are asked for in one look; the others wait for the next
_OUTCOMES = {
    "succeeded": State.SUCCESS,
    "nothing": State.SUCCESS,
    claiming.SKIPPED: State.SUCCESS,
    claiming.SUPERSEDED: State.SUCCESS,
    claiming.INTERRUPTED: State.PENDING,
}
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Said:
    """One thing to say: of a commit, and the claim (its object id) that it comes from."""

    commit: Commit
    status: Status
    claim: str


@dataclass(slots=True)
class Told:
    """What the forge is known to have: (commit, context) → the claim that it was told of. It may be lost:
    then the forge is asked."""

    claims: dict[tuple[str, str], str] = field(default_factory=dict)

    def dump(self, about: str) -> bytes:
        """As a file that `load` reads; `about` is where it was said, and how."""
        entries = [[commit, context, claim] for (commit, context), claim in self.claims.items()]
        return json.dumps({"about": about, "told": entries}, indent=1).encode() + b"\n"

    @classmethod
    def load(cls, content: bytes, about: str) -> Told:
        """What a file says; nothing where it is about something else, or is none of ours."""
        try:
            found = json.loads(content)
            entries = found["told"] if found["about"] == about else []
            return cls({(str(sha), str(name)): str(claim) for sha, name, claim in entries})
        except (ValueError, LookupError, TypeError, RecursionError):
            return cls()


def wanted(
    decisions: Iterable[Decision], gitops: GitOps, link: str, told: Told
) -> tuple[Said, ...]:
    """What is not known to be said, newest first. Raises GitError where records cannot be fetched."""
    found, known = [], set()
    for decision in decisions:
        about = _about(decision)
        if about is None:
            continue
        commit, context = about
        known.add((commit.sha, context))
        if told.claims.get((commit.sha, context)) != decision.claim.object_id:
            found.append((decision, commit))
    for each in told.claims.keys() - known:  # their claims were pruned
        del told.claims[each]
    records = _records([decision.release for decision, _ in found], gitops)
    found.sort(key=lambda each: each[0].since or _LONG_AGO, reverse=True)
    return tuple(
        Said(commit, status_of(each, records.get(each.release), link), each.claim.object_id)
        for each, commit in found
    )


def tell(said: Iterable[Said], forge: Forge, told: Told, say: Say) -> int:
    """Say what the forge does not have yet; how many statuses that were. A forge that fails is told at the next
    look: nothing is raised for it."""
    count = 0
    for commit, each in list(_by_commit(said).items())[:MOST]:
        try:
            count += _of(Commit(commit), each, forge, told)
        except ForgeError as exc:
            say(f"the forge is told later of {commit[:7]}: {exc}")
            if exc.retryable:
                break  # it is away: the others wait as well
    return count


def _of(commit: Commit, wanted: Iterable[Said], forge: Forge, told: Told) -> int:
    there = {status.context: status for status in forge.statuses(commit)}
    count = 0
    for each in wanted:
        if not _same(each.status, there.get(each.status.context)):
            forge.say(commit, each.status)
            count += 1
        told.claims[commit.sha, each.status.context] = each.claim
    return count


def _about(decision: Decision) -> tuple[Commit, str] | None:
    """Commit and context; None for what is no claim of ours, or speaks for a commit that it is not about."""
    model, source = (decision.claim.document.get(key) for key in ("model", "source"))
    if not (isinstance(model, str) and isinstance(source, str)):
        return None
    try:
        commit = Commit.parse(source)
    except MlopsError:
        return None
    named = claiming.run_name(model, commit, decision.attempt)
    if decision.run != named or not named.startswith(f"{model}-"):  # a name cut short is none
        return None
    if decision.tip is not None and decision.tip.ref.startswith(PULLS):
        return decision.tip.commit, _context(decision)  # what is run is no commit of anybody's
    return commit, _context(decision)


def _context(decision: Decision) -> str:
    """`mlops/spam`; `mlops/spam/pull-request` where the run is one of a pull request."""
    pulled = decision.tip is not None and decision.tip.ref.startswith(PULLS)
    return f"{CONTEXT}{decision.claim.document.get('model', '')}{'/pull-request' if pulled else ''}"


def _records(releases: Iterable[str], gitops: GitOps) -> Mapping[str, ReleaseRecord]:
    """The records of releases, as far as there are any that can be read. The branch is fetched where one is
    lacking: whoever carried the run out may have been elsewhere."""
    named = {text: release for text in releases if (release := _release(text)) is not None}
    found = _read(named, gitops, gitops.tip())
    if named.keys() - found.keys():
        found = _read(named, gitops, gitops.refresh())
    return found


def _read(
    named: Mapping[str, ReleaseId], gitops: GitOps, tip: Commit | None
) -> Mapping[str, ReleaseRecord]:
    found = {}
    for text, release in named.items() if tip is not None else ():
        path = record_path(gitops.path, release.model, release.digest)
        content = gitops.read(tip, path) if tip is not None else None
        with contextlib.suppress(MlopsError):
            if content is not None:
                found[text] = ReleaseRecord.parse(content, path)
    return found


def _release(text: str) -> ReleaseId | None:
    try:
        return ReleaseId.parse(text) if text else None
    except MlopsError:
        return None


def status_of(decision: Decision, record: ReleaseRecord | None, link: str) -> Status:
    """What a decision says of its commit."""
    document = decision.claim.document
    if decision.state != claiming.SETTLED:
        why = document.get("plan") or document.get("why") or ""
        state, text = State.PENDING, f"{decision.run} {decision.state}: {why}"
    else:
        state = _OUTCOMES.get(decision.outcome, State.FAILURE)
        text = f"{decision.run}: {_outcome(decision, record)}"
    values = {
        "run": decision.run,
        "model": str(document.get("model", "")),
        "commit": str(document.get("source", "")),
        "release": decision.release,
    }
    return Status(_context(decision), state, _line(text), _link(link, values))


def _outcome(decision: Decision, record: ReleaseRecord | None) -> str:
    if decision.outcome != "succeeded":
        return decision.reason or decision.outcome
    gates = "; ".join(verdict.told for verdict in record.gates) if record is not None else ""
    release = _release(decision.release)
    told = f"released {release.short}" if release is not None else "released"
    return f"{told}; {gates}" if gates else told


def _by_commit(wanted: Iterable[Said]) -> Mapping[str, list[Said]]:
    found: dict[str, list[Said]] = {}
    for each in wanted:
        found.setdefault(each.commit.sha, []).append(each)
    return found


def _same(wanted: Status, there: Status | None) -> bool:
    """Whether the forge has it; a forge may have cut the description short."""
    if there is None or (there.state, there.link) != (wanted.state, wanted.link):
        return False
    cut = there.description.removesuffix("…").rstrip()
    return there.description == wanted.description or (
        there.description.endswith("…") and bool(cut) and wanted.description.startswith(cut)
    )


def _line(text: str) -> str:
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _link(template: str, values: Mapping[str, str]) -> str:
    """Each value is one part of the URL: nothing in it leads elsewhere."""
    parts = {name: text.encode("utf-8", "replace") for name, text in values.items()}
    return template.format(**{name: quote(part, safe="") for name, part in parts.items()})
