"""References, resolved against the environments at a tip."""

from __future__ import annotations

import re
from datetime import UTC, tzinfo
from typing import assert_never

from mlops.domain.digest import Digest, ReleaseId
from mlops.domain.history import PinRow
from mlops.domain.reference import (
    MIN_PREFIX,
    DigestReference,
    EnvironmentReference,
    Instant,
    PinReference,
    Reference,
    ReleaseReference,
    TimeReference,
    parse,
    parse_release,
)
from mlops.engine.history import UNSHALLOW
from mlops.engine.state import Environments
from mlops.errors import RefusedError, UsageError
from mlops.policy import rollback as policy
from mlops.policy.quarantine import quarantined

_DIGITS = re.compile(rf"[0-9a-f]{{{MIN_PREFIX},64}}", re.ASCII)
_LISTED = 20  # candidates that an error names


def release(environments: Environments, text: str, zone: tzinfo = UTC) -> ReleaseId:
    """The one release that `text` names.

    Raises UsageError where it is no reference, names an unknown model or environment, or several
    releases; RefusedError where there is no such release.
    """
    return resolve(environments, parse_release(text, zone))


def release_or_environment(
    environments: Environments, text: str, zone: tzinfo = UTC
) -> ReleaseId | EnvironmentReference:
    """The release or the environment that `text` names; errors as for `release`."""
    found: Reference = parse(text, zone)
    if isinstance(found, EnvironmentReference):
        environments.environment(found.environment)
        return found
    return resolve(environments, found)


def resolve(environments: Environments, reference: ReleaseReference) -> ReleaseId:
    """The one release that a parsed reference names; errors as for `release`."""
    environments.model(reference.model)
    if isinstance(reference, PinReference):
        _no_bare_digest(environments, reference)
    match reference:
        case DigestReference():
            return _by_digest(environments, reference)
        case PinReference():
            return _by_pin(environments, reference)
        case TimeReference():
            return _by_time(environments, reference)
        case _:
            assert_never(reference)


def _no_bare_digest(environments: Environments, reference: PinReference) -> None:
    """Raise UsageError for `spam@3943090c`: digits of a digest where an environment belongs."""
    name = reference.environment
    if name not in environments.names and not reference.back and _DIGITS.fullmatch(name):
        raise UsageError(
            f"no environment {name!a} here",
            hint=f"Did you mean {reference.model}@sha256:{name}?",
        )


def _by_digest(environments: Environments, reference: DigestReference) -> ReleaseId:
    if len(reference.prefix) == 64:
        return ReleaseId(reference.model, Digest(reference.prefix))
    model = reference.model
    known = {*environments.recorded(model), *_pinned(environments, model)}
    found = sorted(digest for digest in known if digest.hex.startswith(reference.prefix))
    if not found:
        raise RefusedError(
            f"no release of {model} begins with sha256:{reference.prefix}",
            hint=f"See: mlops history {environments.names[-1]} {model}",
        )
    if len(found) > 1:
        raise UsageError(
            f"{reference} names {len(found)} releases: {_listed(model, found)}",
            hint="Give more digits",
        )
    return ReleaseId(model, found[0])


def _pinned(environments: Environments, model: str) -> set[Digest]:
    states = (environments.state(name) for name in environments.names)
    return {state.pins[model] for state in states if model in state.pins}


def _by_pin(environments: Environments, reference: PinReference) -> ReleaseId:
    model, environment = reference.model, reference.environment
    pinned = environments.state(environment).pins.get(model)
    if pinned is None:
        raise RefusedError(nothing_pinned(environments, environment, model))
    if reference.back == 0:
        return ReleaseId(model, pinned)
    found = predecessors(environments, environment, model)
    if len(found) < reference.back:
        past = environments.history(environment)
        raise RefusedError(
            past.cut_off or _too_far(reference, len(found)),
            hint=UNSHALLOW if past.cut_off else f"See: mlops history {environment} {model}",
        )
    return ReleaseId(model, found[reference.back - 1])


def _too_far(reference: PinReference, found: int) -> str:
    few = f"only {found}" if found else "no"
    return (
        f"{reference} names no release: before the one it pins now, {reference.environment} had "
        f"{few} good release{'' if found == 1 else 's'} of {reference.model} (what a rollback left, "
        "what is in quarantine and what has no record do not count)"
    )


def predecessors(environments: Environments, environment: str, model: str) -> tuple[Digest, ...]:
    """`~1`, `~2` … of a model in an environment: sound releases alone, none that a rollback left."""

    def usable(digest: Digest) -> bool:
        record = environments.sound(ReleaseId(model, digest))
        entries = environments.quarantine
        return record is not None and not quarantined(digest, record.artifact, entries)

    past = environments.history(environment)
    pinned = environments.state(environment).pins.get(model)
    found = policy.predecessors(past.rows(model), pinned, usable)
    if found:
        past.doubt(model)
    return found


def _by_time(environments: Environments, reference: TimeReference) -> ReleaseId:
    model, environment = reference.model, environments.environment(reference.environment)
    rows = environments.history(environment).at(reference.when, model)
    found = list(dict.fromkeys(row.digest for row in rows))
    if not found:
        raise RefusedError(
            f"{environment} pinned no {model} {'at' if isinstance(reference.when, Instant) else 'on'} "
            f"{reference.when}",
            hint=f"See: mlops history {environment} {model}",
        )
    if len(found) > 1:
        raise UsageError(
            f"{environment} pinned {len(found)} releases of {model} on {reference.when}: "
            f"{_listed_rows(rows)}",
            hint="Name a time, as in @{2019-07-16T12:00:00Z}",
        )
    return ReleaseId(model, found[0])


def nothing_pinned(environments: Environments, environment: str, model: str) -> str:
    """Why there is no pin: there never was one, or it was taken out."""
    last = next(environments.history(environment).rows(model), None)
    if last is None:
        return f"{environment} has never pinned {model}"
    return f"{environment} pins no {model} now; {last.release.short} was the last"


def _listed(model: str, digests: list[Digest]) -> str:
    names = [str(ReleaseId(model, digest)) for digest in digests[:_LISTED]]
    more = len(digests) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def _listed_rows(rows: tuple[PinRow, ...]) -> str:
    return ", ".join(f"{row.release.short} since {row.since:%Y-%m-%dT%H:%M:%SZ}" for row in rows)
