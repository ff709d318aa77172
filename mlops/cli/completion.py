"""Shell completion: models, environments and digests, as they were fetched last.

A completion must never fail aloud, fetch or wait: whatever goes wrong, there is nothing to offer.
What is offered is evaluated by some shells, so names that are no names of ours are left out.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mlops import documents
from mlops.adapters.git import GitOpsBranch, Repository, discover
from mlops.cli import opening, options
from mlops.cli.wiring import Opened
from mlops.domain.source import Commit

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
_RECORD = re.compile(r"([0-9a-f]{64})\.json")
_AT_DIGEST = "@sha256:"


@dataclass
class Known:
    """What may be offered, read when it is asked for."""

    opened: Opened

    @property
    def environments(self) -> list[str]:
        return list(self.opened.project.environments)

    @cached_property
    def models(self) -> list[str]:
        """Models of mlops.yaml, and those that have a record."""
        branch, tip = self._branch
        recorded = branch.directories(tip, f"{branch.path}/releases") if tip else ()
        return sorted({*self.opened.project.names, *recorded})

    def digests(self, model: str) -> list[str]:
        """The hex digits of the recorded releases of a model."""
        branch, tip = self._branch
        if tip is None or _NAME.fullmatch(model) is None:
            return []
        prefix = f"{branch.path}/releases/{model}/"
        names = (entry.path.removeprefix(prefix) for entry in branch.files(tip, prefix))
        return [match[1] for name in names if (match := _RECORD.fullmatch(name))]

    @cached_property
    def _branch(self) -> tuple[GitOpsBranch, Commit | None]:
        """The GitOps branch as it lies here: a repository apart is not fetched for this."""
        opened = self.opened
        home = opened.repository
        if opened.project.gitops.url:
            home = Repository(discover(opened.state / "gitops"))
        branch = GitOpsBranch(home, opened.branch, opened.project.gitops.path, home.remote_name())
        return branch, branch.tip()


def environments(incomplete: str) -> list[str]:
    """Environments of mlops.yaml."""
    return _offered(lambda known: known.environments, incomplete)


def several_environments(incomplete: str) -> list[str]:
    """Environments, also after others and a comma."""
    before, comma, _ = incomplete.rpartition(",")
    named = before.split(",")
    return _offered(
        lambda known: [f"{before}{comma}{e}" for e in known.environments if e not in named],
        incomplete,
    )


def models(incomplete: str) -> list[str]:
    """Models of mlops.yaml, and those that have a record."""
    return _offered(lambda known: known.models, incomplete)


def releases(incomplete: str) -> list[str]:
    """References to releases: `spam@prod`, and with the model named `spam@sha256:…`."""
    return _offered(lambda known: _releases(known, incomplete), incomplete)


def references(incomplete: str) -> list[str]:
    """Environments, and references to releases."""
    return _offered(lambda k: [*k.environments, *_releases(k, incomplete)], incomplete)


def contexts(incomplete: str) -> list[str]:
    """Contexts of the kubeconfig: whoever types has it, in a project or not."""
    found: list[str] = []
    for path in (os.environ.get("KUBECONFIG") or "~/.kube/config").split(os.pathsep):
        with suppress(Exception):  # see above
            text = Path(path).expanduser().read_bytes()
            listed = documents.load(text, path).value["contexts"]
            found += [str(each["name"]) for each in listed]
    return [name for name in dict.fromkeys(found) if name.startswith(incomplete) and _fit(name)]


def _releases(known: Known, incomplete: str) -> Iterable[str]:
    model, at, _ = incomplete.partition("@")
    for name in (model,) if at else known.models:
        for environment in known.environments:
            yield f"{name}@{environment}"
    if at and model in known.models:
        for digits in known.digests(model):
            yield f"{model}{_AT_DIGEST}{digits}"


def _offered(offer: Callable[[Known], Iterable[str]], incomplete: str) -> list[str]:
    try:
        with redirect_stderr(io.StringIO()):
            known = Known(opening.open_project(options.HERE))
            return [text for text in offer(known) if text.startswith(incomplete) and _fit(text)]
    except Exception:  # noqa: BLE001 - a traceback in the middle of somebody's typing helps nobody
        return []


def _fit(text: str) -> bool:
    """Whether every part is a name: nothing that a shell could carry out."""
    parts = text.replace(_AT_DIGEST, "@").replace("@", ",").split(",")
    return all(map(_NAME.fullmatch, parts))
