"""Bytecode beside sources, the same on every build: checked by nobody, with final paths inside.

`unchecked-hash` (PEP 552) has no time in it. Sources are dealt to compilers in order, whose number
depends on theirs alone: a code object's bytes depend on what its interpreter has seen before.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from mlops.build.tar import Content, Entry, File, Tree
from mlops.errors import BuildError

# Compilers, and sources that make one worth its start: part of the bytes, whatever the processors here
_MOST, _WORTH = 4, 200
_AT_ONCE = 2
_UNCOMPILED = frozenset({"tests", "test", "__pycache__"})
_SCRIPT = Path(__file__).with_name("compiler.py")

Interpreter = Callable[[Sequence[str], bytes], bytes]  # its arguments and stdin → its stdout


def compiled(tree: Tree, interpreter: Interpreter) -> dict[str, Entry]:
    """The tree with bytecode for its Python sources, except those of test packages.

    `interpreter` runs the interpreter that will import them. A source that it cannot compile
    (a template, another Python) stays without. Raises BuildError.
    """
    paths = sorted(path for path in tree if _wanted(path) and _is_file(tree[path]))
    if not paths:
        return {path: tree[path] for path in tree if "__pycache__" not in path.split("/")}
    dealt = min(_MOST, 1 + len(paths) // _WORTH)
    hands = [paths[number::dealt] for number in range(dealt)]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = list(pool.map(lambda hand: _compile(tree, hand, interpreter), hands))
    whole = {path: tree[path] for path in tree if "__pycache__" not in path.split("/")}
    for hand, (tag, codes) in zip(hands, answers, strict=True):
        for path, code in zip(hand, codes, strict=True):
            if code:
                pure = PurePosixPath(path)
                whole[str(pure.parent / "__pycache__" / f"{pure.stem}.{tag}.pyc")] = Content(code)
    return whole


def _wanted(path: str) -> bool:
    return path.endswith(".py") and _UNCOMPILED.isdisjoint(path.split("/"))


def _is_file(entry: Entry) -> bool:
    return isinstance(entry, File | Content)


def _compile(
    tree: Tree, paths: Sequence[str], interpreter: Interpreter
) -> tuple[str, tuple[bytes, ...]]:
    question = b"".join(
        _frame(part) for path in paths for part in (f"/{path}".encode(), _source(tree[path]))
    )
    script = _SCRIPT.read_text()
    answer = interpreter(("-s", "-S", "-B", "-W", "ignore", "-c", script), question)
    tag, *codes = _frames(answer)
    if len(codes) != len(paths):
        raise BuildError("the interpreter of the base stopped while compiling")
    return tag.decode(), tuple(codes)


def _source(entry: Entry) -> bytes:
    match entry:
        case Content(content, _):
            return content
        case File(source, _):
            try:
                return source.read_bytes()
            except OSError as exc:
                raise BuildError(f"cannot read {source}: {exc.strerror}") from exc
        case _:
            return b""


def _frame(part: bytes) -> bytes:
    return struct.pack(">I", len(part)) + part


def _frames(answer: bytes) -> Iterator[bytes]:
    at = 0
    while at + 4 <= len(answer):
        (length,) = struct.unpack_from(">I", answer, at)
        yield answer[at + 4 : at + 4 + length]
        at += 4 + length
