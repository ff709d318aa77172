"""Which installed distribution owns which file of an environment, read from RECORD (PEP 376, 427)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from mlops.build.tar import Content, Entry, File, Tree
from mlops.errors import BuildError

_INFO = ".dist-info"


@dataclass(frozen=True, slots=True)
class Owned:
    """A file of a distribution: `name` as its directory is called (`scikit_learn-1.5.0`); `code` is
    the hash that RECORD gives it, empty where it gives none."""

    name: str
    path: str
    code: str


def owners(tree: Tree) -> Mapping[str, tuple[Owned, ...]]:
    """Path → the distributions that claim it, in the order of their names.

    Raises BuildError where two claim one path with different bytes: which of them stays is chance.
    """
    found: dict[str, list[Owned]] = {}
    for owned in _all(tree):
        found.setdefault(owned.path, []).append(owned)
    for path, claims in sorted(found.items()):
        if len({claim.code for claim in claims}) > 1:
            first, second = (claim.name.replace("-", " ", 1) for claim in claims[:2])
            raise BuildError(
                f"{first} and {second} both install /{path}, with different contents: "
                "which of them an image gets would be chance",
                hint="Require one of them only; or tell the projects that their packages collide",
            )
    return {path: tuple(claims) for path, claims in found.items()}


def _all(tree: Tree) -> Iterator[Owned]:
    for path in sorted(tree):
        pure = PurePosixPath(path)
        # deeper ones came with copies of other packages, as setuptools has them, and are its own files
        installed = pure.parent.parent.name == "site-packages"
        if pure.name == "RECORD" and pure.parent.name.endswith(_INFO) and installed:
            yield from _owned(tree[path], pure.parent)


def _owned(record: Entry, info: PurePosixPath) -> Iterator[Owned]:
    name = info.name.removesuffix(_INFO)
    for row in csv.reader(io.StringIO(text_of(record))):
        if len(row) >= 2:
            yield Owned(name, normal(info.parent / row[0]), row[1])


def text_of(record: Entry) -> str:
    """What a RECORD says; names of files may be no UTF-8."""
    match record:
        case Content(content, _):
            return content.decode(errors="surrogateescape")
        case File(source, _):
            return source.read_text(encoding="utf-8", errors="surrogateescape")
        case _:
            return ""


def normal(path: PurePosixPath) -> str:
    """The path with `..` carried out, as text."""
    parts: list[str] = []
    for part in path.parts:
        if part == ".." and parts:
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)
