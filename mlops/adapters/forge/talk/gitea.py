"""Pull requests on Gitea and Forgejo (REST API v1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any
from urllib.parse import quote

from mlops.adapters.forge.reading import Reader
from mlops.adapters.forge.wire import Call, Wire
from mlops.domain.forge import Place
from mlops.domain.pulls import COMMAND, Contribution, Remark

_PUSHES = frozenset(("owner", "admin", "write"))
_LATELY = 30


class GiteaTalk:
    """Meets `ports.pulls.Conversations`."""

    def __init__(self, place: Place, wire: Wire) -> None:
        self._wire = wire
        self._read = Reader(wire.odd)
        self._base = f"repos/{place.repository}"
        self._rights: dict[str, bool] = {}

    @cached_property
    def _login(self) -> str:
        answer = self._wire.ask(Call("GET", "user", good=frozenset((200, 401, 403, 404))))
        found = answer.document if isinstance(answer.document, dict) else {}
        return self._read.text(found, "login") if answer.status == 200 else ""

    def proposed(self) -> tuple[Contribution, ...]:
        return tuple(self._proposed())

    def _proposed(self) -> Iterator[Contribution]:
        for each in self._wire.pages(f"{self._base}/pulls", "limit", state="open"):
            yield self._contribution(each)
        query: dict[str, str | int] = {"state": "closed", "sort": "recentupdate", "limit": _LATELY}
        found = self._wire.ask(Call("GET", f"{self._base}/pulls", query)).document
        for each in self._read.items({"pulls": found}, "pulls"):
            if each.get("merged") is True:
                yield self._contribution(each)

    def _contribution(self, found: Any) -> Contribution:
        read = self._read
        document = read.mapping(found, "a pull request")
        head, base = read.inner(document, "head"), read.inner(document, "base")
        fork = head.get("repo_id") != base.get("repo_id") or not head.get("repo")
        author = self._author(document)
        return Contribution(
            number=read.number(document, "number"),
            head=read.needed(head, "sha"),
            into=read.needed(base, "ref"),
            fork=fork,
            author=author,
            trusted=fork and self._belongs(author),
            merged=read.text(document, "merge_commit_sha")
            if document.get("merged") is True
            else "",
        )

    def _author(self, document: Mapping[str, Any]) -> str:
        user = document.get("user")
        return self._read.text(user, "login") if isinstance(user, dict) else ""

    def _belongs(self, login: str) -> bool:
        """Whether somebody may push. A token that may not ask finds nobody who does."""
        if login and login not in self._rights:
            path = f"{self._base}/collaborators/{quote(login, safe='')}/permission"
            answer = self._wire.ask(Call("GET", path, good=frozenset((200, 403, 404))))
            found = answer.document if isinstance(answer.document, dict) else {}
            self._rights[login] = answer.status == 200 and found.get("permission") in _PUSHES
        return self._rights.get(login, False)

    def remarks(self, number: int) -> tuple[Remark, ...]:
        found = self._wire.pages(f"{self._base}/issues/{number}/comments", "limit")
        remarks = (self._remark(number, each) for each in found)
        return tuple(sorted(remarks, key=lambda remark: remark.ident))

    def _remark(self, number: int, found: Any) -> Remark:
        read = self._read
        document = read.mapping(found, "a comment")
        author, body = self._author(document), read.text(document, "body")
        return Remark(
            number=number,
            ident=read.number(document, "id"),
            author=author,
            body=body,
            trusted=COMMAND in body and self._belongs(author),
            edited=read.text(document, "updated_at") != read.text(document, "created_at"),
            mine=bool(author) and author == self._login,
        )

    def add(self, number: int, body: str) -> None:
        path = f"{self._base}/issues/{number}/comments"
        self._wire.ask(Call("POST", path, body={"body": body}, again=False))

    def edit(self, remark: Remark, body: str) -> None:
        path = f"{self._base}/issues/comments/{remark.ident}"
        self._wire.ask(Call("PATCH", path, body={"body": body}))

    def remove(self, remark: Remark) -> None:
        path = f"{self._base}/issues/comments/{remark.ident}"
        self._wire.ask(Call("DELETE", path, good=frozenset((200, 204, 404))))
