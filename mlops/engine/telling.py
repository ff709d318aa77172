"""Tells a forge what became of commits: a status for each commit and model that a decision was made about.

What is to be said comes from the claims and release records alone, so it does not matter who made the decision,
nor when: what could not be said is said at the next look. Only differences are written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from mlops.domain.digest import ReleaseId
from mlops.domain.forge import State, Status
from mlops.domain.release import ReleaseRecord, record_path
from mlops.domain.source import Commit
from mlops.engine import claiming
from mlops.engine.claiming import Decision
from mlops.errors import ForgeError, MlopsError
from mlops.ports import Claims, GitOps
from mlops.ports.forge import Forge

CONTEXT = "mlops/"  # before the model's name
MOST = 50  # commits whose statuses are asked for in one look; the others wait for the next
_OUTCOMES = {
    "succeeded": State.SUCCESS,
    "nothing": State.SUCCESS,
    claiming.INTERRUPTED: State.PENDING,
}
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


@dataclass(frozen=True, slots=True)
class Teller:
    """Compares what should be said with what the forge has, and says what differs."""

    forge: Forge
    claims: Claims
    gitops: GitOps
    link: str
    told: Told
    say: Say

    def tell(self) -> int:
        """Say what is not said yet; how many statuses were. A forge that fails is told at the next look:
        nothing is raised for it."""
        try:
            wanted = tuple(self._wanted())
        except MlopsError as exc:
            self.say(f"warning: the forge is not told, claims cannot be read: {exc}")
            return 0
        count = 0
        for commit, each in list(_by_commit(wanted).items())[:MOST]:
            try:
                count += self._of(Commit(commit), each)
            except ForgeError as exc:
                self.say(f"warning: the forge is told later of {commit[:7]}: {exc}")
                if exc.retryable:
                    break  # it is away: the others wait as well
        return count

    def _wanted(self) -> Iterable[Said]:
        """What is not known to be said, newest first."""
        tip = self.gitops.tip()
        found = sorted(_newest(self.claims), key=_since, reverse=True)
        for decision in found:
            commit = Commit(str(decision.claim.document["source"]))
            context = CONTEXT + str(decision.claim.document["model"])
            claim = decision.claim.object_id
            if self.told.claims.get((commit.sha, context)) != claim:
                status = status_of(decision, self._record(tip, decision.release), self.link)
                yield Said(commit, status, claim)

    def _record(self, tip: Commit | None, release: str) -> ReleaseRecord | None:
        """The record of a release; None where it has none, or none that can be read."""
        try:
            named = ReleaseId.parse(release) if release and tip is not None else None
            if named is None or tip is None:
                return None
            path = record_path(self.gitops.path, named.model, named.digest)
            content = self.gitops.read(tip, path)
            return ReleaseRecord.parse(content, path) if content is not None else None
        except MlopsError:
            return None

    def _of(self, commit: Commit, wanted: Iterable[Said]) -> int:
        there = {status.context: status for status in self.forge.statuses(commit)}
        count = 0
        for each in wanted:
            if not _same(each.status, there.get(each.status.context)):
                self.forge.say(commit, each.status)
                count += 1
            self.told.claims[commit.sha, each.status.context] = each.claim
        return count


def status_of(decision: Decision, record: ReleaseRecord | None, link: str) -> Status:
    """What a decision says of its commit."""
    document = decision.claim.document
    run = str(document.get("run", ""))
    if decision.state != claiming.SETTLED:
        state, text = State.PENDING, f"{run}: {document.get('plan', '')}"
    else:
        state = _OUTCOMES.get(decision.outcome, State.FAILURE)
        text = f"{run}: {_outcome(decision, record)}"
    values = {
        "run": run,
        "model": str(document.get("model", "")),
        "commit": str(document.get("source", "")),
        "release": decision.release,
    }
    return Status(CONTEXT + values["model"], state, _line(text), _link(link, values))


def _outcome(decision: Decision, record: ReleaseRecord | None) -> str:
    if decision.outcome != "succeeded":
        return decision.reason or decision.outcome
    gates = "; ".join(verdict.told for verdict in record.gates) if record is not None else ""
    try:
        release = f"released {ReleaseId.parse(decision.release).short}"
    except MlopsError:
        release = "released"
    return f"{release}; {gates}" if gates else release


def _newest(claims: Claims) -> Iterable[Decision]:
    """The last attempt at each commit and model. What is no claim of ours is left out."""
    found: dict[tuple[str, str], Decision] = {}
    for claim in claims.list():
        model, source = claim.document.get("model"), claim.document.get("source")
        attempt = claim.ref.rpartition("-")[2]
        if not (isinstance(model, str) and isinstance(source, str) and attempt.isdecimal()):
            continue
        try:
            commit = Commit.parse(source)
        except MlopsError:
            continue
        number = int(attempt)
        if not claim.ref.endswith(f"/{claiming.run_name(model, commit, number)}"):
            continue  # it speaks for a commit that it is not about
        last = found.get((model, source))
        if last is None or last.attempt < number:
            found[model, source] = Decision(number, claim)
    return found.values()


def _since(decision: Decision) -> str:
    return str(decision.claim.document.get("since", ""))


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
    return template.format(**{name: quote(text, safe="") for name, text in values.items()})
