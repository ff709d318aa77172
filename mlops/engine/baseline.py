"""The release that a run starts from, and that impact is taken against."""

from __future__ import annotations

from collections.abc import Sequence

from mlops.domain.release import ReleaseRecord, record_path
from mlops.domain.source import Commit
from mlops.errors import ConfigError
from mlops.ports import GitOps, SourceReader


def records(gitops: GitOps, tip: Commit | None, model: str) -> tuple[ReleaseRecord, ...]:
    """All release records of a model at a tip, oldest first.

    Raises ConfigError naming a file that is no record.
    """
    if tip is None:
        return ()
    found = []
    for entry in gitops.files(tip, f"{gitops.path}/releases/{model}"):
        if not entry.path.endswith(".json"):
            continue
        record = ReleaseRecord.parse(gitops.blob(entry.blob), entry.path)
        if record_path(gitops.path, model, record.release.digest) != entry.path:
            raise ConfigError(
                f"{entry.path}: this is the record of {record.release}, under another's name"
            )
        found.append(record)
    return tuple(sorted(found, key=lambda record: str(record.document.get("created", ""))))


def baseline(
    reader: SourceReader, known: Sequence[ReleaseRecord], source: Commit
) -> ReleaseRecord | None:
    """The last release on the line to `source`, `source` itself left out; None at the first.

    Whatever failed in between does not count: only what was released has a record. Of several
    releases of one source the newest record is taken.
    """
    by_source = {record.source: record for record in known if record.source != source}
    if not by_source:
        return None
    return next((by_source[c] for c in reader.ancestors(source) if c in by_source), None)


def of_source(known: Sequence[ReleaseRecord], source: Commit) -> ReleaseRecord | None:
    """The first release that was made of this very source, None where there is none."""
    return next((record for record in known if record.source == source), None)
