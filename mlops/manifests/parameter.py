"""Text as a Tekton parameter: data on its way through three substitutions.

Tekton replaces `$(params.x)`, then `$(tasks.…)` and `$(context.…)`, each time over text that the
one before wrote, and the kubelet replaces `$(NAME)` in `env` once more. So a value that itself
holds `$(…)` would be read as a reference. `%`, `$` and what is not printable therefore travel as
`%XX` (RFC 3986, section 2.1); steps decode them. Usual values stay as they are.
"""

from __future__ import annotations

from urllib.parse import unquote


def encode(text: str) -> str:
    """The parameter value for `text`: printable, and without `$`."""
    return "".join(char if _plain(char) else _escaped(char) for char in text)


def decode(value: str) -> str:
    """The text of a parameter value; bytes that are no UTF-8 come back as surrogates."""
    return unquote(value, errors="surrogateescape")


def _plain(char: str) -> bool:
    return char.isprintable() and char not in "%$"


def _escaped(char: str) -> str:
    return "".join(f"%{byte:02X}" for byte in char.encode(errors="surrogateescape"))
