"""`base: host`: this machine's interpreter as a base image.

The interpreter, its standard library, a shell with the usual commands, what manylinux wheels
presume, and the shared objects that all of them need; at the paths where they stand here.
"""

from __future__ import annotations

import os
import platform
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from mlops.build import bytecode, elf
from mlops.build.files import HostTree, fingerprint
from mlops.build.image import Image, complete, put
from mlops.build.interpreter import LIBC, PYTHON, VERSION
from mlops.build.layers import COMPRESSOR, LayerKind, put_layer
from mlops.build.tar import Content, Directory, Entry, Link
from mlops.build.toolchain import Installer
from mlops.domain.digest import Digest
from mlops.errors import BuildError
from mlops.ports import ImageStore

HOST = "host"  # as mlops.yaml names this base
REPOSITORY = "base-host"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_LEFT_OUT = """
__pycache__ ensurepip idlelib site-packages dist-packages test tests tkinter turtledemo
"""
# PEP 600 and auditwheel's policies: what a manylinux wheel expects to find, graphics left out
_PRESUMED = ("libstdc++.so.6", "libgcc_s.so.1")
_WELCOME = """
libatomic.so.1 libdl.so.2 libexpat.so.1 libgomp.so.1 libm.so.6 libnss_dns.so.2
libnss_files.so.2 libpthread.so.0 libresolv.so.2 librt.so.1 libutil.so.1 libz.so.1
"""
# a DVC stage command is a shell command: `mkdir -p models && python src/train.py`
_SHELL = "sh"
_COMMANDS = """
[ awk b2sum base64 basename bash bunzip2 bzip2 cat chmod chown cmp comm cp cut date dd df diff
dirname du echo egrep env expr false fgrep find gawk grep gunzip gzip head hostname id install
join ln ls mawk md5sum mkdir mkfifo mktemp mv nice nl nohup nproc od paste pathchk printenv printf
pwd readlink realpath rm rmdir sed seq sha1sum sha256sum sha512sum shuf sleep sort split stat
stdbuf sync tac tail tar tee test timeout touch tr true truncate tsort tty uname unexpand uniq
unlink wc which whoami xargs xz yes zcat
"""
_BINARIES = (Path("/usr/bin"), Path("/bin"))
_CERTIFICATES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
_BUNDLE = "etc/ssl/certs/ca-certificates.crt"
_USERS = (("root", 0, "/root"), ("nonroot", 65532, "/tmp"), ("nobody", 65534, "/nonexistent"))  # noqa: S108


def pack(store: ImageStore, installer: Installer) -> tuple[Digest, str]:
    """Pack this machine's interpreter as an image in `base-host`; its manifest and platform.

    The same files give the same digest. Raises BuildError where something is missing here.
    """
    python = interpreter()
    files = HostTree()
    tree = _system_files()
    programs = list(_add_python(files, python))
    programs += _add_commands(files)
    add_libraries(files, programs, presumed=True)
    tag = f"host-{fingerprint(files.tree | tree, str(python), COMPRESSOR)}"
    known = store.resolve(REPOSITORY, tag)
    if known is not None and complete(store, known):
        return known, host_platform()
    tree |= bytecode.compiled(
        files.tree,
        lambda argv, stdin: installer.python(
            python, argv, doing="compiling the standard library", stdin=stdin
        ),
    )
    layer = put_layer(store, LayerKind.BASE, tree)
    image = Image(
        platform=host_platform(),
        layers=(layer,),
        env=_environment(python),
        labels=(
            (PYTHON, str(python)),
            (VERSION, platform.python_version()),
            (LIBC, os.confstr("CS_GNU_LIBC_VERSION") or ""),
        ),
        command=("python3",),
    )
    return put(store, image, REPOSITORY, tag), image.platform


def interpreter() -> Path:
    """The interpreter that virtual environments here are made of."""
    found = getattr(sys, "_base_executable", "") or sys.executable
    # /usr/bin/python3 → /usr/bin/python3.11: the name with the version outlives an upgrade's link
    return Path(os.path.realpath(found))


def host_platform() -> str:
    """This machine as `linux/amd64`. Raises BuildError where `base: host` cannot be packed."""
    machine = platform.machine()
    if sys.platform != "linux" or machine not in _ARCHITECTURES:
        raise BuildError(
            f"`base: host` packs Linux on x86-64 and arm64; this is {sys.platform} on {machine}",
            hint="Name another base in mlops.yaml: build: {base: oci:DIRECTORY}",
        )
    if platform.libc_ver(str(interpreter()))[0] != "glibc":
        raise BuildError(
            f"{interpreter()} is not linked to glibc: the wheels of most packages need it",
            hint="Run mlops with an interpreter for glibc (Debian's, or one from `uv python`)",
        )
    return f"linux/{_ARCHITECTURES[machine]}"


def add_libraries(files: HostTree, programs: list[Path], *, presumed: bool = False) -> None:
    """Add the shared objects that programs need, so that the dynamic linker finds them."""
    machine = _machine(interpreter())
    wanted = list(programs)
    if presumed:
        wanted += list(_presumed(machine))
    for name, path in sorted(elf.closure(wanted)):
        real = files.add(path)
        if path.parent in elf.configured() and elf.trusted():
            # found by ld.so.conf, whose cache is not packed: a link where every linker looks
            beside = f"{str(elf.trusted()[0]).lstrip('/')}/{name}"
            files.tree.setdefault(beside, Link(str(real)))


def _machine(program: Path) -> int:
    found = elf.read(program)
    if found is None:
        raise BuildError(
            f"{program} is no interpreter that can be packed", hint="Name another base than `host`"
        )
    return found.machine


def _presumed(machine: int) -> Iterator[Path]:
    for name in _PRESUMED:
        path = elf.find(name, machine)
        if path is None:
            raise BuildError(
                f"{name} is not on this machine, and wheels presume it",
                hint="Install it (Debian: apt install libstdc++6)",
            )
        yield path
    yield from filter(None, (elf.find(name, machine) for name in _WELCOME.split()))


def _add_python(files: HostTree, python: Path) -> Iterator[Path]:
    """Add interpreter and standard library; the programs among them."""
    yield files.add(python)
    for name in ("python", "python3", f"python3.{sys.version_info.minor}"):
        files.tree.setdefault(str(python.with_name(name)).lstrip("/"), Link(python.name))
    library = Path(os.__file__).parent
    added = files.add_directory(library, _left_out)
    extensions = Path(sysconfig.get_config_var("DESTSHARED") or library / "lib-dynload")
    if not extensions.is_relative_to(library) and extensions.is_dir():
        added += files.add_directory(extensions, _left_out)
    for path in added:
        if path.suffix == ".so":
            if _loads(path):
                yield path
            else:  # an extension whose library is not here cannot be imported here either
                files.tree.pop(str(path).lstrip("/"), None)


def _left_out(path: Path) -> bool:
    return (
        path.name in _LEFT_OUT.split()
        or path.name.startswith(("_test", "_tkinter", "_ctypes_test", "config-", "EXTERNALLY"))
        or path.suffix in (".a", ".pyc")
    )


def _loads(extension: Path) -> bool:
    try:
        elf.closure([extension])
    except BuildError:
        return False
    return True


def _add_commands(files: HostTree) -> list[Path]:
    programs = []
    for name in (_SHELL, *_COMMANDS.split()):
        path = next((at / name for at in _BINARIES if (at / name).exists()), None)
        if path is not None:
            programs.append(files.add(path))
        elif name == _SHELL:
            raise BuildError("there is no /bin/sh on this machine")
    for path in _BINARIES:  # /bin → usr/bin, as here; `#!/bin/sh` must hold
        if path.is_symlink():
            files.add(path)
    return programs


def _system_files() -> dict[str, Entry]:
    users = "".join(f"{name}:x:{uid}:{uid}::{home}:/bin/sh\n" for name, uid, home in _USERS)
    groups = "".join(f"{name}:x:{gid}:\n" for name, gid, _ in _USERS)
    tree: dict[str, Entry] = {
        "etc/passwd": Content(users.encode()),
        "etc/group": Content(groups.encode()),
        "etc/nsswitch.conf": Content(b"passwd: files\ngroup: files\nhosts: files dns\n"),
        "tmp": Directory(0o1777),
        "var/tmp": Directory(0o1777),
    }
    tree |= {name: Directory() for name in ("dev", "etc", "opt", "proc", "run", "sys")}
    tree["root"] = Directory()
    bundle = next((path for path in map(Path, _CERTIFICATES) if path.is_file()), None)
    if bundle is not None:
        tree[_BUNDLE] = Content(bundle.read_bytes())
    return tree


def _environment(python: Path) -> tuple[tuple[str, str], ...]:
    usual = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    own = "" if str(python.parent) in usual.split(":") else f"{python.parent}:"
    return (
        ("PATH", f"{own}{usual}"),
        ("LANG", "C.UTF-8"),
        ("SSL_CERT_FILE", f"/{_BUNDLE}"),
    )
