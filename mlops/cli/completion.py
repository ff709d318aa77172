"""Shell completion: models, environments and digests, as they were fetched last.

A completion must never fail aloud, fetch or wait: whatever goes wrong, there is nothing to offer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mlops.cli import opening, options
from mlops.engine.state import Environments


def environments(incomplete: str) -> list[str]:
    """Environments of mlops.yaml."""
    return _offered(lambda found: iter(found.names), incomplete)


def several_environments(incomplete: str) -> list[str]:
    """Environments, also after others and a comma."""
    before, comma, last = incomplete.rpartition(",")
    named = before.split(",")
    offered = [name for name in environments(last) if not comma or name not in named]
    return [f"{before}{comma}{name}" for name in offered]


def models(incomplete: str) -> list[str]:
    """Models of mlops.yaml, and those that have a record."""
    return _offered(lambda found: iter(sorted(found.models)), incomplete)


def releases(incomplete: str) -> list[str]:
    """References to releases: `spam@prod`, `spam@sha256:…`."""
    return _offered(_releases, incomplete)


def references(incomplete: str) -> list[str]:
    """Environments, and references to releases."""
    return [*environments(incomplete), *releases(incomplete)]


def _releases(found: Environments) -> Iterator[str]:
    for model in sorted(found.models):
        for name in found.names:
            yield f"{model}@{name}"
        for digest in found.recorded(model):
            yield f"{model}@{digest}"


def _offered(offer: Callable[[Environments], Iterator[str]], incomplete: str) -> list[str]:
    try:
        opened = opening.open_project(options.HERE)
        found = Environments.load(opened.gitops, opened.gitops.tip(), opened.project, opened.now())
        return [text for text in offer(found) if text.startswith(incomplete)]
    except Exception:  # noqa: BLE001 - a traceback in the middle of somebody's typing helps nobody
        return []
