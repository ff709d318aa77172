"""One look at a remote: branches, tags and claims in one answer, and a fetch of what is new in it alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from mlops.adapters.git.claims import PREFIX, RunClaims
from mlops.adapters.git.command import check_ref
from mlops.adapters.git.remote import Remote
from mlops.adapters.git.repository import Repository
from mlops.adapters.git.standin import HERE, StandInClaims
from mlops.domain.source import Commit
from mlops.domain.watching import HEADS, TAGS, Tip, Tracked
from mlops.errors import GitError, UsageError
from mlops.ports import Sight

_ROUNDS = 4  # looks at refs that move while they are fetched
_PEELED = "^{}"


@dataclass(frozen=True, slots=True)
class _Listed:
    """What was answered: tracked ref → commit (of a tag the one it leads to), claim's ref → blob."""

    tips: dict[str, str]
    claims: dict[str, str]


class RemoteTips:
    """Meets `ports.Tips`: a remote's, or the repository's own refs where `remote` is None.

    Between two looks it keeps the last answer: one that is the same costs one `git ls-remote` and no more.
    """

    def __init__(
        self, repository: Repository, remote: str | None, claims: RunClaims | StandInClaims
    ) -> None:
        self._repository = repository
        self._remote = Remote(repository.git, remote) if remote is not None else None
        self._claims = claims
        self._any_here: bool | None = None
        self._directory = repository.common_dir / HERE
        self._last: tuple[Tracked, str, Sight] | None = None

    def look(self, tracked: Tracked) -> Sight:
        """See `ports.Tips`. A tip that moved on before it could be fetched gives way to the newer one; one that
        is no commit, or whose commit the remote does not give, is left out."""
        for _ in range(_ROUNDS):
            text = self._ask()
            if self._last is not None and self._last[:2] == (tracked, text):
                return replace(self._last[2], fresh=False)
            listed = _listed(text, tracked)
            if self._bring(listed):
                break
        here = self._here(listed.tips.values())
        tips = tuple(
            Tip(ref, Commit.parse(sha)) for ref, sha in sorted(listed.tips.items()) if sha in here
        )
        sight = Sight(tips, self._claims.known(listed.claims), fresh=True)
        self._last = tracked, text, sight
        return sight

    def _ask(self) -> str:
        if self._remote is not None:
            return self._remote.listing() + self._kept_here()
        form = "--format=%(objectname)%09%(refname)%0a%(*objectname)%09%(refname)^{}"
        return self._repository.git.text(
            "for-each-ref", form, HEADS, TAGS, PREFIX, doing="listing branches, tags and claims"
        )

    def _kept_here(self) -> str:
        """The claims that stand here alone, as refs: one that moves is news too. Mostly there are none."""
        if self._any_here is None or self._any_here or self._directory.is_dir():
            form = "--format=%(objectname) %(refname)"
            text = self._repository.git.text("for-each-ref", form, HERE, doing="listing claims")
            self._any_here = bool(text)
            return f"\n{text}" if text else ""
        return ""

    def _bring(self, listed: _Listed) -> bool:
        """Fetch what is not here; False where something moved or went meanwhile."""
        if self._remote is None:
            return True
        here = self._here(listed.tips.values())
        tips = [ref for ref, sha in listed.tips.items() if sha not in here]
        claims = self._claims.absent(listed.claims)
        if not tips and not claims:
            return True
        doing = f"fetching what is new on {self._remote.name}"
        specs = [self._spec(self._remote, ref) for ref in tips]
        try:
            complete = self._remote.fetch([*specs, *claims], doing=doing)
        except GitError as exc:
            if exc.retryable and "cannot lock ref" not in exc.message:
                raise
            # a ref here stands in the way of one (`a` of `a/b`): what counts is that the commits come
            complete = self._remote.fetch([*tips, *claims], doing=doing)
        wanted = {listed.tips[ref] for ref in tips}
        return complete and self._here(wanted) == wanted and not self._claims.absent(listed.claims)

    def _spec(self, remote: Remote, ref: str) -> str:
        """Branches move their remote-tracking refs; a tag moves nothing, as it may be the user's own."""
        if ref.startswith(HEADS):
            return f"+{ref}:refs/remotes/{remote.name}/{ref.removeprefix(HEADS)}"
        return ref

    def _here(self, shas: Iterable[str]) -> set[str]:
        """Those that are commits, and here."""
        wanted = list(dict.fromkeys(shas))
        objects = self._repository.objects
        try:
            contents = objects.several(wanted, "commit")
        except GitError:  # one of them is something else: anybody may have pushed it
            return {sha for sha in wanted if objects.kind(sha) == "commit"}
        return {sha for sha, found in zip(wanted, contents, strict=True) if found is not None}


def _listed(text: str, tracked: Tracked) -> _Listed:
    tips: dict[str, str] = {}
    claims: dict[str, str] = {}
    for ref, sha in _pairs(text):
        if ref.startswith(PREFIX):
            claims[ref] = sha
        elif ref.endswith(_PEELED):
            if (name := ref.removesuffix(_PEELED)) in tips:
                tips[name] = sha
        elif tracked.covers(ref) and _nameable(ref):
            tips[ref] = sha
    return _Listed(tips, claims)


def _nameable(ref: str) -> bool:
    """Whether git would make such a ref: a server may say anything, and refspecs are made of what it says."""
    try:
        return check_ref(ref) == ref
    except UsageError:
        return False


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for line in text.split("\n"):  # other ends of lines may be part of a name
        sha, _, ref = line.partition("\t")
        if sha:  # `for-each-ref` leaves it empty where nothing is to be peeled
            yield ref, sha
