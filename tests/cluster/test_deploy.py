"""`mlops deploy` and `status --live`: overlays of a GitOps branch on a real cluster."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlops.adapters.git.claims import RunClaims
from mlops.adapters.git.command import discover
from mlops.adapters.git.repository import Repository
from tests.cluster import shop as shops
from tests.cluster.conftest import Namespace
from tests.cluster.shop import BASE, MORE, Shop
from tests.cluster.typed import mlops


@pytest.fixture
def shop(user: Namespace, here: Path, plain: str) -> Shop:
    return Shop(here, user)


@pytest.fixture
def digest(plain: str) -> str:
    return shops.digest(plain)


def test_an_environment_is_deployed_seen_live_pruned_and_deployed_again(
    shop: Shop, digest: str
) -> None:
    shop.write(BASE + MORE, digest)

    dry = shop.deploy("--dry-run")
    assert dry.code == 0, dry.err
    assert "+kind: Deployment" in dry.out
    assert shop.user.kubectl("get", "deployments") == ""

    first = shop.deploy()
    assert first.code == 0, first.err
    assert "created: Deployment web" in first.out
    assert (
        shop.user.kubectl("get", "deployment", "web", "-o", "jsonpath={.status.readyReplicas}")
        == "1"
    )

    live = mlops("status", "--live", "--repo", str(shop.root), "-o", "json")
    (row,) = json.loads(live.out)
    assert live.code == 0
    assert row["live"] == {
        "matches": True,
        "running": [digest],
        "pods": 1,
        "ready": 1,
        "progress": None,
        "managers": row["live"]["managers"],
        "fault": None,
        "differs": [],
        "deployed": row["live"]["deployed"],
    }
    assert row["live"]["deployed"]["commit"] == shop.tip()

    again = shop.deploy("-o", "json")
    (answer,) = json.loads(again.out)
    assert {each["change"] for each in answer["objects"]} == {"unchanged"}

    shop.write(BASE)
    pruned = shop.deploy()
    assert "removed: ConfigMap settings" in pruned.out
    assert "settings" not in shop.user.kubectl("get", "configmaps", "-o", "name")


def test_a_run_that_goes_on_is_told_since_what_it_releases_is_not_deployed(
    shop: Shop, digest: str
) -> None:
    shop.write(BASE, digest)
    claims = RunClaims(Repository(discover(shop.root)), None)
    run = f"plain-{shop.tip()[:12]}-1"
    claimed = {"state": "submitted", "executor": "tekton", "expires": "9999-01-01T00:00:00+00:00"}
    claim = claims.put(run, claimed, None)
    said = shop.deploy()
    assert said.code == 0, said.err
    told = "what it releases is deployed by mlops deploy dev once it is over"
    assert f"run {run} goes on: {told}" in said.err
    assert claims.put(run, {"state": "outcome", "outcome": "succeeded"}, claim) is not None
    assert "goes on" not in shop.deploy().err


def test_what_cannot_be_pulled_is_late_and_says_why(shop: Shop) -> None:
    shop.write(BASE, f"sha256:{'0' * 64}")

    said = shop.deploy()

    assert said.code == 1
    assert "Pull" in said.err
    live = mlops("status", "--live", "--repo", str(shop.root))
    assert live.code == 1


def test_what_is_not_pinned_is_refused(shop: Shop) -> None:
    said = shop.deploy()

    assert said.code == 1
    assert "the image plain is not pinned" in said.err
    assert shop.user.kubectl("get", "deployments") == ""


def test_fields_of_somebody_else_are_left_unless_told(shop: Shop, digest: str) -> None:
    shop.write(BASE, digest)
    shop.deploy()
    shop.user.kubectl("scale", "deployment", "web", "--replicas=2")

    refused = shop.deploy()
    assert refused.code == 1
    assert "--force" in refused.err
    assert shop.deploy("--force").code == 0
    assert shop.user.kubectl("get", "deployment", "web", "-o", "jsonpath={.spec.replicas}") == "1"


def test_a_namespace_that_is_not_there_is_made_when_asked(shop: Shop, digest: str) -> None:
    name = f"{shop.user.name}-new"
    shop.write(BASE, digest)
    file = shop.root / "environments/dev/kustomization.yaml"
    file.write_text(file.read_text().replace(f"namespace: {shop.user.name}", f"namespace: {name}"))
    shop.git("commit", "-qam", "elsewhere")

    refused = shop.deploy()
    assert refused.code == 1
    assert f"has no namespace {name}" in refused.err
    assert shop.deploy("--create-namespace").code == 0
    shop.user.kubectl("delete", "namespace", name, "--wait=false")
