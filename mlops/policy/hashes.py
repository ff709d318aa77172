"""The md5 sums that DVC takes of its inputs, computed from bytes.

Contract: equal to what DVC 3 writes into dvc.lock (`hash: md5`) for the same files; the `legacy`
forms equal DVC 2's, which made the line ends of text `\\n` first.
"""  # noqa: D301

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Iterable, Mapping

from mlops.domain.patterns import ignored
from mlops.domain.pipeline import Stage
from mlops.domain.view import Tree

_TEXT = bytes(range(32, 127)) + b"\n\r\t\f\b"
_BLOCK = 512  # bytes that DVC looks at to tell text from binary
_ALWAYS_IGNORED = (".hg/", ".git/", ".git", ".dvc/")
DIRECTORY = ".dir"


def file_md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def legacy_md5(content: bytes) -> str:
    """What DVC 2 took: of text, with Unix line ends."""
    block = content[:_BLOCK]
    binary = b"\x00" in block or len(block.translate(None, _TEXT)) > 0.3 * len(block)
    return file_md5(content if binary else content.replace(b"\r\n", b"\n"))


def directory_md5(files: Mapping[str, str]) -> str:
    """The hash of a directory from those of its files (relative path → md5), ending in `.dir`."""
    listed = [{"md5": files[path], "relpath": path} for path in sorted(files)]
    return file_md5(json.dumps(listed, sort_keys=True).encode()) + DIRECTORY


def ignore_rules(tree: Tree) -> Mapping[str, tuple[str, ...]]:
    """The patterns of each `.dvcignore`: directory (`.` for the root) → lines."""
    found = {}
    for path in tree.below("."):
        if posixpath.basename(path) == ".dvcignore":
            text = (tree.content(path) or b"").decode(errors="replace")
            found[posixpath.dirname(path) or "."] = tuple(
                line.strip() for line in text.splitlines()
            )
    return found


def _is_ignored(path: str, rules: Mapping[str, tuple[str, ...]]) -> bool:
    if ignored(_ALWAYS_IGNORED, path):
        return True
    for directory, lines in rules.items():
        inside = path if directory == "." else path.removeprefix(f"{directory}/")
        if (directory == "." or inside != path) and ignored(lines, inside):
            return True
    return False


def input_hashes(
    path: str,
    tree: Tree,
    data: Mapping[str, str],
    rules: Mapping[str, tuple[str, ...]],
) -> tuple[str, ...] | None:
    """The md5s that DVC could record for the input `path`: plain, and legacy where it differs.

    `data` maps paths of `.dvc` files' outputs to their md5. Empty where the md5 cannot be known
    from git alone (a URL, part of a versioned directory, a symlink); None where nothing is there.
    """
    if "://" in path or path.startswith(("/", "../")):
        return ()
    if path in data:
        return (data[path],)
    content = tree.content(path)
    if content is not None:
        return _distinct(file_md5(content), legacy_md5(content))
    if any(path.startswith(f"{known}/") for known in data):
        return ()
    return _directory(path, tree, data, rules)


def _directory(
    path: str, tree: Tree, data: Mapping[str, str], rules: Mapping[str, tuple[str, ...]]
) -> tuple[str, ...] | None:
    prefix = "" if path == "." else f"{path}/"
    tracked = {known: md5 for known, md5 in data.items() if known.startswith(prefix)}
    if any(odd == path or odd.startswith(prefix) for odd in tree.odd):
        return ()
    if any(md5.endswith(DIRECTORY) for md5 in tracked.values()):
        return ()  # its list of files is an object of the remote
    files = [name for name in tree.below(path) if not _is_ignored(name, rules)]
    if not files and not tracked:
        return None
    plain = {name.removeprefix(prefix): md5 for name, md5 in tracked.items()}
    legacy = dict(plain)
    for name in files:
        content = tree.content(name) or b""
        plain[name.removeprefix(prefix)] = file_md5(content)
        legacy[name.removeprefix(prefix)] = legacy_md5(content)
    return _distinct(directory_md5(plain), directory_md5(legacy))


def _distinct(*hashes: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(hashes))


def graph_hashes(
    stages: Iterable[Stage], tree: Tree, data: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    """`input_hashes` of every dependency that no stage makes, and of every `cache: false` output;
    what is not there has no key."""
    listed = tuple(stages)
    rules = ignore_rules(tree)
    outs = {out.path for stage in listed for out in stage.outs}
    wanted = {dep for stage in listed for dep in stage.deps if not made_by_stage(dep, outs)}
    wanted |= {out.path for stage in listed for out in stage.outs if not out.cached}
    found = {path: input_hashes(path, tree, data, rules) for path in sorted(wanted)}
    return {path: hashes for path, hashes in found.items() if hashes is not None}


def overlaps(left: str, right: str) -> bool:
    """Whether one path is the other, or lies in it."""
    return (
        left == right
        or left.startswith(f"{right}/")
        or right.startswith(f"{left}/")
        or "." in (left, right)
    )


def made_by_stage(dep: str, outs: Iterable[str]) -> bool:
    return any(overlaps(dep, out) for out in outs)
