"""`mlops lock`: every tag and version of the project resolved once, into files to be reviewed.

What is locked stays as it is, unless its inputs changed or an upgrade asks for it: locking twice
changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from mlops.config.lockfile import dump_lock
from mlops.domain.digest import Digest
from mlops.domain.lock import TOOL, LockedImage, LockedRequirements, ProjectLock
from mlops.domain.project import ModelConfig, Project
from mlops.engine import requirements
from mlops.engine.requirements import Group, Read
from mlops.errors import ConfigError
from mlops.policy.sides import packages
from mlops.ports import BaseImages, Resolver

LOCK_FILE = "mlops.lock"
ALL = "*"  # as an upgrade: everything
BASE = "base"  # as an upgrade: the base images
SERVER = ("prometheus-client", "starlette", "uvicorn")  # what the built-in server needs
_TOLD_ONLY = ("python", "uv")  # another patch version of these makes no lock stale


@dataclass(frozen=True, slots=True)
class Installed:
    """What is installed here: tools and versions, the builder's version, what the built-in server needs
    beside the model's own requirements, and the published tool image of a release (None: it is built)."""

    tools: Mapping[str, str]
    builder: str
    server: tuple[str, ...] = SERVER
    tool: LockedImage | None = None


@dataclass(frozen=True, slots=True)
class Locked:
    """The new lock; `files` are those whose bytes differ from what stands, `changes` say how."""

    lock: ProjectLock
    files: Mapping[str, bytes] = field(default_factory=dict)
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Locker:
    """`read` gives a file of the work tree, None where there is none."""

    project: Project
    current: ProjectLock | None
    read: Read
    installed: Installed
    bases: BaseImages
    resolver: Resolver

    def lock(self, upgrade: tuple[str, ...] = ()) -> Locked:
        """Resolve what is not locked, or is to be upgraded: `*`, `base`, a base's or package's name.

        Raises ConfigError at requirements that no lock can hold, BuildError where they or a base
        cannot be resolved.
        """
        groups = requirements.groups(self.project, self.read)
        images = {key: self._image(key, upgrade) for key in _bases(self.project)}
        tool = self._tool()
        files: dict[str, bytes] = {}
        entries = []
        for group in groups:
            base = images[group.base, group.platform]
            entry, content = self._requirements(group, base, upgrade)
            entries.append(entry)
            if content != self.read(group.lock):
                files[group.lock] = content
        lock = ProjectLock(
            images=(*images.values(), tool),
            tools=tuple(sorted(self.installed.tools.items())),
            requirements=tuple(entries),
            builder=self.installed.builder,
        )
        content = dump_lock(lock)
        if content != self.read(LOCK_FILE):
            files[LOCK_FILE] = content
        return Locked(lock, files, tuple(self._changes(lock, files)))

    def stale(self) -> tuple[str, ...]:
        """What `lock` would have to change, as texts; nothing is resolved, packed or written."""
        if self.current is None:
            return (f"{LOCK_FILE}: missing",)
        return tuple(self._stale(self.current))

    def _stale(self, current: ProjectLock) -> Iterator[str]:
        if current.image(TOOL) is None:
            yield f"{LOCK_FILE}: the tool image is not locked"
        elif self.installed.tool not in (None, current.image(TOOL)):
            yield f"{LOCK_FILE}: the tool image is another than that of the installed mlops"
        yield from _differences(current, self.installed, but=_TOLD_ONLY)
        named = _bases(self.project)
        for name, platform in named:
            if current.image(name, platform) is None:
                yield f"{LOCK_FILE}: base {name} ({platform}) is not locked"
        for image in current.images:
            if image.name != TOOL and (image.name, image.platform) not in named:
                yield f"{LOCK_FILE}: base {image.name} ({image.platform}) is locked, and no model names it"
        server = self.installed.server
        for _, fault in requirement_faults(self.project, current, self.read, server):
            yield fault
        groups = requirements.groups(self.project, self.read)
        for entry in current.requirements:
            if entry.path not in {group.lock for group in groups}:
                yield f"{LOCK_FILE}: {entry.path} is locked, and no model uses it"

    def _image(self, key: tuple[str, str], upgrade: tuple[str, ...]) -> LockedImage:
        name, platform = key
        known = self.current.image(name, platform) if self.current is not None else None
        if known is None or {ALL, BASE, name} & set(upgrade) or not self.bases.has(known):
            return self.bases.pin(name, platform)
        return known

    def _tool(self) -> LockedImage:
        """The published image of the installed mlops, as its package names it or the lock has it (the
        mlops inside that image names none); else one that is built."""
        if self.installed.tool is not None:
            return self.installed.tool
        current = self.current or ProjectLock()
        known, version = current.image(TOOL), self.installed.tools.get(TOOL)
        if known is not None and known.ref != TOOL and current.tool(TOOL) == version:
            return known
        return self.bases.tool()

    def _requirements(
        self, group: Group, base: LockedImage, upgrade: tuple[str, ...]
    ) -> tuple[LockedRequirements, bytes]:
        inputs = self._inputs(group, base)
        previous = self.read(group.lock)
        names = tuple(name for name in upgrade if name not in (BASE, group.base))
        known = self.current.inputs(group.lock) if self.current is not None else None
        if previous is None or known != inputs or names:
            target = self.bases.target(base)
            previous = requirements.resolve(
                group, self._server(group), target, self.resolver, previous or b"", names, self.read
            )
        return LockedRequirements(group.lock, inputs), previous

    def _inputs(self, group: Group, base: LockedImage) -> Digest:
        return requirements.inputs(group, self._server(group), base, self.read)

    def _server(self, group: Group) -> tuple[str, ...]:
        return self.installed.server if group.server else ()

    def _changes(self, lock: ProjectLock, files: Mapping[str, bytes]) -> Iterator[str]:
        old = self.current or ProjectLock()
        for image in lock.images:
            known = old.image(image.name, image.platform)
            if known is None or known.manifest != image.manifest:
                before = f"{known.manifest.short} → " if known is not None else ""
                yield f"{LOCK_FILE}: {_called(image)}: {before}{image.manifest.short}"
        if self.current is not None:
            yield from _differences(old, self.installed)
        for path in sorted(set(files) - {LOCK_FILE}):
            yield from _package_changes(path, self.read(path), files[path])


def requirement_faults(
    project: Project, current: ProjectLock, read: Read, server: tuple[str, ...] = SERVER
) -> Iterator[tuple[str, str]]:
    """Requirements locks that are missing, or older than what they were made from: path, and text."""
    for group in requirements.groups(project, read):
        base = current.image(group.base, group.platform)
        if read(group.lock) is None:
            yield group.lock, f"{group.lock}: missing"
        elif base is not None:
            wanted = requirements.inputs(group, server if group.server else (), base, read)
            if current.inputs(group.lock) != wanted:
                what = group.source or "its base"
                yield group.lock, f"{group.lock}: {what} changed since it was locked"


def _bases(project: Project) -> tuple[tuple[str, str], ...]:
    """Name and platform of every base that a model is built on."""
    return tuple(dict.fromkeys((m.build.base, platform_of(m)) for m in project.models))


def platform_of(model: ModelConfig) -> str:
    """The one platform that a model is built for. Raises ConfigError where there are several."""
    if len(model.build.platforms) != 1:
        raise ConfigError(
            f"mlops.yaml: models.{model.name}.build.platforms: images of several platforms are not "
            "supported yet",
            hint="Name one",
        )
    return model.build.platforms[0]


def _called(image: LockedImage) -> str:
    return "tool image" if image.name == TOOL else f"base {image.name}"


def _differences(
    lock: ProjectLock, installed: Installed, but: tuple[str, ...] = ()
) -> Iterator[str]:
    if lock.builder != installed.builder:
        yield f"{LOCK_FILE}: builder: {lock.builder or 'not locked'} → {installed.builder}"
    for name, version in sorted(installed.tools.items()):
        if name not in but and (known := lock.tool(name)) != version:
            yield f"{LOCK_FILE}: {name}: {known or 'not locked'} → {version}"
    for name, version in lock.tools:
        if name not in installed.tools:
            yield f"{LOCK_FILE}: {name}: {version} → not used"


def _package_changes(path: str, before: bytes | None, after: bytes) -> Iterator[str]:
    new = packages(after)
    if before is None:
        yield f"{path}: {len(new)} packages"
        return
    old = packages(before)
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            yield f"{path}: {name} {old.get(name, 'absent')} → {new.get(name, 'absent')}"
    if old == new:
        yield f"{path}: hashes or form"
