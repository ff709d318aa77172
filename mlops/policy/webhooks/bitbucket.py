"""Bitbucket Cloud: support.atlassian.com, "Manage webhooks" and "Event payloads"."""

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

NAMES = ("x-event-key", "x-request-uuid", "x-hook-uuid", "x-hub-signature")
MARK = ("x-hook-uuid", "x-request-uuid")  # beside X-Event-Key, which Data Center sends as well


def verify(
    headers: Headers, body: bytes, secrets: Sequence[str], _now: float
) -> Verified | Refused:
    """By X-Hub-Signature, the name that GitHub had for SHA-1: here it holds SHA-256, and nothing else will do."""
    if not signatures.hexadecimal(headers.get("x-hub-signature"), body, secrets, "sha256="):
        return unauthenticated("X-Hub-Signature does not fit")
    event, name = headers.get("x-event-key", ""), headers.get("x-request-uuid", "")
    return Verified(Provider.BITBUCKET, event, name)


def read(event: str, body: bytes) -> Pushed | Ignored:
    """Raises DocumentError."""
    if event != "repo:push":
        return Ignored(event)
    document = documents.load(body)
    names = documents.some_texts(documents.within(document, "repository"), "full_name")
    changes = documents.objects(documents.within(document, "push"), "changes")
    return Pushed(names, tuple(_moved(change) for change in changes))


def _moved(change: documents.Document) -> RefMove:
    old, new = change.get("old"), change.get("new")
    named = new or old
    if not isinstance(named, dict):
        raise documents.DocumentError("a change has neither old nor new")
    ref = documents.of_kind(named.get("type"), named.get("name"))
    return documents.move(ref, _target(old), _target(new))


def _target(side: object) -> object:
    return documents.within({"side": side}, "side", "target").get("hash") if side else None
