"""watcher.yaml: text → `Watchlist`, and its JSON schema from the same source."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from mlops.config.fields import BranchGlob, Distinct, GitUrl, Name, Some, Text, Timeout, seconds
from mlops.config.validation import Section, schema_of, validate
from mlops.documents import Document, load
from mlops.domain import giturl
from mlops.domain.watchlist import Watched, Watchlist
from mlops.errors import ConfigError

FILE = "watcher.yaml"


class RepositorySection(Section):
    """One repository: its URL, of which a clone is kept, or the path of one that is here."""

    url: GitUrl | None = Field(default=None, description="its URL; a clone of it is kept")
    path: Text | None = Field(
        default=None,
        description="the path of a clone or bare repository that is here, used as it is",
    )
    name: Name | None = Field(
        default=None,
        description="what it is called in messages and below `state`; default: its last part",
    )
    interval: Timeout | None = Field(
        default=None, description="the time between two looks; default: that of the watcher"
    )
    branches: Annotated[tuple[BranchGlob, ...], Some, Distinct] | None = Field(
        default=None, description="globs of its tracked branches; default: those of its mlops.yaml"
    )

    @model_validator(mode="after")
    def _one(self) -> RepositorySection:
        if (self.url is None) == (self.path is None):
            raise ValueError("expected either url or path")
        return self

    @property
    def usual(self) -> str:
        """The last part of the URL or path."""
        text = (self.url or self.path or "").rstrip("/").removesuffix(".git").rstrip("/")
        return text.replace(":", "/").rpartition("/")[2]


class WatcherSection(Section):
    """A watcher of several repositories."""

    api_version: Literal["mlops/v1"] = Field(alias="apiVersion", description="mlops/v1")
    kind: Literal["Watcher"] = Field(description="Watcher")
    repositories: Annotated[tuple[RepositorySection, ...], Some] = Field(
        description="the repositories"
    )
    interval: Timeout = Field(default="30s", description="the time between two looks at each")
    runs: int = Field(
        default=0,
        ge=0,
        description="how many runs at once over all repositories; 0: as many as each of them allows",
    )
    state: Text = Field(
        default=".mlops-watch",
        description="the directory of clones, logs and locks, seen from this file",
    )

    @field_validator("repositories")
    @classmethod
    def _once(cls, found: tuple[RepositorySection, ...]) -> tuple[RepositorySection, ...]:
        seen: set[str] = set()
        for each in found:
            place = giturl.canonical(each.url) if each.url else f"path {each.path}"
            if place in seen:
                raise ValueError(
                    f"expected each repository once, found {each.url or each.path} twice"
                )
            seen.add(place)
        return found


def parse_watchlist(content: bytes, origin: str = FILE) -> Watchlist:
    """Read watcher.yaml. Raises ConfigError with every error of the file, each with line and key."""
    document = load(content, origin)
    section = validate(WatcherSection, document)
    names = _names(section, document)
    found = tuple(
        Watched(
            name,
            each.url or "",
            each.path or "",
            seconds(each.interval or section.interval),
            each.branches or (),
        )
        for name, each in zip(names, section.repositories, strict=True)
    )
    return Watchlist(found, section.runs, section.state)


def _names(section: WatcherSection, document: Document) -> tuple[str, ...]:
    """What each repository is called: no two alike, and fit for a directory."""
    found: list[str] = []
    faults: list[str] = []
    for number, each in enumerate(section.repositories):
        name = each.name or _name(each.usual)
        where = ("repositories", number)
        if not name:
            faults.append(document.complaint(where, f"name is missing: {each.usual!r} can be none"))
        elif name in found:
            faults.append(
                document.complaint(
                    where, f"expected another name than {name!r}: it is taken; give one"
                )
            )
        found.append(name)
    if faults:
        raise ConfigError("\n".join(faults))
    return tuple(found)


def _name(text: str) -> str:
    """A name of lower case letters, digits and hyphens out of the last part of a URL; empty where none."""
    kept = "".join(char if char.isascii() and char.isalnum() else "-" for char in text.lower())
    return kept.strip("-")[:40].strip("-")


def schema() -> dict[str, Any]:
    """The JSON schema of watcher.yaml."""
    return schema_of(WatcherSection, FILE)
