"""How a run is ended from another process: a request in its directory, and a poke.

The request is a file, written at once, that names the holding of the lock it is meant for: one that
comes late does not end the next attempt. The poke is a byte in a FIFO: the listener sleeps until
then, and a process id that was used again is never signalled.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from mlops.adapters.executors.local.record.rundir import RunDirectory, replace
from mlops.domain.run import Ending
from mlops.errors import ExecutorError

_WITHOUT_FIFO = 500.0  # milliseconds between looks where the file system has no FIFOs


def request(directory: RunDirectory, ending: Ending) -> None:
    """Ask whoever carries the run out now to end it. Raises ExecutorError where that cannot be written."""
    content = json.dumps({"token": directory.token(), "ending": str(ending)})
    try:
        replace(directory.path / "request", content.encode())
    except OSError as exc:
        raise ExecutorError(f"cannot write to {directory.path}: {exc.strerror}") from exc
    with contextlib.suppress(OSError):  # nobody listens yet: the request is read at the beginning
        descriptor = os.open(directory.path / "poke", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.write(descriptor, b"!")
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def listening(
    directory: RunDirectory, token: str, heed: Callable[[Ending], None]
) -> Iterator[None]:
    """Hand requests that are meant for this holding of the lock to `heed`, in a thread of its own."""
    poke = _fifo(directory.path / "poke")
    stop, tell = os.pipe()
    thread = threading.Thread(target=_listen, args=(directory, token, heed, poke, stop))
    thread.start()
    try:
        yield
    finally:
        os.close(tell)
        thread.join()
        for descriptor in (stop, poke):
            if descriptor is not None:
                os.close(descriptor)


def _fifo(path: Path) -> int | None:
    """A FIFO, open for both so that it has no end; None where there can be none."""
    try:
        with contextlib.suppress(FileExistsError):
            os.mkfifo(path, 0o600)
        return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None


def _listen(
    directory: RunDirectory,
    token: str,
    heed: Callable[[Ending], None],
    poke: int | None,
    stop: int,
) -> None:
    poll, heard = select.poll(), None
    poll.register(stop, select.POLLIN | select.POLLHUP)
    if poke is not None:
        poll.register(poke, select.POLLIN)
    while True:
        found = _asked(directory, token)
        if found is not None and found is not heard:
            heard = found
            heed(found)
        ready = [descriptor for descriptor, _ in poll.poll(_WITHOUT_FIFO if poke is None else None)]
        if stop in ready:
            return
        if poke is not None and poke in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(poke, 1 << 12)


def _asked(directory: RunDirectory, token: str) -> Ending | None:
    """The request, where there is one for this holding."""
    try:
        raw = json.loads((directory.path / "request").read_bytes())
        return Ending(raw["ending"]) if raw["token"] == token else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
