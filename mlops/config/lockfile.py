"""mlops.lock: text ↔ `ProjectLock`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from mlops.config.fields import AnyPlatform, DigestText, FilePath, Text
from mlops.config.validation import API_VERSION, Section, validate
from mlops.documents import dump, load
from mlops.domain.digest import Digest
from mlops.domain.lock import LockedImage, LockedRequirements, ProjectLock

_HEADER = "# Written by mlops lock; review it like code.\n"


class ImageSection(Section):
    """An image, resolved for one platform."""

    name: Text = Field(description="the base as mlops.yaml writes it, or mlops: the tool image")
    ref: Text = Field(description="where it was found")
    digest: DigestText = Field(description="its top-level digest")
    manifest: DigestText = Field(description="the digest of the platform's manifest")
    platform: AnyPlatform = Field(description="the platform")


class TaskSection(Section):
    """An image of Tekton documents, whatever the platform."""

    name: Text = Field(description="the image as mlops.yaml writes it, with its tag")
    digest: DigestText = Field(description="its top-level digest")


class RequirementsSection(Section):
    """A requirements lock."""

    path: FilePath = Field(description="the lock file")
    inputs: DigestText = Field(description="the digest of what it was resolved from")


class LockSection(Section):
    """Every tag and version of the project, resolved once."""

    api_version: Literal["mlops/v1"] = Field(alias="apiVersion", description="mlops/v1")
    kind: Literal["Lock"] = Field(description="Lock")
    builder: Annotated[str, Field(description="the version of the image builder")] = ""
    tools: dict[Text, Text] = Field(default={}, description="the versions of the tools")
    images: tuple[ImageSection, ...] = Field(default=(), description="the images")
    tasks: tuple[TaskSection, ...] = Field(default=(), description="images of Tekton documents")
    requirements: tuple[RequirementsSection, ...] = Field(
        default=(), description="the requirements locks"
    )

    @field_validator("images")
    @classmethod
    def _once(cls, images: tuple[ImageSection, ...]) -> tuple[ImageSection, ...]:
        seen: set[tuple[str, str]] = set()
        for image in images:
            if (image.name, image.platform) in seen:
                raise ValueError(f"expected {image.name} once for {image.platform}, found it twice")
            seen.add((image.name, image.platform))
        return images

    @field_validator("tasks")
    @classmethod
    def _named_once(cls, tasks: tuple[TaskSection, ...]) -> tuple[TaskSection, ...]:
        names = [task.name for task in tasks]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"expected {name} once, found it twice")
        return tasks

    @field_validator("requirements")
    @classmethod
    def _apart(cls, locks: tuple[RequirementsSection, ...]) -> tuple[RequirementsSection, ...]:
        paths = [lock.path for lock in locks]
        for path in paths:
            if paths.count(path) > 1:
                raise ValueError(f"expected {path} once, found it twice")
        return locks


def parse_lock(content: bytes, origin: str = "mlops.lock") -> ProjectLock:
    """Read mlops.lock. Raises ConfigError with every error of the file."""
    section = validate(LockSection, load(content, origin))
    return ProjectLock(
        tuple(
            LockedImage(
                image.name,
                image.ref,
                Digest.parse(image.digest),
                Digest.parse(image.manifest),
                image.platform,
            )
            for image in section.images
        ),
        tuple(section.tools.items()),
        tuple(LockedRequirements(r.path, Digest.parse(r.inputs)) for r in section.requirements),
        section.builder,
        tuple((task.name, Digest.parse(task.digest)) for task in section.tasks),
    )


def dump_lock(lock: ProjectLock) -> bytes:
    """The file's bytes; sorted, so that a change of one entry is a diff of that entry."""
    images = sorted(lock.images, key=lambda image: (image.name, image.platform))
    document: dict[str, Any] = {
        "apiVersion": API_VERSION,
        "kind": "Lock",
        "builder": lock.builder,
        "tools": dict(sorted(lock.tools)),
        "images": [
            {
                "name": image.name,
                "ref": image.ref,
                "platform": image.platform,
                "digest": str(image.digest),
                "manifest": str(image.manifest),
            }
            for image in images
        ],
        "requirements": [
            {"path": entry.path, "inputs": str(entry.inputs)}
            for entry in sorted(lock.requirements, key=lambda entry: entry.path)
        ],
    }
    if lock.tasks:
        document["tasks"] = [
            {"name": name, "digest": str(digest)} for name, digest in sorted(lock.tasks)
        ]
    return (_HEADER + dump(document)).encode()
