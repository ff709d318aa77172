"""GitLab's REST API v4, as far as it is asked, with the fields that it is read for."""

from __future__ import annotations

from typing import Any

from tests.fakes.forges.server import TOKEN, Asked, FakeForge, Pull, Reply, Status

_P = r"projects/ada%2Fml"


class FakeGitLab(FakeForge):
    prefix = "/api/v4"
    size = "per_page"
    routes = (
        ("GET", "user", "user"),
        ("GET", "personal_access_tokens/self", "own_token"),
        ("GET", _P, "project"),
        ("GET", rf"{_P}/repository/commits/([0-9a-f]{{40}})/statuses", "list_statuses"),
        ("POST", rf"{_P}/statuses/([0-9a-f]{{40}})", "post_status"),
        ("GET", rf"{_P}/merge_requests", "list_pulls"),
        ("POST", rf"{_P}/merge_requests", "post_pull"),
        ("PUT", rf"{_P}/merge_requests/(\d+)", "put_pull"),
        ("PUT", rf"{_P}/merge_requests/(\d+)/merge", "merge"),
    )
    refuses_auto_merge = ""
    scopes = ("api",)

    def knows(self, headers: Any) -> bool:
        return headers.get("authorization") == f"Bearer {TOKEN}"

    def user(self, asked: Asked) -> Reply:
        return Reply(200, {"id": 1, "username": "ada", "name": "Ada"})

    def own_token(self, asked: Asked) -> Reply:
        return Reply(200, {"id": 1, "name": "mlops", "scopes": list(self.scopes)})

    def project(self, asked: Asked) -> Reply:
        level = 30 if self.pushes else 20
        rights = {"project_access": {"access_level": level}, "group_access": None}
        return Reply(200, {"id": 7, "path_with_namespace": self.repository, "permissions": rights})

    def list_statuses(self, asked: Asked, sha: str) -> Reply:
        return self.paged(asked, [_status(sha, each) for each in self.newest(sha)])

    def post_status(self, asked: Asked, sha: str) -> Reply:
        body = asked.body
        if body.get("state") not in ("pending", "running", "success", "failed", "canceled"):
            return Reply(400, {"error": "state does not have a valid value"})
        last = next((e for e in self.newest(sha) if e.context == body["name"]), None)
        if last is not None and last.state == body["state"]:
            said = f'Cannot transition status via :run from :{last.state} (Reason(s): Status cannot transition via "run")'
            return Reply(400, {"message": said})
        made = self.add_status(
            sha,
            body["name"],
            body["state"],
            body.get("description") or "",
            body.get("target_url") or "",
        )
        return Reply(201, _status(sha, made))

    def list_pulls(self, asked: Asked) -> Reply:
        wanted = asked.query.get("state", "all")
        states = {"opened": "open", "closed": "closed", "merged": "merged"}
        found = [
            each
            for each in reversed(self.pulls)
            if wanted == "all" or each.state == states.get(wanted)
        ]
        if "source_branch" in asked.query:
            found = [each for each in found if each.branch == asked.query["source_branch"]]
        return self.paged(asked, [self._pull(each) for each in found])

    def post_pull(self, asked: Asked) -> Reply:
        body = asked.body
        there = self.open_of(body["source_branch"], body["target_branch"])
        if there is not None:
            said = (
                f"Another open merge request already exists for this source branch: !{there.number}"
            )
            return Reply(409, {"message": [said]})
        made = self.add_pull(
            body["source_branch"],
            body["target_branch"],
            body["title"],
            body.get("description") or "",
        )
        return Reply(201, self._pull(made))

    def put_pull(self, asked: Asked, number: str) -> Reply:
        pull = self.pulls[int(number) - 1]
        pull.title = asked.body.get("title", pull.title)
        pull.body = asked.body.get("description", pull.body)
        if asked.body.get("state_event") == "close" and pull.state == "open":
            pull.state = "closed"
        return Reply(200, self._pull(pull))

    def merge(self, asked: Asked, number: str) -> Reply:
        if self.refuses_auto_merge:
            return Reply(405, {"message": self.refuses_auto_merge})
        pull = self.pulls[int(number) - 1]
        if asked.body["sha"] != self.heads(pull.branch):
            return Reply(409, {"message": "SHA does not match HEAD of source branch"})
        pull.waits = True
        return Reply(200, self._pull(pull))

    # -- documents

    def _pull(self, pull: Pull) -> dict[str, Any]:
        head = pull.head if pull.state != "open" else self.heads(pull.branch)
        return {
            "id": 1000 + pull.number,
            "iid": pull.number,
            "project_id": 7,
            "title": pull.title,
            "description": pull.body or None,
            "state": "opened" if pull.state == "open" else pull.state,
            "source_branch": pull.branch,
            "target_branch": pull.into,
            "source_project_id": 8 if pull.fork else 7,
            "target_project_id": 7,
            "sha": head,
            "web_url": f"{self.web}/{self.repository}/-/merge_requests/{pull.number}",
            "merge_when_pipeline_succeeds": pull.waits,
        }


def _status(sha: str, each: Status) -> dict[str, Any]:
    return {
        "id": each.number,
        "sha": sha,
        "ref": "main",
        "status": each.state,
        "name": each.context,
        "target_url": each.link or None,
        "description": each.description or None,
    }
