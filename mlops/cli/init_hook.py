"""`mlops init --hook`: a bare repository looks at each push by itself."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from mlops import resources
from mlops.adapters.git import posthook
from mlops.cli import options, render


def install(repo: Path, *, dry_run: bool, output: options.Output) -> int:
    """Install the hook, or say what it would be. Raises UsageError, OutsideError."""
    command = f"{shlex.quote(sys.executable)} -m mlops"
    content = resources.content("watch/post-receive").replace(b"@COMMAND@", command.encode())
    found = posthook.plan(repo, content)
    if found.keeps:
        render.note(f"{found.path} is kept as {posthook.BEFORE}, and called first")
    if dry_run:
        render.raw(content.decode())
        render.note(f"{found.path} was not written: --dry-run")
        return 0
    if not found.done:
        posthook.install(found, content)
    value = [{"hook": str(found.path), "kept": found.keeps, "written": not found.done}]
    render.answer(value, output, lambda: _print(found))
    return 0


def _print(found: posthook.Installation) -> None:
    if found.done:
        render.note(f"{found.path} is there already")
        return
    render.line(str(found.path))
    render.note(
        f"each push starts mlops watch --once; see {found.path.parent.parent}/.mlops/watch/hook.log"
    )
