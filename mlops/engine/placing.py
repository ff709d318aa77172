"""Where the images of an environment's releases lie, and how they come there before a pin does."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from mlops.domain.digest import ReleaseId
from mlops.engine.history import kustomization_path
from mlops.engine.state import Environments
from mlops.errors import ConfigError
from mlops.manifests import kustomization
from mlops.ports import ImageCopies

Note = Callable[[str], None]


def new_name(environments: Environments, environment: str, model: str) -> str | None:
    """What an overlay calls the image of a model: in the environment's registry, else the project's;
    None with the embedded layout, which has no valid image name to write."""
    own = environments.policy(environment).registry
    return f"{own}/{model}" if own else _of_project(environments, model)


def _of_project(environments: Environments, model: str) -> str | None:
    project = environments.project
    return None if project.layout is not None else f"{project.registry}/{model}"


def kept_name(environments: Environments, environment: str, model: str) -> str | None:
    """As `new_name`, where the policy cannot be read by the project's registry: what leaves an
    environment does not wait for its environment.yaml."""
    try:
        return new_name(environments, environment, model)
    except ConfigError:
        return _of_project(environments, model)


def standing(environments: Environments, environment: str, model: str) -> str:
    """The environment's own registry, where its overlay names it for the model; empty where images
    come from the project's. What cannot be read says nothing: an incident must not wait for it."""
    try:
        own = environments.policy(environment).registry
        path = kustomization_path(environments.gitops, environment)
        content = environments.state(environment).kustomization
        named = kustomization.place_of(content, model, path)
    except ConfigError:
        return ""
    return own if own and named in ("", f"{own}/{model}") else ""


@dataclass(slots=True)
class Placement:
    """Brings the images of releases where environments want them, each once, however often the
    pins are decided again."""

    copies: ImageCopies | None
    say: Note
    _done: set[tuple[ReleaseId, str]] = field(default_factory=set)

    def bring(
        self, environments: Environments, moves: Iterable[tuple[str, ReleaseId]], *, dry_run: bool
    ) -> None:
        """Copy, or with `dry_run` tell what would be; `moves` are environments and their releases.

        Raises RegistryError before any pin has moved."""
        for environment, release in moves:
            into = environments.policy(environment).registry
            if self.copies is None or not into or (release, into) in self._done:
                continue
            sources = _others(environments, into)
            if dry_run:
                lacking = self.copies.needed(release, into, sources)
                self.say(
                    f"would copy {release.short} to {into}: {lacking}"
                    if lacking
                    else f"{release.short} is in {into} already"
                )
            else:
                self.copies.bring(release, into, sources)
            self._done.add((release, into))


def _others(environments: Environments, into: str) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for name in environments.names:
        try:
            found[environments.policy(name).registry] = None
        except ConfigError:
            continue
    return tuple(each for each in found if each not in ("", into))
