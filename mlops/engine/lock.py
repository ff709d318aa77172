"""`mlops lock`: every tag and version of the project resolved once, into files to be reviewed.

What is locked stays as it is, unless its inputs changed or an upgrade asks for it: locking twice
changes nothing.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from packaging.utils import canonicalize_name

from mlops.config.lockfile import dump_lock
from mlops.domain.digest import Digest
from mlops.domain.lock import TOOL, LockedImage, LockedRequirements, ProjectLock
from mlops.domain.project import Project
from mlops.engine import lockdiff, requirementpins, requirements
from mlops.engine.lockdiff import LOCK_FILE, Change
from mlops.engine.requirements import Group, Read
from mlops.errors import ConfigError, RegistryError, UsageError
from mlops.policy.sides import packages
from mlops.ports import BaseImages, Resolver

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
    """The new lock; `files` are those whose bytes differ from what stands, in the order in which they
    are to be written: mlops.lock, which says what they were made from, is the last. `changes` say how
    they differ, `withdrawn` which of the packages their index has taken back."""

    lock: ProjectLock
    files: Mapping[str, bytes] = field(default_factory=dict)
    changes: tuple[Change, ...] = ()
    withdrawn: tuple[str, ...] = ()


def _nobody_asked(name: str) -> Digest:
    raise RegistryError(f"no registry is asked for {name} here")


@dataclass(frozen=True, slots=True)
class Locker:
    """`read` gives a file of the work tree, None where there is none; `digest_of` what an image's tag
    names now, and raises RegistryError where nobody can tell."""

    project: Project
    current: ProjectLock | None
    read: Read
    installed: Installed
    bases: BaseImages
    resolver: Resolver
    digest_of: Callable[[str], Digest] = _nobody_asked

    def lock(self, upgrade: tuple[str, ...] = ()) -> Locked:
        """Resolve what is not locked, or is to be upgraded: `*`, `base`, a base's or package's name.

        Nothing is written, and nothing leaves this machine: see `keep`. Raises ConfigError at
        requirements that no lock can hold or that are built and not there, UsageError at an upgrade of
        what is not locked, BuildError where they or a base cannot be resolved.
        """
        requirements.check_sources(self.project, self.read)
        groups = requirements.groups(self.project, self.read)
        images = {key: self._image(key, upgrade) for key in _bases(self.project)}
        tool = self._tool()
        files: dict[str, bytes] = {}
        entries, withdrawn = [], []
        for group in groups:
            base = images[group.base, group.platform]
            entry, content, told = self._requirements(group, base, upgrade)
            _check_built(group, content)
            entries.append(entry)
            withdrawn += [f"{group.lock}: {text}" for text in told]
            if content != self.read(group.lock):
                files[group.lock] = content
        self._check_upgrade(upgrade, groups, files)
        lock = ProjectLock(
            images=(*images.values(), tool),
            tools=tuple(sorted(self.installed.tools.items())),
            requirements=tuple(entries),
            builder=self.installed.builder,
            tasks=tuple((name, self._task(name, upgrade)) for name in self.project.images),
        )
        content = dump_lock(lock)
        if content != self.read(LOCK_FILE):
            files[LOCK_FILE] = content
        changes = tuple(self._changes(lock, files))
        return Locked(lock, files, changes, tuple(dict.fromkeys(withdrawn)))

    def keep(self, locked: Locked) -> None:
        """Bring the locked images into the project's store, once all of them were found fit."""
        for image in locked.lock.images:
            self.bases.keep(image)

    def stale(self) -> tuple[str, ...]:
        """What `lock` would have to change, as texts; nothing is resolved, packed or written."""
        requirements.check_sources(self.project, self.read)
        if self.current is None:
            return (f"{LOCK_FILE}: missing",)
        return tuple(self._stale(self.current))

    def _stale(self, current: ProjectLock) -> Iterator[str]:
        if current.image(TOOL) is None:
            yield f"{LOCK_FILE}: the tool image is not locked"
        elif self.installed.tool not in (None, current.image(TOOL)):
            yield f"{LOCK_FILE}: the tool image is another than that of the installed mlops"
        yield from map(str, self._other_tools(current, but=_TOLD_ONLY))
        named = _bases(self.project)
        for name, platform in named:
            if current.image(name, platform) is None:
                yield f"{LOCK_FILE}: base {name} ({platform}) is not locked"
        for image in current.images:
            if image.name != TOOL and (image.name, image.platform) not in named:
                yield f"{LOCK_FILE}: base {image.name} ({image.platform}) is locked, and no model names it"
        for name in self.project.images:
            if current.task(name) is None:
                yield f"{LOCK_FILE}: task image {name} is not locked"
        for name, _ in current.tasks:
            if name not in self.project.images:
                yield f"{LOCK_FILE}: task image {name} is locked, and mlops.yaml does not name it"
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
        if known is None or {ALL, BASE, name} & set(upgrade):
            return self.bases.pin(name, platform)
        if not self.bases.has(known):
            self.bases.restore(known)  # the locked one, and not what a tag names now
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

    def _task(self, name: str, upgrade: tuple[str, ...]) -> Digest:
        known = self.current.task(name) if self.current is not None else None
        return self.digest_of(name) if known is None or {ALL, name} & set(upgrade) else known

    def _requirements(
        self, group: Group, base: LockedImage, upgrade: tuple[str, ...]
    ) -> tuple[LockedRequirements, bytes, tuple[str, ...]]:
        inputs = self._inputs(group, base)
        previous = self.read(group.lock)
        known = self.current.inputs(group.lock) if self.current is not None else None
        stale = previous is None or known != inputs or bool(requirementpins.damaged(previous))
        names = self._upgraded(previous, upgrade, stale=stale)
        entry = LockedRequirements(group.lock, inputs)
        if previous is not None and not stale and not names:
            return entry, previous, ()
        found = requirements.resolve(
            group,
            self._server(group),
            self.bases.target(base),
            self.resolver,
            _as_preference(previous or b""),
            names,
            self.read,
        )
        return entry, found.content, found.withdrawn

    def _upgraded(
        self, previous: bytes | None, upgrade: tuple[str, ...], *, stale: bool
    ) -> tuple[str, ...]:
        """The names of packages to upgrade in a lock: those it has, or may have once it is made anew."""
        if ALL in upgrade:
            return (ALL,)
        names = {canonicalize_name(name) for name in upgrade if name not in self._image_names()}
        return tuple(sorted(names if stale else names & set(packages(previous or b""))))

    def _image_names(self) -> set[str]:
        return {BASE, *self.project.images, *(name for name, _ in _bases(self.project))}

    def _check_upgrade(
        self, upgrade: tuple[str, ...], groups: tuple[Group, ...], files: Mapping[str, bytes]
    ) -> None:
        """Raise UsageError where something is to be upgraded that no lock has."""
        known = {ALL, *self._image_names()}
        for group in groups:
            for content in (self.read(group.lock), files.get(group.lock)):
                known |= set(packages(content or b""))
        for name in upgrade:
            if name not in known and canonicalize_name(name) not in known:
                near = difflib.get_close_matches(name, sorted(known), n=1)
                raise UsageError(
                    f"{name} is neither a locked package nor a base",
                    hint=f"Did you mean {near[0]}?"
                    if near
                    else "requirements.lock and mlops.lock have the names",
                )

    def _inputs(self, group: Group, base: LockedImage) -> Digest:
        return requirements.inputs(group, self._server(group), base, self.read)

    def _server(self, group: Group) -> tuple[str, ...]:
        return self.installed.server if group.server else ()

    def _other_tools(self, lock: ProjectLock, but: tuple[str, ...] = ()) -> Iterator[Change]:
        return lockdiff.tools(lock, self.installed.builder, self.installed.tools, but)

    def _changes(self, lock: ProjectLock, files: Mapping[str, bytes]) -> Iterator[Change]:
        yield from lockdiff.images(self.current or ProjectLock(), lock)
        yield from lockdiff.tasks(self.current or ProjectLock(), lock)
        if self.current is not None:
            yield from self._other_tools(self.current)
        for path in sorted(set(files) - {LOCK_FILE}):
            yield from lockdiff.requirements(path, self.read(path), files[path])


def requirement_faults(
    project: Project, current: ProjectLock, read: Read, server: tuple[str, ...] = SERVER
) -> Iterator[tuple[str, str]]:
    """Requirements locks that are missing, damaged, or older than what they were made from: path, and
    text."""
    for group in requirements.groups(project, read):
        base = current.image(group.base, group.platform)
        content = read(group.lock)
        if content is None:
            yield group.lock, f"{group.lock}: missing"
        elif line := requirementpins.damaged(content):
            yield group.lock, f"{group.lock}: damaged: {line!a} is no pin with a hash"
        elif base is not None:
            wanted = requirements.inputs(group, server if group.server else (), base, read)
            if current.inputs(group.lock) != wanted:
                what = group.source or "its base"
                yield group.lock, f"{group.lock}: {what} changed since it was locked"


def _as_preference(previous: bytes) -> bytes:
    """A lock as the resolver may read it: of a damaged one what is sound."""
    return requirementpins.sound(previous) if requirementpins.damaged(previous) else previous


def _bases(project: Project) -> tuple[tuple[str, str], ...]:
    """Name and platform of every base that a model is built on."""
    return tuple(dict.fromkeys((m.build.base, m.build.platforms[0]) for m in project.models))


def _check_built(group: Group, content: bytes) -> None:
    """Raise ConfigError where `allow_sdist` names a package that the lock does not have."""
    have = set(packages(content))
    for name in group.allow_builds:
        if canonicalize_name(name) not in have:
            near = difflib.get_close_matches(canonicalize_name(name), sorted(have), n=1)
            raise ConfigError(
                f"mlops.yaml: build.allow_sdist: {name} is not in {group.lock}",
                hint=f"Did you mean {near[0]}?"
                if near
                else f"{group.lock} would have: {', '.join(sorted(have)) or 'no packages'}",
            )
