"""`mlops lock` on a project in a registry: a base is judged on this machine before it goes there."""

import uuid

import pytest

from mlops.adapters.baserunner import SandboxedBase
from mlops.adapters.basesources import BaseSources
from mlops.adapters.layout import OciLayout
from mlops.adapters.registry import Registry, images, wire
from mlops.adapters.registry.store import RegistryStore
from mlops.build import image
from mlops.build.pinning import Bases
from mlops.build.strategy import Toolchain
from mlops.errors import BuildError, UnreachableError
from tests.system.test_build_bases import AMD, small


@pytest.fixture
def prefix(registry):
    return f"{registry.host}/{uuid.uuid4().hex}"


@pytest.fixture
def bases(prefix, tmp_path):
    cache = OciLayout(tmp_path / "cache" / "images")
    runner = SandboxedBase(cache, tmp_path / "cache")
    store = RegistryStore(prefix, cache, ("base",))
    return Bases(store, Toolchain(None, runner, BaseSources()), tmp_path, cache)


@pytest.fixture
def upstream(prefix, tmp_path):
    made = OciLayout(tmp_path / "made")
    images.push(made, small(made, "no python"), Registry(f"{prefix}/upstream"), tag="v")
    return f"{prefix}/upstream:v"


def test_a_base_that_is_refused_is_not_in_custody(bases, upstream, prefix):
    with pytest.raises(BuildError):
        bases.target(bases.pin(upstream, AMD))
    assert Registry(f"{prefix}/base").tags() == ()


def test_what_is_kept_is_there_whole_under_its_tag(bases, upstream, prefix, tmp_path):
    locked = bases.pin(upstream, AMD)
    assert bases.has(locked)
    assert Registry(f"{prefix}/base").tags() == ()
    bases.keep(locked)
    home = Registry(f"{prefix}/base")
    assert home.tags() == (f"base-{locked.manifest.hex[:24]}",)
    other = OciLayout(tmp_path / "elsewhere")
    image.copy(RegistryStore(prefix, other, ("base",)), other, locked.manifest, "base")
    assert image.complete(other, locked.manifest)


def test_a_store_that_does_not_answer_is_not_blamed_on_the_base(upstream, tmp_path, monkeypatch):
    monkeypatch.setattr(wire, "_sleep", lambda _: None)
    away = "127.0.0.1:9"  # discard: nobody listens
    store = RegistryStore(f"{away}/ml", OciLayout(tmp_path / "here"), ("base",))
    with pytest.raises(UnreachableError) as raised:
        BaseSources().fetch(upstream, tmp_path, AMD, store)
    assert raised.value.message.startswith(f"{away} cannot be asked")
    gone = upstream.replace(upstream.partition("/")[0], away)
    with pytest.raises(UnreachableError, match=f"the base {gone} cannot be had: {away} cannot be"):
        BaseSources().fetch(gone, tmp_path, AMD, OciLayout(tmp_path / "here"))
