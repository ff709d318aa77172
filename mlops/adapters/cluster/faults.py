"""What the API, or the way to it, answers that is no success → errors that a user can read.

The API's `Status` object: `reason`, `message`, `details` (Kubernetes API conventions).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlops.errors import ClusterError, ConfigError, ForbiddenError, MlopsError, RefusedError

GONE = 410
_RETRYABLE = frozenset({408, 429, 500, 502, 503, 504})
_INVALID = (400, 422)
# field managers that would write the fields again
_RECONCILERS = {
    "argocd": "Argo CD",
    "kustomize-controller": "Flux",
    "helm-controller": "Flux",
    "helm": "Helm",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is no success: the HTTP code, and the reason and message of its Status."""

    code: int
    reason: str
    message: str

    @property
    def retryable(self) -> bool:
        return self.code in _RETRYABLE and not self.invalid

    @property
    def invalid(self) -> bool:
        """Whether the document is wrong; server-side apply says so of unknown fields with 500."""
        return self.code in _INVALID or "failed to create typed patch object" in self.message

    @property
    def exists(self) -> bool:
        return self.code == 409 and self.reason == "AlreadyExists"


def answer(code: int, body: bytes, reason: str = "") -> Answer:
    """Read a Status; a body that is none (a proxy's page) gives the HTTP reason alone."""
    try:
        status: Any = json.loads(body)
    except ValueError:
        status = {}
    if not isinstance(status, dict) or status.get("kind") != "Status":
        return Answer(code, reason, "")
    return Answer(code, str(status.get("reason") or reason), str(status.get("message") or ""))


def error(found: Answer, doing: str, server: str) -> MlopsError:
    """What to raise for an answer to `doing`, such as `create PipelineRun spam-1a2b3c4-1`."""
    told = found.message or found.reason or f"HTTP {found.code}"
    if found.code == 401:
        return ClusterError(
            f"the cluster at {server} does not know who asks ({doing})",
            hint="Log in again, or choose another context: kubectl config get-contexts",
        )
    if found.code == 403:
        if "exceeded quota" in told:
            return ClusterError(
                f"cannot {doing}: {told}", hint="Wait for room, or ask for a larger quota"
            )
        if "being terminated" in told:
            return ClusterError(
                f"cannot {doing}: {told}", hint="Wait until that namespace is gone, then try again"
            )
        return ForbiddenError(
            f"cannot {doing}: {told}",
            hint="Ask for that right, or choose another namespace: --namespace",
        )
    if found.code == 409 and "conflict" in told.lower() and doing.startswith("apply"):
        return RefusedError(f"cannot {doing}: {_owners(told)}", hint=_instead(told))
    if found.invalid:
        hint = "That cannot change: remove the object, then deploy" if "immutable" in told else ""
        return ConfigError(f"the cluster refuses to {doing}: {_plain(told)}", hint=hint)
    return ClusterError(f"cannot {doing}: {told}", retryable=found.retryable)


def unreachable(server: str, doing: str, cause: str) -> ClusterError:
    """The API could not be asked at all."""
    return ClusterError(
        f"the cluster at {server} cannot be reached ({doing}): {cause}",
        hint="Is it up? kubectl cluster-info says; mlops doctor checks more",
        retryable=True,
    )


def writing(verb: str, document: Mapping[str, Any]) -> str:
    """What is done to a document, for errors."""
    metadata = document.get("metadata") or {}
    name = metadata.get("name") or metadata.get("generateName") or ""
    return f"{verb} {document.get('kind')} {name}"


def cause(exc: BaseException) -> str:
    """The innermost reason of a chain of urllib3's, in a line."""
    while True:
        inner = getattr(exc, "reason", None)
        if not isinstance(inner, BaseException):
            break
        exc = inner
    text = str(exc)
    _, colon, rest = text.partition("Failed to establish a new connection: ")
    text = re.sub(r"\AHTTPS?ConnectionPool\([^)]*\): ", "", rest if colon else text)
    return (text or type(exc).__name__).splitlines()[0]


def _owners(text: str) -> str:
    """Who owns which fields, in one line."""
    return " ".join(text.split())


def _instead(conflict: str) -> str:
    """What to do where others own fields."""
    for manager, name in _RECONCILERS.items():
        if f'"{manager}' in conflict:
            return f"{name} deploys this: leave it to that, or take those fields over: --force"
    return "Leave those fields out of the overlay, or take them over: --force"


def _plain(text: str) -> str:
    """An admission webhook's denial without its own address."""
    before, denied, rest = text.partition(" denied the request: ")
    return rest if denied and before.startswith("admission webhook") else text
