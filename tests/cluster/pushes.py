"""Push events as forges send them, and the listener of a project that takes them."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from tests.cluster.installing import Installed

SECRET = "hunter2-Zw9x"
BOTH = 2  # triggers that each event goes through


def commit() -> str:
    return secrets.token_hex(20)


def _now() -> datetime:
    return datetime.now(UTC)


def github_push(sha: str, name: str = "Team/Shop", **more: Any) -> dict[str, Any]:
    body = {"ref": "refs/heads/main", "after": sha, "deleted": False, "commits": []}
    return {**body, "repository": {"full_name": name}, **more}


def gitlab_push(sha: str, **more: Any) -> dict[str, Any]:
    body = {"object_kind": "push", "ref": "refs/heads/main", "after": sha}
    return {**body, "project": {"path_with_namespace": "Team/Shop"}, **more}


def signed(body: bytes, secret: str = SECRET, event: str = "push") -> dict[str, str]:
    """What GitHub sends beside a body."""
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"X-GitHub-Event": event, "X-Hub-Signature-256": f"sha256={signature}"}


def by_token(token: str = SECRET, event: str = "Push Hook") -> dict[str, str]:
    """What GitLab sends beside a body."""
    return {"X-Gitlab-Event": event, "X-Gitlab-Token": token}


@dataclass(frozen=True)
class Listener:
    """The listener of a project."""

    installed: Installed
    url: str

    def deliver(self, body: Any, headers: Mapping[str, str]) -> str:
        """Post an event, and wait until each of the triggers has done with it; its number."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        own = {"Content-Type": "application/json", **headers}
        begun = _now()
        answer = httpx.post(self.url, content=content, headers=own, trust_env=False, timeout=60)
        if answer.status_code == httpx.codes.BAD_REQUEST:  # it did not even begin
            return ""
        assert answer.status_code == httpx.codes.ACCEPTED, answer.text
        event: str = answer.json()["eventID"]
        end = time.monotonic() + 200  # megabytes, checked by each trigger, on a loaded machine
        ended: set[str] = set()
        since = begun
        while len(ended) < BOTH:
            assert time.monotonic() < end, (event, ended, self.log(begun))
            time.sleep(0.1)
            looked = _now()
            ended |= self.outcomes(event, since)
            since = looked - timedelta(seconds=5)  # containerd may be behind with writing
        return event

    def log(self, since: datetime) -> str:
        """What the listener wrote since then; each event of megabytes is a line of it."""
        whole = since.strftime("%Y-%m-%dT%H:%M:%SZ")  # of a second, as Kubernetes' times are
        return self.installed.cluster.done("logs", "deployment/el-mlops", f"--since-time={whole}")

    def outcomes(self, event: str, since: datetime) -> set[str]:
        """The lines of the log that tell how a trigger ended with an event."""
        found = set()
        for line in self.log(since).splitlines():
            with contextlib.suppress(ValueError):
                entry = json.loads(line) if event in line else {}
                said = str(entry.get("message"))
                over = "interceptor stopped" in said or "creating resource" in said
                if over or entry.get("severity") == "error":
                    found.add(line)
        return found

    def jobs(self) -> set[str]:
        """The commits that Jobs were made for."""
        found = self.installed.cluster.done("get", "jobs", "-o", "name")
        return {name.removeprefix("job.batch/mlops-push-") for name in found.split()}


def listen(installed: Installed) -> Listener:
    """Apply tekton/install/triggers with its Secret, and wait until the listener listens."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "mlops-webhook"},
        "stringData": {"secret": SECRET},
    }
    cluster = installed.cluster
    cluster.done("create", "-f", "-", document=secret)
    assert "violate" not in installed.apply("triggers")
    cluster.done("wait", "--for=create", "--timeout=60s", "deployment/el-mlops")
    cluster.done("wait", "--for=condition=Available", "--timeout=180s", "deployment/el-mlops")
    address = cluster.get("service", "el-mlops")["spec"]["clusterIP"]
    return Listener(installed, f"http://{address}:8080")
