"""DVC's own commands in the user's work tree: add, status, push, pull."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlops.adapters.dvc import program
from mlops.errors import ConfigError, DvcError

_HINT = "Make it one: dvc init, then dvc remote add -d NAME URL"


def require(root: Path) -> None:
    """Raises ConfigError where `root` is no DVC project."""
    if not (root / ".dvc").is_dir():
        raise ConfigError(f"{root} is not a DVC project", hint=_HINT)


def _shown(root: Path, arguments: Sequence[str], doing: str) -> None:
    """Run with DVC's own progress where a person watches, and its lines on stderr."""
    require(root)
    if not sys.stderr.isatty():
        done = program.call(arguments, doing=doing, cwd=root, timeout=24 * 3600.0)
        sys.stderr.write(done.text)
        return
    said: list[str] = []

    def tell(text: str) -> None:
        said.append(text)
        sys.stderr.write(f"{text}\n")

    code = program.follow(
        arguments,
        doing=doing,
        cwd=root,
        line=tell,
        stderr=sys.stderr.buffer,
    )
    if code != 0:
        raise DvcError(
            f"DVC failed while {doing} (exit {code}): {program.words(chr(10).join(said))}"
        )


def add(root: Path, paths: Sequence[str]) -> None:
    """`dvc add`. Raises DvcError with DVC's words (a file that git tracks, for instance)."""
    _shown(root, ["add", "--", *paths], f"adding {', '.join(paths[:3])}")


def push(root: Path) -> None:
    _shown(root, ["push"], "pushing data")


def pull(root: Path) -> None:
    _shown(root, ["pull"], "pulling data")


def status(root: Path) -> tuple[str, ...]:
    """One text for each difference: `train: changed deps: data/train.csv (modified)`."""
    require(root)
    done = program.call(["status", "--json"], doing="comparing data", cwd=root, timeout=3600.0)
    try:
        found = json.loads(done.stdout or b"{}")
    except ValueError as exc:
        raise DvcError("DVC's status is no JSON") from exc
    return tuple(text for name in sorted(found) for text in _differences(name, found[name]))


def _differences(name: str, items: Sequence[Any]) -> Iterator[str]:
    for item in items:
        if not isinstance(item, Mapping):
            yield f"{name}: {item}"
            continue
        for what, paths in item.items():
            for path, how in paths.items():
                yield f"{name}: {what}: {path} ({_how(how)})"


def _how(how: Any) -> str:
    if isinstance(how, Mapping):
        return ", ".join(f"{key} {value}" for key, value in how.items())
    return str(how)


def config_files(root: Path) -> tuple[str, ...]:
    """The texts of DVC's configuration outside git, weakest first: system, global, local."""
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    candidates = (
        Path(os.environ.get("DVC_SYSTEM_CONFIG_DIR") or "/etc/xdg/dvc") / "config",
        Path(os.environ.get("DVC_GLOBAL_CONFIG_DIR") or home / "dvc") / "config",
        root / ".dvc" / "config.local",
    )
    return tuple(_text(path) for path in candidates)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
