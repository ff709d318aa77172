"""Names of images as documents write them, and the map that leads to images that are here.

A name follows the reference grammar of OCI distribution-spec 1.1 and Docker: `[host[:port]/]path[:tag][@digest]`;
without a host it is Docker Hub's, without tag and digest the tag is `latest`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from mlops.domain.digest import Digest, ImageRef
from mlops.errors import ConfigError, UsageError

HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?\Z", re.ASCII
)
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
PATH = re.compile(rf"{_PART}(?:/{_PART})*\Z", re.ASCII)  # distribution-spec 1.1, pulling manifests
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\Z", re.ASCII)  # the same
_ALNUM = r"[A-Za-z0-9]+"
_COMPONENT = rf"{_ALNUM}(?:(?:[-._:@+]|--){_ALNUM})*"
_REF_NAME = re.compile(
    rf"{_COMPONENT}(?:/{_COMPONENT})*\Z", re.ASCII
)  # image-spec 1.1, annotations.md
_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")
_LONGEST = 255  # characters of host and path
LATEST = "latest"


@dataclass(frozen=True, slots=True)
class ImageName:
    """`written` is the repository as the document has it; `host` and `path` are complete."""

    written: str
    host: str
    path: str
    tag: str = ""
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> ImageName:
        """Read `ubuntu`, `gcr.io/x/y:1`, `x@sha256:…`. Raises UsageError on what names no image."""
        rest, at, digest = text.partition("@")
        written, tag = _split_tag(rest)
        host, path = _complete(written)
        wrong = not HOST.match(host) or not PATH.match(path) or len(host + path) > _LONGEST
        if wrong or (tag and not TAG.match(tag)) or rest.endswith(":") or (at and not digest):
            raise UsageError(
                f"{text[:300]!a} names no image", hint="It looks like registry.example.com/name:tag"
            )
        found = Digest.parse(digest) if at else None
        return cls(written, host, path, tag if tag or found else LATEST, found)

    @property
    def repository(self) -> str:
        """Host and path in full: `docker.io/library/ubuntu`."""
        return f"{self.host}/{self.path}"

    @property
    def ref(self) -> ImageRef | None:
        """The image by digest, where the name has one."""
        return None if self.digest is None else ImageRef(self.written, self.digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.written}{tag}" + (f"@{self.digest}" if self.digest else "")


def _split_tag(text: str) -> tuple[str, str]:
    """The repository and the tag; a colon before the last slash is a port's."""
    before, slash, last = text.rpartition("/")
    name, _, tag = last.partition(":")
    return f"{before}{slash}{name}", tag


def _complete(written: str) -> tuple[str, str]:
    host, slash, path = written.partition("/")
    if not slash or not ("." in host or ":" in host or host == "localhost"):
        host, path = "docker.io", written
    if host in _HUB:
        return "docker.io", path if "/" in path else f"library/{path}"
    return host, path


@dataclass(frozen=True, slots=True)
class InLayout:
    """An image of an OCI layout on disk: `directory` as written, and its name there.

    Empty `name`: the only image that the layout has."""

    directory: str
    name: str = ""


Target = ImageName | InLayout
"""Where an image is looked for: by a name, or in a layout."""


def layout_place(text: str) -> InLayout:
    """Read `oci:DIR[:NAME]` as skopeo does: the first colon ends the directory, and what follows is
    what the image is called there, whole. Raises UsageError."""
    directory, colon, name = text.removeprefix("oci:").partition(":")
    if not directory or "@sha256" in directory or bool(colon) != bool(_REF_NAME.match(name)):
        raise UsageError(
            f"{text[:300]!a} names no place in a layout", hint="It looks like oci:DIRECTORY:NAME"
        )
    return InLayout(directory, name)


@dataclass(frozen=True, slots=True)
class _Rule:
    """`start` is what a name begins with, where the rule is for many; else `name` is the whole."""

    source: str
    target: str
    start: str = ""
    name: ImageName | None = None
    whole: bool = False  # tag or digest are part of it

    @property
    def weight(self) -> tuple[int, int]:
        """The closest rule counts: with tag or digest, then a repository, then the longest start."""
        if self.name is not None:
            return (3 if self.whole else 2, 0)
        return (1, len(self.start))

    def fits(self, name: ImageName) -> bool:
        if self.name is None:
            return any(each.startswith(self.start) for each in _spellings(name))
        if self.name.repository != name.repository:
            return False
        if not self.whole:
            return True
        if self.name.digest is not None:
            return self.name.digest == name.digest
        return name.digest is None and self.name.tag == name.tag

    def lead(self, name: ImageName) -> Target:
        """Where it leads; tag and digest stay where the rule does not say others."""
        own = f"@{name.digest}" if name.digest else f":{name.tag}"
        text = self.target
        if text.endswith("*"):
            text = text[:-1] + next(
                each.removeprefix(self.start)
                for each in _spellings(name)
                if each.startswith(self.start)
            )
            text += "" if self.start and _is_whole(self.start) else own
        elif not text.startswith("oci:") and not self.whole and not _is_whole(text):
            text += own
        return target(text)


def _spellings(name: ImageName) -> tuple[str, str]:
    return (name.written, name.repository)


def _is_whole(text: str) -> bool:
    return "@" in text or bool(_split_tag(text)[1])


def target(text: str) -> Target:
    """Read `oci:DIR//name:tag`, `oci:DIR` or an image's name. Raises UsageError."""
    if text.startswith("oci:"):
        directory, _, name = text.removeprefix("oci:").partition("//")
        if not directory:
            raise UsageError(f"{text!a} names no directory", hint="It looks like oci:DIR//name:tag")
        return InLayout(directory, name)
    return ImageName.parse(text)


@dataclass(frozen=True, slots=True)
class ImageMap:
    """Which images stand for others, in order: of rules that are equally close the last counts."""

    rules: tuple[_Rule, ...] = ()

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> ImageMap:
        """FROM → TO. FROM is a repository, with tag or digest where it is for that one alone, or what
        names begin with, and `*`. TO is where it is instead; with `*` the rest of the name goes there.

        Raises UsageError on a rule that cannot be."""
        return cls(tuple(_rule(source, to) for source, to in pairs))

    @classmethod
    def parse(cls, texts: Iterable[str]) -> ImageMap:
        """Read rules `FROM=TO`. Raises UsageError."""
        pairs = []
        for text in texts:
            source, equals, to = text.partition("=")
            if not equals or not source or not to:
                raise UsageError(f"{text!a} is no rule for images", hint="It looks like FROM=TO")
            pairs.append((source, to))
        return cls.of(pairs)

    @classmethod
    def read(cls, document: object, origin: str) -> ImageMap:
        """From a mapping of a file. Raises ConfigError naming `origin`."""
        content = {} if document is None else document
        if not isinstance(content, Mapping) or not all(
            isinstance(each, str) for pair in content.items() for each in pair
        ):
            raise ConfigError(f"{origin}: it is no map from image to image")
        try:
            return cls.of(content.items())
        except UsageError as exc:
            raise ConfigError(f"{origin}: {exc.message}", hint=exc.hint) from exc

    def over(self, below: ImageMap) -> ImageMap:
        """Both; where their rules are equally close, these count."""
        return ImageMap(below.rules + self.rules)

    def lead(self, name: ImageName) -> Target | None:
        """Where to look instead; None where no rule fits."""
        found: _Rule | None = None
        for rule in self.rules:
            if rule.fits(name) and (found is None or rule.weight >= found.weight):
                found = rule
        return None if found is None else found.lead(name)


def _rule(source: str, to: str) -> _Rule:
    if source.endswith("*"):
        start = source[:-1]
        rule = _Rule(source, to, start=start)
    else:
        if to.endswith("*"):
            raise UsageError(f"{source}={to}: `*` on the right needs one on the left")
        rule = _Rule(source, to, name=ImageName.parse(source), whole=_is_whole(source))
    if "*" in source[:-1] or "*" in to[:-1]:
        raise UsageError(f"{source}={to}: `*` may stand at the end alone")
    target(to[:-1] + "x" if to.endswith("*") else to)  # refused now rather than in the middle
    return rule
