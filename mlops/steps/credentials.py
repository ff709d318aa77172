"""The DVC settings that a user keeps out of git: read for one call, never left in the run's tree."""

from __future__ import annotations

import configparser
import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlops.errors import ConfigError

_REMOTE = re.compile(r"""'?\s*remote\s+"(?P<name>[^"]+)"\s*'?\Z""")
_LIMIT = 1 << 20  # bytes

Remotes = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class DvcSettings:
    """`config` is `.dvc/config` of the source, with the user's default remote where they set one;
    `remotes` is what their `.dvc/config.local` says of remotes (it may hold secrets)."""

    config: bytes | None
    remotes: Remotes = field(default_factory=dict, repr=False)

    @property
    def default(self) -> str:
        """The default remote's name; empty where none is set."""
        return _parsed(self.config or b"", ".dvc/config").get("core", "remote", fallback="")


def settings(config: bytes | None, home: Path | None) -> DvcSettings:
    """The source's settings with those of the user's `.dvc/config.local` below `home`.

    Raises ConfigError where either is no DVC configuration.
    """
    local = _local(home)
    if not local:
        return DvcSettings(config)
    own = _parsed(local, ".dvc/config.local")
    remotes = {
        match["name"]: _absolute(dict(own[section]), home)
        for section in own.sections()
        if (match := _REMOTE.match(section)) is not None
    }
    default = own.get("core", "remote", fallback="")
    return DvcSettings(_with_default(config, default) if default else config, remotes)


def _local(home: Path | None) -> bytes:
    path = home / ".dvc" / "config.local" if home is not None else None
    if path is None or not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(_LIMIT)


def _absolute(found: dict[str, str], home: Path | None) -> dict[str, str]:
    """A relative URL is seen from the user's `.dvc`."""
    url = found.get("url", "")
    if home is not None and url and "://" not in url and not url.startswith(("/", "~")):
        found["url"] = os.path.normpath(home / ".dvc" / url)
    return found


def _with_default(config: bytes | None, default: str) -> bytes:
    parsed = _parsed(config or b"", ".dvc/config")
    if not parsed.has_section("core"):
        parsed.add_section("core")
    parsed.set("core", "remote", default)
    text = io.StringIO()
    parsed.write(text)
    return text.getvalue().encode()


def _parsed(content: bytes, origin: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(
        interpolation=None, strict=False, delimiters=("=",), default_section=""
    )
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(_unindented(content.decode(errors="replace")), origin)
    except configparser.Error as exc:
        raise ConfigError(f"{origin}: {exc.message}", hint="Mend it: dvc config --list") from exc
    for section in parser.sections():
        for key, value in parser[section].items():
            parser[section][key] = value.strip("\"'")
    return parser


def _unindented(text: str) -> str:
    # DVC indents options; here an indented line would continue the one above
    return "".join(f"{line.strip()}\n" for line in text.splitlines())
