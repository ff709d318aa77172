"""Anything else that can sign: Standard Webhooks 1.0 (standardwebhooks.com) around a small document of ours.

`{"type": "push", "repository": "team/shop", "refs": [{"ref": "refs/heads/main", "old": …, "new": …}]}`: every key may
be left out; without `repository`, each that is watched is looked at.
"""

from __future__ import annotations

from collections.abc import Sequence

from mlops.domain.delivery import Provider
from mlops.policy.webhooks import documents, signatures
from mlops.policy.webhooks.verdict import Headers, Ignored, Pushed, Refused, Verified

NAMES = ("webhook-id", "webhook-timestamp", "webhook-signature")
MARK = ("webhook-signature",)  # without X-Gitlab-Event, which signs the same way


def verify(headers: Headers, body: bytes, secrets: Sequence[str], now: float) -> Verified | Refused:
    name = signatures.standard(headers, body, secrets, now)
    return name if isinstance(name, Refused) else Verified(Provider.GENERIC, "", name)


def read(_event: str, body: bytes) -> Pushed | Ignored:
    """Raises DocumentError."""
    document = documents.load(body)
    kind = documents.text(document, "type") if "type" in document else "push"
    if kind != "push":
        return Ignored(kind, ping=kind == "ping")
    names = (documents.text(document, "repository"),) if "repository" in document else ()
    refs = documents.objects(document, "refs") if "refs" in document else ()
    return Pushed(
        names, tuple(documents.move(e.get("ref"), e.get("old"), e.get("new")) for e in refs)
    )
