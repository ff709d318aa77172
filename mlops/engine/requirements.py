"""What requirements locks are made from: requirements.txt, pyproject.toml, and other tools' locks."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import assert_never

from mlops.config.discovery.requirements import find, is_project
from mlops.config.sources import pipfile, pylock, uvlock
from mlops.config.sources.kinds import CONDA, LOCKS, Kind, ambiguous, check_pyproject, kind_of
from mlops.config.sources.pinned import Pinned, hashes_of, of_lines
from mlops.config.sources.wanted import Wanted
from mlops.domain.digest import Digest
from mlops.domain.lock import LockedImage
from mlops.domain.project import ModelConfig, Project
from mlops.engine.requirementpins import check_pins, held_against, without_options
from mlops.errors import ConfigError, UsageError
from mlops.ports import Resolution, Resolved, Resolver, Target

Read = Callable[[str], bytes | None]

_CANDIDATES = (*LOCKS, "requirements.txt", "requirements.in", "pyproject.toml")
_INCLUDE = re.compile(r"\s*(?:-r|-c|--requirement|--constraint)[\s=]+(?P<path>[^\s#]+)")
_EDITABLE = re.compile(r"\s*(?:-e|--editable)\b")
_LOCAL = re.compile(r"\s*(?:\.{0,2}/|file:|[A-Za-z0-9._-]+\s*(?:\[[^\]]*\])?\s*@\s*file:)")
_VCS = re.compile(r"(?:^|@)\s*(?:git|hg|svn|bzr)\+", re.MULTILINE)
_BESIDE = {"uv.lock": "pyproject.toml", "Pipfile.lock": "Pipfile"}  # what these locks are made from
_MOST_FILES = 50  # included in each other


@dataclass(frozen=True, slots=True)
class Group:
    """The models that share a requirements lock: where it stands, and what it is made from.

    `source` is empty where the project names no requirements; `server` says whether the built-in
    server is among what it is for.
    """

    lock: str
    source: str
    base: str
    platform: str
    server: bool
    allow_builds: tuple[str, ...]


def groups(project: Project, read: Read) -> tuple[Group, ...]:
    """One for each lock file. Raises ConfigError where two models want different things of one."""
    found: dict[str, Group] = {}
    owners: dict[str, ModelConfig] = {}
    for model in project.models:
        build = model.build
        source = build.requirements or _found(read)
        platform = build.platforms[0]
        server = not model.serve.command
        known = found.get(build.lock)
        if known is None:
            allowed = tuple(sorted(build.allow_sdist))
            found[build.lock] = Group(build.lock, source, build.base, platform, server, allowed)
            owners[build.lock] = model
            continue
        if (known.source, known.base, known.platform) != (source, build.base, platform):
            raise ConfigError(
                f"mlops.yaml: models {owners[build.lock].name} and {model.name} would share "
                f"{build.lock}, with other requirements or another base",
                hint="Give one of them requirements of another name (build: {requirements: …})",
            )
        allowed = tuple(sorted({*known.allow_builds, *build.allow_sdist}))
        server = server or known.server
        found[build.lock] = Group(build.lock, source, build.base, platform, server, allowed)
    return tuple(found[path] for path in sorted(found))


def inputs(group: Group, server: tuple[str, ...], base: LockedImage, read: Read) -> Digest:
    """The digest of all that a lock is resolved from: files, server, base, what may be built."""
    total = hashlib.sha256()
    for path in _files(group.source, read) if group.source else ():
        content = read(path) or b""
        total.update(f"{path} {len(content)}\n".encode() + content)
    for word in (*server, "allow", *group.allow_builds, str(base.manifest)):
        total.update(f"\n{word}".encode())
    return Digest(total.hexdigest())


def resolve(
    group: Group,
    server: tuple[str, ...],
    target: Target,
    resolver: Resolver,
    previous: bytes,
    upgrade: tuple[str, ...],
    read: Read,
) -> Resolved:
    """The lock: a header without paths or times, then pins with hashes, and what is withdrawn.

    Raises ConfigError at what cannot be locked, BuildError where there is no solution, or where an
    index has other bytes than the source trusts.
    """
    path, pinned = _asked(group, target, resolver, read)
    lines = (*pinned.lines, *server)
    if not path and not lines:
        return Resolved(_header(group))
    _check_lines("\n".join(lines), group.source)
    _check_pinned_elsewhere(upgrade, pinned, group.source)
    found = resolver.resolve(Resolution(path, lines, target, previous, upgrade, group.allow_builds))
    pins = without_options(found.content)
    check_pins(pins, group.source or group.lock)
    content = held_against(pins, pinned.trusted, group.source)
    return Resolved(_header(group) + content, found.withdrawn)


def _check_pinned_elsewhere(upgrade: tuple[str, ...], pinned: Pinned, source: str) -> None:
    for name, version in pinned.trusted:
        if name in upgrade:
            raise UsageError(
                f"{source} pins {name} {version}",
                hint="Upgrade it there, then run: mlops lock",
            )


def check_sources(project: Project, read: Read) -> None:
    """Raise ConfigError where two files say what is required and mlops.yaml does not choose."""
    unnamed = [model for model in project.models if not model.build.requirements]
    if not unnamed:
        return
    present = _present(read)
    if several := ambiguous(present):
        raise ConfigError(
            f"{' and '.join(several)} each say what is required, and may differ",
            hint=f"Choose one in mlops.yaml: models.{unnamed[0].name}.build: {{requirements: …}}",
        )
    if not find(present, "") and (conda := next((n for n in CONDA if read(n) is not None), "")):
        kind_of(conda)


def _asked(group: Group, target: Target, resolver: Resolver, read: Read) -> tuple[str, Pinned]:
    """The file that the resolver reads itself, empty where it reads none, and what is pinned."""
    path = group.source
    if not path:
        return "", Pinned()
    kind, content = kind_of(path), read(path)
    if content is None:
        raise ConfigError(f"mlops.yaml: build.requirements: {path} is not there")
    wanted = Wanted(target.platform, target.python, target.libc)
    match kind:
        case Kind.UV:
            beside = posixpath.join(posixpath.dirname(path), "pyproject.toml")
            uvlock.check(content, path, read(beside), beside)
            return "", of_lines(resolver.export(path))
        case Kind.PYLOCK:
            return "", pylock.parse(content, path, wanted, group.allow_builds)
        case Kind.PIPFILE:
            beside = posixpath.join(posixpath.dirname(path), "Pipfile")
            pipfile.check(content, path, read(beside), beside)
            return "", pipfile.parse(content, path, wanted)
        case Kind.PYPROJECT:
            check_pyproject(content, path)
            return path, Pinned()
        case Kind.REQUIREMENTS:
            return path, Pinned((), _check(path, read))
        case _:
            assert_never(kind)


def _header(group: Group) -> bytes:
    made = f" from {group.source}" if group.source else ""
    return f"# Written by mlops lock{made}; review it like code.\n".encode()


def _found(read: Read) -> str:
    return find(_present(read), "")


def _present(read: Read) -> dict[str, str]:
    """The files of the root that may say what is required: name → text."""
    found = {name: read(name) for name in _CANDIDATES}
    texts = {n: c.decode(errors="replace") for n, c in found.items() if c is not None}
    return {n: t for n, t in texts.items() if n != "pyproject.toml" or is_project(t)}


def _files(source: str, read: Read) -> Iterator[str]:
    """The files that say what is required: `source`, and what it includes."""
    yield source
    name = posixpath.basename(source)
    if name in _BESIDE:
        yield posixpath.join(posixpath.dirname(source), _BESIDE[name])
    if name.endswith((".toml", ".lock")):
        return
    waiting, seen = [source], {source}
    while waiting:
        path = waiting.pop()
        for line in (read(path) or b"").decode(errors="replace").splitlines():
            match = _INCLUDE.match(line)
            if match is None or "://" in match["path"]:
                continue
            included = posixpath.normpath(posixpath.join(posixpath.dirname(path), match["path"]))
            if included.startswith(("/", "../")):
                raise ConfigError(
                    f"{path} includes {match['path']}, which is outside of the project"
                )
            if included not in seen:
                seen.add(included)
                waiting.append(included)
                yield included
            if len(seen) > _MOST_FILES:
                raise ConfigError(f"{source} includes over {_MOST_FILES} files")


def _check(source: str, read: Read) -> dict[tuple[str, str], frozenset[str]]:
    """Refuse what cannot be locked; the hashes that the files name."""
    trusted: dict[tuple[str, str], frozenset[str]] = {}
    for path in _files(source, read):
        content = read(path)
        if content is None:
            raise ConfigError(f"{source} includes {path}, which is not there")
        try:
            text = content.decode("utf-8-sig")
            _check_lines(text, path)
            trusted |= hashes_of(text)
        except UnicodeDecodeError as exc:
            raise ConfigError(f"{path} is not UTF-8", hint="Save it as UTF-8") from exc
    return trusted


def _check_lines(text: str, path: str) -> None:
    """Refuse what has no hash: a directory, an editable, a version control URL."""
    for number, line in enumerate(text.splitlines(), 1):
        for pattern, what in (
            (_EDITABLE, "an editable install"),
            (_LOCAL, "a path of this machine"),
            (_VCS, "a repository and not a package"),
        ):
            if pattern.match(line) or (pattern is _VCS and pattern.search(line)):
                raise ConfigError(
                    f"{path}:{number}: {line.strip()[:80]} is {what}: it has no hash to lock",
                    hint="Name a released package or the URL of a wheel; your own code belongs into "
                    "build.code",
                )
