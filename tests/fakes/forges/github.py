"""GitHub's REST API, as far as it is asked, with the fields that it is read for."""

from __future__ import annotations

from typing import Any

from tests.fakes.forges.server import WHEN, Asked, FakeForge, Pull, Reply, Status

_R = r"repos/ada/ml"


class FakeGitHub(FakeForge):
    """GitHub Enterprise, by its prefix."""

    prefix = "/api/v3"
    size = "per_page"
    routes = (
        ("GET", "user", "user"),
        ("GET", _R, "repo"),
        ("GET", rf"{_R}/commits/([0-9a-f]{{40}})/status", "status"),
        ("POST", rf"{_R}/statuses/([0-9a-f]{{40}})", "post_status"),
        ("GET", rf"{_R}/pulls", "list_pulls"),
        ("POST", rf"{_R}/pulls", "post_pull"),
        ("PATCH", rf"{_R}/pulls/(\d+)", "patch_pull"),
        ("POST", "graphql", "graphql"),
    )
    refuses_auto_merge = ""
    scopes = "repo, workflow"

    def user(self, asked: Asked) -> Reply:
        return Reply(200, {"login": "ada", "id": 1})

    def repo(self, asked: Asked) -> Reply:
        return Reply(200, self._repo(), {"X-OAuth-Scopes": self.scopes})

    def status(self, asked: Asked, sha: str) -> Reply:
        entries = [_status(each) for each in self.newest(sha)]
        size = int(asked.query.get("per_page", 30))
        document = {"state": "pending", "sha": sha, "total_count": len(entries)}
        return Reply(200, document | {"statuses": entries[:size], "repository": self._repo()})

    def post_status(self, asked: Asked, sha: str) -> Reply:
        body = asked.body
        if body.get("state") not in ("error", "failure", "pending", "success"):
            return Reply(422, {"message": "Validation Failed"})
        if len(body.get("description") or "") > 140:
            return Reply(
                422,
                {
                    "message": "Validation Failed",
                    "errors": [{"message": "description is too long"}],
                },
            )
        made = self.add_status(
            sha,
            body.get("context", "default"),
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
        if "head" in asked.query:
            owner, _, branch = asked.query["head"].partition(":")
            found = [
                each
                for each in found
                if each.branch == branch and owner == ("eve" if each.fork else "ada")
            ]
        return self.paged(asked, [self._pull(each) for each in found])

    def post_pull(self, asked: Asked) -> Reply:
        body = asked.body
        if self.open_of(body["head"], body["base"]) is not None:
            said = f"A pull request already exists for ada:{body['head']}."
            return Reply(422, {"message": "Validation Failed", "errors": [{"message": said}]})
        if not self.heads(body["head"]):
            return Reply(422, {"message": "Validation Failed", "errors": [{"field": "head"}]})
        made = self.add_pull(body["head"], body["base"], body["title"], body.get("body") or "")
        return Reply(201, self._pull(made))

    def patch_pull(self, asked: Asked, number: str) -> Reply:
        pull = self.pulls[int(number) - 1]
        pull.title = asked.body.get("title", pull.title)
        pull.body = asked.body.get("body", pull.body)
        if pull.state != "merged":
            pull.state = asked.body.get("state", pull.state)
        return Reply(200, self._pull(pull))

    def graphql(self, asked: Asked) -> Reply:
        variables = asked.body["variables"]
        if self.refuses_auto_merge:
            errors = [{"message": self.refuses_auto_merge, "type": "UNPROCESSABLE"}]
            return Reply(200, {"data": {"enablePullRequestAutoMerge": None}, "errors": errors})
        pull = next(each for each in self.pulls if f"PR_{each.number}" == variables["pull"])
        assert variables["head"] == self.heads(pull.branch)
        pull.waits = True
        found = {"enablePullRequestAutoMerge": {"pullRequest": {"number": pull.number}}}
        return Reply(200, {"data": found})

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
        return {
            "number": pull.number,
            "node_id": f"PR_{pull.number}",
            "html_url": f"{self.web}/{self.repository}/pull/{pull.number}",
            "title": pull.title,
            "body": pull.body or None,
            "state": "open" if pull.state == "open" else "closed",
            "merged_at": WHEN if pull.state == "merged" else None,
            "auto_merge": {"merge_method": "merge"} if pull.waits else None,
            "head": {"ref": pull.branch, "sha": head, "repo": self._repo(fork=pull.fork)},
            "base": {"ref": pull.into, "sha": self.heads(pull.into), "repo": self._repo()},
        }


def _status(each: Status) -> dict[str, Any]:
    return {
        "id": each.number,
        "context": each.context,
        "state": each.state,
        "description": each.description or None,
        "target_url": each.link or None,
    }
