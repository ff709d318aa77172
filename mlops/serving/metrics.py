"""What the server counts, for Prometheus: predictions by value, their distribution, durations."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from .model import Model
from .protocol import Tensor

CONTENT_TYPE = CONTENT_TYPE_LATEST
OTHER = "other"
_MOST_VALUES = 100  # label values; each is a time series for ever
_LONGEST = 64  # characters
_STEPS = tuple(factor * 10.0**power for power in range(-3, 7) for factor in (1.0, 2.5, 5.0))
BUCKETS = (*(-step for step in reversed(_STEPS)), 0.0, *_STEPS)


class Metrics:
    """Counters and histograms of one model, labelled by model and release."""

    def __init__(self, name: str, release: str, model: Model) -> None:
        self.registry = CollectorRegistry()
        self._labels = (name, release)
        self._values = set((model.classes or ())[:_MOST_VALUES])
        self._open = model.classes is None  # values are learnt as they come
        self._classifier = model.classifier
        self._predictions = Counter(
            "mlops_predictions",
            "Predictions made, by predicted value",
            ("model", "release", "value"),
            registry=self.registry,
        )
        self._distribution = Histogram(
            "mlops_prediction_value",
            "Predicted values",
            ("model", "release"),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.seconds = Histogram(
            "mlops_request_seconds",
            "Duration of inference requests",
            ("model", "release"),
            registry=self.registry,
        ).labels(*self._labels)
        self.failures = Counter(
            "mlops_request_failures",
            "Inference requests that were not answered",
            ("model", "release"),
            registry=self.registry,
        ).labels(*self._labels)

    def count(self, tensors: Sequence[Tensor]) -> None:
        """Count the predictions of an answer: of its first output alone."""
        tensor = tensors[0]
        if self._classifier or tensor.datatype in ("BYTES", "BOOL"):
            for value in tensor.values:
                self._predictions.labels(*self._labels, self._bounded(str(value))).inc()
        else:
            for value in tensor.values:
                self._distribution.labels(*self._labels).observe(float(value))

    def exposition(self) -> bytes:
        return generate_latest(self.registry)

    def _bounded(self, value: str) -> str:
        if len(value) > _LONGEST:
            return OTHER
        if self._open and len(self._values) < _MOST_VALUES:
            self._values.add(value)
        return value if value in self._values else OTHER
