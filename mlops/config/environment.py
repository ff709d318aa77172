"""What stands in an environment's directory beside its pins: environment.yaml, holds.yaml, and
quarantine.yaml above it. Files that are absent (None) read as their defaults."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from mlops.config.fields import (
    DigestText,
    Distinct,
    Duration,
    Name,
    NameOrAll,
    RemoteRegistry,
    Text,
    Time,
    moment,
    seconds,
)
from mlops.config.gate import GateSection
from mlops.config.validation import Section, SectionT, schema_of, validate
from mlops.documents import load
from mlops.domain.digest import Digest
from mlops.domain.environment import EnvironmentPolicy, Hold, QuarantineEntry


class EnvironmentSection(Section):
    """The policy of an environment: how releases may enter it."""

    api_version: Literal["mlops/v1"] = Field(alias="apiVersion", description="mlops/v1")
    kind: Literal["Environment"] = Field(description="Environment")
    source: Name | Annotated[tuple[Name, ...], Distinct] = Field(
        default=(),
        alias="from",
        description="the environment that a release must stand in before, or a list: in each of them;"
        " none for the first",
    )
    auto: bool = Field(
        default=False, description="whether `mlops promote --auto` may move releases here"
    )
    soak: Duration = Field(
        default="0s", description="how long a release must have stood in `from` before"
    )
    gates: tuple[GateSection, ...] = Field(
        default=(), description="what a release must pass here, beside the model's own gates"
    )
    require: Annotated[tuple[Text, ...], Distinct] = Field(
        default=(), description="what the record of a release must show"
    )
    registry: RemoteRegistry | None = Field(
        default=None,
        description="where the images of its releases lie, HOST[:PORT][/PATH]: copied there before a"
        " release is pinned; default: the project's registry",
    )

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.source,) if isinstance(self.source, str) else self.source


class HoldSection(Section):
    """A hold: automation leaves the model, or the whole environment, as it is."""

    model: NameOrAll = Field(description='the model, or "*" for all')
    since: Time = Field(description="when it was set (RFC 3339)")
    actor: str = Field(description="who set it")
    reason: str = Field(description="why")
    digest: DigestText | None = Field(default=None, description="what was rolled back from")
    until: Time | None = Field(default=None, description="when it ends by itself (RFC 3339)")
    incident: Text | None = Field(default=None, description="the incident that it belongs to")
    avoid: tuple[DigestText, ...] = Field(default=(), description="digests that it keeps out")

    @model_validator(mode="after")
    def _ordered(self) -> HoldSection:
        if self.until is not None and moment(self.until) <= moment(self.since):
            raise ValueError("expected until to be later than since")
        return self

    def frozen(self) -> Hold:
        return Hold(
            self.model,
            moment(self.since),
            self.actor,
            self.reason,
            Digest.parse(self.digest) if self.digest else None,
            moment(self.until) if self.until else None,
            self.incident,
            tuple(Digest.parse(text) for text in self.avoid),
        )


class HoldsSection(Section):
    """The holds of an environment."""

    holds: tuple[HoldSection, ...] = Field(default=(), description="the holds")


class QuarantineEntrySection(Section):
    """A release that must not be pinned anywhere again."""

    model: Name = Field(description="the model")
    digest: DigestText = Field(description="the digest of the release")
    since: Time = Field(description="when it was set (RFC 3339)")
    actor: str = Field(description="who set it")
    reason: str = Field(description="why")
    artifact: Text | None = Field(
        default=None, description="the md5 of the model artifact, forbidden in any release"
    )
    source: Text | None = Field(default=None, description="the commit it was made from")

    def frozen(self) -> QuarantineEntry:
        return QuarantineEntry(
            self.model,
            Digest.parse(self.digest),
            moment(self.since),
            self.actor,
            self.reason,
            self.artifact,
            self.source,
        )


class QuarantineSection(Section):
    """All that is in quarantine."""

    quarantine: tuple[QuarantineEntrySection, ...] = Field(default=(), description="the entries")


def parse_environment(
    content: bytes | None, name: str, origin: str, environments: Sequence[str] = ()
) -> EnvironmentPolicy:
    """Read the environment.yaml of `name`.

    With `environments`, those of the project in promotion order, `from` must name such as stand before
    `name`: releases never go in a circle. Raises ConfigError with every error of the file.
    """
    if content is None:
        return EnvironmentPolicy(name)
    document = load(content, origin)
    section = validate(EnvironmentSection, document)
    earlier = environments[: environments.index(name)] if name in environments else environments
    wrong = next((each for each in section.sources if each not in earlier), None)
    if environments and wrong is not None:
        there = f"one of {', '.join(earlier)}" if earlier else "nothing: this is the first"
        hint = ""
        if wrong in environments:
            hint = f"mlops.yaml lists {wrong} not before {name}: releases would go in a circle"
        raise document.error(("from",), f"expected {there}; found {wrong!r}", hint=hint)
    return EnvironmentPolicy(
        name,
        section.sources,
        section.auto,
        seconds(section.soak),
        tuple(gate.frozen() for gate in section.gates),
        section.require,
        section.registry or "",
    )


def parse_holds(content: bytes | None, origin: str = "holds.yaml") -> tuple[Hold, ...]:
    """Read holds.yaml. Raises ConfigError with every error of the file."""
    return tuple(hold.frozen() for hold in _entries(HoldsSection, content, origin).holds)


def parse_quarantine(
    content: bytes | None, origin: str = "quarantine.yaml"
) -> tuple[QuarantineEntry, ...]:
    """Read quarantine.yaml. Raises ConfigError with every error of the file."""
    found = _entries(QuarantineSection, content, origin)
    return tuple(entry.frozen() for entry in found.quarantine)


def _entries(section: type[SectionT], content: bytes | None, origin: str) -> SectionT:
    if content is None:
        return section()
    document = load(content, origin)
    return section() if document.value is None else validate(section, document)


def schema() -> dict[str, Any]:
    """The JSON schema of environment.yaml."""
    return schema_of(EnvironmentSection, "environment.yaml")
