"""tool-image.yaml: which image serves a released mlops. It lies in the package, and in no image.

The release workflow writes it once the image is published, so a checkout has none.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from mlops import __version__, resources
from mlops.config.fields import DigestText, Platform, RemoteRegistry, Text
from mlops.config.validation import API_VERSION, Section, validate
from mlops.documents import dump, load
from mlops.domain.digest import Digest
from mlops.domain.toolimage import ToolImage
from mlops.errors import ConfigError

NAME = "tool-image.yaml"
_HEADER = "# Written by the release workflow, after it published the image.\n"
_HINT = "Install mlops again"


class ToolImageSection(Section):
    """The tool image of one version."""

    api_version: Literal["mlops/v1"] = Field(alias="apiVersion")
    kind: Literal["ToolImage"]
    version: Text
    repository: RemoteRegistry
    digest: DigestText
    manifests: dict[Platform, DigestText] = Field(min_length=1)

    @field_validator("manifests")
    @classmethod
    def _no_more(cls, manifests: dict[str, str]) -> dict[str, str]:
        if len(manifests) > 16:
            raise ValueError("expected at most 16 platforms")
        return manifests


def packaged() -> ToolImage | None:
    """The image that this installation names; None where it names none, as a checkout does.

    Raises ConfigError where the file is damaged, or another version's.
    """
    content = resources.packaged(NAME)
    if content is None:
        return None
    try:
        found = parse_tool_image(content)
    except ConfigError as exc:
        raise ConfigError(exc.message, hint=_HINT) from exc
    if found.version != __version__:
        raise ConfigError(
            f"this is mlops {__version__}, and its {NAME} names the image of {found.version}",
            hint=_HINT,
        )
    return found


def parse_tool_image(content: bytes, origin: str = NAME) -> ToolImage:
    """Read the file. Raises ConfigError with every error of it."""
    section = validate(ToolImageSection, load(content, origin))
    manifests = ((name, Digest.parse(text)) for name, text in section.manifests.items())
    return ToolImage(
        section.version,
        section.repository,
        Digest.parse(section.digest),
        tuple(sorted(manifests)),
    )


def dump_tool_image(image: ToolImage) -> bytes:
    """The file's bytes."""
    document = {
        "apiVersion": API_VERSION,
        "kind": "ToolImage",
        "version": image.version,
        "repository": image.repository,
        "digest": str(image.digest),
        "manifests": {platform: str(digest) for platform, digest in image.manifests},
    }
    return (_HEADER + dump(document)).encode()
