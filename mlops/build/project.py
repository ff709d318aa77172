"""The project's files in a release image: application code and the model, below /app."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from mlops.build.server import MODEL_FILE
from mlops.build.tar import Content, Directory, Entry, Link, entry_of, read_tree
from mlops.errors import BuildError

APP = "/app"
_BELOW = APP.lstrip("/")
_PINS = "environments/"
# state of tools, never application code
_NEVER = frozenset({".git", ".dvc", ".mlops", "__pycache__", ".venv", ".pytest_cache"})


def code(root: Path, paths: Sequence[str], artifact: str) -> dict[str, Entry]:
    """Files, and what lies in directories, at their places below /app; the artifact left out.

    Without `paths` it is the whole tree, except hidden directories and `environments/`. Raises
    BuildError where a path is missing, or leads out of the project.
    """
    tree: dict[str, Entry] = {} if paths else _everything(root)
    for text in paths:
        at = _inside(root, text)
        entry = entry_of(at)
        if not isinstance(entry, Directory):
            tree[text.rstrip("/")] = entry
        else:
            tree |= read_tree(at, "" if at == root else at.relative_to(root).as_posix())
    kept = {path: entry for path, entry in tree.items() if _is_code(path, artifact)}
    for path, entry in kept.items():
        if isinstance(entry, Link):
            _check_link(root, path, entry)
    return {f"{_BELOW}/{path}": entry for path, entry in kept.items()}


def import_places(code: Iterable[str]) -> tuple[str, ...]:
    """Where the interpreter must look for modules as training found them: /app, what holds packages,
    and the directories of scripts (`python src/train.py` pickles what lies beside it by bare name).

    `code` are paths in the image without a leading slash.
    """
    modules = [PurePosixPath(path) for path in code if path.endswith(".py")]
    packages = {path.parent for path in modules if path.name == "__init__.py"}
    inner = {path.parent for path in modules if packages.isdisjoint(path.parents)}
    roots = {path.parent for path in packages if packages.isdisjoint(path.parents)}
    found = sorted(f"/{place}" for place in inner | roots)
    return (APP, *(place for place in found if place != APP))


def model(root: Path, artifact: str, name: str) -> dict[str, Entry]:
    """The artifact, a file or a directory of regular files, and the note that names it.

    It comes from training, which may be hostile: a link in it or on the way to it is refused.
    """
    path = _inside(root, artifact)
    entry = entry_of(path)
    tree: dict[str, Entry] = {artifact: entry}
    if isinstance(entry, Directory):
        tree = read_tree(path, artifact)
    for found, kind in tree.items():
        if isinstance(kind, Link):
            raise BuildError(
                f"the model {found} is a symbolic link to {kind.target}",
                hint="Let the stage write a regular file",
            )
    whole = {f"{_BELOW}/{found}": kind for found, kind in tree.items()}
    note = {"model": name, "artifact": f"{APP}/{artifact}"}
    text = json.dumps(note, sort_keys=True, ensure_ascii=False) + "\n"
    whole[MODEL_FILE.lstrip("/")] = Content(text.encode())
    return whole


def _everything(root: Path) -> dict[str, Entry]:
    tree = read_tree(root)
    return {path: entry for path, entry in tree.items() if not path.startswith((".", _PINS))}


def _is_code(path: str, artifact: str) -> bool:
    parts = PurePosixPath(path).parts
    return _NEVER.isdisjoint(parts) and not PurePosixPath(path).is_relative_to(artifact)


def _inside(root: Path, text: str) -> Path:
    """The path in the project. Raises BuildError where a link or `..` lies on the way."""
    at = root
    for part in PurePosixPath(text).parts:
        if part in ("/", "..") or (at != root and at.is_symlink()):
            raise BuildError(f"{text} leads out of the project", hint="Name a path inside it")
        at /= part
    if not at.exists() and not at.is_symlink():
        raise BuildError(f"{text} is not in the project's tree at this source")
    return at


def _check_link(root: Path, path: str, link: Link) -> None:
    target = (root / path).parent / link.target
    if link.target.startswith("/") or not target.resolve().is_relative_to(root.resolve()):
        raise BuildError(
            f"{path} is a symbolic link to {link.target}, outside the project",
            hint="An image cannot hold it: replace it by a file, or leave it out of build.code",
        )
