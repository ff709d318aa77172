"""Tags in overlays, moved to the digests that they name now.

What runs stays what it is: a tag gives way to its own digest, one line for each image. Where that
cannot be known, or the environment is held, the tag stays and is named with the reason.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime

from mlops.config.environment import parse_holds, parse_quarantine
from mlops.domain.digest import Digest, ReleaseId
from mlops.domain.message import MODEL
from mlops.domain.release import ReleaseRecord, record_path
from mlops.engine.publishing import Change, Publisher, Settled, topic
from mlops.engine.state import Environments
from mlops.errors import ConfigError, MlopsError, UnreachableError
from mlops.manifests import kustomization
from mlops.manifests.kustomization import Tag
from mlops.policy.quarantine import quarantined, why
from mlops.ports import TagReader

Read = Callable[[str], bytes | None]
_FILE = "kustomization.yaml"
_AT_ONCE = 8
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class Overlays:
    """The overlays below `path`: of a work tree, or of a commit. `names` are their directories,
    `read` gives a file's bytes, None where there is no such regular file."""

    path: str
    names: tuple[str, ...]
    read: Read
    now: datetime

    @classmethod
    def at(cls, environments: Environments) -> Overlays:
        """Those of a commit on the GitOps branch."""
        gitops, tip = environments.gitops, environments.tip
        names = gitops.directories(tip, gitops.path)
        return cls(gitops.path, names, lambda path: gitops.read(tip, path), environments.now)

    def files(self) -> Iterator[tuple[str, str, bytes]]:
        """Name, path and content of each overlay's kustomization."""
        for name in self.names:
            path = f"{self.path}/{name}/{_FILE}"
            content = self.read(path)
            if content is not None:
                yield name, path, content


@dataclass(frozen=True, slots=True)
class Moved:
    """A tag that gave way to its digest."""

    path: str
    tag: Tag
    digest: Digest


@dataclass(frozen=True, slots=True)
class Left:
    """A tag that stays, or a file (no `tag`) that cannot be read. `asked` is false where the
    registry could not be asked, so that nobody can tell."""

    path: str
    tag: Tag | None
    reason: str
    asked: bool = True


@dataclass(frozen=True, slots=True)
class Move:
    """What moves and what is left; `files` are the changed kustomizations, whole."""

    moved: tuple[Moved, ...] = ()
    left: tuple[Left, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def unasked(self) -> bool:
        """Whether a registry could not be asked."""
        return any(not left.asked for left in self.left)


class Answers:
    """What registries said of tags, each asked once: what was decided stays decided in a lost race."""

    def __init__(self, readers: Callable[[str], TagReader]) -> None:
        """`readers` gives a repository, such as `registry.example.com/ml/spam`."""
        self._readers = readers
        self._known: dict[tuple[str, str], Digest | MlopsError | None] = {}
        self._down: dict[str, UnreachableError] = {}

    def ask(self, wanted: Iterable[Tag]) -> None:
        """Ask for all that is not known yet, several at once."""
        new = {(tag.image, tag.tag) for tag in wanted} - set(self._known)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            self._known |= zip(sorted(new), pool.map(self._answer, sorted(new)), strict=True)

    def __getitem__(self, tag: Tag) -> Digest | MlopsError | None:
        return self._known[tag.image, tag.tag]

    def _answer(self, asked: tuple[str, str]) -> Digest | MlopsError | None:
        image, tag = asked
        host = image.partition("/")[0]
        if host in self._down:
            return self._down[host]
        try:
            return self._readers(image).resolve(tag)
        except UnreachableError as exc:
            if exc.retryable:  # not there: its other images need not wait for it too
                self._down[host] = exc
            return exc
        except MlopsError as exc:
            return exc


def standing(overlays: Overlays) -> tuple[Tag, ...]:
    """Every tag in the overlays; files that cannot be read have none. Nobody is asked."""
    found: list[Tag] = []
    for _, path, content in overlays.files():
        try:
            found += kustomization.tags(content, path)
        except ConfigError:
            continue
    return tuple(found)


def move(overlays: Overlays, answers: Answers) -> Move:
    """Every tag of the overlays that can move, moved; nothing is written.

    Raises ConfigError where quarantine.yaml cannot be read.
    """
    answers.ask(tag for tag in standing(overlays) if not _unfit(tag))
    moved: list[Moved] = []
    left: list[Left] = []
    files: dict[str, bytes] = {}
    for name, path, content in overlays.files():
        edited = content
        try:
            tags = kustomization.tags(content, path)
        except ConfigError as exc:
            left.append(Left(path, None, str(exc)))
            continue
        for tag in tags:
            found = _decided(overlays, name, path, tag, answers)
            if isinstance(found, Moved):
                try:
                    edited = kustomization.with_pin(edited, tag.name, found.digest, path)
                except ConfigError as exc:
                    found = Left(path, tag, str(exc))
            moved += [found] if isinstance(found, Moved) else []
            left += [found] if isinstance(found, Left) else []
        if edited != content:
            files[path] = edited
    return Move(tuple(moved), tuple(left), files)


def publish(publisher: Publisher, answers: Answers, *, dry_run: bool = False) -> Settled[Move]:
    """The same on the GitOps branch, in one commit."""

    def decide(environments: Environments) -> tuple[Move, Change | None]:
        found = move(Overlays.at(environments), answers)
        if not found.files:
            return found, None
        releases = [ReleaseId(each.tag.name, each.digest) for each in found.moved]
        named = dict.fromkeys(str(each) for each in releases if each.model in environments.models)
        body = "; ".join(f"{each.path}: {told(each)}" for each in found.moved)
        trailers = [(MODEL, release) for release in named]
        message = publisher.message("Move tags to digests", "lock", trailers, body=body)
        return found, Change(dict(found.files), message, topic("lock", ("overlays",), ()))

    return publisher.settle(decide, dry_run=dry_run)


def write(
    overlays: Overlays,
    answers: Answers,
    into: Callable[[str, bytes], None],
    *,
    dry_run: bool = False,
) -> Settled[Move]:
    """The same in a work tree, for a person to commit; `into` writes a file."""
    found = move(overlays, answers)
    if dry_run:
        pairs = ((path, overlays.read(path) or b"", new) for path, new in found.files.items())
        return Settled(found, diff="".join(_difference(*pair) for pair in pairs))
    for path, content in found.files.items():
        into(path, content)
    return Settled(found)


def told(moved: Moved) -> str:
    """`spam v12 → sha256:9f2c…`."""
    return f"{moved.tag.name} {moved.tag.tag} → {moved.digest}"


def _unfit(tag: Tag) -> str:
    """Why no registry can be asked for it; empty where one can."""
    if tag.fault:
        return tag.fault
    host, slash, _ = tag.image.partition("/")
    if slash and ("." in host or ":" in host or host == "localhost"):
        return ""
    return (
        f"{tag.image} names no registry: write it whole, such as newName: docker.io/library/nginx"
    )


def _decided(overlays: Overlays, name: str, path: str, tag: Tag, answers: Answers) -> Moved | Left:
    if reason := _unfit(tag) or _held(overlays, name, tag):
        return Left(path, tag, reason)
    match answers[tag]:
        case None:
            return Left(path, tag, f"{tag.image} has no tag {tag.tag}")
        case UnreachableError() as exc:
            return Left(path, tag, str(exc), asked=False)
        case MlopsError() as exc:
            return Left(path, tag, str(exc))
        case digest:
            bad = _forbidden(overlays, ReleaseId(tag.name, digest))
            return Left(path, tag, bad) if bad else Moved(path, tag, digest)


def _held(overlays: Overlays, name: str, tag: Tag) -> str:
    """Why a hold keeps a tag where it is; the base is part of every environment."""
    names = overlays.names if name == "base" else (name,)
    return next((why for each in names if (why := _held_in(overlays, each, tag))), "")


def _held_in(overlays: Overlays, name: str, tag: Tag) -> str:
    path = f"{overlays.path}/{name}/holds.yaml"
    try:
        holds = parse_holds(overlays.read(path), path)
    except ConfigError as exc:
        return str(exc)
    for hold in holds:
        if hold.covers(tag.name, overlays.now):
            return f"{name} is held by {hold.actor}: {hold.reason}"
    return ""


def _forbidden(overlays: Overlays, release: ReleaseId) -> str:
    path = f"{overlays.path}/quarantine.yaml"
    entries = parse_quarantine(overlays.read(path), path)
    if not entries:
        return ""
    entry = quarantined(release.digest, _artifact(overlays, release), entries)
    return f"sha256:{release.digest.short} is {why(entry, release.digest)}" if entry else ""


def _artifact(overlays: Overlays, release: ReleaseId) -> str | None:
    """The md5 of the release's model, where the image is a model of ours that has a record."""
    if not _MODEL.fullmatch(release.model):  # a path of an image, and no name of a directory
        return None
    where = record_path(overlays.path, release.model, release.digest)
    content = overlays.read(where)
    try:
        return None if content is None else ReleaseRecord.parse(content, where).artifact
    except ConfigError:
        return None


def _difference(path: str, before: bytes, after: bytes) -> str:
    """A unified diff as git prints it, of lines that end in a line feed."""
    return "".join(difflib.unified_diff(_lines(before), _lines(after), f"a/{path}", f"b/{path}"))


def _lines(content: bytes) -> list[str]:
    *whole, last = content.decode(errors="replace").split("\n")
    rest = [f"{last}\n\\ No newline at end of file\n"] if last else []
    return [f"{line}\n" for line in whole] + rest
