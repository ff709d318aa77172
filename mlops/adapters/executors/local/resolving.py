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

from mlops.adapters.executors.local import environment, scope, storage
from mlops.adapters.executors.local.runtime.launch import Inside, Mount
from mlops.adapters.executors.local.scope import TaskScope
from mlops.adapters.executors.local.storage import Place
from mlops.errors import ConfigError
from mlops.tekton import references, substitution
from mlops.tekton.document import PipelineRun
from mlops.tekton.pod import Container, Security, TaskSpec
from mlops.tekton.substitution import Parts, Scope
from mlops.tekton.values import Value

_FIXED = re.compile(r"(?<![\w.)/-])/(?:tekton|workspace)(?![\w.-])")
_SHELL = "#!/bin/sh\nset -e\n"
_ON_HOST = frozenset({"env", "command", "args", "workingDir", "script"})


@dataclass(frozen=True, slots=True)
class Files:
    """Directories of one attempt, on the host. `workspaces` and `volumes` are those that are there."""

    root: Path
    workspaces: Mapping[str, Place]
    volumes: Mapping[str, Place]

    def make(self, spec: TaskSpec) -> None:
        """Lay out all of them, empty."""
        for name in ("results", "steps", "scripts", "home", "creds", "workspace"):
            (self.root / name).mkdir(parents=True)
        for index, step in enumerate(spec.steps):
            self.step(step.name).mkdir()
            self.step_results(step.name).mkdir()
            (self.root / "steps" / str(index)).symlink_to(f"step-{step.name}")

    def lay(self, credentials: Mapping[str, bytes]) -> None:
        """Put credentials where steps look for them: below their home, and apart. Nobody else comes as
        far as here; but ssh takes no key of its own user that others may read."""
        for home in (self.at("home"), self.at("creds")):
            for name, content in credentials.items():
                path = home / name
                path.parent.mkdir(exist_ok=True)
                path.parent.chmod(0o755)
                path.touch(0o600)
                path.write_bytes(content)
                path.chmod(0o600 if name.startswith(".ssh/id_") else 0o644)

    def at(self, name: str) -> Path:
        return self.root / name

    def step(self, name: str) -> Path:
        return self.root / "steps" / f"step-{name}"

    def step_results(self, name: str) -> Path:
        return self.step(name) / "results"


@dataclass(frozen=True, slots=True)
class Resolved:
    """A container without references. `command` empty: the image's own."""

    command: tuple[str, ...]
    args: tuple[str, ...]
    env: Mapping[str, str]
    working_dir: str
    mounts: tuple[Mount, ...]
    security: Security

    def inside(self, default: tuple[str, ...], *, network: bool, host_name: str) -> Inside:
        """What to start, `default` being what the image runs by itself."""
        argv = (self.command or default) + self.args
        return Inside(argv, self.env, self.working_dir, self.mounts, network, host_name)


def step_scope(
    container: Container, spec: TaskSpec, known: TaskScope, files: Files, *, on_host: bool
) -> dict[Parts, Value]:
    """What one container's texts may refer to.

    Raises ConfigError where a parameter does not fit, UnresolvedError where a step wrote no result.
    """
    places = _places(container, spec, files, on_host=on_host)
    whole = {**known.values, **places}
    for param in known.late:
        whole["params", param.name] = scope.replaced(param, {**known.outer, **places})
    return whole if container.action is None else scope.of_action(container.action, whole)


def resolve(
    container: Container,
    spec: TaskSpec,
    run: PipelineRun,
    whole: Scope,
    files: Files,
    *,
    on_host: bool,
) -> Resolved:
    """Replace all references of a container, and write its script where it has one.

    `whole` comes from `step_scope`. Raises ConfigError, with the field's place, where a value does
    not fit.
    """
    moved = _Moved(container, whole, files) if on_host else _Moved(None, whole, files)
    try:
        env = environment.variables(container, whole, run, moved)
        lists = {
            key: tuple(
                moved(substitution.expand(each, env)) for each in substitution.items(texts, whole)
            )
            for key, texts in (("command", container.command), ("args", container.args))
        }
        if container.script:
            text = substitution.text(container.script, whole)
            lists["command"] = (_write_script(text, container.name, files, on_host=on_host),)
        place = substitution.text(container.working_dir, whole)
        mounts = () if on_host else tuple(_mounts(container, spec, whole, files))
    except substitution.SubstitutionError as exc:
        raise ConfigError(container.at.complaint(str(exc))) from exc
    resolved = Resolved(
        lists["command"], lists["args"], env, moved(place), mounts, container.security
    )
    _no_nul(resolved, container)
    return resolved


def image_of(container: Container, known: Scope) -> str:
    """The image's reference, references replaced."""
    return substitution.text(container.image, known)


def check_host(container: Container) -> None:
    """Refuse a container that names Tekton's fixed paths where there are none.

    Raises ConfigError naming the field; texts below one of its own mount paths are rewritten.
    """
    mounts = [mount.mount_path for mount in container.mounts]
    for text in references.of_container(container):
        if text.field not in _ON_HOST:
            continue
        rewritten = text.field != "script" and any(_is_below(text.text, each) for each in mounts)
        if _FIXED.search(text.text) and not rewritten:
            raise text.at.error(
                "names a path that only a sandbox has",
                "Use $(workspaces.NAME.path) or $(results.NAME.path), or the runtime sandbox",
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
    for result in container.results:
        path = str(steps / f"step-{container.name}" / "results" / result.name)
        found["step", "results", result.name, "path"] = path
        if container.action is not None:
            found["results", result.name, "path"] = path
    found["credentials", "path"] = str(files.at("creds")) if on_host else "/tekton/creds"
    for workspace in spec.workspaces:
        found.update(_workspace(workspace.name, workspace.mount_path, files, on_host=on_host))
    for workspace, mount_path in spec.visible(container):
        if workspace.name in files.workspaces and not on_host:
            found["workspaces", workspace.name, "path"] = mount_path
    return found


def _workspace(
    name: str, mount_path: str, files: Files, *, on_host: bool
) -> Iterator[tuple[Parts, Value]]:
    place = files.workspaces.get(name)
    yield ("workspaces", name, "bound"), "false" if place is None else "true"
    there = str(place.path) if on_host and place is not None else mount_path
    yield ("workspaces", name, "path"), "" if place is None else there
    yield ("workspaces", name, "volume"), "" if place is None else f"ws-{name}"
    yield ("workspaces", name, "claim"), "" if place is None else place.claim


def _mounts(container: Container, spec: TaskSpec, whole: Scope, files: Files) -> Iterator[Mount]:
    if container in spec.steps:
        yield Mount(files.at("workspace"), "/workspace")
        yield Mount(
            files.step_results(container.name), f"/tekton/steps/step-{container.name}/results"
        )
    yield Mount(files.at("results"), "/tekton/results")
    yield Mount(files.at("home"), "/tekton/home")
    yield Mount(files.at("creds"), "/tekton/creds")
    yield Mount(files.at("steps"), "/tekton/steps", writable=False)
    yield Mount(files.at("scripts"), "/tekton/scripts", writable=False)
    for workspace, mount_path in spec.visible(container):
        place = files.workspaces.get(workspace.name)
        if place is not None:
            path = substitution.text(mount_path, whole)
            writable = place.writable and not workspace.read_only
            yield Mount(place.now(), path, writable, place.root)
    for mount in container.mounts:
        name = substitution.text(mount.volume, whole)
        place = files.volumes.get(name)
        if place is None:
            raise ConfigError((mount.at / "name").complaint(f"there is no volume {name!r}"))
        sub_path = substitution.text(mount.sub_path, whole)
        if storage.leads_out(sub_path):
            raise ConfigError((mount.at / "subPath").complaint("leads out of the volume"))
        target = substitution.text(mount.mount_path, whole)
        if not target.startswith("/") or ".." in target.split("/"):
            raise ConfigError((mount.at / "mountPath").complaint(f"{target!r} is no absolute path"))
        writable = place.writable and not mount.read_only
        yield Mount(
            storage.below(place.now(), sub_path), target, writable, place.root or place.path
        )


class _Moved:
    """Puts paths below a container's mounts where a process of the host finds them."""

    def __init__(self, container: Container | None, whole: Scope, files: Files) -> None:
        self._moved: dict[str, Path] = {}
        for mount in () if container is None else container.mounts:
            place = files.volumes.get(substitution.text(mount.volume, whole))
            if place is not None:
                inner = storage.below(place.path, substitution.text(mount.sub_path, whole))
                self._moved[substitution.text(mount.mount_path, whole)] = inner

    def __call__(self, text: str) -> str:
        for mount_path in sorted(self._moved, key=len, reverse=True):
            if _is_below(text, mount_path):
                return f"{self._moved[mount_path]}{text.removeprefix(mount_path)}"
        return text


def _is_below(text: str, mount_path: str) -> bool:
    return text == mount_path or text.startswith(f"{mount_path}/")


def _write_script(text: str, name: str, files: Files, *, on_host: bool) -> str:
    """Put a script in its file; without `#!` it is one for sh that stops at the first error."""
    path = files.at("scripts") / name
    path.write_text(text if text.startswith("#!") else _SHELL + text, newline="")
    path.chmod(0o755)
    return str(path) if on_host else f"/tekton/scripts/{name}"


def _no_nul(resolved: Resolved, container: Container) -> None:
    for name, value in resolved.env.items():
        if "\0" in value:
            where = container.at.complaint(f"the variable {name} holds a NUL character")
            raise ConfigError(f"{where}, which no program can be handed")
    texts = (*resolved.command, *resolved.args, resolved.working_dir)
    if any("\0" in each for each in texts):
        raise ConfigError(
            container.at.complaint("a value holds a NUL character, which no program can be handed")
        )
