"""tekton/install as `mlops init` writes it: the reference project's, with the project's own names.

The reference (`tekton/install` beside the package) is a kustomization that can be applied as it stands; what is
replaced stands in it once or more as the reference project has it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlops import documents
from mlops.domain import giturl
from mlops.domain.imagename import ImageName
from mlops.errors import ConfigError

PATH = "tekton/install"
KUSTOMIZATION = f"{PATH}/kustomization.yaml"
APPLY = f"kubectl apply --server-side -k {PATH}"
_PROJECT = "spam-filter"
_URL = f"https://git.example.com/team/{_PROJECT}.git"
_REPOSITORY = f'"team/{_PROJECT}"'
_BRANCHES = '"^refs/heads/(main)$"'
_IMAGE = "newName: ghcr.io/mlops-gitops/mlops\n    newTag: latest"
_GLOB = re.compile(r"\[(!?)([^]/\\]+)\]|(\*+)|(\?)")


@dataclass(frozen=True, slots=True)
class Installation:
    """What the files are about. `url` is the repository as pods reach it, empty where it has none yet;
    `branches` are globs; `image` is the tool image, `NAME@sha256:…` or `NAME:TAG`."""

    project: str
    namespace: str
    url: str
    branches: tuple[str, ...]
    image: str


def files(templates: Mapping[str, str], about: Installation) -> dict[str, str]:
    """The files below `tekton/install`, from those of the reference: path → text."""
    swaps = {
        _URL: json.dumps(about.url) if about.url else _URL,
        _REPOSITORY: json.dumps(giturl.path(about.url).lower()) if about.url else _REPOSITORY,
        _BRANCHES: json.dumps(_pattern(about.branches)),
        _IMAGE: _image(about.image),
        f"part-of: {_PROJECT}": f"part-of: {about.project}",
        _PROJECT: about.namespace,
    }
    # the longest first: the project's name is part of others
    every = re.compile("|".join(re.escape(each) for each in sorted(swaps, key=len, reverse=True)))
    return {
        f"{PATH}/{name}": every.sub(lambda found: swaps[found.group()], text)
        for name, text in sorted(templates.items())
    }


def namespace(kustomization: bytes) -> str:
    """The namespace that the files are for, as their kustomization.yaml says; empty where it says none, or
    cannot be read."""
    try:
        found = documents.load(kustomization, KUSTOMIZATION).value
    except ConfigError:
        return ""
    return str(found.get("namespace") or "") if isinstance(found, Mapping) else ""


def remedy(wanted: str, there: str) -> str:
    """What makes the namespace `wanted` with all that runs of mlops need; `there` is the one that tekton/install
    is for, empty where it is not there."""
    if not there:
        return f"mlops init --yes && {APPLY}"
    if there == wanted:
        return APPLY
    return (
        f"write cluster: {{namespace: {there}}}, for which {PATH} is, into mlops.yaml,"
        f" or {wanted} into {PATH}; and {APPLY}"
    )


def _pattern(branches: Sequence[str]) -> str:
    """The refs of branches, given as shell globs, as RE2 has them."""
    return f"^refs/heads/({'|'.join(map(_translated, branches))})$"


def _translated(glob: str) -> str:
    out, at = "", 0
    for found in _GLOB.finditer(glob):
        out += re.escape(glob[at : found.start()])
        negated, inner, star, _ = found.groups()
        if inner:
            out += f"[{'^' if negated else ''}{re.escape(inner).replace(chr(92) + '-', '-')}]"
        else:
            out += ".*" if star else "."
        at = found.end()
    return out + re.escape(glob[at:])


def _image(text: str) -> str:
    name = ImageName.parse(text)
    return f"newName: {name.repository}\n    " + (
        f"digest: {name.digest}" if name.digest else f"newTag: {json.dumps(name.tag)}"
    )
