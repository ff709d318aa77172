"""What a watch and a list make of a history that the cluster has lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from mlops.adapters.cluster import Cluster
from mlops.adapters.cluster.cluster import AnsweredError
from mlops.adapters.cluster.kinds import KNOWN
from mlops.adapters.cluster.watching import Watch
from tests.cluster import addresses, control
from tests.cluster.conftest import Cluster as Kubectl
from tests.cluster.conftest import Namespace
from tests.cluster.waiting import until

SECRET = KNOWN["v1", "Secret"]


@pytest.mark.alone
def test_a_version_that_is_too_old_is_listed_anew(namespace: Namespace) -> None:
    """A watch that slept while the history was compacted, and the API server forgot it: 410 Gone."""
    for name in ("stays", "goes"):
        namespace.kubectl("create", "secret", "generic", name)
    cluster = namespace.api()
    refused = _refusals(cluster)
    changes = Watch(cluster, SECRET).changes()
    seen = [next(changes).name, next(changes).name]  # it has listed, and not yet watched
    namespace.kubectl("delete", "secret", "goes")
    namespace.kubectl("create", "secret", "generic", "comes")
    _forget(namespace)

    gone = next(change for change in changes if change.gone)
    others = next(change.name for change in changes if change.name != "stays")

    assert sorted(seen) == ["goes", "stays"]
    assert refused == [410]
    assert (gone.name, others) == ("goes", "comes")


@pytest.mark.alone
def test_a_list_whose_pages_are_too_old_is_read_anew(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two pages the history is compacted, and the API server forgets the list."""
    for number in range(5):
        namespace.kubectl("create", "configmap", f"a{number}")
    cluster = namespace.api()
    kind = cluster.kind({"apiVersion": "v1", "kind": "ConfigMap"})
    monkeypatch.setattr("mlops.adapters.cluster.cluster._PAGE", 2)
    whole, answers = cluster._json, []

    def json_of(*asked: Any, **more: Any) -> Any:
        try:
            found = whole(*asked, **more)
        except AnsweredError as exc:
            answers.append(exc.answer.code)
            raise
        if not answers:
            answers.append(200)
            namespace.kubectl("create", "configmap", "a9")
            _forget(namespace)
        return found

    monkeypatch.setattr(cluster, "_json", json_of)
    found, _ = cluster.list(kind)

    names = [each["metadata"]["name"] for each in found if each["metadata"]["name"][0] == "a"]
    assert answers == [200, 410]
    assert names == ["a0", "a1", "a2", "a3", "a4", "a9"]


def _refusals(cluster: Cluster) -> list[int]:
    """The codes with which watches are refused from now on."""
    found: list[int] = []
    whole = cluster.events

    def events(*asked: Any) -> Iterator[Any]:
        try:
            yield from whole(*asked)
        except AnsweredError as exc:
            found.append(exc.answer.code)
            raise

    cluster.events = events  # type: ignore[method-assign]
    return found


def _forget(namespace: Namespace) -> None:
    """Compact etcd to what stands now, and let the API server lose what it remembers."""
    with httpx.Client(base_url=addresses.ETCD, trust_env=False, timeout=30) as etcd:
        asked = etcd.post("/v3/kv/range", json={"key": "AA=="}).raise_for_status().json()
        now = {"revision": asked["header"]["revision"], "physical": True}
        etcd.post("/v3/kv/compaction", json=now).raise_for_status()
    before = _began(namespace)
    control.kill(namespace.layout, "kube-apiserver")
    until(lambda: _began(namespace) not in ("", before))


def _began(namespace: Namespace) -> str:
    """When the API server began, as it tells once it is ready; empty before."""
    told = Kubectl(namespace.layout, namespace.name)
    if told.kubectl("get", "--raw", "/readyz").returncode:
        return ""
    metrics = told.kubectl("get", "--raw", "/metrics").stdout
    named = (line for line in metrics.splitlines() if line.startswith("process_start_time_seconds"))
    return next(named, "")
