"""What stands in the way of a deployment, and what a user is told of it before the time is over."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlops.adapters.cluster import connect
from mlops.adapters.cluster.deploying import Deployer
from mlops.adapters.kustomize import Kustomize
from mlops.cli import opening, pins
from mlops.domain.deployment import Deployed, Owner
from mlops.engine.deploy import Deploying, DeployOrder
from tests.cluster import control
from tests.cluster import shop as shops
from tests.cluster.conftest import Namespace
from tests.cluster.shop import BASE, Shop
from tests.cluster.typed import mlops

LONG = ("--timeout", "4m")  # far more than what is certain takes
COMMAND = 'command: [sleep, "1000"]'
BOOM = 'command: [sh, -c, "echo boom; exit 3"], terminationMessagePolicy: FallbackToLogsOnError'
PATIENT = BASE.replace("progressDeadlineSeconds: 15", "progressDeadlineSeconds: 600")
SETTINGS = """\
---
apiVersion: v1
kind: ConfigMap
metadata: {name: NAME}
data: {colour: COLOUR}
"""


def settings(name: str, colour: str = "blue") -> str:
    return SETTINGS.replace("NAME", name).replace("COLOUR", colour)


@pytest.fixture
def shop(user: Namespace, here: Path, plain: str) -> Shop:
    made = Shop(here, user)
    made.write(PATIENT, shops.digest(plain))
    return made


def seen(what: Callable[[], bool]) -> None:
    """Wait until it is so."""
    end = time.monotonic() + 120
    while not what():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("container", "told"),
    [
        (
            f"{BOOM}, readinessProbe: {{tcpSocket: {{port: 99}}}}",
            "last with exit code 3: boom",
        ),
        ("command: [nothere]", "executable file not found"),
        (
            f"{COMMAND}, envFrom: [{{secretRef: {{name: none}}}}]",
            'CreateContainerConfigError: secret "none" not found',
        ),
        (
            f"{COMMAND}, imagePullPolicy: Never, image: nowhere/none@sha256:{'1' * 64}",
            "ErrImageNever",
        ),
        (
            f"{COMMAND}, image: 10.244.0.1:5000/none@sha256:{'1' * 64}",
            "not found",
        ),
    ],
)
def test_what_never_runs_is_told_with_its_reason_long_before_the_time_is_over(
    shop: Shop, container: str, told: str
) -> None:
    text = PATIENT.replace(COMMAND, container)
    shop.write(text.replace("image: plain, ", "") if "image: " in container else text)

    said = shop.deploy(*LONG)

    assert said.code == 1
    assert told in said.err.splitlines()[-1]
    assert "not done in" not in said.err


def test_a_probe_that_fails_is_told_when_the_time_is_over(shop: Shop) -> None:
    probe = "readinessProbe: {tcpSocket: {port: 99}, periodSeconds: 1}"
    shop.write(PATIENT.replace(COMMAND, f"{COMMAND}, {probe}"))

    said = shop.deploy("--timeout", "20s")

    assert said.code == 1
    assert "not done in 20 s" in said.err
    assert "Readiness probe failed" in said.err.splitlines()[-1]


def test_a_startup_probe_that_passes_in_the_end_is_no_news(shop: Shop) -> None:
    probe = "{exec: {command: [test, -e, /tmp/go]}, periodSeconds: 1, failureThreshold: 200}"
    shop.write(PATIENT.replace(COMMAND, f"{COMMAND}, startupProbe: {probe}"))
    failed = ("get", "events", "--field-selector", "reason=Unhealthy")
    with shop.deploying(*LONG) as going:
        seen(lambda: "Startup probe failed" in shop.user.kubectl(*failed))
        shop.user.kubectl("exec", "deploy/web", "--", "touch", "/tmp/go")
        _, err = going.communicate(timeout=240)

    assert going.returncode == 0, err
    assert "server starts, for which its startup probe gives it 200 s" in err
    assert "Unhealthy" not in err


def test_a_startup_probe_that_fails_is_told_when_the_time_is_over(shop: Shop) -> None:
    probe = "{exec: {command: [test, -e, /none]}, periodSeconds: 1, failureThreshold: 200}"
    shop.write(PATIENT.replace(COMMAND, f"{COMMAND}, startupProbe: {probe}"))

    said = shop.deploy("--timeout", "20s")

    assert said.code == 1
    assert "Startup probe failed" in said.err.splitlines()[-1]
    assert "Startup probe failed" not in "".join(said.err.splitlines()[:-1])


def test_pods_that_nobody_admits_are_told_and_the_former_are_not_blamed(shop: Shop) -> None:
    assert shop.deploy(*LONG).code == 0
    enforce = "pod-security.kubernetes.io/enforce=restricted"
    shop.user.kubectl("label", "namespace", shop.user.name, enforce)
    shop.write(PATIENT.replace("1000", "1001"))

    said = shop.deploy(*LONG)

    assert said.code == 1
    assert 'violates PodSecurity "restricted' in said.err.splitlines()[-1]
    live = mlops("status", "--live", "--repo", str(shop.root))
    assert live.code == 1
    assert "violates PodSecurity" in live.err


def test_a_quota_that_is_used_up_is_told(shop: Shop) -> None:
    assert shop.deploy(*LONG).code == 0
    shop.user.kubectl("create", "quota", "one", "--hard=pods=1")
    shop.user.kubectl("wait", "--for=jsonpath={.status.used.pods}=1", "quota/one")
    shop.write(PATIENT.replace("1000", "1001"))

    said = shop.deploy(*LONG)

    assert said.code == 1
    assert "exceeded quota: one" in said.err.splitlines()[-1]


def test_crashes_of_the_former_revision_do_not_stand_in_the_way_of_its_successor(
    shop: Shop,
) -> None:
    shop.write(PATIENT.replace(COMMAND, "command: [nothere]"))
    assert shop.deploy(*LONG).code == 1

    shop.write(PATIENT)

    assert shop.deploy(*LONG).code == 0


def test_a_namespace_that_goes_meanwhile_is_told(shop: Shop) -> None:
    probe = "readinessProbe: {tcpSocket: {port: 99}, periodSeconds: 1}"
    shop.write(PATIENT.replace(COMMAND, f"{COMMAND}, {probe}"))
    with shop.deploying(*LONG) as going:
        seen(lambda: "web-" in shop.user.kubectl("get", "pods", "-o", "name"))
        shop.user.kubectl("delete", "namespace", shop.user.name)
        _, err = going.communicate(timeout=240)

    assert going.returncode == 1
    assert "is not on the cluster" in err.splitlines()[-1]
    shop.user.kubectl("create", "namespace", shop.user.name)  # which the fixture removes


@pytest.mark.alone
def test_the_api_server_may_go_and_come_back_while_a_rollout_is_awaited(shop: Shop) -> None:
    slow = "readinessProbe: {exec: {command: [test, -e, /tmp/go]}, periodSeconds: 1}"
    shop.write(PATIENT.replace(COMMAND, f"{COMMAND}, {slow}"))
    with shop.deploying(*LONG) as going:
        seen(lambda: "Running" in shop.user.kubectl("get", "pods"))
        control.kill(shop.user.layout, "kube-apiserver")
        api = connect(shop.user.access)
        assert api.namespace == shop.user.name
        api.get(api.kind({"apiVersion": "v1", "kind": "Namespace"}), shop.user.name)  # is back
        shop.user.kubectl("exec", "deploy/web", "--", "touch", "/tmp/go")
        out, err = going.communicate(timeout=240)

    assert going.returncode == 0, err
    assert "dev runs plain@" in out


def test_a_deployment_that_was_killed_leaves_nothing_that_the_next_does_not_know(
    shop: Shop,
) -> None:
    many = [f"c{number:03}" for number in range(300)]
    shop.write(PATIENT + "".join(map(settings, many)))
    with shop.deploying(*LONG) as going:
        seen(lambda: "c000" in shop.user.kubectl("get", "configmaps", "-o", "name"))
        going.kill()
    left = shop.user.kubectl("get", "configmaps", "-o", "name")
    assert "c299" not in left, "it was killed too late"

    shop.write(PATIENT + settings("c000", "red"))
    said = shop.deploy(*LONG)

    assert said.code == 0, said.err
    now = shop.user.kubectl("get", "configmaps", "-o", "name").split()
    assert [each for each in now if each.startswith("configmap/c")] == ["configmap/c000"]
    assert "removed: ConfigMap c001" in said.out


class Interrupted:
    """A cluster, to which somebody else deploys the same just before we apply, once."""

    def __init__(self, found: Deployer, other: Callable[[], object]) -> None:
        self._found = found
        self._other: Callable[[], object] | None = other

    def __getattr__(self, name: str) -> Any:
        return getattr(self._found, name)

    def apply(
        self, wanted: Sequence[Any], owner: Owner, *, dry_run: bool, force: bool
    ) -> Iterator[Deployed]:
        if self._other is not None and wanted:
            other, self._other = self._other, None
            other()
        return self._found.apply(wanted, owner, dry_run=dry_run, force=force)


def test_of_two_deployments_at_once_the_later_commit_stands(shop: Shop) -> None:
    shop.write(PATIENT + settings("shade", "old") + settings("former"))

    def other() -> None:
        shop.write(PATIENT + settings("shade", "new"))
        assert shop.deploy(*LONG).code == 0

    opened = opening.open_project(shop.root)
    said: list[str] = []
    deploying = Deploying(
        lambda: pins.environments(opened),
        Interrupted(Deployer(connect(shop.user.access)), other),  # type: ignore[arg-type]
        Kustomize(),
        lambda: datetime.now(UTC),
        said.append,
    )
    answer = deploying.deploy(DeployOrder("dev", "Ada", timeout=0))

    assert "dev is deployed by somebody else too: once more" in said
    assert answer.commit.sha == shop.tip()
    assert "new" in shop.user.kubectl("get", "configmap", "shade", "-o", "jsonpath={.data}")
    assert "former" not in shop.user.kubectl("get", "configmaps", "-o", "name")


def test_another_projects_objects_are_neither_taken_nor_pruned(shop: Shop, tmp_path: Path) -> None:
    shop.write(PATIENT + settings("ours"))
    assert shop.deploy("--timeout", "0s").code == 0
    shop.write(PATIENT)
    file = shop.root / "mlops.yaml"
    file.write_text(file.read_text().replace("name: shop", "name: other"))
    shop.git("commit", "-qam", "another project, in the same namespace")

    refused = shop.deploy("--timeout", "0s")

    assert refused.code == 1
    assert "belongs to dev of shop" in refused.err
    said = shop.deploy("--timeout", "0s", "--force")
    assert said.code == 0, said.err
    assert "configmap/ours" in shop.user.kubectl("get", "configmaps", "-o", "name").split()


def test_what_somebody_else_marked_as_his_is_not_pruned(shop: Shop) -> None:
    shop.write(PATIENT + settings("moved"))
    assert shop.deploy("--timeout", "0s").code == 0
    shop.user.kubectl("label", "--overwrite", "configmap", "moved", "dev.mlops/environment=prod")
    shop.write(PATIENT)

    assert shop.deploy("--timeout", "0s").code == 0
    assert "configmap/moved" in shop.user.kubectl("get", "configmaps", "-o", "name").split()


def test_no_value_of_a_secret_is_ever_shown(shop: Shop) -> None:
    secret = (
        "---\napiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: WORD, b: same}\n"
    )
    shop.write(PATIENT + secret.replace("WORD", "hunter2"))
    told = [shop.deploy("--dry-run"), shop.deploy("--timeout", "0s")]
    shop.write(PATIENT + secret.replace("WORD", "hunter3"))
    told += [shop.deploy("--dry-run"), shop.deploy("--dry-run", "-o", "json")]
    shop.write(PATIENT)
    told += [shop.deploy("--dry-run")]

    assert [each.code for each in told] == [0, 0, 0, 0, 0]
    assert '+  a: "*** (changed)"' in told[2].out
    (answer,) = json.loads(told[3].out)
    assert {each["change"] for each in answer["objects"]} == {"configured", "unchanged"}
    assert "b/Secret/s" in told[2].out
    for each in told:
        for value in ("hunter", "aHVudGVy", "c2FtZQ"):
            assert value not in each.out + each.err


def test_without_rights_it_is_said_what_is_lacking(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.user.kubectl("create", "serviceaccount", "ada")
    token = shop.user.kubectl("create", "token", "ada").strip()
    kubeconfig = tmp_path / "kubeconfig-of-ada"
    found = yaml.safe_load(shop.user.layout.kubeconfig.read_text())
    found["users"][0]["user"] = {"token": token}
    kubeconfig.write_text(yaml.safe_dump(found))
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))

    said = shop.deploy()

    assert said.code == 3
    assert "forbidden" in said.err
    assert "Traceback" not in said.err
