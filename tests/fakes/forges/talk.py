"""The same forges with people on them: authors of pull requests, comments, and who belongs to the repository."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tests.fakes.forges.gitea import FakeGitea
from tests.fakes.forges.github import FakeGitHub
from tests.fakes.forges.gitlab import FakeGitLab
from tests.fakes.forges.server import WHEN, Asked, FakeForge, Pull, Reply

LATER = "2026-01-31T12:05:00Z"
IDS = {"ada": 1, "rosa": 2, "mallory": 3}


@dataclass(frozen=True)
class Comment:
    ident: int
    author: str  # empty: the account is gone
    body: str
    updated: str = WHEN


class People:
    """The state. `ada` is whose token it is; `members` belong to the repository."""

    def __init__(self, repository: str = "ada/ml") -> None:
        super().__init__(repository)
        self.members = {"ada", "rosa"}
        self.authors: dict[int, str] = {}
        self.merged: dict[int, str] = {}
        self.gone: set[int] = set()  # pull requests whose fork is deleted
        self.comments: dict[int, list[Comment]] = {}
        self._last = 100

    def propose(self, author: str, sha: str, *, fork: bool = True, into: str = "main") -> Pull:
        pull = Pull(len(self.pulls) + 1, f"topic-{len(self.pulls)}", into, "T", "", "open", sha)
        pull.fork = fork
        self.pulls.append(pull)
        self.authors[pull.number] = author
        old = self.heads
        self.heads = lambda branch: pull.head if branch == pull.branch else old(branch)
        return pull

    def merge_at(self, number: int, sha: str) -> None:
        self.pulls[number - 1].state = "merged"
        self.merged[number] = sha

    def comment(self, number: int, author: str, body: str) -> Comment:
        self._last += 1
        made = Comment(self._last, author, body)
        self.comments.setdefault(number, []).append(made)
        return made

    def edit(self, ident: int, body: str) -> None:
        for number, there in self.comments.items():
            self.comments[number] = [
                replace(each, body=body, updated=LATER) if each.ident == ident else each
                for each in there
            ]

    def list_comments(self, asked: Asked, number: str) -> Reply:
        found = self.comments.get(int(number), [])
        return self.paged(asked, [self._comment(each) for each in found])

    def post_comment(self, asked: Asked, number: str) -> Reply:
        if len(asked.body["body"]) > 65536:
            return Reply(422, {"message": "body is too long (maximum is 65536 characters)"})
        return Reply(201, self._comment(self.comment(int(number), "ada", asked.body["body"])))

    def put_comment(self, asked: Asked, *numbers: str) -> Reply:
        self.edit(int(numbers[-1]), asked.body["body"])
        return Reply(200, {"id": int(numbers[-1])})

    def delete_comment(self, asked: Asked, *numbers: str) -> Reply:
        ident = int(numbers[-1])
        there = sum(len(each) for each in self.comments.values())
        for number, each in self.comments.items():
            self.comments[number] = [comment for comment in each if comment.ident != ident]
        left = sum(len(each) for each in self.comments.values())
        return Reply(204 if left < there else 404, None)

    def _user(self, login: str) -> Any:
        kind = "Bot" if login.endswith("[bot]") else "User"
        return {"login": login, "id": IDS.get(login, 9), "type": kind} if login else None

    def _comment(self, each: Comment) -> dict[str, Any]:
        return {
            "id": each.ident,
            "user": self._user(each.author),
            "body": each.body,
            "created_at": WHEN,
            "updated_at": each.updated,
        }


_R, _P = r"repos/ada/ml", r"projects/ada%2Fml"
_ISSUES = (
    ("GET", rf"{_R}/issues/(\d+)/comments", "list_comments"),
    ("POST", rf"{_R}/issues/(\d+)/comments", "post_comment"),
    ("PATCH", rf"{_R}/issues/comments/(\d+)", "put_comment"),
    ("DELETE", rf"{_R}/issues/comments/(\d+)", "delete_comment"),
)


class TalkingGitHub(People, FakeGitHub):
    routes = (*_ISSUES, *FakeGitHub.routes)
    nobody = False  # whether the token is a job's: it may not ask who it is

    def user(self, asked: Asked) -> Reply:
        return Reply(403, {"message": "no"}) if self.nobody else super().user(asked)

    def post_comment(self, asked: Asked, number: str) -> Reply:
        if not self.nobody:
            return super().post_comment(asked, number)
        made = self.comment(int(number), "github-actions[bot]", asked.body["body"])
        return Reply(201, self._comment(made))

    def _association(self, login: str) -> str:
        return "COLLABORATOR" if login in self.members else "CONTRIBUTOR"

    def _comment(self, each: Comment) -> dict[str, Any]:
        return super()._comment(each) | {"author_association": self._association(each.author)}

    def _pull(self, pull: Pull) -> dict[str, Any]:
        found = super()._pull(pull)
        author = self.authors.get(pull.number, "ada")
        if pull.number in self.gone:
            found["head"]["repo"] = None
        return found | {
            "user": self._user(author),
            "author_association": self._association(author),
            "merge_commit_sha": self.merged.get(pull.number),
        }


class TalkingGitLab(People, FakeGitLab):
    _notes = rf"{_P}/merge_requests/(\d+)/notes"
    routes = (
        ("GET", _notes, "list_comments"),
        ("POST", _notes, "post_comment"),
        ("PUT", rf"{_notes}/(\d+)", "put_comment"),
        ("DELETE", rf"{_notes}/(\d+)", "delete_comment"),
        ("GET", rf"{_P}/members/all/(\d+)", "member"),
        *FakeGitLab.routes,
    )

    def member(self, asked: Asked, ident: str) -> Reply:
        login = next((name for name, number in IDS.items() if number == int(ident)), "")
        if login not in self.members:
            return Reply(200, {"id": int(ident), "access_level": 20, "state": "active"})
        return Reply(200, {"id": int(ident), "access_level": 30, "state": "active"})

    def _author(self, login: str) -> Any:
        return {"id": IDS.get(login, 9), "username": login} if login else None

    def _comment(self, each: Comment) -> dict[str, Any]:
        found = super()._comment(each)
        del found["user"]
        return found | {"author": self._author(each.author), "system": False}

    def _pull(self, pull: Pull) -> dict[str, Any]:
        author = self.authors.get(pull.number, "ada")
        found = super()._pull(pull) | {"author": self._author(author)}
        if pull.number in self.gone:
            found["source_project_id"] = None
        merge = {"merge_commit_sha": self.merged.get(pull.number), "squash_commit_sha": None}
        return found | merge


class TalkingGitea(People, FakeGitea):
    routes = (
        *_ISSUES,
        ("GET", rf"{_R}/collaborators/([^/]+)/permission", "permission"),
        *FakeGitea.routes,
    )

    def permission(self, asked: Asked, login: str) -> Reply:
        return Reply(200, {"permission": "write" if login in self.members else "read"})

    def _pull(self, pull: Pull) -> dict[str, Any]:
        found = super()._pull(pull)
        gone = pull.number in self.gone
        found["head"]["repo"] = None if gone else self._repo(fork=pull.fork)
        author = self.authors.get(pull.number, "ada")
        return found | {
            "user": self._user(author),
            "merge_commit_sha": self.merged.get(pull.number),
        }


TALKING: dict[str, type[FakeForge]] = {
    "github": TalkingGitHub,
    "gitlab": TalkingGitLab,
    "gitea": TalkingGitea,
    "forgejo": TalkingGitea,
}
