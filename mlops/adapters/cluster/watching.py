"""Following objects: a list, then a watch from its version, for ever and through every break.

Kubernetes API concepts, "Efficient detection of changes": bookmarks keep the version young; where
it is too old all the same (410 Gone), the objects are listed anew, and what went meanwhile is told
as deleted. A watch that breaks goes on from the last version that it saw.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mlops.adapters.cluster import faults
from mlops.adapters.cluster.backoff import Backoff
from mlops.adapters.cluster.cluster import AnsweredError, Cluster
from mlops.adapters.cluster.kinds import Kind
from mlops.errors import ClusterError, MlopsError

Json = Mapping[str, Any]
_SECONDS = 120.0  # of one connection
_PATIENCE = 600.0  # seconds that the API may be away


@dataclass(frozen=True, slots=True)
class Change:
    """An object as it stands now; `gone` where it was removed, then as it stood last."""

    kind: Kind
    object: Json
    gone: bool = False

    @property
    def name(self) -> str:
        return str(self.object["metadata"]["name"])


class Watch:
    """The objects of one kind that selectors of labels and of fields pick, and their changes, in order."""

    def __init__(
        self,
        cluster: Cluster,
        kind: Kind,
        selector: str = "",
        *,
        fields: str = "",
        patience: float = _PATIENCE,
    ) -> None:
        self._cluster = cluster
        self.kind = kind
        chosen = (("labelSelector", selector), ("fieldSelector", fields))
        self._picked = [(key, value) for key, value in chosen if value]
        self._patience = patience
        self._known: dict[str, str] = {}  # name → version

    def expect(self, names: Iterable[str]) -> None:
        """Objects that were there before: those that are not any more are told as gone."""
        self._known |= dict.fromkeys(names, "")

    def changes(self, stop: Callable[[], bool] = lambda: False) -> Iterator[Change]:
        """First every object there is, then each change, until `stop` says so (asked at each event).

        Raises ClusterError where the API stays away for longer than patience lasts."""
        backoff = Backoff(self._patience)
        version = ""
        while not stop():
            try:
                if not version:
                    found, version = self._cluster.list(self.kind, self._picked)
                    yield from self._listed(found)
                    backoff.reset()
                for event in self._connection(version):
                    backoff.reset()
                    about = event["object"]["metadata"]
                    version = str(about.get("resourceVersion") or version)
                    if event["type"] != "BOOKMARK":
                        yield self._event(event)
                    if stop():
                        return
            except AnsweredError as exc:
                if exc.answer.code == faults.GONE:
                    version = ""
                elif not exc.answer.retryable or not self._waits(backoff):
                    raise faults.error(
                        exc.answer, f"watch {self.kind.plural}", self._cluster.server
                    ) from exc
            except ClusterError as exc:
                if not exc.retryable or not self._waits(backoff):
                    raise

    def _waits(self, backoff: Backoff) -> bool:
        """Whether to try again, after a while of which the user hears."""
        self._cluster.absence.goes_on(self._patience)
        return backoff.wait()

    def _connection(self, version: str) -> Iterator[Json]:
        params = [("resourceVersion", version), ("allowWatchBookmarks", "true")]
        return self._cluster.events(self.kind, [*params, *self._picked], _SECONDS)

    def _listed(self, found: list[dict[str, Any]]) -> Iterator[Change]:
        """What is new or other than it was known, and what is gone."""
        there = {each["metadata"]["name"]: each for each in found}
        for name in [name for name in self._known if name not in there]:
            del self._known[name]
            yield Change(self.kind, {"metadata": {"name": name}}, gone=True)
        for name, each in there.items():
            version = each["metadata"]["resourceVersion"]
            if self._known.get(name) != version:
                self._known[name] = version
                yield Change(self.kind, each)

    def _event(self, event: Json) -> Change:
        found = event["object"]
        about = found["metadata"]
        if event["type"] == "DELETED":
            self._known.pop(about["name"], None)
            return Change(self.kind, found, gone=True)
        self._known[about["name"]] = about["resourceVersion"]
        return Change(self.kind, found)


class Watches:
    """Several watches of one cluster at once, their changes in one stream.

    Each has a thread of its own, which ends with the process: a connection that waits cannot be
    broken off otherwise.
    """

    def __init__(self, *watches: Watch) -> None:
        self._changes: queue.Queue[Change | MlopsError] = queue.Queue()
        self._stopped = threading.Event()
        for watch in watches:
            threading.Thread(target=self._follow, args=(watch,), daemon=True).start()

    def _follow(self, watch: Watch) -> None:
        try:
            for change in watch.changes(self._stopped.is_set):
                self._changes.put(change)
        except MlopsError as exc:
            self._changes.put(exc)

    def next(self, seconds: float) -> Change | None:
        """The next change; None after so many seconds without one. Raises what ended a watch."""
        try:
            found = self._changes.get(timeout=seconds)
        except queue.Empty:
            return None
        if isinstance(found, MlopsError):
            raise found
        return found

    def stop(self) -> None:
        """Let the threads end at their next event."""
        self._stopped.set()
