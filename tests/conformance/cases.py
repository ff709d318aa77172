"""The cases: Tekton documents, each with a header of comments that says how it must end.

A file holds the cases of one area; each begins with a line `# case: NAME`. The header is YAML behind `# `, up to the
first line that is no comment. Its keys:

case       its name in the file
about      one sentence: what this shows
expect     how the run ends: Succeeded, Failed, Cancelled, Pending; or refused, at admission
cluster    where a cluster differs by nature: how it ends there what is refused here before the first step, or fails;
           `accepted` where a cluster has what one machine lacks
reason     the reason of the run's condition
message    a regular expression that the message of the failure or refusal holds
at         the path that the refusal must name, or one above it
results    the run's results, all of them
tasks      pipeline task → how it ended; a list where a matrix made several, in order of combinations
reasons    pipeline task → the reason of its end
differs    path in the status → why a cluster says something else there, by nature (agreement.py)
fields     fields of the honoured table that the document shows, `Part.field`
refuses    fields of that table whose wrong use it shows (both: names with spaces between)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent / "cases"
ENDS = frozenset({"Succeeded", "Failed", "Cancelled", "Pending", "refused"})
ELSEWHERE = frozenset({"Succeeded", "Failed", "accepted", ""})


@dataclass(frozen=True, slots=True)
class Case:
    """One file of documents and what is expected of it; the module's docstring says what each field means."""

    name: str
    text: str
    about: str
    expect: str
    cluster: str = ""
    reason: str = ""
    message: str = ""
    at: str = ""
    results: Mapping[str, Any] | None = None
    tasks: Mapping[str, Any] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    differs: Mapping[str, str] = field(default_factory=dict)
    fields: tuple[str, ...] = ()
    refuses: tuple[str, ...] = ()

    @property
    def documents(self) -> list[dict[str, Any]]:
        return [each for each in yaml.safe_load_all(self.text) if each is not None]

    @property
    def admitted(self) -> bool:
        """Whether Tekton's admission lets the documents pass."""
        return self.expect != "refused" or bool(self.cluster)

    @property
    def generated(self) -> str:
        """What a name begins with whose end is made up; empty where the run has a name."""
        metadata = self.documents[-1].get("metadata") or {}
        return str(metadata.get("generateName") or "")

    @property
    def carried_out(self) -> bool:
        """Whether a cluster carries the documents out: all but what is refused, or merely accepted."""
        return self.admitted and self.cluster != "accepted"


def read(text: str, area: str) -> Case:
    """Read one case. Raises ValueError where its header says what no case can."""
    header = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        header.append(line.removeprefix("#").removeprefix(" "))
    said = yaml.safe_load("\n".join(header))
    name = f"{area}/{said.pop('case')}"
    said["fields"], said["refuses"] = (
        tuple((said.get(k) or "").split()) for k in ("fields", "refuses")
    )
    case = Case(name, text, **said)
    if case.expect not in ENDS or case.cluster not in ELSEWHERE:
        raise ValueError(f"{name}: expects {case.expect!r}, on a cluster {case.cluster!r}")
    return case


def every() -> list[Case]:
    """All cases, in order of their names, AREA/CASE. Raises ValueError where a name is there twice."""
    found: dict[str, Case] = {}
    for path in sorted(ROOT.glob("*.yaml")):
        before, *texts = re.split(r"(?m)^(?=# case: )", path.read_text())
        if before.strip():
            raise ValueError(f"{path.name}: what comes before the first case belongs to none")
        for text in texts:
            case = read(text.removesuffix("---\n"), path.stem)
            if case.name in found:
                raise ValueError(f"{case.name} is there twice")
            found[case.name] = case
    return list(found.values())
