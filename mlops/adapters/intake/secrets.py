"""The secrets of webhooks: from the environment, or from a file that is read again when it changes."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from mlops.errors import ConfigError

VARIABLE = "MLOPS_WEBHOOK_SECRET"
PREVIOUS = "MLOPS_WEBHOOK_SECRET_PREVIOUS"
VARIABLES = (VARIABLE, PREVIOUS)
SHORTEST = 20  # characters
_DIFFERENT = 8  # characters that must differ: nobody's random secret has fewer
_MOST = 2  # the one in use, and that before it or after it
_LONGEST = 4096  # bytes of the file
_AGAIN = 1.0  # seconds between two looks at the file
_MAKE = "Make one: openssl rand -hex 32"


class WebhookSecrets:
    """The secrets in use: two while one takes the other's place. None, once the file holds no good one any more:
    then `trouble` says why, and nobody is let in."""

    def __init__(self, file: Path | None, environment: Mapping[str, str] = os.environ) -> None:
        """Raises ConfigError where there is no secret, or one that can be guessed."""
        self._file = file
        self._lock = threading.Lock()
        self.trouble = ""
        if file is None:
            self._secrets = _checked(
                [environment[name] for name in VARIABLES if environment.get(name)],
                f"{VARIABLE} is not set",
            )
        else:
            self._seen = _look(file)
            self._secrets = _read(file)
        self._looked = time.monotonic()

    def current(self) -> tuple[str, ...]:
        """Those that are in use now; the file is looked at once a second at most."""
        if self._file is not None and time.monotonic() - self._looked >= _AGAIN:
            with self._lock:
                self._look_again(self._file)
        return self._secrets

    def _look_again(self, file: Path) -> None:
        self._looked = time.monotonic()
        seen = _look(file)
        if seen == self._seen and not self.trouble:
            return
        try:
            self._secrets, self._seen, self.trouble = _read(file), seen, ""
        except ConfigError as exc:
            self._secrets, self.trouble = (), str(exc)


def _look(file: Path) -> tuple[int, ...]:
    try:
        found = file.stat()
    except OSError:
        return ()
    return (found.st_ino, found.st_dev, found.st_size, found.st_mtime_ns, found.st_mode)


def _read(file: Path) -> tuple[str, ...]:
    """The lines of the file. A group may read it, as a pod's mounted secrets have it; others may not."""
    try:
        with file.open("rb") as opened:
            found = os.fstat(opened.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise ConfigError(f"{file} is no regular file")
            if found.st_mode & 0o027:
                raise ConfigError(
                    f"{file} can be read or written by others (mode {stat.S_IMODE(found.st_mode):04o})",
                    hint=f"chmod 600 {file}",
                )
            content = opened.read(_LONGEST + 1)
    except OSError as exc:
        raise ConfigError(f"{file} cannot be read: {exc.strerror}", hint=_MAKE) from exc
    try:
        lines = content[:_LONGEST].decode().split("\n")
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{file} is no text", hint=_MAKE) from exc
    kept = [line.removesuffix("\r") for line in lines]
    return _checked([line for line in kept if line.strip()], f"{file} is empty")


def _checked(secrets: list[str], lacking: str) -> tuple[str, ...]:
    if not secrets:
        raise ConfigError(f"{lacking}: without a secret nothing listens", hint=_MAKE)
    if len(secrets) > _MOST:
        raise ConfigError(f"there are {len(secrets)} secrets, where {_MOST} may be in use at once")
    for number, secret in enumerate(secrets, 1):
        if secret != secret.strip() or not secret.isprintable():
            raise ConfigError(
                f"secret {number} has spaces or control characters around or in it", hint=_MAKE
            )
        if len(secret) < SHORTEST or len(set(secret)) < _DIFFERENT:
            raise ConfigError(
                f"secret {number} can be guessed: it must have {SHORTEST} characters or more, drawn at random",
                hint=_MAKE,
            )
    return tuple(secrets)
