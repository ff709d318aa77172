"""GitHub, and GitHub Enterprise: its REST API 2022-11-28, and GraphQL for what that lacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlops.adapters.forge.reading import Reader
from mlops.adapters.forge.tokens import Token
from mlops.adapters.forge.wire import Call, Wire
from mlops.domain.forge import Place, PullRequest, State, Status, shortened
from mlops.domain.source import Commit
from mlops.ports.forge import Access

LONGEST = 140  # characters of a status's description
_STATES = {
    "pending": State.PENDING,
    "success": State.SUCCESS,
    "failure": State.FAILURE,
    "error": State.FAILURE,
}
_AUTO_MERGE = """mutation($pull: ID!, $head: GitObjectID!) {
  enablePullRequestAutoMerge(input: {pullRequestId: $pull, expectedHeadOid: $head, mergeMethod: MERGE}) {
    pullRequest { number }
  }
}"""


def dress(token: Token) -> Mapping[str, str]:
    return {
        "Authorization": f"Bearer {token.secret}",
        "Accept": "application/vnd.github+json",
        "X-GitHub-Api-Version": "2022-11-28",
    }


class GitHub:
    """Meets `ports.forge.Forge`."""

    def __init__(self, place: Place, wire: Wire) -> None:
        self._place = place
        self._wire = wire
        self._read = Reader(wire.odd)
        self._base = f"repos/{place.repository}"
        self._owner = place.repository.partition("/")[0]

    @property
    def place(self) -> Place:
        return self._place

    def access(self) -> Access:
        answer = self._wire.ask(Call("GET", self._base))
        rights = self._read.mapping(answer.document, "repository").get("permissions")
        pushes = rights.get("push") is True if isinstance(rights, dict) else None
        scopes = {each.strip() for each in answer.scopes.split(",")} - {""}
        if scopes and not scopes & {"repo", "public_repo"}:
            pushes = False
        return Access(self._login(), pushes)

    def _login(self) -> str:
        """Of a person's token; that of an app or a job is nobody's."""
        answer = self._wire.ask(Call("GET", "user", good=frozenset((200, 401, 403, 404))))
        found = answer.document if isinstance(answer.document, dict) else {}
        return self._read.text(found, "login") if answer.status == 200 else ""

    def statuses(self, commit: Commit) -> tuple[Status, ...]:
        found = self._wire.get(f"{self._base}/commits/{commit.sha}/status", per_page=100)
        entries = self._read.items(self._read.mapping(found, "status"), "statuses")
        return tuple(
            Status(
                self._read.needed(each, "context"),
                _STATES[state],
                self._read.text(each, "description"),
                self._read.text(each, "target_url"),
            )
            for each in entries
            if (state := self._read.text(each, "state")) in _STATES
        )

    def say(self, commit: Commit, status: Status) -> None:
        body = {
            "state": str(status.state),
            "context": status.context,
            "description": shortened(status.description, LONGEST),
        } | ({"target_url": status.link} if status.link else {})
        self._wire.ask(Call("POST", f"{self._base}/statuses/{commit.sha}", body=body))

    def pulls(self, branch: str = "") -> tuple[PullRequest, ...]:
        query = {"state": "open"}
        if branch:
            query = {"state": "all", "head": f"{self._owner}:{branch}"}
        found = self._wire.pages(f"{self._base}/pulls", "per_page", **query)
        every = (self._pull(each) for each in found)
        return tuple(pull for pull in every if pull is not None and branch in ("", pull.branch))

    def open_pull(self, branch: str, into: str, title: str, body: str) -> PullRequest:
        asked = {"title": title, "body": body, "head": branch, "base": into}
        call = Call("POST", f"{self._base}/pulls", body=asked, good=frozenset((201, 422)))
        answer = self._wire.ask(call)
        if answer.status == 422:  # there is one: an answer was lost, or somebody was quicker
            there = [p for p in self.pulls(branch) if (p.state, p.into) == ("open", into)]
            if not there:
                raise self._wire.refused(call, answer)
            return self.edit_pull(there[0], title, body)
        return self._own(answer.document)

    def edit_pull(self, pull: PullRequest, title: str, body: str) -> PullRequest:
        asked = {"title": title, "body": body}
        call = Call("PATCH", f"{self._base}/pulls/{pull.number}", body=asked)
        return self._own(self._wire.ask(call).document)

    def close_pull(self, pull: PullRequest) -> None:
        asked = {"state": "closed"}
        self._wire.ask(Call("PATCH", f"{self._base}/pulls/{pull.number}", body=asked))

    def let_merge(self, pull: PullRequest) -> str:
        body = {"query": _AUTO_MERGE, "variables": {"pull": pull.ident, "head": pull.head}}
        answer = self._wire.ask(Call("POST", self._wire.graphql, body=body))
        found = self._read.mapping(answer.document, "the answer")
        errors = self._read.items(found, "errors")
        return "; ".join(self._read.text(each, "message") for each in errors[:3])

    def _own(self, found: Any) -> PullRequest:
        pull = self._pull(found)
        if pull is None:
            raise self._wire.odd("a pull request of another repository")
        return pull

    def _pull(self, found: Any) -> PullRequest | None:
        """A pull request; None for one of a fork, or whose branch is gone with its repository."""
        read = self._read
        document = read.mapping(found, "a pull request")
        head, base = read.inner(document, "head"), read.inner(document, "base")
        home, here = head.get("repo"), read.inner(base, "repo")
        if not isinstance(home, dict) or home.get("id") != here.get("id"):
            return None
        merged = bool(read.text(document, "merged_at"))
        return PullRequest(
            number=read.number(document, "number"),
            title=read.text(document, "title"),
            body=read.text(document, "body"),
            state="merged" if merged else read.needed(document, "state"),
            branch=read.needed(head, "ref"),
            into=read.needed(base, "ref"),
            head=read.text(head, "sha"),
            url=read.page(document, "html_url"),
            waits=isinstance(document.get("auto_merge"), dict),
            ident=read.text(document, "node_id"),
        )
