"""Starts DVC: always as a program of its own, never imported here.

`dvc.repo` costs 0.2 to 0.4 s to import, is no documented interface, and keeps state in its
process; as a program it also cannot outlive a timeout.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from subprocess import DEVNULL, STDOUT, TimeoutExpired
from typing import IO

from mlops.adapters import process
from mlops.adapters.process import Completed
from mlops.errors import DvcError

Line = Callable[[str], None]

# -P: not even a `dvc.py` that training planted in the directory is imported; unlike the environment
# variable, the flag does not reach the commands that DVC starts
PYTHON = (sys.executable, "-P", "-u", "-m")
_DVC = (*PYTHON, "dvc")
_LONGEST_LINE = 64 * 1024  # bytes: a progress bar without line ends must not fill the memory
_TRANSIENT = re.compile(
    r"timed? ?out|connection|temporar|unavailable|reset by peer|throttl|\b(?:429|50[0234])\b|Unable to acquire lock",
    re.IGNORECASE,
)


def environment(
    extra: Mapping[str, str] | None = None, *, site: Path | None = None
) -> dict[str, str]:
    """The caller's environment for a DVC that reports to nobody and asks nothing.

    `site` is DVC's site cache (locks and indexes), kept apart from that of other projects;
    `extra` comes last.
    """
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_EXP_", "DVC_STUDIO_"))}
    kept |= {
        "DVC_NO_ANALYTICS": "1",
        "DVC_STUDIO_OFFLINE": "1",
        "PYTHONIOENCODING": "utf-8",
        "NO_COLOR": "1",
        "GIT_TERMINAL_PROMPT": "0",
    }
    kept.pop("DVC_ROOT", None)
    kept.pop("DVC_STAGE", None)
    if site is not None:
        kept["DVC_SITE_CACHE_DIR"] = str(site)
    return kept | dict(extra or {})


def confined(directory: Path) -> dict[str, str]:
    """The environment of a DVC that reads what strangers wrote: nothing of the caller's but where
    programs are, and every directory of its own below `directory`."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
    at = str(directory)
    homes = ("HOME", "TMPDIR", "DVC_GLOBAL_CONFIG_DIR", "DVC_SYSTEM_CONFIG_DIR")
    kept |= dict.fromkeys((*homes, "DVC_SITE_CACHE_DIR"), at)
    return kept | {
        "DVC_NO_ANALYTICS": "1",
        "DVC_STUDIO_OFFLINE": "1",
        "PYTHONIOENCODING": "utf-8",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def call(
    arguments: Sequence[str],
    *,
    doing: str,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    timeout: float = 3600.0,
    accepted: Sequence[int] = (0,),
) -> Completed:
    """Run `dvc ARGUMENTS` quietly. Raises DvcError with DVC's own words."""
    done = process.run(
        [*_DVC, *arguments],
        doing=doing,
        cwd=cwd,
        env=environment() if env is None else env,
        timeout=timeout,
        check=False,
        error=DvcError,
    )
    if done.code not in accepted:
        raise failure(doing, done)
    return done


def failure(doing: str, done: Completed) -> DvcError:
    text = words(done.stderr.decode(errors="replace")) or words(done.text) or f"exit {done.code}"
    return DvcError(f"DVC failed while {doing}: {text}", retryable=bool(_TRANSIENT.search(text)))


def words(output: str) -> str:
    """What DVC complains of: its ERROR lines, or else its last lines, without advertisements."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    lines = [
        line
        for line in lines
        if "https://dvc.org/support" not in line and "DVC is available" not in line
    ]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    at = next((n for n, line in enumerate(lines) if line.startswith("ERROR: ")), None)
    if at is not None:  # missing files are listed below the complaint
        errors += [line for line in lines[at + 1 :] if not line.startswith("ERROR: ")][:10]
    return "\n  ".join(errors or lines[-6:])


def follow(
    arguments: Sequence[str],
    *,
    doing: str,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    line: Line,
    timeout: float | None = None,
    stderr: IO[bytes] | None = None,
) -> int:
    """Run `dvc ARGUMENTS`, hand on what it writes (stdout and stderr, in order) line by line, and
    give its exit code. With `stderr`, a terminal, progress goes there instead.

    Raises DvcError where it cannot be started or takes longer than `timeout` seconds; it is ended
    with all it started then, and when the caller is interrupted.
    """
    running = process.start(
        [*_DVC, *arguments],
        doing=doing,
        cwd=cwd,
        env=environment() if env is None else env,
        stdin=DEVNULL,
        stderr=STDOUT if stderr is None else stderr,
        error=DvcError,
    )
    late = threading.Event()

    def end() -> None:
        """End the group with DVC: what a command left behind would keep the pipe open."""
        try:
            running.wait(timeout)
        except TimeoutExpired:
            late.set()
        process.kill_group(running.pid)

    watch = threading.Thread(target=end, daemon=True)
    watch.start()
    try:
        if running.stdout is not None:
            with running.stdout as stream:
                lines(stream, line)
        watch.join()
        code = running.wait()
    except BaseException:
        process.kill_group(running.pid)
        running.wait()
        raise
    if late.is_set():
        raise DvcError(f"DVC took over {timeout:g} s while {doing}")
    return code


def lines(stream: IO[bytes], line: Line) -> None:
    """Hand on the stream's lines as text, without their ends; over-long ones in pieces."""
    pending = b""
    while chunk := stream.read(65536):
        *whole, pending = re.split(rb"\r\n|\n|\r", pending + chunk)
        for raw in whole:
            line(raw.decode(errors="replace"))
        while len(pending) > _LONGEST_LINE:
            line(pending[:_LONGEST_LINE].decode(errors="replace"))
            pending = pending[_LONGEST_LINE:]
    if pending:
        line(pending.decode(errors="replace"))
