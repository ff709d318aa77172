"""What the listener counts, for Prometheus; the watcher adds its own to the same registry."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from mlops.adapters.journal import Journal

CONTENT_TYPE = CONTENT_TYPE_LATEST
NOBODY = "unknown"  # as the provider of what is not authenticated: its headers are anybody's


class IntakeMetrics:
    """Deliveries by provider and outcome, how long they took, and the state of the journal."""

    def __init__(self, registry: CollectorRegistry, journal: Journal) -> None:
        self.registry = registry
        self._deliveries = Counter(
            "mlops_deliveries",
            "Requests to deliver, by who sent them and what became of them",
            ("provider", "outcome"),
            registry=registry,
        )
        self._seconds = Histogram(
            "mlops_delivery_seconds",
            "From the headers of a delivery to its answer",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
            registry=registry,
        )
        self._refused = Counter(
            "mlops_intake_connections_refused",
            "Connections that were refused or ended: too many, too slow, too large, no HTTP",
            ("reason",),
            registry=registry,
        )
        queue = Gauge(
            "mlops_deliveries_waiting",
            "Deliveries in the journal that nobody has looked for",
            registry=registry,
        )
        queue.set_function(journal.waiting)
        failures = Gauge(
            "mlops_journal_failures", "Commits of the journal that failed", registry=registry
        )
        failures.set_function(lambda: journal.failures)
        self._known: dict[tuple[str, str], Counter] = {}

    def delivered(self, provider: str, outcome: str, seconds: float) -> None:
        """Count one; the counters are kept, for looking them up costs more than counting."""
        counter = self._known.get((provider, outcome))
        if counter is None:
            counter = self._known[provider, outcome] = self._deliveries.labels(provider, outcome)
        counter.inc()
        self._seconds.observe(seconds)

    def refuse_connection(self, reason: str) -> None:
        """Count a connection that was refused or ended."""
        self._refused.labels(reason).inc()

    def exposition(self) -> bytes:
        return generate_latest(self.registry)
