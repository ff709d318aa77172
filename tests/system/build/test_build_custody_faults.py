"""Custody in a registry and in a layout, where machines die, registries refuse and two builds meet."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mlops.adapters.layout import OciLayout
from mlops.adapters.packages import IndexedPackages
from mlops.adapters.registry import Registry, wire
from mlops.adapters.registry.store import RegistryStore
from mlops.adapters.uv import Uv
from mlops.build import locked, shelf
from mlops.build.custody import Custody, Need
from mlops.domain.packagefile import PackageFile
from mlops.errors import BuildError, PackageIndexError, RegistryError
from mlops.ports import Target
from tests.fakes.wheels import wheel
from tests.system.registry.between import Answer, Asked, Between
from tests.system.registry.servers import Running, start

ROOT = Path(__file__).resolve().parents[3]
TARGET = Target("linux/amd64", "3.11.7", "2.36")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    yield from start(tmp_path_factory.mktemp("registry"))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "_sleep", lambda _: None)


@pytest.fixture
def need(settings: object, tmp_path: Path) -> Need:
    """Three wheels in a directory that uv finds packages in."""
    place = tmp_path / "wheels"
    lines = "".join(
        wheel(place, name, {f"{name}.py": f"x = '{name}'\n"}) for name in ("one", "two", "three")
    )
    (tmp_path / "requirements.lock").write_text(lines)
    return Need(locked.parse(lines.encode()), TARGET)


def remote(registry: Running | str, tmp_path: Path, local: str = "local") -> Custody:
    """A custody of its own in a registry, and this machine's copies of it."""
    host = registry if isinstance(registry, str) else registry.host
    prefix = f"{host}/{hashlib.sha256(bytes(tmp_path)).hexdigest()[:12]}"
    return Custody(
        RegistryStore(prefix, OciLayout(tmp_path / local), ["wheels"]), f"{prefix}/", "wine"
    )


def packages(tmp_path: Path) -> IndexedPackages:
    return IndexedPackages(Uv(tmp_path / "wheels"), tmp_path / "wheels")


class Nothing:
    """An index that is gone."""

    def find(
        self, requirements: bytes, target: Target, sources: Collection[str] = ()
    ) -> Sequence[PackageFile]:
        raise PackageIndexError("the package index cannot be asked")

    def bring(self, file: PackageFile, into: Path) -> None:
        raise PackageIndexError("the package index cannot be asked")


def right(directory: Path | None) -> list[str]:
    """The names of the wheels in a directory, all of which can be read to their end."""
    assert directory is not None
    for path in directory.iterdir():
        assert path.read_bytes()[:2] == b"PK"
        assert b"PK\x05\x06" in path.read_bytes()[-22:]
    return sorted(path.name.partition("-")[0] for path in directory.iterdir())


def sound(layout: Path) -> None:
    for blob in (layout / "blobs" / "sha256").glob("*"):
        assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name


ALL = ["one", "three", "two"]


def test_another_machine_takes_all_from_the_registry(registry: Running, need: Need, tmp_path: Path):
    said: list[str] = []
    first = shelf.fill(
        remote(registry, tmp_path), packages(tmp_path), need, tmp_path / "1", said.append
    )
    custody = remote(registry, tmp_path, "other")
    again = shelf.fill(custody, Nothing(), need, tmp_path / "2", said.append)
    assert (first.notes, again.notes) == ((), ())
    assert right(again.directory) == ALL
    assert again.whole(need.pins)
    assert said[0] == "asking the index for 3 packages"
    assert said[1].startswith("bringing ")
    assert said[1].endswith(" into custody, 1 of 3")
    assert said[-1] == f"3 packages from custody in {custody.place}"


def test_what_the_registry_lost_is_brought_there_again(
    registry: Running, need: Need, tmp_path: Path
):
    """From an index that tells sizes, so that the list is the same as before."""

    class Telling(IndexedPackages):
        def find(
            self, requirements: bytes, target: Target, sources: Collection[str] = ()
        ) -> Sequence[PackageFile]:
            found = IndexedPackages.find(self, requirements, target, sources)
            return [
                replace(each, size=(tmp_path / "wheels" / each.name).stat().st_size)
                for each in found
            ]

    source = Telling(Uv(tmp_path / "wheels"), tmp_path / "wheels")
    custody = remote(registry, tmp_path)
    shelf.fill(custody, source, need, tmp_path / "1")
    lost = custody.held(need).files[need.pins[0]]
    registry.remove_blob(custody.repository.partition("/")[2], lost.digest)
    again = shelf.fill(remote(registry, tmp_path, "other"), source, need, tmp_path / "2")
    assert again.notes == ()
    last = shelf.fill(remote(registry, tmp_path, "third"), Nothing(), need, tmp_path / "3")
    assert right(last.directory) == ALL


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_registry_that_takes_no_packages_is_told_and_the_build_has_them(
    registry: Running, need: Need, tmp_path: Path, method: str
):
    def rule(asked: Asked) -> Answer | None:
        denied = asked.method == method and "/wheels/" in asked.path
        return Answer(403, {}, b'{"errors":[{"code":"DENIED"}]}') if denied else None

    with Between(registry.host, rule) as between:
        custody = remote(between.host, tmp_path)
        found = shelf.fill(custody, packages(tmp_path), need, tmp_path / "shelf")
    assert right(found.directory) == ALL
    assert found.whole(need.pins)
    assert len(found.notes) == 1
    assert found.notes[0].startswith(
        f"packages are not in custody: {custody.place} takes no packages: "
    )
    assert "403" in found.notes[0]
    assert found.notes[0].endswith("keep them: mlops run --again")
    assert Registry(custody.repository.replace(between.host, registry.host)).tags() == ()


def test_a_registry_that_does_not_answer_is_told_and_the_build_has_them(
    registry: Running, need: Need, tmp_path: Path
):
    with Between(registry.host, lambda _: Answer(503)) as between:
        found = shelf.fill(
            remote(between.host, tmp_path), packages(tmp_path), need, tmp_path / "shelf"
        )
    assert len(found.notes) == 2
    assert "cannot be asked for packages" in found.notes[0]


def test_other_bytes_from_the_registry_are_named(registry: Running, need: Need, tmp_path: Path):
    shelf.fill(remote(registry, tmp_path), packages(tmp_path), need, tmp_path / "1")

    def rule(asked: Asked) -> Answer | None:
        for path in (tmp_path / "wheels").iterdir():
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            if asked.method == "GET" and asked.path.endswith(f"/blobs/sha256:{digest}"):
                return Answer(200, {}, b"!" * path.stat().st_size)
        return None

    with Between(registry.host, rule) as between:
        custody = remote(between.host, tmp_path, "other")
        with pytest.raises(
            RegistryError, match=r"\w+-1\.0-py3-none-any\.whl cannot be had from cus"
        ):
            shelf.fill(custody, packages(tmp_path), need, tmp_path / "2")


def test_two_builds_at_once(need: Need, tmp_path: Path):
    """Both see an empty custody, and both fill it."""
    both = threading.Barrier(2)

    class Together(IndexedPackages):
        def find(
            self, requirements: bytes, target: Target, sources: Collection[str] = ()
        ) -> Sequence[PackageFile]:
            both.wait(60)
            found = IndexedPackages.find(self, requirements, target, sources)
            both.wait(60)
            return found

    made: dict[int, shelf.Shelf] = {}

    def build(number: int) -> None:
        custody = Custody(OciLayout(tmp_path / "store"), "", "wine")
        source = Together(Uv(tmp_path / "wheels"), tmp_path / "wheels")
        made[number] = shelf.fill(custody, source, need, tmp_path / f"shelf{number}")

    threads = [threading.Thread(target=build, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert [right(made[number].directory) for number in (1, 2)] == [ALL, ALL]
    assert [made[number].notes for number in (1, 2)] == [(), ()]
    sound(tmp_path / "store")
    assert len(set(OciLayout(tmp_path / "store").tags("wheels").values())) == 1


DYING = """
import os, signal, sys
from pathlib import Path
from mlops.adapters.packages import IndexedPackages
from mlops.adapters.uv import Uv
from mlops.build import locked, shelf
from mlops.build.custody import Custody, Need
from tests.system.build import test_build_custody_faults as faults

host, place, moment = sys.argv[1], Path(sys.argv[2]), sys.argv[3]

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

class Dying(IndexedPackages):
    def bring(self, file, into):
        if moment == "bringing" and file.name.startswith("two"):
            into.write_bytes(b"PK, the first half")
            die()
        IndexedPackages.bring(self, file, into)

custody = faults.custody_of(host, place)
if moment == "pushing":
    custody.store._say = die
need = Need(locked.parse((place / "requirements.lock").read_bytes()), faults.TARGET)
shelf.fill(custody, Dying(Uv(place / "wheels"), place / "wheels"), need, place / "died")
"""


def custody_of(host: str, place: Path) -> Custody:
    """In that registry, or in a layout where there is none."""
    return remote(host, place) if host else Custody(OciLayout(place / "local"), "", "wine")


@pytest.mark.parametrize("moment", ["bringing", "bringing to a registry", "pushing"])
def test_killed_half_way(registry: Running, need: Need, tmp_path: Path, moment: str):
    host = "" if moment == "bringing" else registry.host
    argv = [sys.executable, "-c", DYING, host, str(tmp_path), moment.partition(" ")[0]]
    died = subprocess.run(
        argv,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert died.returncode == -signal.SIGKILL, died.stderr
    sound(tmp_path / "local")
    custody = custody_of(host, tmp_path)
    assert custody.held(need).files == {}
    brought: list[str] = []

    class Counting(IndexedPackages):
        def bring(self, file: PackageFile, into: Path) -> None:
            brought.append(file.name)
            IndexedPackages.bring(self, file, into)

    source = Counting(Uv(tmp_path / "wheels"), tmp_path / "wheels")
    again = shelf.fill(custody, source, need, tmp_path / "again")
    assert right(again.directory) == ALL
    assert again.notes == ()
    if moment == "bringing":
        assert "two-1.0-py3-none-any.whl" in brought
        assert len(brought) < 3  # what came whole before is not brought again
    sound(tmp_path / "local")
    assert list((tmp_path / "local" / "tmp").iterdir()) == []
    kept = shelf.fill(custody_of(host, tmp_path), Nothing(), need, tmp_path / "kept")
    assert right(kept.directory) == ALL


FULL = """
set -eu
mkdir -p "$WHERE/local"
mount -t tmpfs -o size=48k tmpfs "$WHERE/local"
exec "$@"
"""


def test_no_room_for_packages_is_said(need: Need, tmp_path: Path):
    """As far as custody goes: what it takes to go on is another's affair."""
    noise = "".join(hashlib.sha256(b"%d" % n).hexdigest() for n in range(1 << 11))
    lines = (tmp_path / "requirements.lock").read_text()
    lines += wheel(tmp_path / "wheels", "large", {"large.bin": noise})
    (tmp_path / "requirements.lock").write_text(lines)
    code = (
        "import sys; from pathlib import Path; from tests.system.build import "
        "test_build_custody_faults as faults; faults.told(Path(sys.argv[1]))"
    )
    argv = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", FULL, "sh"]
    argv += [sys.executable, "-c", code, str(tmp_path)]
    env = os.environ | {"PYTHONPATH": str(ROOT), "WHERE": str(tmp_path)}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "has no large 1.0: " in done.stdout
    assert "No space left on device" in done.stdout
    assert "keep them: mlops run --again" in done.stdout


def told(place: Path) -> None:
    need = Need(locked.parse((place / "requirements.lock").read_bytes()), TARGET)
    custody: Custody = Custody(OciLayout(place / "local"), "", "wine")
    try:
        found = shelf.fill(custody, packages(place), need, place / "shelf")
    except (BuildError, RegistryError) as exc:
        sys.stdout.write(f"failed: {exc}")
        raise
    sys.stdout.write("\n".join(found.notes))
    assert right(found.directory) == ALL
    sound(place / "local")


@pytest.mark.parametrize("from_source", [True, False])
def test_what_a_stranger_may_see_are_copies(need: Need, tmp_path: Path, from_source: bool):
    """A build from source runs its code; the store's own files are not to be reached through a link."""
    custody = Custody(OciLayout(tmp_path / "store"), "", "wine")
    wanted = replace(need, sources=frozenset({"another"} if from_source else ()))
    found = shelf.fill(custody, packages(tmp_path), wanted, tmp_path / "shelf")
    assert found.directory is not None
    links = {path.stat().st_nlink for path in found.directory.iterdir()}
    assert links == {1 if from_source else 2}
