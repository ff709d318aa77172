"""The pasts of several environments from one walk of the line: who asks for all reads it once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from mlops.domain.source import Commit
from mlops.ports import GitOps, LineChange


class Together:
    """Meets `history.Changes` for the kustomizations at `paths`, each to be asked for once.

    What one environment's past reads ahead waits for the others, in memory: a change each.
    """

    def __init__(self, gitops: GitOps, tip: Commit, paths: Iterable[str]) -> None:
        self._gitops = gitops
        self._tip = tip
        self._waiting: dict[str, deque[LineChange]] = {path: deque() for path in paths}
        self._source = gitops.line(tip, *self._waiting)

    def __call__(self, tip: Commit, path: str) -> Iterator[LineChange]:
        """The changes of one of the paths from the common tip; of anything else a walk of its own."""
        if tip != self._tip or path not in self._waiting:
            return self._gitops.line(tip, path)
        return self._drained(self._waiting[path])

    def close(self) -> None:
        """End the walk: nobody asks on."""
        self._source.close()

    def _drained(self, waiting: deque[LineChange]) -> Iterator[LineChange]:
        while True:
            while waiting:
                yield waiting.popleft()
            change = next(self._source, None)
            if change is None:
                return
            for path, queue in self._waiting.items():
                if change.cut or path in change.files:
                    queue.append(change)
