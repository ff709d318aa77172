"""Which packages get a layer of their own: large ones, so that a change of another does not move them.

The rule reads installed sizes alone, which the hashes of a lock decide: a distribution of 8 MiB or more
stands alone, at most the 12 largest do, and all others share the layer above. Measured in
docs/reference/measurements.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mlops.build.distributions import Owned
from mlops.build.tar import Content, Entry, File, Tree
from mlops.errors import BuildError

_LARGE = 8 << 20  # bytes installed, without bytecode
_MOST = 12  # layers: overlays of 128 and more do not mount, and a base has its own


@dataclass(frozen=True, slots=True)
class Share:
    """The tree of one layer; `name` is the distribution's (`numpy 2.2.6`), empty for all others."""

    name: str
    tree: Mapping[str, Entry]


def shares(tree: Tree, owners: Mapping[str, tuple[Owned, ...]]) -> tuple[Share, ...]:
    """The tree, dealt out: large distributions by name, then what is left (never missing).

    What two distributions own, or none, is left. Raises BuildError where a file cannot be read.
    """
    own: dict[str, dict[str, Entry]] = {}
    for path in sorted(tree):
        claims = owners.get(path, ())
        if len(claims) == 1:
            own.setdefault(claims[0].name, {})[path] = tree[path]
    sizes = {name: sum(map(_size, files.values())) for name, files in own.items()}
    large = sorted((name for name in sizes if sizes[name] >= _LARGE), key=lambda n: (-sizes[n], n))
    apart = {name: own[name] for name in sorted(large[:_MOST])}
    taken = {path for files in apart.values() for path in files}
    rest = {path: entry for path, entry in tree.items() if path not in taken}
    alone = (Share(name.replace("-", " ", 1), files) for name, files in apart.items())
    return (*alone, Share("", rest))


def _size(entry: Entry) -> int:
    match entry:
        case File(source, _):
            try:
                return source.stat().st_size
            except OSError as exc:
                raise BuildError(f"cannot read {source}: {exc.strerror}") from exc
        case Content(content, _):
            return len(content)
        case _:
            return 0
