"""How a run is carried out beside what its documents say: images for others, and the runtime."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlops import documents
from mlops.domain.digest import Digest
from mlops.domain.imagename import ImageMap, ImageName
from mlops.errors import OutsideError, UsageError

_FILE = "choice.json"  # in the directory of a run
_RUNTIMES = ("auto", "sandbox", "podman", "docker", "process")
_LAYOUT = "oci:"
_HOST = "host"  # in place of an image: what this machine packs of itself


@dataclass(frozen=True, slots=True)
class Choice:
    """`images` are rules FROM=TO, of which later ones count more; `runtime` is empty for the usual.

    Kept in the run's directory, so that it is gone on with as it was begun.
    """

    images: tuple[str, ...] = ()
    runtime: str = ""

    @property
    def mapping(self) -> ImageMap:
        return ImageMap.parse(self.images)

    def over(self, below: Choice) -> Choice:
        """Both; where they differ this counts."""
        return Choice(below.images + self.images, self.runtime or below.runtime)

    def keep(self, directory: Path) -> None:
        """Write it down for `recall`."""
        if self == Choice():
            return
        value = {"images": self.images, "runtime": self.runtime}
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)  # not for others' eyes
            (directory / _FILE).write_text(json.dumps(value))
        except OSError as exc:
            raise OutsideError(f"cannot write to {directory}: {exc.strerror}") from exc


def recall(directory: Path) -> Choice:
    """What was kept of a run; what is usual where nothing can be read."""
    try:
        value = json.loads((directory / _FILE).read_text())
        return Choice(tuple(map(str, value["images"])), str(value["runtime"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Choice()


def chosen(images: Sequence[str], file: Path | None, runtime: str) -> Choice:
    """What the command line says: `--image`, over `--image-map` or the file MLOPS_IMAGE_MAP.

    `host` on the right is this machine's own shell, commands and Python, packed as for `base: host`.
    Raises UsageError and ConfigError on rules that cannot be.
    """
    named = str(file or os.environ.get("MLOPS_IMAGE_MAP", ""))
    rules = [*(_in_file(named) if named else ()), *images]
    for rule in rules:  # before any packing
        source, _, to = rule.partition("=")
        if not source or to != _HOST:
            ImageMap.parse([rule])
    if runtime not in ("", *_RUNTIMES):
        there = ", ".join(_RUNTIMES)
        raise UsageError(f"there is no runtime {runtime!r}", hint=f"There is: {there}")
    return Choice(tuple(map(_anywhere, rules)), runtime)


def with_locked(choice: Choice, locked: Iterable[tuple[str, Digest]]) -> Choice:
    """The choice, and for images that it leads nowhere else the digests that mlops.lock has."""
    given, rules = choice.mapping, []
    for text, digest in locked:
        name = ImageName.parse(text)
        if given.lead(name) is None:
            rules.append(f"{name.written}:{name.tag}={name.written}@{digest}")
    return choice.over(Choice(tuple(rules)))


def _in_file(named: str) -> list[str]:
    try:
        content = Path(named).read_bytes()
    except OSError as exc:
        raise UsageError(f"cannot read the image map {named}: {exc.strerror}") from exc
    document = documents.load(content, named).value
    if isinstance(document, dict):
        hosts = {source for source, to in document.items() if to == _HOST}
        ImageMap.read({k: v for k, v in document.items() if k not in hosts}, named)
        return [f"{source}={to}" for source, to in document.items()]
    ImageMap.read(document, named)
    return []


def _anywhere(rule: str) -> str:
    """A rule that holds wherever it is read again: `host` packed, a layout by its whole path."""
    source, equals, to = rule.partition("=")
    if to == _HOST:
        return f"{source}={_packed()}"
    if to.startswith(_LAYOUT):
        directory, slashes, name = to.removeprefix(_LAYOUT).partition("//")
        return f"{source}={_LAYOUT}{Path(directory).absolute()}{slashes}{name}"
    return f"{source}{equals}{to}"


@functools.cache
def _packed() -> str:
    """This machine's own programs as an image in the machine's cache; packed once for its files."""
    from mlops.adapters.layout import OciLayout  # noqa: PLC0415 - heavy libraries
    from mlops.adapters.rootfs import machine_cache  # noqa: PLC0415
    from mlops.adapters.uv import Uv  # noqa: PLC0415
    from mlops.build import host  # noqa: PLC0415

    directory = machine_cache().absolute() / "images"
    digest, _ = host.pack(OciLayout(directory), Uv())
    return f"oci:{directory}//{host.REPOSITORY}@{digest}"
