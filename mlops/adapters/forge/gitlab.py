"""GitLab, its own and anybody's: REST API v4."""

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
_DEVELOPER = 30  # the access level that may push and set statuses
_STATES = {
    "pending": State.PENDING,
    "running": State.PENDING,
    "success": State.SUCCESS,
    "failed": State.FAILURE,
    "canceled": State.FAILURE,
}
_SAID = {State.PENDING: "pending", State.SUCCESS: "success", State.FAILURE: "failed"}
_PULL_STATES = {"opened": "open", "locked": "open", "closed": "closed", "merged": "merged"}
_SAME = "cannot transition"  # what GitLab says of a status that is in that state already


def dress(token: Token) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {token.secret}"}


class GitLab:
    """Meets `ports.forge.Forge`."""

    def __init__(self, place: Place, wire: Wire) -> None:
        self._place = place
        self._wire = wire
        self._read = Reader(wire.odd)
        self._base = f"projects/{quote(place.repository, safe='')}"

    @property
    def place(self) -> Place:
        return self._place

    def access(self) -> Access:
        found = self._read.mapping(self._wire.get(self._base), "project")
        rights = found.get("permissions")
        levels = [_level(each) for each in rights.values()] if isinstance(rights, dict) else []
        writes = max(levels) >= _DEVELOPER if levels else None
        call = Call("GET", "personal_access_tokens/self", good=frozenset((200, 401, 403, 404)))
        answer = self._wire.ask(call)
        if answer.status == 200 and isinstance(answer.document, dict):
            scopes = answer.document.get("scopes")
            if isinstance(scopes, list) and "api" not in scopes:
                writes = False
        return Access(self._login(), writes)

    def _login(self) -> str:
        answer = self._wire.ask(Call("GET", "user", good=frozenset((200, 401, 403, 404))))
        found = answer.document if isinstance(answer.document, dict) else {}
        return self._read.text(found, "username") if answer.status == 200 else ""

    def statuses(self, commit: Commit) -> tuple[Status, ...]:
        path = f"{self._base}/repository/commits/{commit.sha}/statuses"
        found: dict[str, Status] = {}
        for each in self._wire.pages(path, "per_page", order_by="id", sort="desc"):
            document = self._read.mapping(each, "status")
            state = self._read.text(document, "status")
            context = self._read.needed(document, "name")
            if state in _STATES and context not in found:
                found[context] = Status(
                    context,
                    _STATES[state],
                    self._read.text(document, "description"),
                    self._read.text(document, "target_url"),
                )
        return tuple(found.values())

    def say(self, commit: Commit, status: Status) -> None:
        body = {
            "state": _SAID[status.state],
            "name": status.context,
            "description": shortened(status.description, LONGEST),
        } | ({"target_url": status.link} if status.link else {})
        call = Call(
            "POST", f"{self._base}/statuses/{commit.sha}", body=body, good=frozenset((201, 400))
        )
        answer = self._wire.ask(call)
        if answer.status == 400 and _SAME not in str(answer.document).lower():
            raise self._wire.refused(call, answer)

    def pulls(self, branch: str = "") -> tuple[PullRequest, ...]:
        query = {"state": "opened"}
        if branch:
            query = {"state": "all", "source_branch": branch}
        found = self._wire.pages(f"{self._base}/merge_requests", "per_page", **query)
        every = (self._pull(each) for each in found)
        return tuple(pull for pull in every if pull is not None and branch in ("", pull.branch))

    def open_pull(self, branch: str, into: str, title: str, body: str) -> PullRequest:
        asked = {
            "source_branch": branch,
            "target_branch": into,
            "title": title,
            "description": body,
            "remove_source_branch": True,
        }
        call = Call("POST", f"{self._base}/merge_requests", body=asked, good=frozenset((201, 409)))
        answer = self._wire.ask(call)
        if answer.status == 409:  # there is one: an answer was lost, or somebody was quicker
            there = [p for p in self.pulls(branch) if (p.state, p.into) == ("open", into)]
            if not there:
                raise self._wire.refused(call, answer)
            return self.edit_pull(there[0], title, body)
        return self._own(answer.document)

    def edit_pull(self, pull: PullRequest, title: str, body: str) -> PullRequest:
        asked = {"title": title, "description": body}
        call = Call("PUT", f"{self._base}/merge_requests/{pull.number}", body=asked)
        return self._own(self._wire.ask(call).document)

    def close_pull(self, pull: PullRequest) -> None:
        asked = {"state_event": "close"}
        self._wire.ask(Call("PUT", f"{self._base}/merge_requests/{pull.number}", body=asked))

    def let_merge(self, pull: PullRequest) -> str:
        # GitLab 17.11 calls it auto_merge, and before that merge_when_pipeline_succeeds
        body = {"auto_merge": True, "merge_when_pipeline_succeeds": True, "sha": pull.head}
        call = Call(
            "PUT",
            f"{self._base}/merge_requests/{pull.number}/merge",
            body=body,
            good=frozenset((200, 401, 405, 406, 409, 422)),
            again=False,
        )
        answer = self._wire.ask(call)
        if answer.status == 200:
            return ""
        return self._read.text(self._read.mapping(answer.document, "the answer"), "message")

    def _own(self, found: Any) -> PullRequest:
        pull = self._pull(found)
        if pull is None:
            raise self._wire.odd("a merge request of another project")
        return pull

    def _pull(self, found: Any) -> PullRequest | None:
        """A merge request; None for one of a fork."""
        read = self._read
        document = read.mapping(found, "a merge request")
        if document.get("source_project_id") != document.get("target_project_id"):
            return None
        state = read.needed(document, "state")
        return PullRequest(
            number=read.number(document, "iid"),
            title=read.text(document, "title"),
            body=read.text(document, "description"),
            state=_PULL_STATES.get(state, state),
            branch=read.needed(document, "source_branch"),
            into=read.needed(document, "target_branch"),
            head=read.text(document, "sha"),
            url=read.page(document, "web_url"),
            waits=document.get("merge_when_pipeline_succeeds") is True,
        )


def _level(found: Any) -> int:
    level = found.get("access_level") if isinstance(found, dict) else None
    return level if isinstance(level, int) else 0
