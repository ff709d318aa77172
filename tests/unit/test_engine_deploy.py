"""What is said while rollouts are awaited."""

from __future__ import annotations

from typing import Any

import pytest

from mlops.domain.deployment import Deployed, Inventory, Object, Progress
from mlops.engine import deploy
from mlops.engine.deploy import Answer, Deploying, DeployOrder
from tests.fakes.deployment import NOW
from tests.fakes.estate import Estate

WEB = Object("apps/v1", "Deployment", "demo-dev", "web")
RENDERED = (
    b"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: demo-dev}\nspec: {}\n"
)
STARTS = Progress(message="0 of 1 ready: web starts", aside="Unhealthy: Startup probe failed: 1")


class Rendered:
    name = "text"

    def render(self, files: Any, overlay: str, timeout: float) -> bytes:
        return RENDERED


class Cluster:
    """Meets what Deploying asks of ports.Deployer, in memory: a rollout that goes as it is told."""

    server = "memory"

    def __init__(self, *going: Progress) -> None:
        self.going = list(going)

    def missing(self, wanted: Any) -> tuple[str, ...]:
        return ()

    def objects(self, wanted: Any) -> tuple[Object, ...]:
        return (WEB,)

    def inventory(self, owner: Any, namespace: str) -> Inventory:
        return Inventory()

    def keep(self, found: Inventory, owner: Any, namespace: str) -> Inventory:
        return found

    def apply(self, wanted: Any, owner: Any, **_: bool) -> list[Deployed]:
        return [Deployed(WEB, "created")] if wanted else []

    def progress(self, which: Object) -> Progress:
        return self.going.pop(0) if len(self.going) > 1 else self.going[0]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deploy, "_EVERY", 0)


def deployed(cluster: Cluster, timeout: float = 60.0) -> tuple[Answer, list[str]]:
    estate, said = Estate(), list[str]()
    deploying = Deploying(
        estate.environments,
        cluster,  # type: ignore[arg-type]
        Rendered(),
        lambda: NOW,
        said.append,
    )
    return deploying.deploy(DeployOrder("dev", "Ada", timeout)), said


def test_what_is_usual_of_a_pod_that_starts_is_not_said_while_it_starts():
    again = Progress(message=STARTS.message, aside="Unhealthy: Startup probe failed: 2")
    answer, said = deployed(Cluster(STARTS, again, STARTS, Progress(done=True)))
    assert said == [f"{WEB}: 0 of 1 ready: web starts"]
    assert answer.late == ()


def test_it_is_told_where_the_time_is_over():
    answer, _ = deployed(Cluster(STARTS), timeout=0.001)
    (late,) = answer.late
    assert late.endswith("0 of 1 ready: web starts: Unhealthy: Startup probe failed: 1")


def test_it_is_told_where_the_rollout_failed():
    failed = Progress(failed=True, message="0 of 1 ready", aside="Unhealthy: x")
    answer, _ = deployed(Cluster(failed))
    assert answer.late == (f"{WEB}: 0 of 1 ready: Unhealthy: x",)


def test_what_is_said_once_is_not_said_again():
    one, two = Progress(message="1 of 2 ready"), Progress(message="0 of 2 ready")
    _, said = deployed(Cluster(one, two, one, two, Progress(done=True)))
    assert said == [f"{WEB}: 1 of 2 ready", f"{WEB}: 0 of 2 ready"]
