"""Pull requests on GitHub (REST API 2022-11-28: pulls, issue comments)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

from mlops.adapters.forge.reading import Reader
from mlops.adapters.forge.wire import Call, Wire
from mlops.domain.forge import Place
from mlops.domain.pulls import Contribution, Remark

_BELONGS = frozenset(("OWNER", "MEMBER", "COLLABORATOR"))
_LATELY = 30  # closed pull requests that are looked at for those that were merged


class GitHubTalk:
    """Meets `ports.pulls.Conversations`."""

    def __init__(self, place: Place, wire: Wire) -> None:
        self._wire = wire
        self._read = Reader(wire.odd)
        self._base = f"repos/{place.repository}"

    @cached_property
    def _login(self) -> str:
        """Who the token is; empty for that of an app or a job, which is nobody's."""
        answer = self._wire.ask(Call("GET", "user", good=frozenset((200, 401, 403, 404))))
        found = answer.document if isinstance(answer.document, dict) else {}
        return self._read.text(found, "login") if answer.status == 200 else ""

    def proposed(self) -> tuple[Contribution, ...]:
        return tuple(self._proposed())

    def _proposed(self) -> Iterator[Contribution]:
        for each in self._wire.pages(f"{self._base}/pulls", "per_page", state="open"):
            yield self._contribution(each)
        lately: dict[str, str | int] = {
            "state": "closed",
            "sort": "updated",
            "direction": "desc",
            "per_page": _LATELY,
        }
        found = self._wire.ask(Call("GET", f"{self._base}/pulls", lately)).document
        for each in self._read.items({"pulls": found}, "pulls"):
            if each.get("merged_at"):
                yield self._contribution(each)

    def _contribution(self, found: Any) -> Contribution:
        read = self._read
        document = read.mapping(found, "a pull request")
        head, base = read.inner(document, "head"), read.inner(document, "base")
        here, there = read.inner(base, "repo"), head.get("repo")
        merged = read.text(document, "merge_commit_sha") if document.get("merged_at") else ""
        return Contribution(
            number=read.number(document, "number"),
            head=read.needed(head, "sha"),
            into=read.needed(base, "ref"),
            fork=not isinstance(there, dict) or there.get("id") != here.get("id"),
            author=self._author(document),
            trusted=read.text(document, "author_association") in _BELONGS,
            merged=merged,
        )

    def _author(self, document: Mapping[str, Any]) -> str:
        user = document.get("user")
        return self._read.text(user, "login") if isinstance(user, dict) else ""

    def remarks(self, number: int) -> tuple[Remark, ...]:
        found = self._wire.pages(f"{self._base}/issues/{number}/comments", "per_page")
        remarks = (self._remark(number, each) for each in found)
        return tuple(sorted(remarks, key=lambda remark: remark.ident))

    def _remark(self, number: int, found: Any) -> Remark:
        read = self._read
        document = read.mapping(found, "a comment")
        author = self._author(document)
        return Remark(
            number=number,
            ident=read.number(document, "id"),
            author=author,
            body=read.text(document, "body"),
            trusted=read.text(document, "author_association") in _BELONGS,
            edited=read.text(document, "updated_at") != read.text(document, "created_at"),
            mine=author == self._login if self._login else self._is_app(document),
        )

    def _is_app(self, document: Mapping[str, Any]) -> bool:
        """Whether an app wrote it. A job's token does not say whose it is; apps are installed by whoever
        owns the repository, and no stranger writes as one."""
        user = document.get("user")
        return isinstance(user, dict) and user.get("type") == "Bot"

    def add(self, number: int, body: str) -> None:
        call = Call(
            "POST", f"{self._base}/issues/{number}/comments", body={"body": body}, again=False
        )
        self._wire.ask(call)

    def edit(self, remark: Remark, body: str) -> None:
        path = f"{self._base}/issues/comments/{remark.ident}"
        self._wire.ask(Call("PATCH", path, body={"body": body}))

    def remove(self, remark: Remark) -> None:
        path = f"{self._base}/issues/comments/{remark.ident}"
        self._wire.ask(Call("DELETE", path, good=frozenset((200, 204, 404))))
