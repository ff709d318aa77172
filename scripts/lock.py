"""Writes requirements-dev.txt, every package of development by version and hash, and requirements-tool.txt, those of
them that mlops itself needs and its tool image holds. Neither names an index."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEV, TOOL = ROOT / "requirements-dev.txt", ROOT / "requirements-tool.txt"
UV = Path(sys.executable).with_name("uv")


def main() -> None:
    """Resolve for every platform and supported Python; keep the comments at the files' heads."""
    write(DEV, "--group", "dev", "--upgrade")
    write(TOOL, "--constraint", str(DEV))


def write(target: Path, *more: str) -> None:
    """Resolve into a file."""
    head = [line for line in target.read_text().splitlines() if line.startswith("#")]
    done = subprocess.run(
        [
            *(str(UV), "pip", "compile", "pyproject.toml", *more, "--universal"),
            *("--python-version", "3.11", "--generate-hashes", "--quiet"),
            *("--no-emit-index-url", "--no-annotate", "--no-header"),
        ],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    target.write_text("\n".join(head) + "\n" + done.stdout)


if __name__ == "__main__":
    main()
