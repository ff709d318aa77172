"""Merge requests on GitLab (REST API v4: merge_requests, notes, members)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any
from urllib.parse import quote

from mlops.adapters.forge.reading import Reader
from mlops.adapters.forge.wire import Call, Wire
from mlops.domain.forge import Place
from mlops.domain.pulls import COMMAND, Contribution, Remark

_DEVELOPER = 30  # the access level that may push
_LATELY = 30


class GitLabTalk:
    """Meets `ports.pulls.Conversations`."""

    def __init__(self, place: Place, wire: Wire) -> None:
        self._wire = wire
        self._read = Reader(wire.odd)
        self._base = f"projects/{quote(place.repository, safe='')}"
        self._levels: dict[int, bool] = {}

    @cached_property
    def _login(self) -> str:
        answer = self._wire.ask(Call("GET", "user", good=frozenset((200, 401, 403, 404))))
        found = answer.document if isinstance(answer.document, dict) else {}
        return self._read.text(found, "username") if answer.status == 200 else ""

    def proposed(self) -> tuple[Contribution, ...]:
        return tuple(self._proposed())

    def _proposed(self) -> Iterator[Contribution]:
        path = f"{self._base}/merge_requests"
        for each in self._wire.pages(path, "per_page", state="opened"):
            yield self._contribution(each)
        query: dict[str, str | int] = {
            "state": "merged",
            "order_by": "updated_at",
            "sort": "desc",
            "per_page": _LATELY,
        }
        found = self._wire.ask(Call("GET", path, query)).document
        for each in self._read.items({"merged": found}, "merged"):
            yield self._contribution(each)

    def _contribution(self, found: Any) -> Contribution:
        read = self._read
        document = read.mapping(found, "a merge request")
        fork = document.get("source_project_id") != document.get("target_project_id")
        author = self._author(document)
        merged = ""
        if read.text(document, "state") == "merged":
            sent = read.text(document, "merge_commit_sha") or read.text(
                document, "squash_commit_sha"
            )
            merged = sent or read.needed(document, "sha")  # fast-forward: the head itself
        return Contribution(
            number=read.number(document, "iid"),
            head=read.needed(document, "sha"),
            into=read.needed(document, "target_branch"),
            fork=fork,
            author=read.text(author, "username"),
            trusted=fork and self._belongs(author),
            merged=merged,
        )

    def _author(self, document: Mapping[str, Any]) -> Mapping[str, Any]:
        found = document.get("author")
        return found if isinstance(found, dict) else {}

    def _belongs(self, author: Mapping[str, Any]) -> bool:
        """Whether somebody may push, here or by a group above. Asked once for each person."""
        ident = author.get("id")
        if not isinstance(ident, int):
            return False
        if ident not in self._levels:
            path = f"{self._base}/members/all/{ident}"
            answer = self._wire.ask(Call("GET", path, good=frozenset((200, 403, 404))))
            found = answer.document if isinstance(answer.document, dict) else {}
            level, state = found.get("access_level"), found.get("state", "active")
            belongs = answer.status == 200 and state == "active"
            self._levels[ident] = belongs and isinstance(level, int) and level >= _DEVELOPER
        return self._levels[ident]

    def remarks(self, number: int) -> tuple[Remark, ...]:
        path = f"{self._base}/merge_requests/{number}/notes"
        found = self._wire.pages(path, "per_page", sort="asc", order_by="created_at")
        remarks = (self._remark(number, each) for each in found)
        return tuple(sorted(filter(None, remarks), key=lambda remark: remark.ident))

    def _remark(self, number: int, found: Any) -> Remark | None:
        read = self._read
        document = read.mapping(found, "a note")
        if document.get("system") is True:
            return None
        author, body = self._author(document), read.text(document, "body")
        login = read.text(author, "username")
        return Remark(
            number=number,
            ident=read.number(document, "id"),
            author=login,
            body=body,
            trusted=COMMAND in body and self._belongs(author),
            edited=read.text(document, "updated_at") != read.text(document, "created_at"),
            mine=bool(login) and login == self._login,
        )

    def add(self, number: int, body: str) -> None:
        path = f"{self._base}/merge_requests/{number}/notes"
        self._wire.ask(Call("POST", path, body={"body": body}, again=False))

    def edit(self, remark: Remark, body: str) -> None:
        path = f"{self._base}/merge_requests/{remark.number}/notes/{remark.ident}"
        self._wire.ask(Call("PUT", path, body={"body": body}))

    def remove(self, remark: Remark) -> None:
        path = f"{self._base}/merge_requests/{remark.number}/notes/{remark.ident}"
        self._wire.ask(Call("DELETE", path, good=frozenset((200, 204, 404))))
