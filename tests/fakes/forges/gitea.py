"""The REST API v1 of Gitea and Forgejo, as far as it is asked, with the fields that it is read for."""

from __future__ import annotations

from typing import Any

from tests.fakes.forges.server import Asked, FakeForge, Pull, Reply, Status

_R = r"repos/ada/ml"


class FakeGitea(FakeForge):
    prefix = "/api/v1"
    size = "limit"
    routes = (
        ("GET", "user", "user"),
        ("GET", _R, "repo"),
        ("GET", rf"{_R}/commits/([0-9a-f]{{40}})/status", "status"),
        ("POST", rf"{_R}/statuses/([0-9a-f]{{40}})", "post_status"),
        ("GET", rf"{_R}/pulls", "list_pulls"),
        ("POST", rf"{_R}/pulls", "post_pull"),
        ("PATCH", rf"{_R}/pulls/(\d+)", "patch_pull"),
        ("POST", rf"{_R}/pulls/(\d+)/merge", "merge"),
    )
    refuses_auto_merge = ""

    def __init__(self, repository: str = "ada/ml") -> None:
        super().__init__(repository)
        self.longest_page = 50

    def user(self, asked: Asked) -> Reply:
        return Reply(200, {"id": 1, "login": "ada"})

    def repo(self, asked: Asked) -> Reply:
        return Reply(200, self._repo())

    def status(self, asked: Asked, sha: str) -> Reply:
        entries = [_status(each) for each in self.newest(sha)]
        document = {"state": "pending" if entries else "", "sha": sha, "total_count": len(entries)}
        return Reply(200, document | {"statuses": entries or None})

    def post_status(self, asked: Asked, sha: str) -> Reply:
        body = asked.body
        made = self.add_status(
            sha,
            body.get("context") or "default",
            body["state"],
            body.get("description") or "",
            body.get("target_url") or "",
        )
        return Reply(201, _status(made))

    def list_pulls(self, asked: Asked) -> Reply:
        wanted = asked.query.get("state", "open")
        found = [
            each
            for each in reversed(self.pulls)
            if wanted == "all" or (each.state == "open") == (wanted == "open")
        ]
        return self.paged(asked, [self._pull(each) for each in found])

    def post_pull(self, asked: Asked) -> Reply:
        body = asked.body
        if self.open_of(body["head"], body["base"]) is not None:
            return Reply(409, {"message": "pull request already exists for these targets"})
        made = self.add_pull(body["head"], body["base"], body["title"], body.get("body") or "")
        return Reply(201, self._pull(made))

    def patch_pull(self, asked: Asked, number: str) -> Reply:
        pull = self.pulls[int(number) - 1]
        pull.title = asked.body.get("title", pull.title)
        pull.body = asked.body.get("body", pull.body)
        if pull.state != "merged":
            pull.state = asked.body.get("state", pull.state)
        return Reply(201, self._pull(pull))

    def merge(self, asked: Asked, number: str) -> Reply:
        pull = self.pulls[int(number) - 1]
        if self.refuses_auto_merge:
            return Reply(405, {"message": self.refuses_auto_merge})
        if asked.body["head_commit_id"] != self.heads(pull.branch):
            return Reply(409, {"message": "head out of date"})
        if pull.waits:
            said = "pull request is already scheduled to auto merge when checks succeed"
            return Reply(409, {"message": said})
        pull.waits = True
        return Reply(201, None)

    # -- documents

    def _repo(self, *, fork: bool = False) -> dict[str, Any]:
        owner = "eve" if fork else "ada"
        return {
            "id": 8 if fork else 7,
            "name": "ml",
            "full_name": f"{owner}/ml",
            "permissions": {"admin": False, "push": self.pushes, "pull": True},
        }

    def _pull(self, pull: Pull) -> dict[str, Any]:
        head = pull.head if pull.state != "open" else self.heads(pull.branch)
        home = 8 if pull.fork else 7
        return {
            "id": 1000 + pull.number,
            "number": pull.number,
            "html_url": f"{self.web}/{self.repository}/pulls/{pull.number}",
            "title": pull.title,
            "body": pull.body,
            "state": "open" if pull.state == "open" else "closed",
            "merged": pull.state == "merged",
            "head": {"label": pull.branch, "ref": pull.branch, "sha": head, "repo_id": home},
            "base": {
                "label": pull.into,
                "ref": pull.into,
                "sha": self.heads(pull.into),
                "repo_id": 7,
            },
        }


def _status(each: Status) -> dict[str, Any]:
    return {
        "id": each.number,
        "context": each.context,
        "status": each.state,
        "description": each.description,
        "target_url": each.link,
    }
