"""The `sandbox` runtime: an image's own root filesystem, without a daemon and without root.

`unshare` makes a user and a mount namespace, in which the image's layers are overlaid with a
throw-away writable directory; bubblewrap then makes the container in it: own processes, IPC, host
name, and network where that is off. Where overlays cannot be mounted, the entries of the root are
bound read-only onto a tmpfs.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mlops.adapters import process
from mlops.adapters.executors.local.runtime.launch import Inside, Launch, RootRefusedError
from mlops.adapters.executors.local.runtime.processors import processors
from mlops.adapters.executors.local.runtime.proctree import MARK
from mlops.adapters.executors.local.runtime.wards import Wards
from mlops.adapters.rootfs import Image, RootFilesystems, remove
from mlops.errors import ExecutorError, OutsideError

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Relative names throughout, so that no character of a path can end a mount option.
_OVERLAY = (
    'cd "$1" && mount -t overlay overlay'
    ' -o "lowerdir=$2,upperdir=upper,workdir=work,userxattr" root'
    ' && cd / && unset PWD OLDPWD && shift 2 && exec "$@"'
)
# What container engines leave root in a container, inside its user namespace.
_CAPABILITIES = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
)
_PLACES = {
    "dev": 0o755,
    "proc": 0o755,
    "tmp": 0o1777,
    "workspace": 0o755,
    "tekton": 0o755,
    "tekton/creds": 0o755,
    "tekton/home": 0o755,
    "tekton/results": 0o755,
    "tekton/scripts": 0o755,
    "tekton/steps": 0o755,
}
_LARGEST_SHM = 1 << 30  # bytes, of memory
_LARGEST_TMP = 1 << 30  # bytes, of memory; an overlay has its /tmp on disk
_ENTER = ("--user", "--mount", "--pid", "--net", "--ipc", "--uts", "--preserve-credentials", "--wd")
_OWN = frozenset({"proc", "dev", "tmp", "tekton", "workspace"})  # made anew in each container
_FROM_HOST = ("etc/resolv.conf", "etc/hosts")
_INSTALL = "Install bubblewrap (on Debian: apt install bubblewrap) and util-linux"
_NAMESPACES = (
    "Allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, and on Ubuntu"
    " kernel.apparmor_restrict_unprivileged_userns=0), or set runtime: process"
)


@dataclass(frozen=True, slots=True)
class Probe:
    """Whether sandboxes work here: `reasons` is empty where they do, `hint` is what to do. `users` is
    how many there are in one."""

    reasons: tuple[str, ...]
    hint: str = ""
    overlay: bool = True
    users: int = 1


def probe(lower: Path, upper: Path, wards: Wards | None = None) -> Probe:
    """Try it: `lower` is where layers are unpacked, `upper` where runs are kept; `wards` is who will
    start containers, None where they are started alone."""
    if not sys.platform.startswith("linux"):
        return Probe(("it needs Linux",), "Set runtime: process")
    missing = [name for name in ("bwrap",) if _program(name) is None]
    if missing:
        return Probe(tuple(f"{name} is not installed" for name in missing), _INSTALL)
    failure = _try(["--unshare-user", "--ro-bind", "/", "/"])
    if failure:
        return Probe((failure,), _NAMESPACES)
    if wards is None:
        return Probe((), overlay=_overlay_works(lower, upper))
    try:
        users = wards.users
    except ExecutorError as exc:
        return Probe((exc.message,), _NAMESPACES)
    return Probe((), overlay=_overlay_works(lower, upper), users=users)


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_PATH}")


def _found(name: str) -> str:
    """Where a program of this machine is; its bare name, for the error, where it is not."""
    return _program(name) or name


def _try(root: Sequence[str], before: Sequence[str] = ()) -> str:
    """Why the smallest sandbox does not start; empty where it does."""
    smallest = ["--proc", "/proc", "--dev", "/dev", "--unshare-pid", "--die-with-parent"]
    argv = [*before, _found("bwrap"), *root, *smallest, "--", "/proc/self/exe", "--version"]
    try:
        done = process.run(
            argv, doing="trying a sandbox", env={"PATH": _PATH}, timeout=20.0, check=False
        )
    except OutsideError as exc:
        return exc.message
    return "" if done.code == 0 else f"it does not start: {done.complaint or 'no reason given'}"


def alone(launch: Launch) -> tuple[str, ...]:
    """A command that starts the sandbox without a warden: a single user, no limits."""
    if launch.overlay is None:
        return launch.argv
    return (*_unshare(), "/bin/sh", "-c", _OVERLAY, "sandbox", *launch.overlay, *launch.argv)


def _unshare() -> list[str]:
    return [
        _found("unshare"),
        "--user",
        "--map-root-user",
        "--mount",
        "--propagation",
        "private",
        "--",
    ]


def _overlay_works(lower: Path, upper: Path) -> bool:
    if _program("unshare") is None or _program("mount") is None:
        return False
    with contextlib.ExitStack() as stack:
        for directory in (lower, upper):
            directory.mkdir(parents=True, exist_ok=True)
        layer = Path(tempfile.mkdtemp(prefix=".probe-", dir=lower))
        stack.callback(remove, layer)
        box = Path(tempfile.mkdtemp(prefix=".probe-", dir=upper))
        stack.callback(remove, box)
        (layer / "usr").mkdir()
        names = _lay_out(box, (layer,))
        mount = [*_unshare(), "/bin/sh", "-c", _OVERLAY, "sandbox", str(box), names]
        bound = ["--ro-bind", "/", "/", "--bind", str(box / "root"), "/mnt"]
        return not _try(bound, mount) if Path("/mnt").is_dir() else not _try(bound[:3], mount)


def _lay_out(box: Path, layers: Sequence[Path]) -> str:
    """Make what the overlay needs in `box`; gives its lowerdir option, the top layer first."""
    for name in ("upper", "work", "root"):
        (box / name).mkdir()
    names = [f"l{number}" for number in range(len(layers))]
    for name, layer in zip(names, layers, strict=True):
        (box / name).symlink_to(layer.absolute())
    return ":".join(reversed(names))


@dataclass(frozen=True, slots=True)
class Sandbox:
    """Containers of one image. `mark` finds its processes after a crash; `users` is how many users
    there are in a container that root has."""

    image: Image
    filesystems: RootFilesystems
    mark: str
    overlay: bool = True
    users: int = 1

    name = "sandbox"
    network_enforced = True
    on_host = False

    def launch(self, inside: Inside, scratch: Path) -> Launch:
        layers = self.filesystems.directories(self.image)
        if not layers:
            raise ExecutorError(
                f"image {self.image.digest} has no layers, so nothing can run in it"
            )
        uid, gid = _identity(inside, self.image, layers)
        binds: tuple[tuple[str, str, str], ...] = ()
        if self.overlay:
            inside, binds = _staged(inside, scratch)
        reading, writing = os.pipe()
        options = [*self._options(inside), *self._who(uid, gid)]
        options += ["--json-status-fd", str(writing)]
        overlay = None
        if self.overlay:
            places = self.filesystems.places(_PLACES)
            overlay = (str(scratch), _lay_out(scratch, (*layers, places)))
            _prepare(scratch / "upper", layers, inside)
            root = ["--bind", str(scratch / "root"), "/"]
        else:
            root = list(_entries(self.filesystems.merged(self.image), inside))
        described = _in_memory([*root, *options])
        argv = (_found("bwrap"), "--args", str(described), "--", *inside.argv)
        # the sandbox's first process has this too: nothing of our own environment may stand in it
        env = {"PATH": _PATH, MARK: self.mark}
        return Launch(
            argv,
            env,
            Path("/"),
            (described, writing),
            reading,
            overlay,
            binds=binds,
            cpus=processors(inside.cpu),
            group=gid if self._is_own_root(uid, gid) else 0,
            groups=inside.groups if self._is_own_root(uid, gid) and self.users > 1 else (),
            enter=(_found("nsenter"), *_ENTER),
        )

    def _options(self, inside: Inside) -> Iterator[str]:
        yield from ("--proc", "/proc")
        yield from _devices(inside.memory)
        if not self.overlay:
            yield from ("--perms", "1777", "--size", str(_LARGEST_TMP), "--tmpfs", "/tmp")  # noqa: S108  in the sandbox
        for directory in ("/tekton", "/workspace"):
            yield from ("--perms", "0755", "--dir", directory)
        for mount in sorted(inside.mounts, key=lambda each: each.target.count("/")):
            yield "--bind" if mount.writable else "--ro-bind"
            yield from (str(mount.source), mount.target)
        working_dir = inside.working_dir or self.image.working_dir
        yield from ("--dir", working_dir, "--chdir", working_dir)
        if inside.read_only_root:
            yield from ("--remount-ro", "/")
        yield from ("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try")
        yield from ("--hostname", inside.host_name[:63], "--die-with-parent", "--new-session")
        if not inside.network:
            yield "--unshare-net"
        yield "--clearenv"
        env = {"PATH": _PATH, "HOME": "/tekton/home", **_but_home(self.image), **inside.env}
        for name, value in env.items():
            yield from ("--setenv", name, value)

    def _is_own_root(self, uid: int, gid: int) -> bool:
        """Whether the user namespace that is there will do; else the container gets one of its own,
        with a single user."""
        return self.overlay and uid == 0 and gid < self.users

    def _who(self, uid: int, gid: int) -> Iterator[str]:
        if not self._is_own_root(uid, gid):
            yield from ("--unshare-user", "--uid", str(uid), "--gid", str(gid))
        yield from ("--cap-drop", "ALL")
        if uid == 0:
            for capability in _CAPABILITIES:
                yield from ("--cap-add", capability)


def _staged(inside: Inside, scratch: Path) -> tuple[Inside, tuple[tuple[str, str, str], ...]]:
    """Mounts that containers may have tampered with, led over a place of ours, which the warden binds
    them to without following a link."""
    mounts, binds = [], []
    for number, mount in enumerate(inside.mounts):
        if mount.root is None or mount.root == mount.source:
            mounts.append(mount)
            continue
        name = f"mount-{number}"
        if mount.source.is_dir():
            (scratch / name).mkdir()
        else:
            (scratch / name).touch()
        binds.append((str(mount.root), str(mount.source.relative_to(mount.root)), name))
        mounts.append(replace(mount, source=scratch / name))
    return replace(inside, mounts=tuple(mounts)), tuple(binds)


def _devices(memory: int | None) -> Iterator[str]:
    """What lies in memory there is bounded: /dev/shm, and nothing can be put beside it."""
    shared = min(_LARGEST_SHM, memory or _LARGEST_SHM)
    yield from ("--dev", "/dev", "--perms", "1777", "--size", str(shared), "--tmpfs", "/dev/shm")  # noqa: S108  in the sandbox
    yield from ("--remount-ro", "/dev")


def _but_home(image: Image) -> dict[str, str]:
    return {name: value for name, value in image.env if name and name != "HOME"}


def _in_memory(options: Sequence[str]) -> int:
    """A descriptor with the options, parted by NUL: an environment must not show in argv."""
    descriptor = os.memfd_create("sandbox")
    with open(descriptor, "wb", closefd=False) as file:
        file.write(b"".join(os.fsencode(each) + b"\0" for each in options))
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _prepare(upper: Path, layers: Sequence[Path], inside: Inside) -> None:
    """Lay into the writable directory the machine's name, and what the network needs, over links that
    may stand there."""
    if any(_is_other(layer / "etc") for layer in layers):
        return
    (upper / "etc").mkdir()
    (upper / "etc/hostname").write_text(f"{inside.host_name[:63]}\n")
    for name in _FROM_HOST if inside.network else ():
        with contextlib.suppress(OSError):
            (upper / name).write_bytes(Path("/", name).read_bytes())


def _is_other(path: Path) -> bool:
    return path.is_symlink() or (path.exists() and not path.is_dir())


def _entries(root: Path, inside: Inside) -> Iterator[str]:
    for entry in sorted(root.iterdir()):
        if entry.name in _OWN:
            continue
        if entry.is_symlink():
            yield from ("--symlink", str(entry.readlink()), f"/{entry.name}")
        else:
            yield from ("--ro-bind", str(entry), f"/{entry.name}")
    for name in _FROM_HOST if inside.network else ():
        if (root / name).is_file() and not (root / name).is_symlink():
            yield from ("--ro-bind-try", f"/{name}", f"/{name}")


def _identity(inside: Inside, image: Image, layers: Sequence[Path]) -> tuple[int, int]:
    """The uid and gid of a container. Raises ExecutorError where it may not be root and is."""
    uid, gid = (
        user(image, layers)
        if inside.user is None
        else _identity_of(str(inside.user), "passwd", layers)
    )
    if inside.group is not None:
        gid = inside.group
    if inside.non_root and uid == 0:
        raise RootRefusedError(image.digest)
    return uid, gid


def user(image: Image, layers: Sequence[Path]) -> tuple[int, int]:
    """The uid and gid that the image asks for: numbers, or names of its own /etc/passwd.

    Raises ExecutorError where the name is unknown.
    """
    name, _, group = image.user.partition(":")
    uid, gid = _identity_of(name or "0", "passwd", layers)
    if group:
        gid = _identity_of(group, "group", layers)[0]
    return uid, gid


@functools.lru_cache(maxsize=64)
def _identities(path: Path) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    if path.is_symlink() or not path.is_file():
        return found
    for line in path.read_text(errors="replace").splitlines():
        fields = line.split(":")
        if len(fields) > 2 and fields[2].isdigit():
            gid = int(fields[3]) if len(fields) > 3 and fields[3].isdigit() else int(fields[2])
            found.setdefault(fields[0], (int(fields[2]), gid))
    return found


def _identity_of(name: str, file: str, layers: Sequence[Path]) -> tuple[int, int]:
    for layer in reversed(layers):
        table = {} if _is_other(layer / "etc") else _identities(layer / "etc" / file)
        if name.isdigit():
            for uid, gid in table.values():
                if uid == int(name):
                    return uid, gid
        elif name in table:
            return table[name]
    if name.isdigit():
        return int(name), int(name) if file == "group" else 0
    if name == "root":
        return 0, 0
    raise ExecutorError(f"the image's user {name!r} stands in no /etc/{file} of it")
