"""Runs inside the interpreter of a base image, with its standard library alone.

Reads frames (length, bytes) of path and source in turn from stdin; writes the cache tag, then for
each source a frame with its `.pyc`, empty where it does not compile.
"""

import importlib.util
import struct
import sys
from importlib._bootstrap_external import _code_to_hash_pyc  # type: ignore[attr-defined]


def _compile(path: bytes, source: bytes) -> bytes:
    try:
        code = compile(source, path.decode(), "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError):
        return b""
    return bytes(_code_to_hash_pyc(code, importlib.util.source_hash(source), checked=False))


def main() -> None:
    """Answer on stdout what stdin asks."""
    data, out = sys.stdin.buffer.read(), sys.stdout.buffer
    parts, at = [], 0
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        parts.append(data[at + 4 : at + 4 + length])
        at += 4 + length
    answers = [str(sys.implementation.cache_tag).encode()]
    answers += map(_compile, parts[::2], parts[1::2])
    for answer in answers:
        out.write(struct.pack(">I", len(answer)) + answer)


if __name__ == "__main__":
    main()
