"""Asks DVC itself, in a process of its own: `python -m mlops.adapters.dvc.probe`.

Run in a directory that holds a commit's DVC files. Reads one JSON request from stdin and writes one
JSON answer to stdout: `{"what": "stages"}` → `{"stages": […]}`, or `{"what": "missing", "objects":
[{path, md5, legacy, remote}], "project": DIR}` → `{"missing": [{path, md5, inside}]}`, or `{"what":
"fetch", "project": DIR}` → `{"fetched": count}`, into the project's cache. A complaint is `{"error":
text, "kind": "config" | "dvc"}`. What DVC prints goes to stderr. With `"confined": true` it sees the
directory above its own and nothing else of this machine.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dvc.config import Config, NoRemoteError, RemoteConfigError
from dvc.dependency import ParamsDependency
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.utils.serialize import parse_yaml_for_update
from dvc.utils.strictyaml import YAMLSyntaxError, YAMLValidationError, determine_linecol
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.tree import Tree
from networkx import dfs_postorder_nodes  # type: ignore[import-untyped]

from mlops.adapters.dvc.confine import confine

_QUIET = {"core": {"no_scm": True, "analytics": False, "check_update": False}}


def main() -> int:
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not end up in the answer
    request = json.load(sys.stdin)
    try:
        if request.get("confined"):
            confine(Path.cwd().parent)
        match request["what"]:
            case "stages":
                found: Mapping[str, Any] = {"stages": list(stages())}
            case "missing":
                found = {"missing": list(missing(request["objects"], Path(request["project"])))}
            case "fetch":
                found = {"fetched": fetch(Path(request["project"]))}
            case other:
                found = {"error": f"unknown request {other}", "kind": "dvc"}
    except (YAMLSyntaxError, YAMLValidationError) as exc:
        found = {"error": "\n  ".join(_where(exc)), "kind": "config"}
    except (NoRemoteError, RemoteConfigError) as exc:
        found = {"error": str(exc), "kind": "dvc"}
    except DvcException as exc:
        config = request["what"] == "stages"
        found = {"error": _said(exc), "kind": "config" if config else "dvc"}
    except Exception as exc:  # noqa: BLE001  (a remote's own library raises what it likes)
        found = {"error": f"{type(exc).__name__}: {exc}", "kind": "dvc"}
    with answer:
        json.dump(found, answer)
    return 0


def _said(exc: BaseException) -> str:
    """DVC's words, with those of the cause where it adds something."""
    text = str(exc).rstrip(".")
    cause = exc.__cause__
    return f"{text}: {cause}" if cause is not None and str(cause) not in text else text


def _where(exc: YAMLSyntaxError | YAMLValidationError) -> Iterator[str]:
    """One text for each fault: file, line, DVC's words, and the key."""
    if isinstance(exc, YAMLSyntaxError):
        cause = exc.exc.__cause__ or exc.__cause__
        mark = getattr(cause, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        problem = getattr(cause, "problem", None) or "it is no YAML"
        yield f"{exc.relpath.removeprefix('./')}{line}: {problem}{exc.hint}"
        return
    data = _with_lines(exc)
    for fault in exc.exc.errors:
        at = determine_linecol(data, list(fault.path))[0] if data is not None else None
        where = f":{at}" if at else ""
        key = ".".join(str(part) for part in fault.path)
        yield f"{exc.path.removeprefix('./')}{where}: {key}: {fault.error_message}"


def _with_lines(exc: YAMLValidationError) -> Any:
    data = parse_yaml_for_update(exc.text, exc.path)
    return data if isinstance(data, Mapping) else None


def stages() -> Iterator[dict[str, Any]]:
    """The resolved stages that run a command, in execution order."""
    repo = Repo(os.curdir, config=_QUIET)
    graph = repo.index.graph
    for stage in dfs_postorder_nodes(graph):
        if stage.cmd is None:
            continue
        yield {
            "name": stage.addressing,
            "cmd": stage.cmd if isinstance(stage.cmd, list) else [stage.cmd],
            "wdir": _relative(stage.wdir, repo.root_dir),
            "deps": [
                _path(dep, repo.root_dir)
                for dep in stage.deps
                if not isinstance(dep, ParamsDependency)
            ],
            "params": [
                {"path": _path(dep, repo.root_dir), "keys": [str(key) for key in dep.params]}
                for dep in stage.params
            ],
            "outs": [
                {"path": _path(out, repo.root_dir), "cached": bool(out.use_cache)}
                for out in stage.outs
            ],
            "frozen": bool(stage.frozen),
            "always_changed": bool(stage.always_changed or stage.is_callback),
        }


def _path(item: Any, root: str) -> str:
    if item.protocol == "local" and item.fs_path:
        return _relative(item.fs_path, root)
    return str(item.def_path)


def _relative(path: str, root: str) -> str:
    relative = os.path.relpath(path, root).replace(os.sep, "/")
    return path if relative.startswith("../") else relative


def missing(objects: Iterable[Mapping[str, Any]], project: Path) -> Iterator[dict[str, Any]]:
    """Which objects, and which files within directory objects, the remote does not have."""
    repo = Repo(os.curdir, config=_merged(project))
    groups: dict[tuple[str, bool], list[Mapping[str, Any]]] = {}
    for item in objects:
        groups.setdefault((item["remote"], item["legacy"]), []).append(item)
    for (remote, legacy), items in groups.items():
        name = "md5-dos2unix" if legacy else "md5"
        store = repo.cloud.get_remote_odb(remote or None, "status", hash_name=name)
        there = set(store.oids_exist({item["md5"] for item in items}))
        _really_gone(store, next((i["md5"] for i in items if i["md5"] not in there), None))
        for item in items:
            if item["md5"] not in there:
                yield {"path": item["path"], "md5": item["md5"], "inside": ""}
            elif item["md5"].endswith(".dir"):
                yield from _inside(item, store, name)


def _really_gone(store: Any, md5: str | None) -> None:
    """Fetch one of the missing objects: a remote that cannot be reached must not pass for an empty
    one. To a refused connection fsspec's HTTP says "is not there", of all its calls but this."""
    if md5 is None:
        return
    with suppress(FileNotFoundError):
        store.fs.get_file(store.oid_to_path(md5), str(Path("fetched").resolve()))


def _inside(item: Mapping[str, Any], store: Any, name: str) -> Iterator[dict[str, Any]]:
    files = {
        "/".join(key): info.value for key, _, info in Tree.load(store, HashInfo(name, item["md5"]))
    }
    there = set(store.oids_exist(set(files.values())))
    for path, md5 in sorted(files.items()):
        if md5 not in there:
            yield {"path": item["path"], "md5": md5, "inside": path}


def fetch(project: Path) -> int:
    """Bring the objects of the DVC files here into the cache of `project`."""
    conf = _merged(project)
    conf.setdefault("cache", {}).setdefault("dir", str(project / ".dvc" / "cache"))
    return int(Repo(os.curdir, config=conf).fetch())


def _merged(project: Path) -> dict[str, Any]:
    """The commit's configuration with its relative paths as seen from the project's own `.dvc`
    directory, and the project's `config.local` over it (credentials)."""
    conf: dict[str, Any] = {}
    for path, seen_from in (
        (Path(".dvc/config"), project / ".dvc/config"),
        (project / ".dvc/config.local", project / ".dvc/config.local"),
    ):
        if path.is_file():
            loaded = Config._load_paths(Config.load_file(str(path)), str(seen_from))  # noqa: SLF001
            _merge(conf, loaded)
    _merge(conf, _QUIET)
    return conf


def _merge(into: dict[str, Any], new: Mapping[str, Any]) -> None:
    for key, value in new.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        elif isinstance(value, Mapping):
            into[key] = {}
            _merge(into[key], value)
        else:
            into[key] = value


if __name__ == "__main__":
    sys.exit(main())
