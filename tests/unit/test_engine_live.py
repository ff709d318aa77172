"""What runs, held against what is pinned: the containers of the model, and nothing else of its pods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from mlops.domain.deployment import Inventory, Object, Progress, Running
from mlops.engine.live import Live, live
from mlops.engine.status import status
from mlops.errors import ClusterError
from tests.fakes.estate import Estate, digest

A, B = digest("A"), digest("B")
RENDERED = f"""\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: spam, namespace: demo-dev}}
spec: {{template: {{spec: {{containers: [
  {{name: server, image: "r.example.com/spam@{A}"}}, {{name: proxy, image: "mesh:1"}}]}}}}}}
"""


class Rendered:
    """A renderer of one text."""

    name = "text"

    def render(self, files: Any, overlay: str, timeout: float) -> bytes:
        return RENDERED.encode()


DONE, NOTHING = Progress(done=True), Inventory()


@dataclass
class Cluster:
    """Meets what `live` asks of ports.Deployer, in memory."""

    found: tuple[Running, ...]
    state: Progress = DONE
    kept: Inventory = NOTHING
    server: str = "memory"

    def inventory(self, owner: Any, namespace: str) -> Inventory:
        assert (owner.project, owner.environment, namespace) == ("demo", "dev", "demo-dev")
        return self.kept

    def progress(self, which: Object) -> Progress:
        return self.state

    def running(self, which: Object) -> tuple[Running, ...]:
        return self.found

    def managers(self, which: Object) -> tuple[str, ...]:
        return ("argocd-controller",)


def looked(cluster: Cluster) -> Live:
    estate = Estate()
    estate.record("A")
    estate.pin("dev", spam="A")
    environments = estate.environments()
    rows = status(environments, ("dev",), ("spam",), lambda _: None)
    found = live(environments, rows, cluster, Rendered())  # type: ignore[arg-type]
    return found["dev", "spam"]


def server(pod: str, image: object, *, ready: bool = True) -> Running:
    return Running(pod, "server", f"r.example.com/spam@{image}" if image else "", ready)


def test_what_a_mesh_puts_beside_the_server_is_not_held_against_it():
    found = looked(Cluster((server("p", A), Running("p", "proxy", f"mesh@{B}", False))))
    assert found.healthy
    assert (found.running, found.pods, found.ready) == ((A,), 1, 1)


def test_pods_that_run_another_release_are_named():
    found = looked(Cluster((server("p", A), server("q", B))))
    assert not found.healthy
    assert not found.matches
    assert found.differs == (f"q runs {B}",)


@pytest.mark.parametrize(
    "cluster",
    [
        Cluster((server("p", A, ready=False),)),
        Cluster((server("p", A),), Progress(message="1 of 2 ready")),  # a pod without a node
        Cluster((), Progress(message="is not on the cluster")),
        Cluster((server("p", None, ready=False),), Progress(stuck=True, message="ErrImagePull")),
    ],
)
def test_what_is_not_all_there_is_not_healthy(cluster: Cluster):
    assert not looked(cluster).healthy


def test_what_is_scaled_to_nothing_is_as_it_should_be():
    assert looked(Cluster(())).healthy


def test_the_last_deployment_of_ours_is_told_where_there_was_one():
    assert looked(Cluster(())).deployed is None
    kept = Inventory((), "c0ffee", "Ada", "2024-01-01T00:00:00Z", "7")
    assert looked(Cluster((), kept=kept)).deployed == kept


def test_environments_that_nobody_asks_about_are_not_looked_at():
    estate, overlays = Estate(), list[str]()
    estate.record("A")
    for name in ("dev", "staging", "prod"):
        estate.pin(name, spam="A")

    class Seen(Rendered):
        def render(self, files: Any, overlay: str, timeout: float) -> bytes:
            overlays.append(overlay)
            return super().render(files, overlay, timeout)

    environments, cluster = estate.environments(), Cluster((server("p", A),))
    rows = status(environments, ("dev",), (), lambda _: None)
    found = live(environments, rows, cluster, Seen())  # type: ignore[arg-type]
    assert overlays == ["environments/dev"]
    assert list(found) == [("dev", "spam")]


class Away(Cluster):
    """A cluster that nobody reaches; how often it was asked."""

    asked = 0

    def inventory(self, owner: Any, namespace: str) -> Inventory:
        self.asked += 1
        raise ClusterError("the cluster cannot be reached", retryable=True)


def test_a_cluster_that_is_away_is_waited_for_once_and_not_for_each_environment():
    estate = Estate()
    estate.record("A")
    for name in ("dev", "prod"):
        estate.pin(name, spam="A")
    environments = estate.environments()
    rows = status(environments, ("dev", "prod"), ("spam",), lambda _: None)
    away = Away(())

    found = live(environments, rows, away, Rendered())  # type: ignore[arg-type]

    assert away.asked == 1
    assert {each.fault for each in found.values()} == {"the cluster cannot be reached"}
    assert found.keys() == {("dev", "spam"), ("prod", "spam")}
