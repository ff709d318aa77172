"""Where the demo is played: runs the very commands that it shows, and checks what it tells."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlops.adapters import process
from mlops.errors import RefusedError

Print = Callable[[str], None]
_TIMEOUT = 300.0  # seconds, of one command
_OURS = ("GIT_", "MLOPS_", "DVC_")


class DemoError(RefusedError):
    """Something in the demo did not go as it tells."""


@dataclass(frozen=True, slots=True)
class Output:
    """What a command printed, both streams as they came, and its exit code."""

    text: str
    code: int


def environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """The variables of every command: mlops and dvc of this installation first on PATH, and no
    settings of the user's own for git or DVC, which could change what the demo tells."""
    kept = {key: value for key, value in inherited.items() if not key.startswith(_OURS)}
    here = str(Path(sys.executable).parent)
    return {
        **kept,
        **{key: inherited[key] for key in ("MLOPS_CACHE",) if key in inherited},
        "PATH": os.pathsep.join([here, kept.get("PATH", os.defpath)]),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "DVC_NO_ANALYTICS": "1",
        "TZ": "UTC",
    }


@dataclass
class Stage:
    """Types commands in `directory`, and prints them with their output through `show`.

    `typed` lists every command line so far; `paint` gives a text a terminal style by name.
    """

    directory: Path
    show: Print
    paint: Callable[[str, str], str] = lambda _style, text: text
    env: Mapping[str, str] = field(default_factory=lambda: environment(os.environ))
    typed: list[str] = field(default_factory=list)

    def title(self, text: str) -> None:
        self.show("")
        self.show(self.paint("title", f"── {text} " + "─" * max(0, 76 - len(text))))

    def tell(self, text: str) -> None:
        """One line of explanation."""
        self.show(self.paint("tell", f"# {text}"))

    def type(self, command: str, *, code: int = 0) -> Output:
        """Show a command line, run exactly that in a shell, show what it prints.

        Raises DemoError where it exits other than `code`.
        """
        self.show(self.paint("command", f"$ {command}"))
        self.typed.append(command)
        done = self._run(command)
        if done.code != code:
            raise DemoError(
                f"the demo stopped: `{command}` exited {done.code}, {code} was expected",
                hint=f"Look around in {self.directory}",
            )
        return done

    def check(self, told: str, *, holds: bool) -> None:
        """Say that something holds, having looked. Raises DemoError where it does not."""
        if not holds:
            raise DemoError(f"the demo stopped, this is not so: {told}")
        self.show(self.paint("check", f"✓ {told}"))

    def _run(self, command: str) -> Output:
        running = process.start(
            ["/bin/sh", "-c", command],
            doing=f"running {command}",
            cwd=self.directory,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
        )
        watchdog = threading.Timer(_TIMEOUT, process.kill_group, (running.pid,))
        watchdog.start()
        lines = []
        try:
            for raw in running.stdout or ():
                line = raw.decode(errors="replace").rstrip("\n")
                lines.append(line)
                self.show(f"  {line}")
            code = running.wait()
        except BaseException:
            process.kill_group(running.pid)
            running.wait()
            raise
        finally:
            watchdog.cancel()
            if running.stdout is not None:
                running.stdout.close()
        return Output("\n".join(lines), code)
