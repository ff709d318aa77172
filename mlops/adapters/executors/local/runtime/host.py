"""Containers that run on the host itself: the installed mlops, and the runtime `process`.

Both see the host's own paths, so paths of the container's image and mounts are rewritten where a
document hands them on as data: in env values, args, command and workingDir, never in scripts.
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlops.adapters.executors.local.runtime.launch import Inside, Launch
from mlops.adapters.executors.local.runtime.processors import processors
from mlops.adapters.executors.local.runtime.proctree import MARK
from mlops.adapters.rootfs import Image, RootFilesystems
from mlops.domain.digest import ImageRef
from mlops.errors import ExecutorError

_VENV = "opt/venv"
_BASE = "base"  # the kind of layer that the host stands in for
_LABELS = ("dev.mlops.base", "dev.mlops.python")
_LARGEST_SCRIPT = 1 << 20
_LONGEST_SHEBANG = 120  # bytes, well below what kernels take
_SHEBANG = re.compile(rb"\A#!/opt/venv(?P<interpreter>/\S+)(?P<options>[^\n]*)\n")
_SEARCH = ("/usr/local/bin", "/usr/bin", "/bin")


@dataclass(frozen=True, slots=True)
class HostTool:
    """The image whose steps run with the installed mlops instead, as `argv0`, on the host.

    `env` lies over the host's environment.
    """

    image: ImageRef
    argv0: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HostProcess:
    """Starts containers as watched processes. `base` is the environment below the container's.

    `root` is where the image's own files are, if it has any; `tool` stands for the command `mlops`;
    `directory` is where containers without a workingDir start, empty for one of their own.
    """

    name: str
    base: Mapping[str, str]
    mark: str
    root: Path | None = None
    tool: tuple[str, ...] = ()
    directory: str = ""

    network_enforced = False
    on_host = True

    def launch(self, inside: Inside, scratch: Path) -> Launch:
        env = {**self.base, **inside.env, MARK: self.mark}
        argv = [self.located(each) for each in inside.argv]
        if self.tool and argv[0] == "mlops":
            argv[:1] = self.tool
        cwd = self.located(inside.working_dir) or self.directory or str(scratch)
        return Launch(tuple(argv), env, Path(cwd), cpus=processors(inside.cpu))

    def located(self, text: str) -> str:
        """An absolute path that the image holds → where it is here; other text as it is."""
        return text if self.root is None else _located(self.root, text)


def tool_process(tool: HostTool, bin_directory: Path, mark: str, runtime: str) -> HostProcess:
    """The installed mlops: the host's environment, with `mlops` itself first on the PATH.

    It is told where the run is carried out, and in which runtime other images start: records say so.
    """
    told = {"MLOPS_EXECUTOR": "local", "MLOPS_RUNTIME": runtime}
    path = f"{bin_directory}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return HostProcess(
        "host-tool", {**os.environ, **told, **tool.env, "PATH": path}, mark, tool=tool.argv0
    )


def image_process(image: Image, filesystems: RootFilesystems, home: Path, mark: str) -> HostProcess:
    """The runtime `process`: what an image adds to `base: host`, run by the host's interpreter.

    Nothing of the host's environment is handed on. Raises ExecutorError where the image stands on
    another base, or its environment is for another Python.
    """
    if not any(image.label(name) for name in _LABELS):
        raise ExecutorError(
            f"image {image.digest} is not built on `base: host`, so the runtime process cannot run it",
            hint="Use the runtime sandbox: mlops doctor tells what it needs",
        )
    layers = [layer for layer in image.layers if layer.kind != _BASE]
    root = filesystems.installed(layers, "host", _adapt)
    env = {name: _located_list(root, value) for name, value in image.env}
    # PATH entries of the image's base are the host's own here
    path = [each for each in env.get("PATH", "").split(":") if each.startswith(str(root))]
    env["PATH"] = ":".join([*path, *_SEARCH])
    directory = _located(root, image.working_dir)
    directory = "" if directory == image.working_dir else directory
    return HostProcess("process", {"HOME": str(home), **env}, mark, root, directory=directory)


def _located(root: Path, text: str) -> str:
    if not text.startswith("/") or ".." in text.split("/"):
        return text
    there = root / text.lstrip("/")
    return str(there) if text.strip("/") and os.path.lexists(there) else text


def _located_list(root: Path, text: str) -> str:
    return ":".join(_located(root, each) for each in text.split(":"))


def _adapt(directory: Path, final: Path) -> None:
    """Make the virtual environment in an image's layers one of this host, at its `final` place."""
    venv = directory / _VENV
    if not (venv / "pyvenv.cfg").is_file():
        return
    _check_version(venv)
    for script in sorted((venv / "bin").iterdir()):
        if script.is_symlink():
            _relink(script)
        elif script.is_file() and script.stat().st_size <= _LARGEST_SCRIPT:
            _adapt_script(script, final / _VENV)
    home = Path(sys.base_prefix) / "bin"
    settings = (venv / "pyvenv.cfg").read_text().splitlines()
    lines = [f"home = {home}" if _is_absent_home(line) else line for line in settings]
    (venv / "pyvenv.cfg").write_text("\n".join(lines) + "\n")


def _check_version(venv: Path) -> None:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    if not (venv / "lib" / version).is_dir():
        raise ExecutorError(
            f"the image's environment is not for Python {platform.python_version()}",
            hint="Build it again: mlops lock --upgrade, then mlops run",
        )


def _is_absent_home(line: str) -> bool:
    key, _, value = line.partition("=")
    return key.strip() == "home" and not Path(value.strip()).is_dir()


def _relink(link: Path) -> None:
    """An interpreter of the image's base → this one, where the host has none at that path."""
    target = str(link.readlink())
    if target.startswith("/") and not Path(target).exists():
        link.unlink()
        link.symlink_to(Path(sys.executable).resolve())


def _adapt_script(script: Path, venv: Path) -> None:
    content = script.read_bytes()
    match = _SHEBANG.match(content)
    if match is None:
        return
    interpreter = bytes(venv) + match["interpreter"]
    if len(interpreter) > _LONGEST_SHEBANG or b" " in interpreter:
        # a line that both sh and Python read: a kernel would cut such a path
        head = b"#!/bin/sh\n'''exec' \"" + interpreter + b'" "$0" "$@"\n\' \'\'\'\n'
    else:
        head = b"#!" + interpreter + match["options"] + b"\n"
    script.write_bytes(head + content[match.end() :])
