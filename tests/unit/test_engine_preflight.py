import json
import threading

import pytest

from mlops.domain.digest import Digest, ReleaseId
from mlops.domain.environment import QuarantineEntry
from mlops.engine.preflight import Mark, Preflight, failed
from mlops.errors import DvcError, OutsideError, RegistryError, UnreachableError, UsageError
from mlops.manifests.overlay import dump_quarantine
from tests.fakes.estate import Estate, digest, release
from tests.fakes.gitops import START


class Store:
    """An image store in memory: manifests and blobs by digest."""

    location = "memory"

    def __init__(self) -> None:
        self.manifests: dict[Digest, bytes] = {}
        self.blobs: set[Digest] = set()

    def put(self, document: dict) -> Digest:
        content = json.dumps(document).encode()
        self.manifests[Digest.of(content)] = content
        return Digest.of(content)

    def image(self, *layers: str) -> Digest:
        self.blobs |= {digest("config"), *(digest(layer) for layer in layers)}
        return self.put(
            {
                "config": {"digest": str(digest("config"))},
                "layers": [{"digest": str(digest(layer))} for layer in layers],
            }
        )

    def manifest(self, wanted: Digest) -> bytes:
        return self.manifests[wanted]

    def has_manifest(self, wanted: Digest) -> bool:
        return wanted in self.manifests

    def has_blob(self, wanted: Digest) -> bool:
        return wanted in self.blobs


class Renders:
    """Renders all files; fails for the contents in `broken`."""

    name = "memory"

    def __init__(self, *broken: bytes) -> None:
        self.broken = broken
        self.rendered: list[dict[str, bytes]] = []

    def render(self, files, overlay, timeout):
        self.rendered.append(dict(files))
        if any(bad in content for bad in self.broken for content in files.values()):
            raise OutsideError(f"{overlay} does not render: bad")
        return b""


def verdicts(estate: Estate, target: ReleaseId, files=None, **more) -> dict[str, Mark]:
    found = Preflight(**more).inspect(estate.environments(), "prod", [target], files or {})
    return {verdict.check: verdict.mark for verdict in found}


def stored(*layers: str) -> tuple[Store, ReleaseId]:
    store = Store()
    return store, ReleaseId("spam", store.image(*layers))


def test_all_is_well():
    store, target = stored("a", "b")
    estate = Estate()
    name = f"releases/spam/{target.digest.hex}.json"
    document = {"release": str(target), "source": {"commit": "0" * 40}}
    estate.write(name, json.dumps(document).encode())
    found = verdicts(estate, target, images=lambda *_: store, renderer=Renders())
    assert set(found.values()) == {Mark.PASS}
    assert set(found) == {"record", "quarantine", "image", "render"}


def test_a_missing_layer_config_or_manifest_fails_by_name():
    for gone in ("b", "config"):
        store, target = stored("a", "b")
        store.blobs.remove(digest(gone))
        found = Preflight(images=lambda *_, s=store: s).inspect(
            Estate().environments(), "prod", [target], {}
        )
        (image,) = [verdict for verdict in failed(found) if verdict.check == "image"]
        assert str(digest(gone)) in image.detail
    assert verdicts(Estate(), release("A"), images=lambda *_: Store())["image"] is Mark.FAIL


def test_an_image_that_this_clone_has_not_built_is_not_checked():
    found = Preflight(images=lambda *_: Store(), own=".mlops/registry").inspect(
        Estate().environments(), "prod", [release("A")], {}
    )
    (image,) = [verdict for verdict in found if verdict.check == "image"]
    assert image.mark is Mark.UNKNOWN
    assert image.detail == "the registry .mlops/registry belongs to the clone that built it"
    store, target = stored("a", "b")
    store.blobs.remove(digest("b"))
    assert verdicts(Estate(), target, images=lambda *_: store, own="x")["image"] is Mark.FAIL
    good, gone = store.image("a"), digest("gone")
    index = store.put({"manifests": [{"digest": str(good)}, {"digest": str(gone)}]})
    partly = ReleaseId("spam", index)
    assert verdicts(Estate(), partly, images=lambda *_: store, own="x")["image"] is Mark.FAIL


def test_every_manifest_of_an_index_is_looked_at():
    store = Store()
    good, bad = store.image("a"), store.image("b")
    index = store.put({"manifests": [{"digest": str(good)}, {"digest": str(bad)}]})
    assert (
        verdicts(Estate(), ReleaseId("spam", index), images=lambda *_: store)["image"] is Mark.PASS
    )
    store.blobs.remove(digest("b"))
    assert (
        verdicts(Estate(), ReleaseId("spam", index), images=lambda *_: store)["image"] is Mark.FAIL
    )


def test_a_store_that_lies_or_is_away_is_a_failed_check_and_no_crash():
    store, _ = stored()
    junk = [store.put({"config": {}}), store.put({"layers": 7}), store.put({"manifests": [1]})]
    for each in junk:
        found = verdicts(Estate(), ReleaseId("spam", each), images=lambda *_: store)
        assert found["image"] is Mark.FAIL

    def away(*_):
        raise UnreachableError("connection refused")

    def lies(*_):
        raise RegistryError("other bytes")

    def unsupported(*_):
        raise UsageError("this registry is not supported yet")

    assert verdicts(Estate(), release("A"), images=away)["image"] is Mark.UNKNOWN
    assert verdicts(Estate(), release("A"), images=lies)["image"] is Mark.FAIL
    assert verdicts(Estate(), release("A"), images=unsupported)["image"] is Mark.UNKNOWN
    assert verdicts(Estate(), release("A"))["image"] is Mark.UNKNOWN


def test_record_and_quarantine():
    estate = Estate()
    assert verdicts(estate, release("A"))["record"] is Mark.FAIL
    estate.record("A")
    assert verdicts(estate, release("A"))["record"] is Mark.PASS
    entry = QuarantineEntry("spam", digest("A"), START, "Ada", "leaks")
    estate.write("quarantine.yaml", dump_quarantine([entry]))
    assert verdicts(estate, release("A"))["quarantine"] is Mark.FAIL


def test_the_overlay_is_rendered_as_it_will_be():
    estate = Estate()
    renderer = Renders()
    estate.record("A")
    path = "environments/prod/kustomization.yaml"
    assert verdicts(estate, release("A"), {path: b"new"}, renderer=renderer)["render"] is Mark.PASS
    (files,) = renderer.rendered
    assert files[path] == b"new"
    assert "environments/staging/kustomization.yaml" in files
    assert not any("releases/" in name for name in files)


def test_what_did_not_render_before_either_does_not_speak_against_going_back():
    estate = Estate()
    path = "environments/prod/kustomization.yaml"
    broken = verdicts(estate, release("A"), {path: b"new"}, renderer=Renders(b"new"))
    assert broken["render"] is Mark.FAIL
    before = verdicts(estate, release("A"), {path: b"new"}, renderer=Renders(b"Environment"))
    assert before["render"] is Mark.UNKNOWN
    assert verdicts(estate, release("A"))["render"] is Mark.UNKNOWN


def test_what_hangs_is_not_checked_and_does_not_hold_anybody_up():
    release_it = threading.Event()

    def hangs(*_):
        release_it.wait(60)
        return Store()

    found = verdicts(Estate(), release("A"), images=hangs, renderer=Renders(), deadline=0.2)
    release_it.set()
    assert found["image"] is Mark.UNKNOWN
    assert found["render"] is Mark.PASS


def test_checks_run_at_once():
    both = threading.Barrier(2, timeout=30)

    def images(*_):
        both.wait()
        return Store()

    class Meets(Renders):
        def render(self, files, overlay, timeout):
            both.wait()
            return b""

    found = verdicts(Estate(), release("A"), images=images, renderer=Meets(), deadline=30)
    assert found["render"] is Mark.PASS
    assert not both.broken


def test_with_very_many_targets_few_checks_run_at_once_and_none_begins_too_late():
    lock, now, most, begun = threading.Lock(), [0], [0], [0]
    gate = threading.Event()
    estate = Estate()
    targets = [estate.record(f"R{n}", data=DATA) for n in range(40)]

    class Slow(Remote):
        def has_remote(self, commit):
            with lock:
                now[0] += 1
                begun[0] += 1
                most[0] = max(most[0], now[0])
            gate.wait(60)
            with lock:
                now[0] -= 1
            return True

    found = Preflight(data=Slow, deadline=0.3).inspect(estate.environments(), "prod", targets, {})
    gate.set()
    late = [verdict for verdict in found if verdict.check == "data"]
    assert len(late) == 40
    assert {str(verdict.mark) for verdict in late} == {"not checked"}
    assert {verdict.detail for verdict in late} == {"took over 0.3 s"}
    for thread in threading.enumerate():
        if thread.name.endswith("(_work)"):
            thread.join(30)
    assert (most[0], begun[0]) == (2, 2)


@pytest.mark.parametrize("mark", list(Mark))
def test_only_failures_speak_against(mark):
    verdict = Preflight().inspect(Estate().environments(), "prod", [], {})[0]
    assert verdict.mark is Mark.UNKNOWN
    assert bool(failed([type(verdict)("x", "y", mark)])) == (mark is Mark.FAIL)


class Remote:
    """A DVC remote in memory: what it lacks, or why it cannot be asked."""

    def __init__(self, *lacks: str, configured: bool = True, away: str = "") -> None:
        self.lacks, self.configured, self.away = lacks, configured, away

    def has_remote(self, commit):
        return self.configured

    def absent(self, commit, objects):
        if self.away:
            raise DvcError(self.away)
        return tuple(item.path for item in objects if item.path in self.lacks)


DATA = [{"path": "data/x.csv", "md5": "1" * 32}, {"path": "models/spam.pkl", "md5": "2" * 32}]


@pytest.mark.parametrize(
    ("remote", "data", "model"),
    [
        (Remote(), Mark.PASS, Mark.PASS),
        (Remote("data/x.csv"), Mark.FAIL, Mark.PASS),
        (Remote("models/spam.pkl"), Mark.PASS, Mark.FAIL),
        (Remote(configured=False), Mark.UNKNOWN, Mark.UNKNOWN),
        (Remote(away="cannot be reached"), Mark.UNKNOWN, Mark.UNKNOWN),
        (None, Mark.UNKNOWN, Mark.UNKNOWN),
    ],
)
def test_data_and_model_on_the_remote(remote, data, model):
    estate = Estate()
    estate.record("A", data=DATA)
    more = {"data": lambda: remote} if remote else {}
    found = verdicts(estate, release("A"), **more)
    assert (found["data"], found["model"]) == (data, model)


def test_a_release_without_versioned_data_is_not_asked_about():
    estate = Estate()
    estate.record("A")
    assert not {"data", "model"} & set(verdicts(estate, release("A"), data=Remote))


@pytest.mark.parametrize(
    ("standing", "target", "mark", "told"),
    [
        ({"schema": "3"}, {"schema": "3"}, Mark.PASS, ""),
        ({"schema": "3"}, {"schema": "2"}, Mark.FAIL, "schema is 2, what stands has 3"),
        ({"schema": "3"}, {}, Mark.FAIL, "schema is not declared, what stands has 3"),
        ({}, {"schema": "2"}, Mark.PASS, ""),
    ],
)
def test_compatibility_with_what_stands(standing, target, mark, told):
    estate = Estate()
    estate.record("A", compatibility=target)
    estate.record("B", compatibility=standing)
    estate.pin("prod", spam="B")
    found = Preflight().inspect(estate.environments(), "prod", [release("A")], {})
    (verdict,) = [each for each in found if each.check == "compatibility"]
    assert (verdict.mark, verdict.detail) == (mark, told)


def test_compatibility_with_what_has_no_record_is_not_checked():
    estate = Estate()
    estate.record("A", compatibility={"schema": "2"})
    estate.pin("prod", spam="B")
    found = Preflight().inspect(estate.environments(), "prod", [release("A")], {})
    (verdict,) = [each for each in found if each.check == "compatibility"]
    assert verdict.mark is Mark.UNKNOWN
    assert verdict.detail == "what stands has no record that can be read"


@pytest.mark.parametrize(
    ("standing", "target", "mark"),
    [
        (("linux/amd64",), ("linux/amd64", "linux/arm64"), Mark.PASS),
        (("linux/amd64", "linux/arm64"), ("linux/amd64",), Mark.FAIL),
        (("linux/amd64",), (), Mark.UNKNOWN),
        ((), ("linux/amd64",), Mark.UNKNOWN),
    ],
)
def test_architecture(standing, target, mark):
    estate = Estate()
    estate.record("A", platforms=[{"platform": name} for name in target])
    estate.record("B", platforms=[{"platform": name} for name in standing])
    estate.pin("prod", spam="B")
    found = verdicts(estate, release("A"))
    assert found["architecture"] is mark


def test_where_nothing_is_declared_nothing_is_said():
    estate = Estate()
    estate.record("A")
    estate.record("B")
    estate.pin("prod", spam="B")
    assert not {"architecture", "compatibility"} & set(verdicts(estate, release("A")))
