"""What is said of a request that claims to be a delivery."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from mlops.domain.delivery import Provider, RefMove

Headers = Mapping[str, str]  # by their names in lower case; of each there was one


class Fault(StrEnum):
    """Why a request is refused: whoever asks hears no more than this."""

    UNAUTHENTICATED = "unauthenticated"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class Refused:
    """`reason` is for the story here, never for whoever asked."""

    fault: Fault
    reason: str


@dataclass(frozen=True, slots=True)
class Verified:
    """The body is of somebody who has a secret of ours. Event and id are, but for Standard Webhooks, not signed."""

    provider: Provider
    event: str
    id: str


@dataclass(frozen=True, slots=True)
class Ignored:
    """Authentic, and no push: `ping` where the forge only asks whether we are there."""

    event: str
    ping: bool = False


@dataclass(frozen=True, slots=True)
class Pushed:
    """Names of one repository, and what moved in it."""

    repositories: tuple[str, ...]
    refs: tuple[RefMove, ...]


def unauthenticated(reason: str) -> Refused:
    return Refused(Fault.UNAUTHENTICATED, reason)


def malformed(reason: str) -> Refused:
    return Refused(Fault.MALFORMED, reason)
