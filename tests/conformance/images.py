"""The one image that stands for all that documents name: this machine's interpreter, shell and programs.

It is packed once into a layout below `.cache/conformance`, and found there by the times of its files.
"""

from __future__ import annotations

import dataclasses
import fcntl
import shutil
from functools import cache
from pathlib import Path

from mlops.adapters.layout import OciLayout
from mlops.adapters.uv import Uv
from mlops.build import host
from mlops.build.files import HostTree, fingerprint
from mlops.build.image import complete, load, put
from mlops.build.layers import LayerKind, put_layer
from mlops.build.tar import Link
from mlops.domain.digest import ImageRef

CACHE = Path(__file__).parents[2] / ".cache" / "conformance"
# what Tekton's examples run beyond a shell with the usual commands
MORE = ("bash", "find", "git", "jq", "node", "perl", "ps", "ssh")
DIRECTORIES = ("/usr/lib/git-core", "/usr/share/git-core", "/usr/share/perl", "/usr/share/perl5")


@cache
def plain(root: Path = CACHE) -> tuple[OciLayout, ImageRef]:
    """A store, and an image in it with a shell, the usual commands and Python."""
    with _alone(root):
        store = OciLayout(root / "layout")
        digest, _ = host.pack(store, Uv(root))
    return store, ImageRef("plain", digest)


@cache
def full(
    root: Path = CACHE, entrypoint: tuple[str, ...] = (), shells: tuple[str, ...] = ()
) -> tuple[OciLayout, ImageRef]:
    """The same with `MORE` in it, what it runs by itself, and shells that are really bash.

    Raises LookupError where one of the programs is not on this machine.
    """
    store, base = plain(root)
    tree = HostTree()
    programs = [tree.add(_program(name)) for name in MORE]
    for path in map(Path, DIRECTORIES):
        if path.is_dir():
            programs += [p for p in tree.add_directory(path, _left_out) if p.suffix == ".so"]
    host.add_libraries(tree, programs)
    for name in shells:
        tree.tree[f"{Path('/bin').resolve()}/{name}".lstrip("/")] = Link("bash")
    tag = f"full-{fingerprint(tree.tree, str(base), *entrypoint)}"
    with _alone(root):
        known = store.resolve("conformance", tag)
        if known is None or not complete(store, known):
            image = load(store, base.digest)
            layer = put_layer(store, LayerKind.CODE, tree.tree)
            layers = (*image.layers, layer)
            whole = dataclasses.replace(
                image, layers=layers, entrypoint=entrypoint, command=("bash",)
            )
            known = put(store, whole, "conformance", tag)
    return store, ImageRef("full", known)


def _program(name: str) -> Path:
    found = shutil.which(name)
    if found is None:
        raise LookupError(f"Tekton's examples run {name}, which is not on this machine")
    return Path(found)


def _left_out(path: Path) -> bool:
    return path.name in {"templates", "pod"} or path.suffix in {".pod", ".h", ".a"}


class _alone:  # noqa: N801 - reads as a word
    """One process at a time packs."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self._file = (root / "lock").open("w")

    def __enter__(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self._file.close()
