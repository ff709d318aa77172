"""Bitbucket Data Center: confluence.atlassian.com, "Manage webhooks" and "Event payload"."""

from __future__ import annotations

from collections.abc import Sequence

from mlops.domain.delivery import Provider, RefMove
from mlops.policy.webhooks import documents, signatures
from mlops.policy.webhooks.verdict import (
    Headers,
    Ignored,
    Pushed,
    Refused,
    Verified,
    unauthenticated,
)

NAMES = ("x-event-key", "x-request-id", "x-hub-signature")
MARK = ("x-event-key",)
_PUSHES = ("repo:refs_changed", "mirror:repo_synchronized")


def verify(
    headers: Headers, body: bytes, secrets: Sequence[str], _now: float
) -> Verified | Refused:
    if not signatures.hexadecimal(headers.get("x-hub-signature"), body, secrets, "sha256="):
        return unauthenticated("X-Hub-Signature does not fit")
    event, name = headers["x-event-key"], headers.get("x-request-id", "")
    return Verified(Provider.BITBUCKET_SERVER, event, name)


def read(event: str, body: bytes) -> Pushed | Ignored:
    """Raises DocumentError."""
    if event not in _PUSHES:
        return Ignored(event, ping=event == "diagnostics:ping")
    document = documents.load(body)
    repository = documents.within(document, "repository")
    key = documents.text(documents.within(repository, "project"), "key")
    path = f"{key}/{documents.text(repository, 'slug')}"
    moved = tuple(_moved(change) for change in documents.objects(document, "changes"))
    return Pushed((path, f"scm/{path}"), moved)  # by ssh, and by https


def _moved(change: documents.Document) -> RefMove:
    ref = documents.within(change, "ref").get("id")
    return documents.move(ref, change.get("fromHash"), change.get("toHash"))
