"""The only place that starts programs.

Each call has a timeout and a purpose, runs in a process group of its own, and ends with all its
children when the timeout passes or the caller is interrupted.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from mlops.errors import OutsideError

_TAIL = 4000  # characters of a program's complaint that an error repeats


@dataclass(frozen=True, slots=True)
class Completed:
    """A finished program: exit code (negative: ended by that signal) and what it wrote."""

    code: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        return self.stdout.decode(errors="surrogateescape")

    @property
    def complaint(self) -> str:
        """What it wrote on stderr, or else stdout: stripped, its end only."""
        raw = self.stderr.strip() or self.stdout.strip()
        return raw.decode(errors="replace")[-_TAIL:]


def kill_group(pid: int) -> None:
    """End the process group that `pid` leads; quiet where it has ended already."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def start(
    argv: Sequence[str],
    *,
    doing: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: int = subprocess.PIPE,
    stdout: int | None = subprocess.PIPE,
    stderr: int | IO[bytes] | None = subprocess.DEVNULL,
    pass_fds: Sequence[int] = (),
    error: type[OutsideError] = OutsideError,
) -> subprocess.Popen[bytes]:
    """Start a program in a process group of its own, stdout in an unbuffered pipe.

    For talking to a program while it runs: the caller owns it, bounds its time, and ends it (see
    `kill_group`). `doing`, `env` and `error` are as in `run`; None hands on our own stdout or
    stderr, and `pass_fds` are descriptors that the program inherits.
    """
    try:
        return subprocess.Popen(
            list(argv),
            cwd=cwd,
            env=None if env is None else dict(env),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=tuple(pass_fds),
            bufsize=0,
            start_new_session=True,
        )
    except FileNotFoundError as exc:
        missing = argv[0] if cwd is None or cwd.is_dir() else str(cwd)
        raise error(
            f"{missing} is not here, needed while {doing}", hint="Run: mlops doctor"
        ) from exc
    except OSError as exc:
        raise error(f"cannot start {argv[0]} while {doing}: {exc.strerror}") from exc


def run(
    argv: Sequence[str],
    *,
    doing: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    timeout: float = 60.0,
    check: bool = True,
    error: type[OutsideError] = OutsideError,
) -> Completed:
    """Run a program to its end.

    `doing` completes "while …" in errors; `timeout` is in seconds; `env` is the whole environment
    (the caller's own where None). Raises `error` where the program is missing, runs out of time,
    or (with `check`) exits other than 0.
    """
    pipe_or_null = subprocess.PIPE if stdin is not None else subprocess.DEVNULL
    process = start(
        argv, doing=doing, cwd=cwd, env=env, stdin=pipe_or_null, stderr=subprocess.PIPE, error=error
    )
    try:
        out, err = process.communicate(stdin, timeout=timeout)
    except subprocess.TimeoutExpired as exc:
        kill_group(process.pid)
        process.communicate()
        raise error(f"{argv[0]} took over {timeout:g} s while {doing}", retryable=True) from exc
    except BaseException:
        kill_group(process.pid)
        process.wait()
        raise
    done = Completed(process.returncode, out, err)
    if check and done.code != 0:
        raise error(f"{argv[0]} failed while {doing} (exit {done.code}): {done.complaint}")
    return done


def start_detached(argv: Sequence[str], log: Path) -> int:
    """Start a program that outlives us, in a session of its own, its output appended to `log`.

    Returns its process id.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        return subprocess.Popen(
            list(argv), stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        ).pid
