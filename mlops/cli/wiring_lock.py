"""The adapters of `mlops lock`, handed to its use cases: the files of the work tree, registries, uv.

As in `wiring`, heavy libraries load inside the factories.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mlops import __version__
from mlops.cli.wiring import Opened, read_file
from mlops.domain.digest import Digest
from mlops.domain.imagename import ImageName
from mlops.domain.lock import ProjectLock
from mlops.errors import ConfigError

if TYPE_CHECKING:
    from mlops.engine.lock import Locker
    from mlops.engine.tags import Answers, Overlays

LOCK_FILE = "mlops.lock"


def locker(opened: Opened, tree: Path | None = None) -> Locker:
    """What `mlops lock` asks, on the files of the work tree, or of another `tree`."""
    import platform  # noqa: PLC0415

    from mlops.adapters.baserunner import SandboxedBase  # noqa: PLC0415
    from mlops.adapters.basesources import BaseSources  # noqa: PLC0415
    from mlops.adapters.layout import OciLayout  # noqa: PLC0415
    from mlops.adapters.rootfs import machine_cache  # noqa: PLC0415
    from mlops.adapters.uv import Uv  # noqa: PLC0415
    from mlops.build.pinning import Bases  # noqa: PLC0415
    from mlops.build.strategy import BUILDER, Toolchain  # noqa: PLC0415
    from mlops.config import toolimage  # noqa: PLC0415
    from mlops.engine.lock import Installed, Locker  # noqa: PLC0415

    root = tree or opened.root
    uv = Uv(root)
    cache = machine_cache()
    published = toolimage.packaged()
    here = OciLayout(cache / "images")
    tools = Toolchain(uv, SandboxedBase(here, cache), BaseSources(opened.registry_host))
    versions = {
        "mlops": __version__,
        "python": platform.python_version(),
        "uv": uv.version.split()[-1],
    }
    return Locker(
        project=opened.project,
        current=_lock_of(root),
        read=partial(read_file, root),
        installed=Installed(
            versions, BUILDER, tool=published.locked() if published is not None else None
        ),
        bases=Bases(opened.images, tools, root, here),
        resolver=uv,
        digest_of=partial(_digest_of, opened),
    )


def _digest_of(opened: Opened, name: str) -> Digest:
    """What an image's tag names now, as its registry says; ours alone is told our credentials."""
    from mlops.adapters.registry import Registry  # noqa: PLC0415

    image = ImageName.parse(name)
    found = Registry(image.repository, ours=image.host == opened.registry_host).resolve(image.tag)
    if found is None:
        raise ConfigError(
            f"mlops.yaml: images: {image.repository} has no tag {image.tag}",
            hint="Name a tag that is there",
        )
    return found


def locked_images(opened: Opened) -> tuple[tuple[str, Digest], ...]:
    """The images of Tekton documents that mlops.lock of the work tree pins, by their names with tags."""
    lock = _lock_of(opened.root)
    return lock.tasks if lock is not None else ()


def overlays(opened: Opened) -> Overlays:
    """The overlays of the work tree, as they stand on disk; links are not followed."""
    from mlops.engine.tags import Overlays  # noqa: PLC0415

    root, path = opened.root.resolve(), opened.project.gitops.path
    home = root / path
    found = home.iterdir() if home.is_dir() else ()
    names = sorted(each.name for each in found if each.is_dir())

    def read(name: str) -> bytes | None:
        inside = (root / name).resolve() == root / name
        return read_file(root, name) if inside else None

    return Overlays(path, tuple(names), read, opened.now())


def answers(opened: Opened) -> Answers:
    """The registries that overlays name, asked for tags; ours alone is told our credentials."""
    from mlops.adapters.registry import Registry  # noqa: PLC0415
    from mlops.engine.tags import Answers  # noqa: PLC0415

    own = opened.registry_host
    return Answers(lambda name: Registry(name, ours=name.partition("/")[0] == own))


def _lock_of(root: Path) -> ProjectLock | None:
    from mlops.config.lockfile import parse_lock  # noqa: PLC0415

    content = read_file(root, LOCK_FILE)
    if content is None:
        return None
    try:
        return parse_lock(content, LOCK_FILE)
    except ConfigError as exc:
        raise ConfigError(str(exc), hint="Mend it, or remove it and run mlops lock") from exc
