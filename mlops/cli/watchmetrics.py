"""What a watcher counts, for Prometheus: looks, runs that wait and work, and how long what is pushed waits."""

from __future__ import annotations

from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from mlops.domain.lineup import Queued
from mlops.engine.daemon import Listener, Looked
from mlops.engine.outcome import Outcome
from mlops.errors import MlopsError
from mlops.ports.children import Child

_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600)


class WatchMetrics:
    """Meets `engine.daemon.Listener`: counts, and tells another listener."""

    def __init__(self, told: Listener) -> None:
        self.registry = CollectorRegistry()
        self._told = told
        self._standby: set[str] = set()
        self._looks = Counter(
            "mlops_watch_looks",
            "Looks at a project's remote, by what came of them: looked, standby, error",
            ("project", "outcome"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "mlops_watch_look_seconds",
            "How long looks took",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._waiting = Gauge(
            "mlops_watch_runs_waiting", "Runs decided and not begun", registry=self.registry
        )
        self._working = Gauge("mlops_watch_runs_working", "Runs at work", registry=self.registry)
        self._runs = Counter(
            "mlops_watch_runs",
            "Runs that ended here, by whether they failed",
            ("project", "outcome"),
            registry=self.registry,
        )
        self._begun = Histogram(
            "mlops_watch_decided_to_begun_seconds",
            "From the decision about a commit to the begin of its run",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._delivered = Histogram(
            "mlops_watch_delivered_to_looked_seconds",
            "From a delivery to the end of the look that it asked for: what it told of is decided then",
            buckets=_SECONDS,
            registry=self.registry,
        )

    def leads(self, project: str) -> bool:
        """Whether this watcher led at its last look at the project."""
        return project not in self._standby

    def delivered(self, received: datetime) -> None:
        """A look that a delivery asked for has ended."""
        self._delivered.observe(_since(received))

    def looked(self, name: str, found: Looked | MlopsError, seconds: float) -> None:
        outcome = _outcome(found)
        self._looks.labels(name, outcome).inc()
        if outcome == "standby":
            self._standby.add(name)
        else:
            self._standby.discard(name)
        self._seconds.observe(seconds)
        self._told.looked(name, found, seconds)

    def began(self, queued: Queued, child: Child) -> None:
        self._begun.observe(_since(queued.since))
        self._told.began(queued, child)

    def ended(self, queued: Queued, outcome: Outcome) -> None:
        self._runs.labels(queued.project, "failed" if outcome.failed else "succeeded").inc()
        self._told.ended(queued, outcome)

    def stands(self, waiting: int, working: int) -> None:
        self._waiting.set(waiting)
        self._working.set(working)
        self._told.stands(waiting, working)


def _outcome(found: Looked | MlopsError) -> str:
    if isinstance(found, MlopsError):
        return "error"
    return "standby" if found.leader else "looked"


def _since(moment: datetime) -> float:
    return max(0.0, (datetime.now(UTC) - moment).total_seconds())
