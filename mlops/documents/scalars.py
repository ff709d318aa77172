"""What a plain scalar means, and how to write one that means nothing else.

`1.1` is what Kubernetes makes of it (YAML 1.1 without base 60 and times; the tests ask `kubectl`),
`1.2` what DVC makes of it (the core schema, with underscores in numbers).
"""

from __future__ import annotations

import math
import re
from typing import Literal

Schema = Literal["1.1", "1.2"]

DEPTH = 100  # levels of nesting, aliases expanded
DIGITS = 4000  # of a number: CPython refuses to convert more than 4300
CORE = "tag:yaml.org,2002:"
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {w: v for v, t in ((True, "true"), (False, "false")) for w in (t, t.title(), t.upper())}
WORDS_1_1 = {"y": True, "Y": True, "n": False, "N": False} | {
    written: value
    for value, word in ((True, "yes"), (True, "on"), (False, "no"), (False, "off"))
    for written in (word, word.title(), word.upper())
}
_INT = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+|[0-9][0-9_]*)\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9][0-9_]*|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_SPECIAL = re.compile(r"(?:([-+]?)\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z")
# A letter, `/`, `$` or `./` first, then nothing that YAML gives a meaning to, in flow lists either.
_SAFE = r"[\w./@$()+=-]"
_PLAIN = re.compile(rf"(?:[A-Za-z/$]|\./)(?:{_SAFE}|[: ](?={_SAFE}))*\Z", re.ASCII)
_WORDS = frozenset({*_NULL, "nan", "inf", "infinity"} | {w.lower() for w in (*_BOOL, *WORDS_1_1)})


def resolve(text: str, schema: Schema = "1.1") -> str | int | float | bool | None:
    """What a plain scalar means. Raises ValueError on a number of too many digits."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if text[0] not in "+-.0123456789":
        return WORDS_1_1.get(text, text) if schema == "1.1" else text
    special = _SPECIAL.match(text)
    if special is not None:
        return math.nan if special[1] is None else float(special[1] + "inf")
    if len(text) > DIGITS and (_INT.match(text) or _FLOAT.match(text)):
        raise ValueError(text)
    digits = text.replace("_", "")
    if _INT.match(text):
        return _whole(digits, schema, text)
    if _FLOAT.match(text):
        number = float(digits)
        return text if math.isinf(number) else number  # too large is a text to Go
    return text


def _whole(digits: str, schema: Schema, text: str) -> int | str:
    bare = digits.lstrip("+-").lower()
    octal = bool(re.fullmatch("0[0-7]+", bare)) and schema == "1.1"
    radix = 8 if octal else {"0x": 16, "0o": 8, "0b": 2}.get(bare[:2], 10)
    try:
        return int(digits, radix)
    except ValueError:  # `0x_`
        return text


def quote(text: str) -> str:
    """A scalar for one line of YAML that every reader takes for this very string: plain where that
    is beyond doubt, else in double quotes."""
    if _PLAIN.match(text) and text.lower() not in _WORDS:
        return text
    return '"' + "".join(_escaped(char) for char in text) + '"'


def _escaped(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    if char.isprintable():
        return char
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
