"""Values → YAML that every reader reads back the same."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from mlops.documents.scalars import CORE, DEPTH, quote
from mlops.errors import ConfigError

_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


_UNWRITABLE = re.compile("[\x00\ud800-\udfff]")


def _keeps(text: str) -> bool:
    # Several lines that an editor which trims leaves alone; libyaml itself sees to ends of lines.
    return "\n" in text and not text[0].isspace() and not text.endswith("\n\n")


class _Dumper(_DUMPER):  # type: ignore[misc] # the class depends on libyaml
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's name
        return True


def _represent_text(dumper: Any, text: str) -> Any:
    style = None if quote(text) == text else "|" if _keeps(text) else '"'
    return dumper.represent_scalar(CORE + "str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def dump(value: Any) -> str:
    """Write one document in block style, keys in the order given, scripts as literal blocks.

    Takes mappings with strings as keys, lists, tuples, str, int, float, bool and None. Raises
    ConfigError on anything else, and on texts that no YAML can hold.
    """
    return str(
        yaml.dump(
            _plain(value, 0),
            Dumper=_Dumper,
            sort_keys=False,
            allow_unicode=True,
            width=1 << 30,
            default_flow_style=False,
        )
    )


def _plain(value: Any, level: int) -> Any:
    if level > DEPTH:
        raise ConfigError(f"this cannot be written as YAML: more than {DEPTH} levels of nesting")
    match value:
        case None | bool():
            return value
        case str():
            return _text(str(value))
        case int():
            return int(value)
        case float():
            return float(value)
        case Mapping():
            if not all(isinstance(key, str) for key in value):
                raise ConfigError("this cannot be written as YAML: a key that is no string")
            return {_text(str(key)): _plain(child, level + 1) for key, child in value.items()}
        case list() | tuple():
            return [_plain(child, level + 1) for child in value]
    raise ConfigError(f"this cannot be written as YAML: {type(value).__name__}")


def _text(text: str) -> str:
    if _UNWRITABLE.search(text):
        raise ConfigError(f"{text!r} cannot be written: it holds NUL, or bytes that are not UTF-8")
    return text
