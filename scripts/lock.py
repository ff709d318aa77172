"""Writes requirements-dev.txt: every package of development, by version and hash, naming no index."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "requirements-dev.txt"
UV = Path(sys.executable).with_name("uv")


def main() -> None:
    """Resolve for every platform and supported Python; keep the comment at the file's head."""
    head = [line for line in TARGET.read_text().splitlines() if line.startswith("#")]
    done = subprocess.run(
        [
            *(str(UV), "pip", "compile", "pyproject.toml", "--group", "dev", "--universal"),
            *("--python-version", "3.11", "--generate-hashes", "--upgrade", "--quiet"),
            *("--no-emit-index-url", "--no-annotate", "--no-header"),
        ],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    TARGET.write_text("\n".join(head) + "\n" + done.stdout)


if __name__ == "__main__":
    main()
