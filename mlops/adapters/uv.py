"""uv: resolves requirements, installs locked wheels, and runs this machine's interpreters."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from mlops.adapters import process, uvcomplaints
from mlops.errors import BuildError, ConfigError
from mlops.ports import Resolution, Resolved, Target

_INSTALL_TIMEOUT = 1800.0  # seconds; a first download of large wheels over a slow line
_RUN_TIMEOUT = 600.0
_COMPILE = (
    *("pip", "compile", "--generate-hashes", "--no-header", "--no-annotate"),
    *("--only-binary", ":all:"),
)
# the glibc versions that uv has a platform for
_MANYLINUX = (17, 28, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40)
_MACHINES = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
_SECRET = ("_PASSWORD", "_USERNAME", "_TOKEN")  # of an index, and for publishing


class Uv:
    """Runs uv in `directory`, whose own uv settings (package indexes) hold.

    The cache is asked first and the network only where it does not suffice: a build whose wheels were
    downloaded before needs no network, whatever the clock says.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory

    @cached_property
    def program(self) -> Path:
        """The executable: beside this interpreter, or on the path. Raises BuildError."""
        beside = Path(sys.executable).with_name("uv")
        if beside.is_file():
            return beside
        for directory in os.get_exec_path():
            path = Path(directory, "uv")
            if path.is_file() and os.access(path, os.X_OK):
                return path
        raise BuildError("uv is not here", hint="Install it: pip install uv")

    @cached_property
    def version(self) -> str:
        """As `uv 0.9.1`."""
        return " ".join(self._uv(["--version"], "asking for its version").split()[:2])

    @cached_property
    def cache(self) -> Path:
        return Path(self._uv(["cache", "dir"], "asking for its cache").strip())

    def install(
        self,
        python: Path,
        requirements: Path,
        venv: Path,
        *,
        target: Target | None = None,
        sources: Sequence[str] = (),
        shelf: Path | None = None,
        alone: bool = False,
    ) -> Sequence[str]:
        """Meets `build.toolchain.Installer`."""
        create = ["venv", "--quiet", "--no-project", "--python", str(python)]
        self._uv([*create, str(venv)], "creating a virtual environment")
        # links into uv's cache will do: what is installed here is read once, and goes
        argv = self.arguments(
            str(venv / "bin" / "python"), str(requirements), sources, link_mode="hardlink"
        )
        if target is not None:
            argv = [*argv, *_target_arguments(target)]
        if shelf is not None:
            # as a URL: uv takes a comma in a path for the end of it
            argv = [*argv, "--find-links", shelf.as_uri(), *(("--no-index",) if alone else ())]
        try:
            done = self._offline_first(argv, f"installing {requirements.name}", _INSTALL_TIMEOUT)
        except BuildError as exc:
            raise self.explained(exc, target) from None
        return uvcomplaints.withdrawn(done.stderr.decode(errors="replace"))

    def located(self, requirements: bytes, target: Target) -> str:
        """Where the distributions of hashed requirements lie, as a pylock.toml (PEP 751). No sdist is
        built for it. Raises BuildError."""
        argv = ["pip", "compile", "--quiet", "--no-deps", "--format", "pylock.toml", "--no-header"]
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch, "requirements.lock")
            path.write_bytes(requirements)
            argv += [str(path), *_target_arguments(target)]
            try:
                done = self._offline_first(argv, "asking where packages lie")
            except BuildError as exc:
                raise self.explained(exc, target) from None
        return done.text

    def explained(self, error: BuildError, target: Target | None) -> BuildError:
        """Meets `build.toolchain.Installer`."""
        if target is None:
            return uvcomplaints.explained(error, "this machine's Python")
        wanted = f"{target.platform}, Python {target.python}, glibc {target.libc}"
        return uvcomplaints.explained(error, wanted)

    @property
    def settings(self) -> Mapping[str, str]:
        """What the environment says to uv, for strangers: paths of this machine and passwords left
        out."""
        return {
            name: uvcomplaints.without_passwords(value)
            for name, value in os.environ.items()
            if (name.startswith("UV_") or name.lower().endswith("_proxy"))
            and "/" not in value[:1]
            and not name.endswith(_SECRET)
        }

    @property
    def certificates(self) -> Path | None:
        """Meets `build.toolchain.Installer`: what the environment names, where it is there."""
        path = os.environ.get("SSL_CERT_FILE", "")
        return Path(path).resolve() if path and Path(path).is_file() else None

    def arguments(
        self, python: str, requirements: str, sources: Sequence[str], *, link_mode: str
    ) -> Sequence[str]:
        """Meets `build.toolchain.Installer`."""
        argv = ["pip", "install", "--python", python, "--require-hashes", "--no-deps"]
        argv += ["--link-mode", link_mode, "--requirement", requirements, "--only-binary", ":all:"]
        for name in sources:
            argv += ["--no-binary", name]
        return argv

    def python(
        self, python: Path, argv: Sequence[str], *, doing: str, stdin: bytes | None = None
    ) -> bytes:
        """Meets `build.toolchain.Installer`."""
        env = {"PATH": os.defpath, "PYTHONHASHSEED": "0", "LANG": "C.UTF-8"}
        done = process.run(
            [str(python), *argv],
            doing=doing,
            cwd=Path("/"),
            env=env,
            stdin=stdin,
            timeout=_RUN_TIMEOUT,
            error=BuildError,
        )
        return done.stdout

    def resolve(self, resolution: Resolution) -> Resolved:
        """Meets `ports.Resolver` by `uv pip compile`."""
        with tempfile.TemporaryDirectory(prefix="mlops-lock-") as scratch:
            out, lines = Path(scratch, "requirements.lock"), Path(scratch, "more.in")
            out.write_bytes(resolution.previous)
            lines.write_text("".join(f"{line}\n" for line in resolution.lines))
            inputs = [resolution.path] if resolution.path else []
            argv = [*_COMPILE, *_target_arguments(resolution.target), "--output-file", str(out)]
            for name in resolution.allow_builds:
                argv += ["--no-binary", name]
            for name in resolution.upgrade:
                argv += ["--upgrade"] if name == "*" else ["--upgrade-package", name]
            doing = f"resolving {resolution.path or 'requirements'}"
            try:
                done = self._run([*argv, *inputs, str(lines)], doing, _INSTALL_TIMEOUT)
            except BuildError as exc:
                raise self.explained(exc, resolution.target) from None
            told = uvcomplaints.withdrawn(done.stderr.decode(errors="replace"))
            return Resolved(out.read_bytes(), told)

    def export(self, path: str) -> tuple[str, ...]:
        """Meets `ports.Resolver` by `uv export`."""
        directory = str(Path(path).parent)
        argv = ["export", "--quiet", "--offline", "--frozen", "--no-dev", "--no-emit-project"]
        argv += ["--no-header", "--no-annotate", "--format", "requirements-txt"]
        program = self.program  # where uv is not here, that is no fault of the file
        try:
            done = self._run([*argv, "--directory", directory], f"reading {path}")
        except BuildError as exc:
            raise ConfigError(
                f"{path} cannot be read by {program.name}: {exc.message}",
                hint="Write it again: uv lock",
            ) from exc
        joined = done.text.replace("\\\n", " ")
        return tuple(line for line in joined.splitlines() if line.strip())

    def _offline_first(
        self, argv: Sequence[str], doing: str, timeout: float = _RUN_TIMEOUT
    ) -> process.Completed:
        """Run uv against its cache, and with the network where that fails."""
        try:
            return self._run(["--offline", *argv], doing, timeout)
        except BuildError:
            if offline():
                raise
        return self._run(argv, doing, timeout)

    def _uv(self, argv: Sequence[str], doing: str, timeout: float = _RUN_TIMEOUT) -> str:
        return self._run(argv, doing, timeout).text

    def _run(
        self, argv: Sequence[str], doing: str, timeout: float = _RUN_TIMEOUT
    ) -> process.Completed:
        dropped = ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH", "PYTHONHOME", "UV_PROJECT")
        env = {name: value for name, value in os.environ.items() if name not in dropped}
        env |= {"UV_NO_PROGRESS": "1", "UV_PYTHON_DOWNLOADS": "never", "NO_COLOR": "1"}
        try:
            return process.run(
                [str(self.program), *argv],
                doing=doing,
                cwd=self._directory,
                env=env,
                timeout=timeout,
                error=BuildError,
            )
        except BuildError as exc:
            text = uvcomplaints.without_passwords(exc.message)
            raise BuildError(text, hint=exc.hint, retryable=exc.retryable) from None


def offline() -> bool:
    """Whether the environment forbids uv the network."""
    return os.environ.get("UV_OFFLINE", "") not in ("", "0", "false")


def _target_arguments(target: Target) -> list[str]:
    machine = _MACHINES.get(target.platform)
    major, _, minor = target.libc.partition(".")
    fitting = [version for version in _MANYLINUX if version <= int(minor)] if minor else []
    if machine is None or major != "2" or not fitting:
        raise BuildError(
            f"wheels for {target.platform} with glibc {target.libc or 'of no version'} are not known",
            hint="Name another base in mlops.yaml",
        )
    platform = f"{machine}-manylinux_2_{fitting[-1]}"
    return ["--python-version", target.python, "--python-platform", platform]
