"""Where in which document something stands, for messages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mlops.documents import Document, Path
from mlops.errors import ConfigError

_SHOWN = 20  # faults that one message lists


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """A path in a document; `document` None where it was made, not read from a file."""

    document: Document | None = None
    path: Path = ()

    def __truediv__(self, part: str | int) -> Place:
        return Place(self.document, (*self.path, part))

    def __str__(self) -> str:
        text = ""
        for part in self.path:
            text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
        return text

    def complaint(self, message: str) -> str:
        """`FILE:LINE: key.path: message`; without a file, `key.path: message`."""
        where = f"{self}: " if self.path else ""
        if self.document is None:
            return f"{where}{message}"
        line = self.document.line(self.path)
        return f"{self.document.origin}:{line}: {where}{message}"

    def error(self, message: str, hint: str = "") -> ConfigError:
        return ConfigError(self.complaint(message), hint=hint)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong, and where; `hint` says what to do."""

    place: Place
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return self.place.complaint(self.message)


def refuse(faults: Iterable[Fault]) -> None:
    """Raise ConfigError with all faults, each on a line; quiet where there is none."""
    found = list({str(fault): fault for fault in faults}.values())
    if not found:
        return
    if len(found) == 1:
        raise ConfigError(str(found[0]), hint=found[0].hint)
    lines, told = [], {""}
    for fault in found[:_SHOWN]:
        more = "" if fault.hint in told else f". {fault.hint}"
        told.add(fault.hint)
        lines.append(f"{fault}{more}")
    if len(found) > _SHOWN:
        lines.append(f"and {len(found) - _SHOWN} more")
    raise ConfigError("\n".join(lines))
