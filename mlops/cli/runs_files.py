"""The files that `mlops runs submit` is given: YAML files, directories of them, or stdin."""

from __future__ import annotations

import re
import secrets
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mlops.errors import UsageError

_SUFFIXES = (".yaml", ".yml", ".json")
_REFERENCE = re.compile(r"\$\(workspaces\.([\w-]+)\.")
_LARGEST = 16 << 20  # bytes of a file


def contents(paths: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Each file's name and content; of a directory its YAML and JSON files, `-` is stdin.

    Raises UsageError where one cannot be read.
    """
    for text in paths:
        path = Path(text)
        if text == "-":
            yield "<stdin>", sys.stdin.buffer.read(_LARGEST + 1)
        elif path.is_dir():
            found = sorted(each for each in path.iterdir() if each.suffix in _SUFFIXES)
            if not found:
                raise UsageError(f"{text} holds no {', '.join(_SUFFIXES)} file")
            for each in found:
                yield str(each), _content(each)
        else:
            yield text, _content(path)


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST + 1)
    except OSError as exc:
        raise UsageError(f"cannot read {path}: {exc.strerror}") from exc


def pairs(texts: Iterable[str], option: str, form: str) -> dict[str, str]:
    """`NAME=VALUE` options. Raises UsageError for what has another form, or a name twice."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"{option} {text!r}: must have the form {form}")
        if name in found:
            raise UsageError(f"{option} {name} is given twice")
        found[name] = value
    return found


def with_workspaces(
    raw: Mapping[str, Any], wanted: Mapping[str, str], claims: Path
) -> tuple[Mapping[str, Any], tuple[Mapping[str, Any], ...]]:
    """A run with workspaces laid over its own, and the claims that they name.

    A directory becomes a claim of this machine: a link in `claims` that leads to it. Raises UsageError
    where there is no such directory.
    """
    if not wanted:
        return raw, ()
    spec = raw.get("spec") or {}
    bound = {each.get("name"): each for each in spec.get("workspaces") or ()}
    made = []
    for name, what in wanted.items():
        if what == "emptyDir":
            bound[name] = {"name": name, "emptyDir": {}}
            continue
        claim = _link(name, Path(what), claims)
        bound[name] = {"name": name, "persistentVolumeClaim": {"claimName": claim}}
        about = {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
        made.append({**about, "metadata": {"name": claim}, "spec": {}})
    return {**raw, "spec": {**spec, "workspaces": list(bound.values())}}, tuple(made)


def _link(workspace: str, directory: Path, claims: Path) -> str:
    """Let a claim stand for a directory; gives its name, which nobody can guess who was not given the
    directory: a document may name any claim."""
    target = directory.resolve()
    if not target.is_dir():
        fault = "is no directory" if target.exists() else "is not there"
        raise UsageError(f"-w {workspace}: {directory} {fault}")
    name = f"directory-{secrets.token_hex(12)}"
    claims.mkdir(mode=0o700, parents=True, exist_ok=True)
    (claims / name).symlink_to(target)
    return name


def check_workspaces(raw: Mapping[str, Any], others: Iterable[Any], wanted: Iterable[str]) -> None:
    """Raises UsageError for a workspace that neither the run nor what is beside it speaks of."""
    spec = {key: value for key, value in (raw.get("spec") or {}).items() if key != "workspaces"}
    known = set(_spoken_of([spec, *others]))
    for name in wanted:
        if name not in known:
            hint = f"There is: {', '.join(sorted(known))}" if known else "It has none"
            raise UsageError(f"-w {name}: nothing in the run has such a workspace", hint=hint)


def _spoken_of(value: Any) -> Iterator[str]:
    """Names of workspaces in documents: declared, bound, or referred to."""
    if isinstance(value, Mapping):
        for each in value.get("workspaces") or ():
            if isinstance(each, Mapping):
                yield str(each.get("workspace") or each.get("name"))
        for each in value.values():
            yield from _spoken_of(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _spoken_of(each)
    elif isinstance(value, str):
        yield from _REFERENCE.findall(value)
