"""One release: its record, and where it stands now."""

from __future__ import annotations

from dataclasses import dataclass

from mlops.domain.digest import ReleaseId
from mlops.domain.environment import QuarantineEntry
from mlops.domain.release import ReleaseRecord
from mlops.engine.state import Environments
from mlops.errors import ConfigError, RefusedError
from mlops.policy.quarantine import quarantined


@dataclass(frozen=True, slots=True)
class Shown:
    """A record, the environments that pin the release now, and what keeps it out of them.

    `trained` is the first release with the same model, where that had another environment image: the
    model was trained there, and not in this one's."""

    record: ReleaseRecord
    environments: tuple[str, ...]
    quarantine: QuarantineEntry | None
    trained: ReleaseRecord | None = None


def show(environments: Environments, release: ReleaseId) -> Shown:
    """Raises RefusedError where the release has no record, ConfigError where that is damaged."""
    record = recorded(environments, release)
    pinning = tuple(name for name in environments.names if _pins(environments, name, release))
    forbidden = quarantined(release.digest, record.artifact, environments.quarantine)
    return Shown(record, pinning, forbidden, _trained(environments, record))


def _trained(environments: Environments, record: ReleaseRecord) -> ReleaseRecord | None:
    model = record.release.model
    known = (
        environments.sound(ReleaseId(model, digest)) for digest in environments.recorded(model)
    )
    same = [each for each in known if each and each.artifact and each.artifact == record.artifact]
    first = min(same, key=lambda each: str(each.document.get("created", "")), default=record)
    return first if _environment(first) != _environment(record) else None


def _environment(record: ReleaseRecord) -> str:
    return str(record.document.get("environment", ""))


def recorded(environments: Environments, release: ReleaseId) -> ReleaseRecord:
    """The record of a release. Raises RefusedError where there is none."""
    record = environments.record(release)
    if record is None:
        raise RefusedError(
            f"there is no record of {release}", hint=f"Make one: mlops run --model {release.model}"
        )
    return record


def _pins(environments: Environments, name: str, release: ReleaseId) -> bool:
    try:
        return environments.state(name).pins.get(release.model) == release.digest
    except ConfigError:
        return False  # an environment that cannot be read says nothing; mlops status names it
