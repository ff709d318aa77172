"""Of several watchers of one project in a cluster, one leads: a Lease (coordination.k8s.io/v1) says which.

As client-go's leader election does, whoever stands by takes over once it has not seen the lease renewed for its
duration, by its own clock: clocks of two nodes may differ.
"""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from mlops.adapters.cluster.kinds import Kind
from mlops.errors import ForbiddenError

LEASE = Kind("Lease", "coordination.k8s.io/v1", "leases")

Json = dict[str, Any]


class Leases(Protocol):
    """What of a cluster this needs."""

    def get(self, kind: Kind, name: str, namespace: str = "") -> Json | None: ...
    def create(self, document: Mapping[str, Any]) -> Json | None: ...
    def replace(self, document: Mapping[str, Any]) -> Json | None: ...


class LeaseLeader:
    """Leads while it renews the lease `name`, at each call of `other`, sooner than every `lasts` seconds.

    Who leads without having noticed yet that it does no more makes no second run: claims are won once.
    """

    def __init__(
        self,
        cluster: Leases,
        name: str,
        lasts: float,
        warn: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster, self._name, self._lasts = cluster, name, lasts
        self._warn, self._clock = warn, clock
        self._me = f"{socket.gethostname()}_{secrets.token_hex(4)}"
        self._seen: tuple[object, float] = (None, 0.0)  # a lease as it was seen first, and when
        self._forbidden = False

    def other(self) -> str:
        """Who leads, where that is another; empty where it is this one. Raises ClusterError."""
        if self._forbidden:
            return ""
        try:
            return self._take()
        except ForbiddenError as exc:
            self._forbidden = True
            self._warn(f"{exc.message}: where several watch, each of them leads")
            return ""

    def succeed(self) -> str:
        """Nobody is waited for: whoever leads in a cluster stays."""
        return self.other()

    def resign(self) -> None:
        """Let another one lead at once. Raises ClusterError."""
        found = None if self._forbidden else self._cluster.get(LEASE, self._name)
        if found is not None and (found.get("spec") or {}).get("holderIdentity") == self._me:
            spec = {**found["spec"], "holderIdentity": "", "renewTime": _now()}
            self._cluster.replace({**found, "spec": spec})

    def _take(self) -> str:
        found = self._cluster.get(LEASE, self._name)
        if found is None:
            made = self._cluster.create(self._document({"metadata": {"name": self._name}}, 0))
            return "" if made is not None else self._take()
        spec = found.get("spec") or {}
        holder = str(spec.get("holderIdentity") or "")
        if holder and holder != self._me and not self._expired(spec):
            return f"{holder} in this cluster"
        changes = int(spec.get("leaseTransitions") or 0) + int(holder != self._me)
        if self._cluster.replace(self._document(found, changes)) is not None:
            return ""
        return "another watcher in this cluster"  # it was quicker

    def _expired(self, spec: Mapping[str, Any]) -> bool:
        lease = (spec.get("holderIdentity"), spec.get("renewTime"))
        if lease != self._seen[0]:
            self._seen = lease, self._clock()
        return self._clock() - self._seen[1] > float(
            spec.get("leaseDurationSeconds") or self._lasts
        )

    def _document(self, before: Mapping[str, Any], changes: int) -> Json:
        old = before.get("spec") or {}
        mine = old.get("holderIdentity") == self._me
        spec = {
            "holderIdentity": self._me,
            "leaseDurationSeconds": int(self._lasts),
            "acquireTime": old["acquireTime"] if mine and "acquireTime" in old else _now(),
            "renewTime": _now(),
            "leaseTransitions": changes,
        }
        about = {"apiVersion": LEASE.version, "kind": LEASE.name}
        return {**about, "metadata": before["metadata"], "spec": spec}


def _now() -> str:
    """MicroTime, as the API has it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
