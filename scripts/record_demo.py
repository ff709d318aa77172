"""Plays `mlops demo` for real, and draws what it printed: docs/images/demo.svg.

    python scripts/record_demo.py [LOG]

What the picture leaves out is left out by the rules below, never by hand. With LOG, the output of an
earlier play (`mlops demo DIR | tee LOG`) is drawn.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "images" / "demo.svg"
COLUMNS = 104

# Acts that tell the story; of each: its title, the mlops commands, these lines of their output, and
# what was checked.
ACTS = ("first release", "New data", "worse model", "To production", "incident", "Automation")
ACTS += ("built again",)
KEPT = (
    r"  wine at ",
    r"    (?:build|train|validate|package|pin) +[^| ]",  # the plan
    r"  wine@sha256:[0-9a-f]{64}$",
    r"  wine@sha256:[0-9a-f]{12} →",
    r"  error: ",
    r"  prod: wine ",
    r"  held: ",
    r"  prod stays",
)
COMMANDS = ("$ mlops ", "$ cd ../second-clone")
LEFT_OUT = ("$ mlops watch", "$ mlops data", "$ mlops diff", "$ mlops show", "$ mlops status")
STYLES = {"─": "#56b6c2", "#": "#7f848e", "$": "#ffffff", "✓": "#98c379", " ": "#abb2bf"}
SIZE, LEADING, MARGIN, BAR = 13, 18, 18, 34
ADVANCE = 0.6 * SIZE  # the width of a character in the usual monospaced fonts


def main() -> None:
    """Play or read, choose, draw."""
    text = Path(sys.argv[1]).read_text(encoding="utf-8") if len(sys.argv) > 1 else play()
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    PICTURE.write_text(draw(list(chosen(text.splitlines()))), encoding="utf-8")
    print(PICTURE)


def play() -> str:
    """The demo's output, played in a directory that is removed."""
    with tempfile.TemporaryDirectory(prefix="mlops-recording-") as scratch:
        done = subprocess.run(
            [str(Path(sys.executable).with_name("mlops")), "demo", "play"],
            cwd=scratch,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    return done.stdout


def chosen(lines: list[str]) -> Iterator[str]:
    """The lines of the picture, each cut to its width."""
    act = told = ""
    for line in lines:
        if line.startswith("── "):
            act = line if any(name in line for name in ACTS) else ""
            told = ""
            if act:
                yield ""
                yield line[:COLUMNS]
        elif act and line.startswith("$ "):
            told = line if line.startswith(COMMANDS) and not line.startswith(LEFT_OUT) else ""
            if told:
                yield cut(line)
        elif act and (line.startswith("✓") or (told and re.match("|".join(KEPT), line))):
            yield cut(line)


def cut(line: str) -> str:
    """The line, ended by … where it is too long."""
    return line if len(line) <= COLUMNS else line[: COLUMNS - 1] + "…"


def draw(lines: list[str]) -> str:
    """A terminal window with these lines, as SVG; `textLength` keeps columns in any font."""
    while lines and not lines[0]:
        lines.pop(0)
    width = round(COLUMNS * ADVANCE + 2 * MARGIN)
    height = BAR + len(lines) * LEADING + MARGIN
    dots = "".join(
        f'<circle cx="{20 + 20 * place}" cy="17" r="6" fill="{colour}"/>'
        for place, colour in enumerate(("#e06c75", "#e5c07b", "#98c379"))
    )
    rows = "\n".join(row(number, line) for number, line in enumerate(lines) if line)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" aria-label="A recording of mlops demo">\n'
        f'<rect width="100%" height="100%" rx="8" fill="#21252b"/>{dots}\n'
        f'<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,monospace" '
        f'font-size="{SIZE}" xml:space="preserve">\n{rows}\n</g>\n</svg>\n'
    )


def row(number: int, line: str) -> str:
    """One line of text at its place."""
    colour = STYLES.get(line[0], STYLES[" "])
    weight = ' font-weight="bold"' if line.startswith(("$", "─")) else ""
    y = BAR + (number + 1) * LEADING - 4
    return (
        f'<text x="{MARGIN}" y="{y}" fill="{colour}"{weight} '
        f'textLength="{len(line) * ADVANCE:.1f}">{escape(line)}</text>'
    )


if __name__ == "__main__":
    main()
