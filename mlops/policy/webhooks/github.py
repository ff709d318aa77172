"""GitHub: docs.github.com, Webhooks, "Validating webhook deliveries" and "push"."""

from __future__ import annotations

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

NAMES = ("x-github-event", "x-github-delivery", "x-hub-signature-256")
MARK = NAMES[:1]


def verify(
    headers: Headers, body: bytes, secrets: Sequence[str], _now: float
) -> Verified | Refused:
    """By X-Hub-Signature-256 alone: the SHA-1 beside it is not asked."""
    if not signatures.hexadecimal(headers.get("x-hub-signature-256"), body, secrets, "sha256="):
        return unauthenticated("X-Hub-Signature-256 does not fit")
    event, name = headers["x-github-event"], headers.get("x-github-delivery", "")
    return Verified(Provider.GITHUB, event, name)


def read(event: str, body: bytes) -> Pushed | Ignored:
    """Raises DocumentError."""
    if event != "push":
        return Ignored(event, ping=event == "ping")
    document = documents.load(body)
    moved = documents.move(document.get("ref"), document.get("before"), document.get("after"))
    repository = documents.within(document, "repository")
    return Pushed(documents.some_texts(repository, "clone_url", "ssh_url", "full_name"), (moved,))
