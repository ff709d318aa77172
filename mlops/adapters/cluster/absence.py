"""A cluster that does not answer: what is said of it while it is waited for.

Once for each time that it is away, after two seconds of silence; once more where it is back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SILENT = 2.0  # seconds


class Absence:
    """What is known of one API's absence, by all who ask it. Safe for threads."""

    def __init__(self, server: str, silent: float = _SILENT) -> None:
        self.say: Callable[[str], None] = lambda _: None
        self._server, self._silent = server, silent
        self._lock = threading.Lock()
        self._since: float | None = None  # when a try failed first
        self._cause = ""
        self._told = False

    @contextmanager
    def asking(self, patience: float) -> Iterator[None]:
        """Say that an answer is waited for, where the block takes long; `patience` is how many seconds
        it is tried for."""
        timer = threading.Timer(self._silent, self._tell, [patience])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def failed(self, cause: str) -> None:
        """A try failed."""
        with self._lock:
            self._since = time.monotonic() if self._since is None else self._since
            self._cause = cause

    def goes_on(self, patience: float) -> None:
        """There will be another try; tells so where they have failed for a while."""
        since = self._since
        if since is not None and time.monotonic() - since >= self._silent:
            self._tell(patience)

    def answered(self) -> None:
        """It answered."""
        if self._since is None and not self._told:  # nearly always
            return
        with self._lock:
            back = self._told and bool(self._cause)
            self._since, self._cause, self._told = None, "", False
        if back:
            self.say(f"the cluster at {self._server} answers again")

    def _tell(self, patience: float) -> None:
        with self._lock:
            if self._told:
                return
            self._told = True
            cause = self._cause or "no answer yet"
        self.say(
            f"waiting for the cluster at {self._server}: {cause}; it is tried for {patience:g} s"
        )
