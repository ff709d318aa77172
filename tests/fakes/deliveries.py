"""Deliveries as the forges' published documents describe them, signed as they sign them: none met a real forge."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import uuid

from mlops.domain.delivery import Provider

SECRET = "3f1c0a9be2d84756a1b0c9d8e7f60514"
OLD, NEW, ZERO = "1" * 40, "2" * 40, "0" * 40
SCHEMES = (*Provider, "gitlab-signed")


def hexadecimal(secret: str, body: bytes) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def standard(secret: str, name: str, body: bytes, stamp: int) -> dict[str, str]:
    """The three headers of Standard Webhooks."""
    key = (
        base64.b64decode(secret.removeprefix("whsec_"))
        if secret.startswith("whsec_")
        else secret.encode()
    )
    mac = hmac.new(key, f"{name}.{stamp}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": name,
        "webhook-timestamp": str(stamp),
        "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
    }


def document(
    provider: str,
    path: str = "team/shop",
    ref: str = "refs/heads/main",
    old: str = OLD,
    new: str = NEW,
) -> dict:
    """The body of a push, with some of what else the forge sends."""
    owner, _, name = path.partition("/")
    kind, _, short = ref.removeprefix("refs/").partition("/")
    http, ssh = f"https://forge.example.com/{path}.git", f"git@forge.example.com:{path}.git"
    sides = {"before": old, "after": new, "ref": ref}
    repository = {"full_name": path, "clone_url": http, "ssh_url": ssh, "name": name}
    commits = [{"id": new, "message": "Änder’ the “training” \u2028\U0001f600"}]
    if provider.startswith("gitlab"):
        project = {"git_http_url": http, "git_ssh_url": ssh, "path_with_namespace": path}
        return {"object_kind": "push", **sides, "project": project, "commits": commits}
    if provider == Provider.BITBUCKET:
        named = {"type": {"heads": "branch", "tags": "tag"}[kind], "name": short}
        change = {
            "old": None if old == ZERO else {**named, "target": {"type": "commit", "hash": old}},
            "new": None if new == ZERO else {**named, "target": {"type": "commit", "hash": new}},
            "created": old == ZERO,
        }
        return {"push": {"changes": [change]}, "repository": {"full_name": path, "scm": "git"}}
    if provider == Provider.BITBUCKET_SERVER:
        change = {"ref": {"id": ref}, "fromHash": old, "toHash": new, "type": "UPDATE"}
        return {
            "eventKey": "repo:refs_changed",
            "repository": {"slug": name, "project": {"key": owner}},
            "changes": [change],
        }
    if provider == Provider.GENERIC:
        return {
            "type": "push",
            "repository": path,
            "refs": [{"ref": ref, "old": old, "new": new}],
        }
    return {
        **sides,
        "deleted": new == ZERO,
        "forced": False,
        "repository": repository,
        "commits": commits,
    }


def headers(
    provider: str,
    body: bytes,
    secret: str = SECRET,
    name: str = "",
    event: str = "",
    stamp: int | None = None,
) -> dict[str, str]:
    """The headers that the provider sends with a body; `gitlab-signed` with a signature, `gitlab` with the token."""
    name = name or str(uuid.uuid4())
    mac = hexadecimal(secret, body)
    stamp = int(time.time()) if stamp is None else stamp
    hub = {"x-hub-signature": f"sha256={mac}"}
    github = {
        "x-github-event": event or "push",
        "x-github-delivery": name,
        "x-hub-signature-256": f"sha256={mac}",
        "x-hub-signature": "sha1=" + hmac.new(secret.encode(), body, "sha1").hexdigest(),
    }
    gitea = github | {
        "x-gitea-event": event or "push",
        "x-gitea-delivery": name,
        "x-gitea-signature": mac,
        "x-gogs-event": event or "push",
    }
    match provider:
        case Provider.GITHUB:
            return github
        case Provider.GITEA:
            return gitea
        case Provider.FORGEJO:
            return gitea | {
                "x-forgejo-event": event or "push",
                "x-forgejo-delivery": name,
                "x-forgejo-signature": mac,
            }
        case Provider.BITBUCKET:
            return hub | {
                "x-event-key": event or "repo:push",
                "x-request-uuid": name,
                "x-hook-uuid": "h",
            }
        case Provider.BITBUCKET_SERVER:
            return hub | {"x-event-key": event or "repo:refs_changed", "x-request-id": name}
        case Provider.GITLAB:
            return {
                "x-gitlab-event": event or "Push Hook",
                "x-gitlab-event-uuid": str(uuid.uuid4()),
                "idempotency-key": name,
                "x-gitlab-token": secret,
            }
        case "gitlab-signed":
            return {"x-gitlab-event": event or "Push Hook", **standard(secret, name, body, stamp)}
        case _:
            return standard(secret, name, body, stamp)


def push(provider: str, *, secret: str = SECRET, name: str = "", **more) -> tuple[dict, bytes]:
    """Headers (with the type of the body) and body of a push."""
    body = json.dumps(document(provider, **more)).encode()
    kind = {"content-type": "application/json"}
    return kind | headers(provider, body, secret, name), body
