"""`forge:` of mlops.yaml: which forge the repository is on, where that is not known by its host."""

from __future__ import annotations

import re
from string import Formatter
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from mlops.config.validation import Section
from mlops.domain.forge import LINK, ForgeConfig, Kind

_URL = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/-]*)?\Z", re.ASCII)
_REPOSITORY = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)+\Z", re.ASCII)


def _api(text: str) -> str:
    expected = "expected the base URL of an API, such as https://gitlab.example.com/api/v4"
    try:
        fits = _URL.match(text) is not None and urlsplit(text).port != 0
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(expected)
    return text.rstrip("/")


def _repository(text: str) -> str:
    if _REPOSITORY.match(text) is None:
        raise ValueError("expected OWNER/NAME")
    return text


def _link(text: str) -> str:
    try:
        names = {name for _, name, form, way in Formatter().parse(text) if name or form or way}
    except ValueError as exc:
        raise ValueError(f"expected {{name}} in it: {exc}") from exc
    if not text.startswith(("https://", "http://")) or re.search(r"\s", text):
        raise ValueError("expected a URL such as https://tekton.example.com/runs/{run}")
    if wrong := sorted(str(name) for name in names - set(LINK)):
        known = ", ".join(f"{{{name}}}" for name in LINK)
        raise ValueError(f"expected {known} in it, found {{{wrong[0]}}}")
    return text


class ForgeSection(Section):
    """The forge that is told of runs, and has pull requests."""

    kind: Literal["github", "gitlab", "gitea", "forgejo"] | None = Field(
        default=None,
        description="whose API it has; default: told by the remote's host, where that is github.com,"
        " gitlab.com, gitea.com or codeberg.org",
    )
    url: Annotated[str, AfterValidator(_api)] = Field(
        default="",
        description="the base of its API; default: the one of its kind at the remote's host",
    )
    repository: Annotated[str, AfterValidator(_repository)] = Field(
        default="", description="OWNER/NAME there; default: the remote's path"
    )
    link: Annotated[str, AfterValidator(_link)] = Field(
        default="",
        description="where a commit status leads to: a URL with {run}, {model}, {commit} or {release}",
    )

    def frozen(self) -> ForgeConfig:
        kind = Kind(self.kind) if self.kind else None
        return ForgeConfig(kind, self.url, self.repository, self.link)
