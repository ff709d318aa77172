"""Plays the README of each example, command by command, in a copy that is removed afterwards.

    python scripts/examples.py [--keep DIR] [--pulled] [--page FILE] [NAME…]

A `sh` block of a README is typed; where a `text` block follows, the output must have its lines, in their order. In
such a line `…` stands for anything, and blanks for any number of them; `(exits 1)` is the expected exit code of the
block's last command. A block that starts a server in the background is one command, others are one for each line.
Port 8080 becomes a free one. What a command line of the README says is what runs. With --pulled, its questions are then
asked once more of the images that podman pulls from a registry: see examples_pulled.py. With --page, what a page of the
documentation says is typed after the README.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlops.demo.stage import DemoError, Stage, environment

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
sys.path[:0] = [str(Path(__file__).resolve().parent)]

import examples_pulled  # noqa: E402

_PART = re.compile(
    r"^## (?P<title>[^\n]+)$|^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_EXITS = re.compile(r"\(exits (\d+)\)")
_CONTINUED = ("\\", "&&", "|")
_STYLES = {"title": "1;36", "command": "1", "check": "32"}


@dataclass(frozen=True, slots=True)
class Block:
    """Commands below a heading, the exit code of the last one, and lines that they print."""

    title: str
    commands: tuple[str, ...]
    expected: tuple[str, ...] = ()
    code: int = 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("names", nargs="*", default=names(), metavar="NAME")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="play here, and leave it")
    parser.add_argument("--page", type=Path, metavar="FILE", help="type this too, afterwards")
    parser.add_argument("--pulled", action="store_true", help="and from a registry, by podman")
    given = parser.parse_args()
    try:
        if given.keep is not None:
            if given.keep.exists():
                parser.error(f"{given.keep} is there already: name a directory that is not")
            given.keep.mkdir(parents=True)
            play_all(given.names, given.keep.resolve(), page=given.page, pulled=given.pulled)
        else:
            with tempfile.TemporaryDirectory(prefix="mlops-examples-") as directory:
                play_all(given.names, Path(directory), page=given.page, pulled=given.pulled)
    except DemoError as exc:
        sys.stderr.write(f"error: {exc.message}\n")
        return 1
    return 0


def names() -> list[str]:
    return sorted(readme.parent.name for readme in EXAMPLES.glob("*/README.md"))


def play_all(
    chosen: Sequence[str], base: Path, *, page: Path | None = None, pulled: bool = False
) -> None:
    """Play these examples below `base`, one after the other. Raises DemoError."""
    for name in chosen:
        copied = base / name / name
        shutil.copytree(EXAMPLES / name, copied, ignore=shutil.ignore_patterns("__pycache__"))
        stage = play(copied, base / "cache")
        if page is not None:
            type_all(stage, page.read_text(encoding="utf-8"))
        if pulled:
            ask_pulled(stage)


def play(project: Path, cache: Path) -> Stage:
    """Type what the README of `project` says. Raises DemoError where it is not as it says."""
    env = {"MLOPS_CACHE": str(cache), **environment(os.environ)}
    stage = Stage(project, _show, _paint, env)
    type_all(stage, _readme(project))
    return stage


def type_all(stage: Stage, page: str) -> None:
    """Type what a page says, and compare what is printed. Raises DemoError."""
    port, title, name = str(examples_pulled.free_port()), "", stage.directory.name
    for block in blocks(page):
        if block.title != title:
            title = block.title
            stage.title(f"{name}: {title}")
        printed = []
        for number, command in enumerate(block.commands, start=1):
            code = block.code if number == len(block.commands) else 0
            printed.append(stage.type(command.replace("8080", port), code=code).text)
        _compare(name, title, block.expected, "\n".join(printed))


def ask_pulled(stage: Stage) -> None:
    """Ask what the README asks, of the images that podman pulls from a registry. Raises DemoError."""
    title = "the same from a registry"
    stage.title(f"{stage.directory.name}: {title}")
    told = [
        ("\n".join(block.commands), block.expected) for block in blocks(_readme(stage.directory))
    ]
    asked = examples_pulled.questions(told)
    if not asked:
        raise DemoError(f"{stage.directory.name}: its README asks for no prediction")
    for question, printed in examples_pulled.pulled(stage, asked):
        _compare(stage.directory.name, title, question.expected, printed)


def _readme(project: Path) -> str:
    return (project / "README.md").read_text(encoding="utf-8")


def _compare(project: str, title: str, expected: Sequence[str], printed: str) -> None:
    missing = absent(expected, printed)
    if missing:
        raise DemoError(f"{project}: {title}: nothing printed was like: {missing}")


def blocks(readme: str) -> Iterator[Block]:
    """What a README says to type, in its order."""
    title = ""
    found: list[Block] = []
    for part in _PART.finditer(readme):
        text = part["text"]
        if part["title"]:
            title = part["title"]
        elif part["language"] == "sh":
            found.append(Block(title, tuple(_commands(text))))
        elif part["language"] == "text" and found:
            lines = tuple(line for line in text.splitlines() if not _EXITS.fullmatch(line))
            exits = _EXITS.search(text)
            last = found.pop()
            found.append(
                Block(last.title, last.commands, lines, int(exits[1]) if exits else last.code)
            )
    yield from found


def _commands(text: str) -> Iterator[str]:
    if re.search(r"[^&]&$", text, re.MULTILINE):
        yield text.rstrip("\n")
        return
    command = ""
    for line in text.splitlines():
        command += line
        if line.endswith(_CONTINUED):
            command += "\n"
        else:
            yield command
            command = ""


def absent(expected: Sequence[str], printed: str) -> str:
    """The first line that is not among the printed ones, in order; empty where all are."""
    lines = iter(" ".join(line.split()) for line in printed.splitlines())
    for text in expected:
        parts = (re.escape(part.strip()) for part in text.split("…"))
        pattern = re.compile(r"\s?.*\s?".join(parts).replace(r"\ ", r"\s+"))
        if not any(pattern.search(line) for line in lines):
            return text
    return ""


def _show(text: str) -> None:
    sys.stdout.write(text.replace("\n", "\n> ") + "\n")
    sys.stdout.flush()


def _paint(style: str, text: str) -> str:
    colour = _STYLES.get(style)
    return f"\x1b[{colour}m{text}\x1b[0m" if colour and sys.stdout.isatty() else text


if __name__ == "__main__":
    raise SystemExit(main())
