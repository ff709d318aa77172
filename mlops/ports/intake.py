"""What the watcher needs of the journal of deliveries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mlops.domain.delivery import Delivery


@dataclass(frozen=True, slots=True)
class Pending:
    """A delivery that nobody has looked for yet, and its number in the journal."""

    number: int
    delivery: Delivery


class Deliveries(Protocol):
    """The deliveries that came and were not looked for yet. None of these raises: where the journal
    cannot be read there are none, and the next look of the watcher, an interval later, sees what they told of.

    The loop: `wait` in place of sleeping; `pending` after the last that it gave; look at the repositories that
    they concern; `done` with their numbers, once each tip that the look saw is decided. What a crash keeps from
    being done is pending at the next start: looking twice decides nothing twice.
    """

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for a delivery that `pending` has not given yet: whether one came.

        Signals are handled while it waits; it may be called from any thread.
        """
        ...

    def pending(self, after: int = 0) -> tuple[Pending, ...]:
        """Those with a greater number than `after`, oldest first, a few thousand at most. Numbers only grow."""
        ...

    def done(self, numbers: Sequence[int], outcome: str) -> None:
        """They were looked for. `outcome` is one word or a few (`looked`, `no such repository`), kept for
        whoever reads the journal."""
        ...
