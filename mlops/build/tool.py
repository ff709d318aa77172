"""The tool image: the installed mlops with all that it needs, and git, on `base: host`.

It is laid out from the files of the installed distributions, so that it is the mlops that runs here,
released or a checkout installed as editable.
"""

from __future__ import annotations

import json
import os
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path, PurePosixPath

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import mlops
from mlops import resources
from mlops.build import dependencies, environment, host
from mlops.build.files import HostTree, fingerprint
from mlops.build.image import complete, load, put
from mlops.build.interpreter import Interpreter, of_base
from mlops.build.layers import COMPRESSOR, Layer, LayerKind, put_layer
from mlops.build.tar import Entry, File, Tree, read_tree
from mlops.build.toolchain import Installer
from mlops.domain.digest import Digest
from mlops.domain.lock import TOOL
from mlops.errors import BuildError
from mlops.ports import ImageStore

DISTRIBUTION = "mlops-gitops"
_DATA = ("environments", "tekton")  # what the wheel carries below mlops/_data
_GIT_HOMES = (Path("/usr/lib/git-core"), Path("/usr/libexec/git-core"))
_GIT_PROGRAMS = ("git", "git-remote-http")  # other names in there are links to these
_BESIDE_GIT = ("git", "git-receive-pack", "git-upload-archive", "git-upload-pack", "ssh")


def build(store: ImageStore, installer: Installer) -> Digest:
    """Build the tool image into the repository `mlops`, or find the one built of these files.

    mlops itself is a layer above all that it needs, which is seldom another. Raises BuildError,
    RegistryError.
    """
    manifest, _ = host.pack(store, installer)
    base = load(store, manifest)
    python = of_base(base, manifest, None, host.HOST)
    site = dependencies.Site(manifest, base.platform, python, installer, None)
    git, packages = _git(), _packages(_needed(DISTRIBUTION) - {DISTRIBUTION}, python)
    tag = f"ground-{fingerprint(git | packages, str(manifest), COMPRESSOR)}"
    ground = _found(store, tag)
    if ground is None:
        layers = [_layer(store, LayerKind.DEPENDENCIES, packages, site)]
        if git:
            layers.insert(0, put_layer(store, LayerKind.BASE, git))
        ground = put(store, replace(base, layers=(*base.layers, *layers)), TOOL, tag)
    own = _packages({DISTRIBUTION}, python)
    tag = f"tool-{fingerprint(own, str(ground), COMPRESSOR)}"
    known = _found(store, tag)
    if known is not None:
        return known
    below = load(store, ground)
    image = replace(
        below,
        layers=(*below.layers, _layer(store, LayerKind.CODE, own, site)),
        env=(*base.env, ("PATH", f"{environment.VENV}/bin:{dict(base.env)['PATH']}")),
        labels=(*base.labels, ("org.opencontainers.image.version", mlops.__version__)),
        command=(TOOL, "--help"),
    )
    return put(store, image, TOOL, tag)


def _found(store: ImageStore, tag: str) -> Digest | None:
    known = store.resolve(TOOL, tag)
    return known if known is not None and complete(store, known) else None


def _layer(store: ImageStore, kind: LayerKind, files: Tree, site: dependencies.Site) -> Layer:
    tree = environment.laid_out(files, Path(sys.prefix), site.interpreter)
    return put_layer(store, kind, dependencies.compiled(site, tree))


def _git() -> dict[str, Entry]:
    """Its programs and transports, and ssh; nothing where git is not installed."""
    home = next((path for path in _GIT_HOMES if (path / "git").is_file()), None)
    if home is None or not Path("/usr/bin/git").exists():
        return {}
    real = {(home / name).resolve() for name in _GIT_PROGRAMS}
    paths = [path for path in home.iterdir() if path.resolve() in real]
    paths += [Path("/usr/bin", name) for name in _BESIDE_GIT if Path("/usr/bin", name).exists()]
    files = HostTree()
    files.add_all(paths)
    host.add_libraries(files, sorted({path.resolve() for path in paths}))
    return files.tree


def _packages(names: set[str], python: Interpreter) -> dict[str, Entry]:
    """The files of distributions, relative to an environment."""
    site = f"lib/{python.directory}/site-packages"
    tree: dict[str, Entry] = {}
    for name in sorted(names):
        distribution = metadata.distribution(name)
        if _is_editable(distribution):
            tree |= _own(site)
        tree |= dict(_files(distribution, site))
    return tree


def _needed(name: str) -> set[str]:
    """The names of the distributions that one needs, itself included, markers and extras applied."""
    found: set[tuple[str, str]] = set()
    waiting = [(canonicalize_name(name), "")]
    while waiting:
        item = waiting.pop()
        if item in found:
            continue
        found.add(item)
        for text in _distribution(item[0]).requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": item[1]}):
                needed = canonicalize_name(requirement.name)
                waiting.extend((needed, extra) for extra in ("", *requirement.extras))
    return {name for name, _ in found}


def _distribution(name: str) -> metadata.Distribution:
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError as exc:
        raise BuildError(
            f"mlops needs {name}, which is not installed beside it", hint="Install mlops again"
        ) from exc


def _files(distribution: metadata.Distribution, site: str) -> Iterator[tuple[str, Entry]]:
    if distribution.files is None:
        raise BuildError(
            f"the installation of {distribution.name} has no RECORD, so its files are unknown",
            hint="Install mlops with pip or uv into an environment of its own",
        )
    editable = _is_editable(distribution)
    root, homes = Path(str(distribution.locate_file(""))).resolve(), _homes(site)
    for file in distribution.files:
        path = Path(os.path.normpath(root / str(file)))
        place = _place(path, homes)
        is_hook = editable and path.suffix in (".pth", ".py") and path.parent.name != "bin"
        if place is not None and not is_hook and path.is_file():
            yield place, File(path, os.access(path, os.X_OK))


def _homes(site: str) -> list[tuple[str, str]]:
    """Directories of this environment, and where they stand in one of an image."""
    places = (("purelib", site), ("platlib", site), ("scripts", "bin"), ("data", ""))
    return [(f"{Path(sysconfig.get_path(key)).resolve()}/", place) for key, place in places]


def _place(path: Path, homes: list[tuple[str, str]]) -> str | None:
    """Where an installed file stands in an environment; None for what belongs to none."""
    for home, place in homes:
        if str(path).startswith(home):
            return str(PurePosixPath(place, str(path).removeprefix(home)))
    return None


def _is_editable(distribution: metadata.Distribution) -> bool:
    text = distribution.read_text("direct_url.json")
    return bool(text) and bool(json.loads(text or "{}").get("dir_info", {}).get("editable"))


def _own(site: str) -> dict[str, Entry]:
    """This package from its checkout, as its wheel would hold it."""
    package = Path(mlops.__file__).parent
    tree = read_tree(package, f"{site}/{package.name}")
    for name in _DATA:
        tree |= read_tree(resources.path(name), f"{site}/{package.name}/_data/{name}")
    return {path: entry for path, entry in tree.items() if "__pycache__" not in path.split("/")}
