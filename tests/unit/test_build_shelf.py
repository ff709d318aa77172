"""What a build has of its packages, and how it says what it has not."""

from pathlib import Path

import pytest

from mlops.build import locked
from mlops.build.custody import Need
from mlops.build.shelf import Shelf
from mlops.domain.digest import Digest
from mlops.domain.packagefile import PackageFile
from mlops.errors import PackageIndexError
from mlops.ports import Target

TARGET = Target("linux/amd64", "3.11.7", "2.36")
ONE, TWO = Digest.of(b"one"), Digest.of(b"two")
WHEEL = PackageFile("torch-2.0+cpu-py3-none-any.whl", ONE)


def pins(*lines: str) -> tuple[locked.Pin, ...]:
    return locked.parse("\n".join(lines).encode())


def named(*names: str) -> tuple[locked.Pin, ...]:
    return pins(*(f"{name}==1.0 --hash={ONE}" for name in names))


def test_what_lies_here_is_not_asked_of_its_url():
    (pin,) = pins(
        f"Torch[gpu] @ https://x.org/torch-2.0%2Bcpu-py3-none-any.whl ; os_name=='posix' --hash={ONE}"
    )
    (found,) = Shelf(Path("shelf"), {pin: WHEEL}).pins([pin])
    assert found.line == f"torch==2.0+cpu ; os_name=='posix' --hash={ONE}"
    assert locked.parse(found.line.encode())[0].version == "2.0+cpu"
    assert Shelf().pins([pin]) == (pin,)


def test_no_index_is_asked_where_all_lie_here_and_only_then():
    one, two = named("one", "two")
    assert not Shelf().whole([])
    assert Shelf(Path("shelf"), {one: WHEEL}).whole([one])
    assert not Shelf(Path("shelf"), {one: WHEEL}).whole([one, two])


def test_a_failure_is_told_by_what_was_asked_for_alone():
    installer = PackageIndexError("the index cannot be asked for another", hint="Wait")
    trouble = PackageIndexError("the index cannot be asked for one")
    assert Shelf().explained(installer) is installer
    found = Shelf(missing=named("one"), place="r.org/wheels", trouble=trouble).explained(installer)
    assert (
        found.message
        == "r.org/wheels (custody) lacks one 1.0, and the index cannot be asked for one"
    )
    assert found.hint.startswith(
        "Wait. Any index will do that has the same bytes: UV_INDEX=URL mlops"
    )
    closed = Shelf(missing=named("one"), place="r.org/wheels", asked=False).explained(installer)
    assert closed.message.startswith("r.org/wheels (custody) cannot be asked for one 1.0, and the")


def test_many_are_counted():
    many = named(*(f"p{number}" for number in range(7)))
    found = Shelf(missing=many, place="r").explained(PackageIndexError("no"))
    assert "lacks p0 1.0, p1 1.0, p2 1.0, p3 1.0, p4 1.0 and 2 more, and no" in found.message


@pytest.mark.parametrize("from_source", [True, False])
def test_a_pin_wants_its_wheel_or_its_sdist(from_source: bool):
    """A list of another build may have either, both with hashes of the lock."""
    (pin,) = pins(f"one==1.0 --hash={ONE} --hash={TWO}")
    wheel, sdist = PackageFile("one-1.0-py3-none-any.whl", ONE), PackageFile("one-1.0.tar.gz", TWO)
    need = Need((pin,), TARGET, frozenset({"one"} if from_source else ()))
    assert need.matched([wheel, sdist]) == {pin: sdist if from_source else wheel}
    assert need.matched([wheel if from_source else sdist]) == {}
