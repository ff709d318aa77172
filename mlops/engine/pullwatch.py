"""Looks at the pull requests of a repository, and keeps the comment on each; what may run is queued."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from mlops.domain.pulls import Contribution
from mlops.domain.source import Commit
from mlops.engine.commenting import Commenter
from mlops.engine.pullrequests import Change, Reviewer
from mlops.engine.pullruns import PullRuns
from mlops.errors import ForgeError, MlopsError
from mlops.manifests.pullcomment import marker
from mlops.ports.pulls import Conversations, PullRefs

MOST = 20  # pull requests that are looked into in one look; the others wait for the next
Say = Callable[[str], None]


@dataclass(slots=True)
class Known:
    """What this process knows of pull requests: may be lost, then the forge is asked."""

    looked: dict[int, tuple[object, ...]] = field(default_factory=dict)  # number → what it was
    told: dict[int, str] = field(default_factory=dict)  # number → the comment
    ran: dict[int, tuple[str, Commit]] = field(default_factory=dict)  # → its head, and what is run


@dataclass(frozen=True, slots=True)
class PullWatch:
    """`branches` are the patterns of the branches that pull requests are looked at for; `runs` queues those that
    may run, `plan` says whether there is a comment."""

    forge: Conversations
    refs: PullRefs
    reviewer: Reviewer
    branches: tuple[str, ...]
    known: Known
    say: Say
    runs: PullRuns | None = None  # None: nothing of a pull request is run
    plan: bool = True

    def look(self) -> int:
        """Look at what changed; how many comments were written. A forge or a pull request that fails is for
        the next look: nothing is raised for it."""
        try:
            found = [each for each in self.forge.proposed() if self._tracked(each)]
            tips = {branch: self.refs.target(branch) for branch in {each.into for each in found}}
        except MlopsError as exc:
            self.say(f"pull requests are looked at later: {exc}")
            return 0
        written = looked = 0
        state = self.reviewer.gitops.tip()
        for each in found:
            try:
                note = self._run(each, tips[each.into])
                mark = (each, tips[each.into], state, note)
                if not self.plan or self.known.looked.get(each.number) == mark:
                    continue
                if looked == MOST:
                    break
                looked += 1
                written += self._tell(each, tips[each.into], note)
                self.known.looked[each.number] = mark
            except MlopsError as exc:
                self.say(f"pull request {each.number} is told later: {exc}")
                if isinstance(exc, ForgeError) and exc.retryable:
                    break  # it is away: the others wait as well
        self._forget(found)
        return written

    def _tracked(self, pull: Contribution) -> bool:
        return any(fnmatchcase(pull.into, pattern) for pattern in self.branches)

    def _run(self, pull: Contribution, tip: Commit) -> str:
        """Queue a pull request that may run; a sentence on one that waits, Markdown."""
        if self.runs is None or pull.merged:
            return ""
        if self.known.ran.get(pull.number, ("", None))[0] == pull.head:
            return ""
        asked = pull.fork and not pull.trusted
        remarks = self.forge.remarks(pull.number) if asked else ()
        self._head(pull)
        found = self.runs.ask(pull, remarks, tip)
        if isinstance(found, Commit):
            self.known.ran[pull.number] = pull.head, found
            return ""
        return (
            f"It is not run: {found.reason}. Who belongs to the repository lets it run, after a look at it, by a"
            f" comment of exactly this: `{found.command}`"
        )

    def _head(self, pull: Contribution) -> Commit:
        head = self.refs.fetch(pull.number)
        if head.sha != pull.head:
            raise MlopsError(f"it was pushed to meanwhile, and is at {head.short}")
        return head

    def _tell(self, pull: Contribution, tip: Commit, note: str) -> bool:
        head = self._head(pull)
        merged = Commit.parse(pull.merged) if pull.merged else None
        line = self.refs.before(merged) if merged is not None else tip
        ran = self.known.ran.get(pull.number, ("", None))[1]
        change = Change(head, self.refs.merge_base(line, head), merged, ran)
        told = self.reviewer.told(change)
        if merged is not None and not all(each.released for each in told):
            return False  # what it would do is past; what became of it is not known yet
        body = self.reviewer.text(change, told, note)
        if self.known.told.get(pull.number) == body:
            return False
        commenter = Commenter(self.forge, marker(self.reviewer.project))
        written = commenter.put(pull.number, body, create=merged is None)
        self.known.told[pull.number] = body
        return written

    def _forget(self, found: list[Contribution]) -> None:
        numbers = {each.number for each in found}
        for kept in (self.known.looked, self.known.told, self.known.ran):
            for number in set(kept) - numbers:
                del kept[number]
        self.refs.forget(numbers)
