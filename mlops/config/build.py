"""`build:` of a model in mlops.yaml: how its images are made."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mlops.config.fields import (
    BaseImage,
    Distinct,
    FilePath,
    Label,
    Platform,
    Single,
    Some,
    Text,
    TreePath,
)
from mlops.config.validation import Section
from mlops.domain.project import BuildConfig


class BuildSection(Section):
    """How the images of the model are made."""

    strategy: Literal["layers"] = Field(default="layers", description="how images are assembled")
    base: BaseImage = Field(
        default="host",
        description="the base image, pinned in mlops.lock; `host` packs this machine's interpreter",
    )
    requirements: FilePath = Field(
        default="",
        description="what `mlops lock` resolves: requirements.txt, pyproject.toml, uv.lock, pylock.toml"
        " or Pipfile.lock; default: the one that is there",
    )
    code: Annotated[tuple[TreePath, ...], Distinct] = Field(
        default=(), description="files and directories of application code that go into the image"
    )
    platforms: Annotated[tuple[Platform, ...], Some, Single] = Field(
        default=("linux/amd64",),
        description="the platform that images are built for, linux/amd64 or linux/arm64; one, for now",
        json_schema_extra={"minItems": 1, "maxItems": 1},
    )
    allow_sdist: Annotated[tuple[Text, ...], Distinct] = Field(
        default=(),
        description="packages that are built from source, in the base, and not taken as wheels",
    )
    bytecode: bool = Field(
        default=True,
        description="whether packages stand in the image compiled: it is larger, and starts sooner",
    )
    compression: Literal["gzip", "zstd"] = Field(
        default="gzip",
        description="how layers are packed; zstd is smaller and sooner unpacked, and needs docker 23, "
        "containerd 1.5 or podman 4; umoci reads gzip alone",
    )
    labels: dict[Label, Text] = Field(
        default={}, description="labels of the release image, beside those of mlops"
    )

    def frozen(self) -> BuildConfig:
        return BuildConfig(
            self.strategy,
            self.base,
            self.requirements,
            self.code,
            self.platforms,
            self.allow_sdist,
            self.bytecode,
            self.compression,
            tuple(sorted(self.labels.items())),
        )
