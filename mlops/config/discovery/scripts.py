"""Training scripts: which file trains, how it is started, and what it writes."""

from __future__ import annotations

import ast
import posixpath
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mlops.config.discovery import requirements, writes
from mlops.domain.discovery import Files

_TRAINS = re.compile(r"(?:^|[_-])(?:train|training|fit)(?:[_-]|$)")


@dataclass(frozen=True, slots=True)
class Script:
    """A training script, how to start it from the repository's root, and what it writes.

    `home` is the directory where it is started.
    """

    path: str
    command: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    writes: tuple[str, ...]
    home: str = ""


def training_scripts(files: Files) -> tuple[Script, ...]:
    """Scripts that train, the likeliest of each directory first."""
    entries = dict(_entry_points(files))
    found = [_script(files, path, entries.get(path)) for path in files if _trains(path, entries)]
    return tuple(sorted(found, key=lambda script: _likelihood(script, entries)))


def _likelihood(script: Script, entries: Mapping[str, str]) -> tuple[bool, bool, int, str]:
    stem = posixpath.splitext(posixpath.basename(script.path))[0]
    return script.path not in entries, stem != "train", script.path.count("/"), script.path


def _trains(path: str, entries: Mapping[str, str]) -> bool:
    if path in entries:
        return True
    parts = path.lower().split("/")
    stem, suffix = posixpath.splitext(parts[-1])
    if suffix != ".py" or stem.startswith("test_") or {"tests", "test", "docs"} & set(parts[:-1]):
        return False
    return _TRAINS.search(stem) is not None or (stem == "__main__" and _train_folder(parts))


def _train_folder(parts: list[str]) -> bool:
    return len(parts) > 1 and _TRAINS.search(parts[-2]) is not None


def _entry_points(files: Files) -> Iterator[tuple[str, str]]:
    """`[project.scripts]` whose command or function trains: file → `module:function`."""
    for path in sorted(files):
        if posixpath.basename(path) != "pyproject.toml":
            continue
        root = posixpath.dirname(path)
        for command, target in requirements.scripts(files[path]).items():
            module, _, function = target.partition(":")
            if not any(_TRAINS.search(n) for n in (command, function, module.rpartition(".")[2])):
                continue
            for source in (f"src/{module.replace('.', '/')}", module.replace(".", "/")):
                for tail in (".py", "/__init__.py"):
                    if posixpath.join(root, source + tail) in files:
                        yield posixpath.join(root, source + tail), target


def _script(files: Files, path: str, entry: str | None) -> Script:
    tree = _parse(files[path])
    home = _home(files, path, tree)
    command, env = _start(tree, path, home, entry)
    files_written = tuple(dict.fromkeys(writes.written(tree, posixpath.dirname(path), home)))
    return Script(path, command, env, files_written, home)


def _parse(text: str) -> ast.Module:
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ast.Module(body=[], type_ignores=[])


def _home(files: Files, path: str, tree: ast.Module) -> str:
    """Where the script expects to be started: the nearest directory from which the files that it
    names are there; else the one that holds its dependencies' file; else the root."""
    named = [text for text in _constants(tree) if "/" in text or "." in text]
    above = _above(posixpath.dirname(path))
    for home in above:
        if any(posixpath.normpath(posixpath.join(home, text)) in files for text in named):
            return home
    return next((home for home in above if requirements.own(files, home)), "")


def _above(directory: str) -> list[str]:
    """`directory` and those above it; the root last."""
    found = [directory]
    while found[-1]:
        found.append(posixpath.dirname(found[-1]))
    return found


def _constants(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            continue
        if 0 < len(node.value) < 200 and "\n" not in node.value:
            yield node.value


def _start(
    tree: ast.Module, path: str, home: str, entry: str | None
) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    inside = posixpath.relpath(path, home or ".")
    # what lies in src/ is imported by its own name, as if it were installed
    env = (("PYTHONPATH", "src"),) if inside.startswith("src/") else ()
    if entry and not _has_main(tree):
        module, _, function = entry.partition(":")
        argv: tuple[str, ...] = ("python", "-c", f"from {module} import {function}; {function}()")
    elif _relative_imports(tree) or entry:
        argv = ("python", "-m", _module(inside))
    else:
        argv = ("python", inside)
    if home:
        return ("sh", "-c", f"cd {shlex.quote(home)} && exec {shlex.join(argv)}"), env
    return argv, env


def _module(path: str) -> str:
    text = path.removeprefix("src/").removesuffix(".py").removesuffix("/__main__")
    return text.removesuffix("/__init__").replace("/", ".")


def _relative_imports(tree: ast.Module) -> bool:
    return any(isinstance(node, ast.ImportFrom) and node.level for node in ast.walk(tree))


def _has_main(tree: ast.Module) -> bool:
    tests = (node.test for node in tree.body if isinstance(node, ast.If))
    return any("__name__" in ast.dump(test) for test in tests)
