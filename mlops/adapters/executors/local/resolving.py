"""From a container of the document to what is started: references replaced, places known.

A place is where one container sees workspaces, results and volumes: Tekton's own paths in the
sandbox, the host's paths for a process on the host. There a `mountPath` cannot exist, so a text of
env, args, command or workingDir that is that path, or begins with it and `/`, is rewritten to the
directory behind it; scripts are not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mlops.adapters.executors.local.launch import Inside, Mount
from mlops.errors import ConfigError
from mlops.tekton import substitution
from mlops.tekton.document import Container, TaskSpec, Value
from mlops.tekton.substitution import Parts, Scope
from mlops.tekton.validate import container_texts

_FIXED = re.compile(r"(?<![\w.)/-])/(?:tekton|workspace)(?![\w.-])")
_SHELL = "#!/bin/sh\nset -e\n"


@dataclass(frozen=True, slots=True)
class Files:
    """Directories of one attempt, on the host. `workspaces` are those that are bound."""

    root: Path
    workspaces: Mapping[str, Path]

    def make(self, spec: TaskSpec) -> None:
        """Lay out all of them, empty."""
        for name in (
            "results",
            "steps",
            "scripts",
            "home",
            *(f"volumes/{v}" for v in spec.volumes),
        ):
            (self.root / name).mkdir(parents=True)
        for step in spec.steps:
            (self.root / "steps" / f"step-{step.name}").mkdir()

    def at(self, name: str) -> Path:
        return self.root / name

    def volume(self, name: str) -> Path:
        return self.root / "volumes" / name


@dataclass(frozen=True, slots=True)
class Resolved:
    """A container without references. `command` empty: the image's own."""

    command: tuple[str, ...]
    args: tuple[str, ...]
    env: Mapping[str, str]
    working_dir: str
    mounts: tuple[Mount, ...]

    def inside(self, default: tuple[str, ...], *, network: bool, host_name: str) -> Inside:
        """What to start, `default` being what the image runs by itself."""
        argv = (self.command or default) + self.args
        return Inside(argv, self.env, self.working_dir, self.mounts, network, host_name)


def resolve(
    container: Container, spec: TaskSpec, scope: Scope, files: Files, *, on_host: bool
) -> Resolved:
    """Replace all references of a container, and write its script where it has one.

    Raises ConfigError, with the field's path, where a value does not fit its place.
    """
    whole = {**scope, **_places(container, spec, files, on_host=on_host)}
    moved = _moved(container, files) if on_host else {}
    env: dict[str, str] = {}
    for index, (name, text) in enumerate(container.env):
        value = substitution.text(text, whole, f"{container.path}.env[{index}].value")
        env[name] = _elsewhere(substitution.expand(value, env), moved)
    lists = {
        key: tuple(
            _elsewhere(substitution.expand(each, env), moved)
            for each in substitution.items(texts, whole, f"{container.path}.{key}")
        )
        for key, texts in (("command", container.command), ("args", container.args))
    }
    if container.script:
        text = substitution.text(container.script, whole, f"{container.path}.script")
        lists["command"] = (_write_script(text, container.name, files, on_host=on_host),)
    place = substitution.text(container.working_dir, whole, f"{container.path}.workingDir")
    resolved = Resolved(
        lists["command"],
        lists["args"],
        env,
        _elsewhere(place, moved),
        () if on_host else tuple(_mounts(container, spec, files)),
    )
    _no_nul(resolved, container.path)
    return resolved


def image_of(container: Container, scope: Scope) -> str:
    """The image's reference, references replaced."""
    return substitution.text(container.image, scope, f"{container.path}.image")


def check_host(container: Container) -> None:
    """Refuse a container that names Tekton's fixed paths where there are none.

    Raises ConfigError naming the field; texts below one of its own mount paths are rewritten.
    """
    mounts = {mount.mount_path: Path("/") for mount in container.mounts}
    for where, text in container_texts(container):
        rewritten = where != "script" and _elsewhere(text, mounts) != text
        if _FIXED.search(text) and not rewritten:
            raise ConfigError(
                f"{container.path}.{where}: names a path that only a sandbox has",
                hint="Use $(workspaces.NAME.path) or $(results.NAME.path), or the runtime sandbox",
            )


def _places(
    container: Container, spec: TaskSpec, files: Files, *, on_host: bool
) -> dict[Parts, Value]:
    results = files.at("results") if on_host else Path("/tekton/results")
    steps = files.at("steps") if on_host else Path("/tekton/steps")
    found: dict[Parts, Value] = {
        ("results", result.name, "path"): str(results / result.name) for result in spec.results
    }
    for step in spec.steps:
        name = f"step-{step.name}"
        found["steps", name, "exitCode", "path"] = str(steps / name / "exitCode")
    for workspace in spec.workspaces:
        bound = workspace.name in files.workspaces
        found["workspaces", workspace.name, "bound"] = "true" if bound else "false"
        found["workspaces", workspace.name, "path"] = ""
    for workspace, mount_path in spec.visible(container):
        if workspace.name in files.workspaces:
            host = files.workspaces[workspace.name]
            found["workspaces", workspace.name, "path"] = str(host) if on_host else mount_path
    return found


def _mounts(container: Container, spec: TaskSpec, files: Files) -> Iterator[Mount]:
    yield Mount(files.at("results"), "/tekton/results")
    yield Mount(files.at("home"), "/tekton/home")
    yield Mount(files.at("steps"), "/tekton/steps", writable=False)
    yield Mount(files.at("scripts"), "/tekton/scripts", writable=False)
    for workspace, mount_path in spec.visible(container):
        if workspace.name in files.workspaces:
            yield Mount(files.workspaces[workspace.name], mount_path)
    for mount in container.mounts:
        yield Mount(files.volume(mount.volume), mount.mount_path)


def _moved(container: Container, files: Files) -> dict[str, Path]:
    return {mount.mount_path: files.volume(mount.volume) for mount in container.mounts}


def _elsewhere(text: str, moved: Mapping[str, Path]) -> str:
    for mount_path in sorted(moved, key=len, reverse=True):
        if text == mount_path or text.startswith(f"{mount_path}/"):
            return f"{moved[mount_path]}{text.removeprefix(mount_path)}"
    return text


def _write_script(text: str, name: str, files: Files, *, on_host: bool) -> str:
    """Put a script in its file; without `#!` it is one for sh that stops at the first error."""
    path = files.at("scripts") / name
    path.write_text(text if text.startswith("#!") else _SHELL + text)
    path.chmod(0o755)
    return str(path) if on_host else f"/tekton/scripts/{name}"


def _no_nul(resolved: Resolved, path: str) -> None:
    texts = (*resolved.command, *resolved.args, *resolved.env.values(), resolved.working_dir)
    if any("\0" in each for each in texts):
        raise ConfigError(f"{path}: a value holds a NUL character, which no program can be handed")
