"""Gitea and Forgejo: docs.gitea.com and forgejo.org, "Webhooks". Both send the headers of their forebears too:
Gitea those of Gogs and GitHub, Forgejo those of all three."""

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

NAMES = ("x-gitea-event", "x-gitea-delivery", "x-gitea-signature")
MARK = NAMES[:1]
FORGEJO_NAMES = ("x-forgejo-event", "x-forgejo-delivery", "x-forgejo-signature")
FORGEJO_MARK = FORGEJO_NAMES[:1]
_MADE = {"create": True, "delete": False}


def verify(
    headers: Headers, body: bytes, secrets: Sequence[str], _now: float
) -> Verified | Refused:
    return _verify(Provider.GITEA, NAMES, headers, body, secrets)


def verify_forgejo(
    headers: Headers, body: bytes, secrets: Sequence[str], _now: float
) -> Verified | Refused:
    return _verify(Provider.FORGEJO, FORGEJO_NAMES, headers, body, secrets)


def _verify(
    provider: Provider,
    names: tuple[str, str, str],
    headers: Headers,
    body: bytes,
    secrets: Sequence[str],
) -> Verified | Refused:
    event, delivery, signature = names
    if not signatures.hexadecimal(headers.get(signature), body, secrets):
        return unauthenticated(f"{signature} does not fit")
    return Verified(provider, headers[event], headers.get(delivery, ""))


def read(event: str, body: bytes) -> Pushed | Ignored:
    """Branches and tags that are made or removed have events of their own. Raises DocumentError."""
    if event != "push" and event not in _MADE:
        return Ignored(event)
    document = documents.load(body)
    repository = documents.within(document, "repository")
    names = documents.some_texts(repository, "clone_url", "ssh_url", "full_name")
    if event in _MADE:
        return Pushed(names, (_made(document, made=_MADE[event]),))
    moved = documents.move(document.get("ref"), document.get("before"), document.get("after"))
    return Pushed(names, (moved,))


def _made(document: documents.Document, *, made: bool) -> RefMove:
    ref = document.get("ref")
    if not (isinstance(ref, str) and ref.startswith("refs/")):
        ref = documents.of_kind(document.get("ref_type"), ref)
    return documents.move(ref, None, document.get("sha") if made else None)
