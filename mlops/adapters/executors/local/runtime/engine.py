"""The runtimes `podman` and `docker`: containers of an engine that is there.

The engine gets the image's bytes from us, in the form that `docker save` writes, and runs what has
the layers that the digest names, whatever it calls them. Its program runs under our warden, which
removes the container when the program ends, when we want an end, and when we are gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import secrets
import shutil
import stat
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mlops.adapters import process
from mlops.adapters.executors.local.runtime import archive
from mlops.adapters.executors.local.runtime.launch import (
    Inside,
    Launch,
    Mount,
    RootRefusedError,
    opened,
)
from mlops.adapters.executors.local.runtime.proctree import MARK
from mlops.adapters.rootfs import Image
from mlops.errors import ExecutorError, OutsideError
from mlops.ports import ImageFiles

ENGINES = ("podman", "docker")
_REPOSITORY = "localhost/mlops-image"  # what our images are called there
_STATE = "{{.State.OOMKilled}} {{.State.StartedAt}}"
_LARGEST_SHM = 1 << 30  # bytes
_PROCESSES = 32_000  # below what kernels let a user have who may not raise it
_NOT_FOUND = 127  # an engine's exit code where the command is not in the image
_NOBODY = "/no/such/program"
# what changes an engine's own program, or what that starts: none of it is handed over
_HEEDED = (
    *("BUILDAH", "CNI", "CONMON", "CONTAINER", "DBUS", "DOCKER", "GCONV", "GIO", "GLIB", "GO"),
    *("HOME", "LANG", "LC_", "LD_", "LIBPOD", "LISTEN", "LOCPATH", "MALLOC", "NETAVARK", "NLSPATH"),
    *("NOTIFY", "PATH", "PODMAN", "REGISTR", "RES_OPTIONS", "HOSTALIASES", "SSL", "STORAGE"),
    *("SYSTEMD", "TERM", "TMPDIR", "TZ", "XDG", "_"),
)


@dataclass(slots=True)
class Engine:
    """One engine of this machine. Safe for threads."""

    name: str
    images: ImageFiles
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)
    _loaded: dict[str, str] = field(init=False, default_factory=dict)  # our digest → its id
    _options: tuple[str, ...] | None = None

    def reasons(self) -> tuple[str, ...]:
        """Why it cannot be used here; empty where it can."""
        if shutil.which(self.name) is None:
            return (f"{self.name} is not installed",)
        asked = "{{.Server.Version}}" if self.name == "docker" else "{{.Client.Version}}"
        try:
            done = self._ask("version", "--format", asked, doing="asking for the engine")
        except OutsideError as exc:
            return (exc.message,)
        return () if done.code == 0 else (done.complaint or "it does not answer",)

    def place(self, image: Image, mark: str) -> EngineContainer:
        """Where containers of the image start. Raises ExecutorError where the engine takes it not."""
        with self._lock:
            known = self._loaded.get(str(image.digest))
            if known is None:
                known = self._found(image) or self._load(image)
                self._loaded[str(image.digest)] = known
            if self._options is None:
                self._options = self._tried(known)
            return EngineContainer(self, image, known, mark, self._options)

    def command(self, *arguments: str) -> tuple[str, ...]:
        return (shutil.which(self.name) or self.name, *arguments)

    # -- images

    def _called(self, image: Image) -> str:
        return f"{_REPOSITORY}:{image.digest.hex}"

    def _found(self, image: Image) -> str:
        """The engine's id of the image; empty where it has none with just these layers."""
        asked = "{{.Id}} {{json .RootFS.Layers}}"
        done = self._ask(
            "image", "inspect", "--format", asked, self._called(image), doing="looking for an image"
        )
        own, _, layers = done.text.strip().partition(" ")
        wanted = [str(layer.diff_id) for layer in image.layers]
        try:
            return own if done.code == 0 and json.loads(layers) == wanted else ""
        except ValueError:
            return ""

    def _load(self, image: Image) -> str:
        argv = self.command("load", "--quiet")
        archive.pour(argv, self.images, image, self._called(image))
        found = self._found(image)
        if not found:
            raise ExecutorError(f"{self.name} took image {image.digest} and has other layers of it")
        return found

    # -- how it runs here

    def _tried(self, image: str) -> tuple[str, ...]:
        """Options without which nothing starts here: limits that may not be raised, another OCI
        runtime. Raises ExecutorError where nothing helps."""
        said = ""
        for options in _ways():
            done = self._ask(
                *("run", "--rm", "--pull", "never", "--network", "none", *options),
                *("--entrypoint", _NOBODY, image),
                doing="trying the engine",
            )
            if done.code == _NOT_FOUND:
                return options
            said = said or done.complaint
        raise ExecutorError(f"{self.name} starts nothing here: {said}")

    def _ask(self, *arguments: str, doing: str) -> process.Completed:
        return process.run(
            self.command(*arguments), doing=doing, check=False, timeout=120.0, error=ExecutorError
        )


def _ways() -> Iterator[tuple[str, ...]]:
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    own = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    processes = min(_PROCESSES, own) if own != resource.RLIM_INFINITY else _PROCESSES
    limits = (f"--ulimit=nofile={files}:{files}", f"--ulimit=nproc={processes}:{processes}")
    runc = ("--runtime=runc",) if shutil.which("runc") else ()
    yield ()
    yield limits
    if runc:
        yield runc
        yield (*runc, *limits)


@dataclass(frozen=True, slots=True)
class EngineContainer:
    """Containers of one image. `known` is the engine's id of it."""

    engine: Engine
    image: Image
    known: str
    mark: str
    options: tuple[str, ...]

    network_enforced = True
    on_host = False

    @property
    def name(self) -> str:
        return self.engine.name

    def launch(self, inside: Inside, scratch: Path) -> Launch:
        name = f"mlops-{secrets.token_hex(12)}"
        env = {"HOME": "/tekton/home", **inside.env, MARK: self.mark}
        handed, written = _parted(env)
        file = scratch / "env"
        file.touch(0o600)
        file.write_text("".join(f"{key}={value}\n" for key, value in written.items()))
        argv = self.engine.command(
            *("run", "--name", name, "--pull", "never", "--log-driver", "none", *self.options),
            *_settings(self.name, inside, self.image),
            *("--env-file", str(file), *(f"--env={key}" for key in handed)),
            *("--entrypoint", "", self.known, *inside.argv),
        )
        if _user(inside, self.image) not in ("", "0", "root"):
            _open(inside.mounts, scratch.parents[4])
        at_once = ("--time", "0") if self.name == "podman" else ()
        return Launch(
            argv,
            {**os.environ, **handed, MARK: self.mark},
            Path("/"),
            enter=self.engine.command("exec", name),
            ask=self.engine.command("inspect", "--format", _STATE, name),
            kill=self.engine.command("kill", name),
            after=self.engine.command("rm", "--force", *at_once, name),
        )


def _settings(name: str, inside: Inside, image: Image) -> Iterator[str]:
    yield from ("--network", "host" if inside.network else "none")
    if name == "podman":
        yield "--http-proxy=false"  # which it would hand on of our own environment
    if not inside.network:
        yield from ("--hostname", inside.host_name[:63])
    yield from ("--workdir", inside.working_dir or image.working_dir)
    yield from ("--shm-size", str(min(_LARGEST_SHM, inside.memory or _LARGEST_SHM)))
    yield from _identity(inside, image)
    if inside.read_only_root:
        yield "--read-only"
        if name == "podman":
            yield "--read-only-tmpfs=false"
    if inside.memory is not None:
        yield from (f"--memory={inside.memory}", f"--memory-swap={inside.memory}")
    if inside.cpu is not None:
        yield f"--cpus={inside.cpu:g}"
    for mount in inside.mounts:
        os.close(opened(mount))  # refused where a link stands in the way
    for mount in sorted(inside.mounts, key=lambda each: each.target.count("/")):
        yield from ("--mount", _mount(mount))


def _user(inside: Inside, image: Image) -> str:
    return image.user.partition(":")[0] if inside.user is None else str(inside.user)


def _open(mounts: Sequence[Mount], run: Path) -> None:
    """Let another user write to the directories of the run that it is given, as emptyDirs do, and read
    the keys in them: an engine leaves them root's. Never to directories of somebody's own."""
    for mount in mounts:
        if mount.writable and mount.source.is_relative_to(run):
            way = mount.source.relative_to(run)
            descriptor = opened(Mount(run / way, mount.target, root=run))
            try:
                found = os.fstat(descriptor)
                if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid():
                    Path(f"/proc/self/fd/{descriptor}").chmod(0o777)
                    _open_keys(descriptor)
            finally:
                os.close(descriptor)


def _open_keys(home: int) -> None:
    """Let others read the keys of ssh in a directory, where it has any; no link is followed."""
    kept = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with contextlib.ExitStack() as closing, contextlib.suppress(OSError):
        directory = os.open(".ssh", kept | os.O_DIRECTORY, dir_fd=home)
        closing.callback(os.close, directory)
        for name in os.listdir(directory):  # noqa: PTH208  Path takes no descriptor
            key = os.open(name, kept, dir_fd=directory)
            closing.callback(os.close, key)
            if name.startswith("id_") and stat.S_ISREG(os.fstat(key).st_mode):
                os.fchmod(key, 0o644)


def _identity(inside: Inside, image: Image) -> Iterator[str]:
    user = image.user if inside.user is None else str(inside.user)
    if inside.non_root and _user(inside, image) in ("", "0", "root"):
        raise RootRefusedError(image.digest)
    if inside.group is not None:
        user = f"{user.partition(':')[0] or '0'}:{inside.group}"
    if user:
        yield from ("--user", user)
    for group in inside.groups:
        yield from ("--group-add", str(group))


def _mount(mount: Mount) -> str:
    fields = ["type=bind", f"src={mount.source}", f"dst={mount.target}"]
    fields += [] if mount.writable else ["readonly"]
    return ",".join(_csv(each) for each in fields)


def _csv(text: str) -> str:
    """A field of the engine's own notation, which is that of CSV."""
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',"\n') else text


def _parted(env: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Variables of several lines, which the engine's program is handed, and all others, which stand in
    a file that it reads. No value stands in a command line, where others could read it."""
    handed = {key: value for key, value in env.items() if "\n" in value or "\r" in value}
    for key in handed:
        if key.upper().startswith(_HEEDED) or key.upper().endswith("_PROXY"):
            raise ExecutorError(
                f"the value of {key} has several lines, which no engine can be told"
            )
    return handed, {key: value for key, value in env.items() if key not in handed}


def disks(engine: Engine) -> Sequence[Path]:
    """Where the engine keeps what containers write; empty where that is not on this machine."""
    asked = "{{.DockerRootDir}}" if engine.name == "docker" else "{{.Store.GraphRoot}}"
    done = process.run(
        engine.command("info", "--format", asked), doing="asking for the engine", check=False
    )
    root = Path(done.text.strip() or "/nowhere")
    return (root,) if done.code == 0 and root.is_dir() else ()
