"""Gitea and Forgejo: REST API v1, which both have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from mlops.adapters.forge.reading import Reader
from mlops.adapters.forge.tokens import Token
from mlops.adapters.forge.wire import Call, Wire
from mlops.domain.forge import Place, PullRequest, State, Status, shortened
from mlops.domain.source import Commit
from mlops.ports.forge import Access

LONGEST = 255  # characters of a status's description
_STATES = {
    "pending": State.PENDING,
    "success": State.SUCCESS,
    "failure": State.FAILURE,
    "error": State.FAILURE,
}
_SCHEDULED = "scheduled"  # in what Gitea says where it waits to merge already


def dress(token: Token) -> Mapping[str, str]:
    return {"Authorization": f"token {token.secret}"}


class Gitea:
    """Meets `ports.forge.Forge`."""

    def __init__(self, place: Place, wire: Wire) -> None:
        self._place = place
        self._wire = wire
        self._read = Reader(wire.odd)
        self._base = f"repos/{quote(place.repository, safe='/')}"

    @property
    def place(self) -> Place:
        return self._place

    def access(self) -> Access:
        found = self._read.mapping(self._wire.get(self._base), "repository")
        rights = found.get("permissions")
        pushes = rights.get("push") is True if isinstance(rights, dict) else None
        answer = self._wire.ask(Call("GET", "user", good=frozenset((200, 401, 403, 404))))
        person = answer.document if isinstance(answer.document, dict) else {}
        login = self._read.text(person, "login") if answer.status == 200 else ""
        return Access(login, pushes)

    def statuses(self, commit: Commit) -> tuple[Status, ...]:
        found = self._wire.get(f"{self._base}/commits/{commit.sha}/status", limit=50)
        entries = self._read.items(self._read.mapping(found, "status"), "statuses")
        return tuple(
            Status(
                self._read.needed(each, "context"),
                _STATES[state],
                self._read.text(each, "description"),
                self._read.text(each, "target_url"),
            )
            for each in entries
            if (state := self._read.text(each, "status")) in _STATES
        )

    def say(self, commit: Commit, status: Status) -> None:
        body = {
            "state": str(status.state),
            "context": status.context,
            "description": shortened(status.description, LONGEST),
            "target_url": status.link,
        }
        self._wire.ask(Call("POST", f"{self._base}/statuses/{commit.sha}", body=body))

    def pulls(self, branch: str = "") -> tuple[PullRequest, ...]:
        """Gitea lists by no branch: of the closed ones, the pages that are read must do."""
        query = {"state": "all" if branch else "open", "sort": "recentupdate"}
        found = self._wire.pages(f"{self._base}/pulls", "limit", **query)
        every = (self._pull(each) for each in found)
        return tuple(pull for pull in every if pull is not None and branch in ("", pull.branch))

    def open_pull(self, branch: str, into: str, title: str, body: str) -> PullRequest:
        asked = {"head": branch, "base": into, "title": title, "body": body}
        call = Call("POST", f"{self._base}/pulls", body=asked, good=frozenset((201, 409)))
        answer = self._wire.ask(call)
        if answer.status == 409:  # there is one: an answer was lost, or somebody was quicker
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
        body = {"Do": "merge", "merge_when_checks_succeed": True, "head_commit_id": pull.head}
        call = Call(
            "POST",
            f"{self._base}/pulls/{pull.number}/merge",
            body=body,
            good=frozenset((200, 201, 204, 405, 409, 422)),
            again=False,
        )
        answer = self._wire.ask(call)
        if answer.status in (200, 201, 204):
            return ""
        found = answer.document if isinstance(answer.document, dict) else {}
        said = self._read.text(found, "message") or f"it answers {answer.status}"
        return "" if answer.status == 409 and _SCHEDULED in said else said

    def _own(self, found: Any) -> PullRequest:
        pull = self._pull(found)
        if pull is None:
            raise self._wire.odd("a pull request of another repository")
        return pull

    def _pull(self, found: Any) -> PullRequest | None:
        """A pull request; None for one of a fork, or whose repository is gone."""
        read = self._read
        document = read.mapping(found, "a pull request")
        head, base = read.inner(document, "head"), read.inner(document, "base")
        if head.get("repo_id") != base.get("repo_id"):
            return None
        return PullRequest(
            number=read.number(document, "number"),
            title=read.text(document, "title"),
            body=read.text(document, "body"),
            state="merged" if document.get("merged") is True else read.needed(document, "state"),
            branch=read.needed(head, "ref"),
            into=read.needed(base, "ref"),
            head=read.text(head, "sha"),
            url=read.page(document, "html_url"),
        )
