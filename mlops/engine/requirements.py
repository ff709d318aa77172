"""What requirements locks are made from: requirements.txt, pyproject.toml, uv.lock, pylock.toml."""

from __future__ import annotations

import hashlib
import posixpath
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mlops.config.discovery.requirements import find
from mlops.domain.digest import Digest
from mlops.domain.lock import LockedImage
from mlops.domain.project import ModelConfig, Project
from mlops.errors import ConfigError
from mlops.ports import Resolution, Resolver, Target

Read = Callable[[str], bytes | None]

_CANDIDATES = ("uv.lock", "pylock.toml", "requirements.txt", "requirements.in", "pyproject.toml")
_INCLUDE = re.compile(r"\s*(?:-r|-c|--requirement|--constraint)[\s=]+(?P<path>[^\s#]+)")
_EDITABLE = re.compile(r"\s*(?:-e|--editable)\b")
_LOCAL = re.compile(r"\s*(?:\.{0,2}/|file:|[A-Za-z0-9._-]+\s*(?:\[[^\]]*\])?\s*@\s*file:)")
_VCS = re.compile(r"(?:^|@)\s*(?:git|hg|svn|bzr)\+", re.MULTILINE)
_PINNED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:\[[^\]]*\])?(?:==\S+| @ https?://\S+)")
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
) -> bytes:
    """The lock's bytes: a header without paths or times, then pins with hashes.

    Raises ConfigError at what cannot be locked, BuildError where there is no solution.
    """
    path, lines = group.source, list(server)
    name = posixpath.basename(path)
    if path and read(path) is None:
        raise ConfigError(f"mlops.yaml: build.requirements: {path} is not there")
    if name == "uv.lock":
        path, lines = "", [*resolver.export(group.source), *lines]
    elif name == "pylock.toml":
        path, lines = "", [*_pylock(group.source, read), *lines]
    elif path and name != "pyproject.toml":
        _check(path, read)
    if not path and not lines:
        return _header(group)
    _check_lines("\n".join(lines), group.source)
    resolution = Resolution(path, tuple(lines), target, previous, upgrade, group.allow_builds)
    content = resolver.resolve(resolution)
    _check_pins(content, group)
    return _header(group) + content


def _header(group: Group) -> bytes:
    made = f" from {group.source}" if group.source else ""
    return f"# Written by mlops lock{made}; review it like code.\n".encode()


def _found(read: Read) -> str:
    present = {}
    for name in _CANDIDATES:
        content = read(name)
        if content is not None:
            present[name] = content.decode(errors="replace")
    return find(present, "")


def _files(source: str, read: Read) -> Iterator[str]:
    """The files that say what is required: `source`, and what it includes."""
    yield source
    name = posixpath.basename(source)
    if name == "uv.lock":
        yield posixpath.join(posixpath.dirname(source), "pyproject.toml")
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
            if included not in seen:
                seen.add(included)
                waiting.append(included)
                yield included
            if len(seen) > _MOST_FILES:
                raise ConfigError(f"{source} includes over {_MOST_FILES} files")


def _check(source: str, read: Read) -> None:
    for path in _files(source, read):
        content = read(path)
        if content is None:
            raise ConfigError(f"{source} includes {path}, which is not there")
        try:
            _check_lines(content.decode("utf-8-sig"), path)
        except UnicodeDecodeError as exc:
            raise ConfigError(f"{path} is not UTF-8", hint="Save it as UTF-8") from exc


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


def _check_pins(content: bytes, group: Group) -> None:
    """Every requirement of the answer has a version and a hash."""
    joined = content.decode().replace("\\\n", " ")
    for line in joined.splitlines():
        text = line.strip()
        if not text or text.startswith(("#", "--")):
            continue
        if _PINNED.match(text) is None or "--hash=sha256:" not in text:
            raise ConfigError(
                f"{group.source or group.lock}: {text.split(' --hash')[0][:80]} has no version and "
                "hash to lock",
                hint="Name a released package or the URL of a wheel",
            )


def _pylock(path: str, read: Read) -> Iterator[str]:
    """The pins of a pylock.toml (PEP 751) as requirement lines; hashes are looked up again."""
    try:
        document = tomllib.loads((read(path) or b"").decode())
        found = document["packages"]
        for package in found:
            name, version = package["name"], package.get("version")
            if version is None or {"vcs", "directory", "archive"} & set(package):
                raise ConfigError(
                    f"{path}: {name} comes from a directory, a repository or an archive",
                    hint="Name a released package",
                )
            marker = f" ; {package['marker']}" if package.get("marker") else ""
            yield f"{name}=={version}{marker}"
    except (KeyError, TypeError, ValueError, RecursionError) as exc:
        raise ConfigError(f"{path} is no lock file by PEP 751: {exc!r}") from exc
