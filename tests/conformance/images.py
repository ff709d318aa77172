"""Images that stand for those that documents name: this machine's interpreter, shell and programs.

They are packed once into a layout below `.cache/conformance`, and found there by the times of their files.
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

CACHE = Path(__file__).parents[2] / ".cache" / "conformance"
LAYOUT = CACHE / "layout"
UNPACKED = CACHE / "unpacked"
# what Tekton's examples run beyond a shell with the usual commands
MORE = ("bash", "find", "git", "jq", "node", "perl", "ps", "ssh")
DIRECTORIES = ("/usr/lib/git-core", "/usr/share/git-core", "/usr/share/perl", "/usr/share/perl5")


@cache
def plain() -> str:
    """An image with a shell, the usual commands and Python: where it is, as `--image` takes it."""
    with _alone():
        store = OciLayout(LAYOUT)
        digest, _ = host.pack(store, Uv(CACHE))
        image = dataclasses.replace(load(store, digest), command=("sh",))
        put(store, image, "conformance", "plain")
    return f"oci:{LAYOUT}//conformance:plain"


@cache
def full(entrypoint: tuple[str, ...] = (), shells: tuple[str, ...] = ()) -> str:
    """The same with `MORE` in it, what it runs by itself, and shells that are really bash.

    Raises LookupError where one of the programs is not on this machine.
    """
    plain()
    tree = HostTree()
    programs = [tree.add(_program(name)) for name in MORE]
    for path in map(Path, DIRECTORIES):
        if path.is_dir():
            programs += [p for p in tree.add_directory(path, _left_out) if p.suffix == ".so"]
    host.add_libraries(tree, programs)
    for name in shells:
        tree.tree[f"{Path('/bin').resolve()}/{name}".lstrip("/")] = Link("bash")
    store = OciLayout(LAYOUT)
    base = store.resolve("conformance", "plain")
    assert base is not None
    tag = f"full-{fingerprint(tree.tree, str(base), *entrypoint)}"
    with _alone():
        known = store.resolve("conformance", tag)
        if known is None or not complete(store, known):
            image = load(store, base)
            layers = (*image.layers, put_layer(store, LayerKind.CODE, tree.tree))
            whole = dataclasses.replace(
                image, layers=layers, entrypoint=entrypoint, command=("bash",)
            )
            put(store, whole, "conformance", tag)
    return f"oci:{LAYOUT}//conformance:{tag}"


def _program(name: str) -> Path:
    found = shutil.which(name)
    if found is None:
        raise LookupError(f"Tekton's examples run {name}, which is not on this machine")
    return Path(found)


def _left_out(path: Path) -> bool:
    return path.name in {"templates", "pod"} or path.suffix in {".pod", ".h", ".a"}


class _alone:  # noqa: N801 - reads as a word
    """One process at a time packs."""

    def __init__(self) -> None:
        CACHE.mkdir(parents=True, exist_ok=True)
        self._file = (CACHE / "lock").open("w")

    def __enter__(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self._file.close()
