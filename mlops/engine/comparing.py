"""What a commit that was built once more gave: the same release, or in which layers another one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlops.domain.release import ReleaseRecord


def told(release: str, before: Sequence[ReleaseRecord], now: ReleaseRecord | None) -> str:
    """`release` against those that were made of its commit `before`; empty where there are none.

    `now` is its record; None where that is not to be had, and nothing is known of its layers."""
    if not before:
        return ""
    if any(str(each.release) == release for each in before):
        return "the same release as before"
    last = before[-1]
    another = f"another release than {last.release.short}"
    if now is None:
        return another
    differing = _differing(_layers(last), _layers(now))
    if not differing:
        return f"{another}: every layer is the same, its configuration differs"
    return f"{another}: layers that differ: {', '.join(differing)}"


def _differing(one: Mapping[str, list[str]], two: Mapping[str, list[str]]) -> list[str]:
    """Kinds of layers, in the order in which they lie on each other."""
    return [kind for kind in {**one, **two} if one.get(kind) != two.get(kind)]


def _layers(record: ReleaseRecord) -> dict[str, list[str]]:
    """Kind → digests; what is no list of layers has none."""
    found: dict[str, list[str]] = {}
    layers = record.document.get("layers")
    for layer in layers if isinstance(layers, list) else ():
        if isinstance(layer, Mapping):
            found.setdefault(str(layer.get("kind")), []).append(str(layer.get("digest")))
    return found
