"""Values → YAML that every reader reads back the same."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from mlops.documents.scalars import CORE, quote
from mlops.errors import ConfigError

_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Dumper(_DUMPER):  # type: ignore[misc] # the class depends on libyaml
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's name
        return True


_UNWRITABLE = re.compile("[\x00\ud800-\udfff]")


def _keeps(text: str) -> bool:
    # Several lines that a literal block keeps as they are, whatever the emitter.
    return (
        "\n" in text
        and not text[0].isspace()
        and not text.endswith("\n\n")
        and all(line == line.rstrip() for line in text.split("\n"))
    )


def _represent_text(dumper: Any, text: str) -> Any:
    if _UNWRITABLE.search(text):
        raise ConfigError(f"{text!r} cannot be written: it holds NUL, or bytes that are not UTF-8")
    style = None if quote(text) == text else "|" if _keeps(text) else '"'
    return dumper.represent_scalar(CORE + "str", str(text), style=style)


def _represent_mapping(dumper: Any, value: Mapping[str, Any]) -> Any:
    return dumper.represent_mapping(CORE + "map", value.items())


def _represent_sequence(dumper: Any, value: Sequence[Any]) -> Any:
    return dumper.represent_sequence(CORE + "seq", value)


for _type, _represent in (
    (str, _represent_text), (Mapping, _represent_mapping), (dict, _represent_mapping),
    (tuple, _represent_sequence),
):  # fmt: skip
    _Dumper.add_representer(_type, _represent)
    _Dumper.add_multi_representer(_type, _represent)


def dump(value: Any) -> str:
    """Write one document in block style, keys in the order given, scripts as literal blocks.

    Takes mappings, sequences, str, int, float, bool and None. Raises ConfigError on anything else.
    """
    try:
        return str(
            yaml.dump(
                value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1 << 30,
                default_flow_style=False,
            )
        )  # fmt: skip
    except (yaml.YAMLError, RecursionError) as exc:
        raise ConfigError(f"this value cannot be written as YAML: {exc}") from exc
