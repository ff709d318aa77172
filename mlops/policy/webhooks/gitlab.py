"""GitLab: docs.gitlab.com, "Webhooks" and "Webhook events". A token in a header, or, newer, a signature."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from mlops.domain.delivery import Provider
from mlops.policy.webhooks import documents, signatures
from mlops.policy.webhooks.verdict import (
    Headers,
    Ignored,
    Pushed,
    Refused,
    Verified,
    unauthenticated,
)

NAMES = (
    "x-gitlab-event",
    "x-gitlab-event-uuid",
    "x-gitlab-token",
    "idempotency-key",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
)
MARK = NAMES[:1]
_PUSHES = {"Push Hook": ("push",), "Tag Push Hook": ("tag_push",)}
_SYSTEM = {"System Hook": ("push", "tag_push")}  # of a whole instance: other events are among them


def verify(headers: Headers, body: bytes, secrets: Sequence[str], now: float) -> Verified | Refused:
    """By the signature where there is one, whatever token is beside it; else by the token."""
    event = headers["x-gitlab-event"]
    if "webhook-signature" in headers:
        name = signatures.standard(headers, body, secrets, now)
        return name if isinstance(name, Refused) else Verified(Provider.GITLAB, event, name)
    if not signatures.token(headers.get("x-gitlab-token", ""), secrets):
        return unauthenticated("X-Gitlab-Token does not fit")
    return Verified(Provider.GITLAB, event, _name(headers, body))


def _name(headers: Headers, body: bytes) -> str:
    """GitLab 17.4 and later name each message; before, one that another set off had that one's name."""
    if "idempotency-key" in headers:
        return headers["idempotency-key"]
    event = headers.get("x-gitlab-event-uuid", "")
    return f"{event}/{hashlib.sha256(body).hexdigest()[:16]}" if event else ""


def read(event: str, body: bytes) -> Pushed | Ignored:
    """Raises DocumentError."""
    expected = _PUSHES.get(event) or _SYSTEM.get(event)
    if expected is None:
        return Ignored(event)
    document = documents.load(body)
    kind = document.get("object_kind") or document.get("event_name")
    if kind not in expected:
        if event in _SYSTEM:
            return Ignored(event)
        raise documents.DocumentError("object_kind is not that of the event")
    moved = documents.move(document.get("ref"), document.get("before"), document.get("after"))
    project = documents.within(document, "project")
    names = ("git_http_url", "git_ssh_url", "path_with_namespace")
    return Pushed(documents.some_texts(project, *names), (moved,))
