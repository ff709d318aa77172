"""Reads what volumes and workspaces stand on."""

from __future__ import annotations

from collections.abc import Mapping

from mlops.tekton import parts, quantities
from mlops.tekton.document import Bound
from mlops.tekton.parts import Faults, Raw
from mlops.tekton.place import Place
from mlops.tekton.pod import Claim, ConfigFiles, EmptyDir, Projected, Source, Volume

_SOURCES = ("emptyDir", "persistentVolumeClaim", "configMap", "secret", "projected")


def volumes(raw: Raw, at: Place, faults: Faults) -> tuple[Volume, ...]:
    """`volumes` of a task."""
    found: list[Volume] = []
    for item, place in parts.items(raw, "volumes", at):
        name = parts.text(item, "name", place, faults)
        if any(name == each.name for each in found):
            faults.add(place / "name", f"{name!r} is there twice")
        given = [key for key in (*_SOURCES, "ephemeral") if item.get(key) is not None]
        if len(given) > 1:
            faults.add(place, f"has more than one source: {', '.join(given)}")
        found.append(Volume(name, _source(item, place, faults), place))
    return tuple(found)


def bound(raw: Raw, at: Place, faults: Faults) -> dict[str, Bound]:
    """`workspaces` of a run: what it gives for each."""
    found: dict[str, Bound] = {}
    for item, place in parts.items(raw, "workspaces", at):
        name = parts.workspace_name(item, place, faults)
        if name in found:
            faults.add(place / "name", f"{name!r} is there twice")
        given = [key for key in (*_SOURCES, "volumeClaimTemplate") if item.get(key) is not None]
        if len(given) != 1:
            what = f"more than one source: {', '.join(given)}" if given else "no source"
            faults.add(
                place,
                f"has {what}",
                "Give one of volumeClaimTemplate, emptyDir, persistentVolumeClaim, configMap, secret, projected",
            )
        sub_path = item.get("subPath") or ""
        check_sub_path(sub_path, place / "subPath", faults)
        found[name] = Bound(_source(item, place, faults), place, sub_path)
    return found


def check_sub_path(path: str, at: Place, faults: Faults) -> None:
    """A subPath stays inside."""
    if path.startswith("/") or ".." in path.split("/") or "\0" in path:
        faults.add(at, f"{path!r} leads out of where it begins")


def _source(raw: Raw, at: Place, faults: Faults) -> Source:
    if raw.get("persistentVolumeClaim") is not None:
        claim, place = raw["persistentVolumeClaim"], at / "persistentVolumeClaim"
        name = parts.text(claim, "claimName", place, faults)
        return Claim(name, bool(claim.get("readOnly")))
    if raw.get("volumeClaimTemplate") is not None:
        return Claim()
    for key, kind, named in (
        ("configMap", "ConfigMap", "name"),
        ("secret", "Secret", "secretName"),
    ):
        if raw.get(key) is not None:
            return _files(raw[key], kind, named, at / key, faults)
    if raw.get("projected") is not None:
        return _projected(raw["projected"], at / "projected", faults)
    return EmptyDir(_limit(raw.get("emptyDir")))


def _limit(raw: Raw | None) -> int | None:
    limit = (raw or {}).get("sizeLimit")
    return None if limit is None else quantities.size(str(limit))


def _files(
    raw: Raw, kind: str, named: str, at: Place, faults: Faults, mode: int | None = None
) -> ConfigFiles:
    given = mode if mode is not None else raw.get("defaultMode")
    entries = raw.get("items")
    return ConfigFiles(
        kind,
        parts.text(raw, named, at, faults),
        at,
        None if entries is None else tuple(_items(raw, at, faults)),
        bool(raw.get("optional")),
        0o644 if given is None else _mode(given, at / "defaultMode", faults),
    )


def _items(raw: Raw, at: Place, faults: Faults) -> list[tuple[str, str, int | None]]:
    found = []
    for item, place in parts.items(raw, "items", at):
        path = parts.text(item, "path", place, faults)
        if path.startswith("/") or ".." in path.split("/") or "\0" in path:
            faults.add(place / "path", f"{path!r} leads out of the volume")
            path = "invalid"
        mode = item.get("mode")
        found.append(
            (
                parts.text(item, "key", place, faults),
                path,
                None if mode is None else _mode(mode, place / "mode", faults),
            )
        )
    return found


def _mode(value: int, at: Place, faults: Faults) -> int:
    if not 0 <= value <= 0o777:
        faults.add(at, f"must be between 0 and 0777, not {value:#o}")
        return 0o644
    return value


def _projected(raw: Raw, at: Place, faults: Faults) -> Projected:
    found = []
    for item, place in parts.items(raw, "sources", at):
        for key, kind in (("configMap", "ConfigMap"), ("secret", "Secret")):
            if isinstance(item.get(key), Mapping):
                found.append(
                    _files(item[key], kind, "name", place / key, faults, raw.get("defaultMode"))
                )
    if not found:
        faults.add(at / "sources", "is missing")
    return Projected(tuple(found))
