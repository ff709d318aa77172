"""The release record: the JSON document that says what a release is, written once.

The keys are those of `environments/releases/MODEL/HEX.json`; reading keeps what it does not know.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from mlops.domain.digest import Digest, ReleaseId
from mlops.domain.source import Commit, DataObject
from mlops.errors import ConfigError

SCHEMA = "mlops/release/v1"


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """What a gate said: the rule as text, the value it saw, and pass, fail or a note."""

    rule: str
    value: float | None
    verdict: str  # "pass" | "fail" | "pass: …note"

    @property
    def passed(self) -> bool:
        return self.verdict.startswith("pass")

    @property
    def told(self) -> str:
        """`accuracy ≥ 0.9: 0.84`; the reason where the number alone does not tell."""
        reason = self.verdict.partition(": ")[2]
        if self.value is None:
            return f"{self.rule}: {reason}"
        if not reason or reason.startswith(f"{self.value:.6g} is "):
            return f"{self.rule}: {self.value:.6g}"
        return f"{self.rule}: {self.value:.6g}, {reason}"


@dataclass(frozen=True, slots=True)
class MetricChange:
    """A metric, by its dotted name, in two releases; None where one lacks it."""

    name: str
    before: float | None
    now: float | None


@dataclass(frozen=True, slots=True)
class ReleaseRecord:
    """A release record; `document` is the whole JSON value, read-only at its first level."""

    release: ReleaseId
    source: Commit
    document: Mapping[str, Any]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> ReleaseRecord:
        """Wrap a record document. Raises ConfigError where a key that we need is missing."""
        try:
            release = ReleaseId.parse(document["release"])
            source = Commit.parse(document["source"]["commit"])
        except (KeyError, TypeError) as exc:
            raise ConfigError(f"release record lacks {exc}") from exc
        return cls(release, source, MappingProxyType(dict(document)))

    @classmethod
    def parse(cls, content: bytes, path: str) -> ReleaseRecord:
        """Read the file's bytes. Raises ConfigError naming `path` where they are no record."""
        try:
            document = json.loads(content)
        except (ValueError, RecursionError) as exc:
            raise ConfigError(f"{path}: not a release record: {exc}") from exc
        if not isinstance(document, dict):
            raise ConfigError(f"{path}: not a release record: expected an object")
        try:
            return cls.of(document)
        except Exception as exc:
            raise ConfigError(f"{path}: {exc}") from exc

    def dump(self) -> bytes:
        """The file's bytes: sorted keys, one newline at the end."""
        text = json.dumps(dict(self.document), indent=2, sort_keys=True, ensure_ascii=False)
        return (text + "\n").encode()

    @property
    def metrics(self) -> Mapping[str, Any]:
        found = self.document.get("metrics")
        return found if isinstance(found, Mapping) else {}

    @property
    def artifact(self) -> str | None:
        """The md5 of the model artifact, None where none was recorded."""
        found = self.document.get("artifact")
        md5 = found.get("md5") if isinstance(found, Mapping) else None
        return str(md5) if md5 else None

    @property
    def compatibility(self) -> Mapping[str, str]:
        """Contract → value: what callers of the release may rely on; empty where not recorded."""
        found = self.document.get("compatibility")
        return {str(k): str(v) for k, v in found.items()} if isinstance(found, Mapping) else {}

    @property
    def platforms(self) -> frozenset[str]:
        """What it runs on, as `linux/amd64`; empty where not recorded."""
        found = self.document.get("platforms")
        entries = found if isinstance(found, list) else []
        names = (entry.get("platform") for entry in entries if isinstance(entry, Mapping))
        return frozenset(str(name) for name in names if name)

    @property
    def gates(self) -> tuple[GateVerdict, ...]:
        """What the gates said of it before it was released, as far as that can be read."""
        found = self.document.get("gates")
        entries = (
            [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []
        )
        numbers = [each.get("value") for each in entries]
        return tuple(
            GateVerdict(
                str(each.get("rule", "")),
                value if isinstance(value, int | float) else None,
                str(each.get("verdict", "")),
            )
            for each, value in zip(entries, numbers, strict=True)
        )

    @property
    def objects(self) -> tuple[DataObject, ...]:
        """The data and outputs that DVC versions, as the record lists them."""
        found = self.document.get("data")
        entries = found if isinstance(found, list) else []
        return tuple(
            DataObject(str(entry["path"]), str(entry["md5"]))
            for entry in entries
            if isinstance(entry, Mapping) and entry.get("path") and entry.get("md5")
        )

    @property
    def run(self) -> str:
        found = self.document.get("run")
        return str(found.get("name", "")) if isinstance(found, Mapping) else ""

    @property
    def finished(self) -> datetime | None:
        """The end of packaging, aware; None where not recorded."""
        found = self.document.get("run")
        text = found.get("finished") if isinstance(found, Mapping) else None
        return datetime.fromisoformat(str(text)) if text else None


def record_path(gitops: str, model: str, digest: Digest) -> str:
    """Where the record of a digest stands below the repository's root."""
    return f"{gitops}/releases/{model}/{digest.hex}.json"
