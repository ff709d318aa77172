from __future__ import annotations

import copy
from dataclasses import dataclass, field

from mlops.adapters.cluster.lease import LeaseLeader
from mlops.errors import ForbiddenError


@dataclass
class Leases:
    """Leases in memory, with versions as the API has them."""

    kept: dict = field(default_factory=dict)
    forbidden: bool = False
    now: float = 0.0

    def get(self, kind, name, namespace=""):
        if self.forbidden:
            raise ForbiddenError("you may not get leases")
        return copy.deepcopy(self.kept.get(name))

    def create(self, document):
        name = document["metadata"]["name"]
        return None if name in self.kept else self._put(document, 1)

    def replace(self, document):
        there = self.kept.get(document["metadata"]["name"])
        version = document["metadata"]["resourceVersion"]
        if there is None or there["metadata"]["resourceVersion"] != version:
            return None
        return self._put(document, int(version) + 1)

    def _put(self, document, version):
        made = copy.deepcopy(document)
        made["metadata"]["resourceVersion"] = str(version)
        self.kept[made["metadata"]["name"]] = made
        return made

    def leader(self, warn=lambda _: None) -> LeaseLeader:
        return LeaseLeader(self, "mlops-watch", 60.0, warn, lambda: self.now)


def test_one_leads_and_the_other_takes_over_once_it_is_renewed_no_more():
    leases = Leases()
    one, two = leases.leader(), leases.leader()
    assert one.other() == ""
    assert two.other().endswith("in this cluster")
    for _ in range(5):
        leases.now += 50
        assert one.other() == ""
        assert two.other() != ""
    leases.now += 59
    assert two.other() != ""
    leases.now += 2
    assert two.other() == ""
    assert one.other() != ""
    assert leases.kept["mlops-watch"]["spec"]["leaseTransitions"] == 1


def test_who_resigns_is_followed_at_once_and_does_not_take_anothers_lease_away():
    leases = Leases()
    one, two = leases.leader(), leases.leader()
    assert one.other() == ""
    one.resign()
    assert two.other() == ""
    one.resign()
    assert one.other() != ""


def test_two_that_take_over_at_once_do_not_both_lead(monkeypatch):
    leases = Leases()
    one, two = leases.leader(), leases.leader()
    stale = leases.get
    assert one.other() == ""
    one.resign()
    old = leases.get(None, "mlops-watch")
    assert two.other() == ""
    monkeypatch.setattr(leases, "get", lambda *_: copy.deepcopy(old))
    assert one.other() == "another watcher in this cluster"
    monkeypatch.setattr(leases, "get", stale)
    assert one.other() != ""


def test_where_leases_are_forbidden_it_is_said_once_and_claims_decide():
    leases, said = Leases(forbidden=True), []
    one = leases.leader(said.append)
    assert [one.other(), one.other()] == ["", ""]
    assert said == ["you may not get leases: where several watch, each of them leads"]
