"""A user that the machine does not know gets a home that is nobody else's."""

from pathlib import Path

import pytest

from mlops.adapters import home
from mlops.errors import OutsideError


@pytest.fixture
def nameless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As a number without an entry in passwd; the path that it would get."""

    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(home.Path, "home", nobody)
    monkeypatch.setattr(home.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(home.os, "getuid", lambda: tmp_path.stat().st_uid)
    return tmp_path / f"mlops-{tmp_path.stat().st_uid}"


def test_a_home_that_is_named_stays(nameless: Path):
    env = {"HOME": "/srv/ada"}
    home.settle(env)
    assert env == {"HOME": "/srv/ada"}
    assert not nameless.exists()


@pytest.mark.parametrize("before", [{}, {"HOME": ""}])
def test_a_known_user_needs_none(before: dict[str, str]):
    home.settle(before)
    assert before == {}


@pytest.mark.parametrize("before", [{}, {"HOME": ""}])
def test_a_user_without_a_name_gets_a_directory_of_its_own(nameless: Path, before: dict[str, str]):
    home.settle(before)
    assert before == {"HOME": str(nameless)}
    assert nameless.stat().st_mode & 0o777 == 0o700
    home.settle(again := {})
    assert again == before


def test_a_directory_that_others_may_write_to_is_refused(nameless: Path):
    nameless.mkdir()
    nameless.chmod(0o777)
    with pytest.raises(OutsideError, match="is not this user's alone"):
        home.settle({})


def test_a_link_is_refused(nameless: Path, tmp_path: Path):
    (tmp_path / "theirs").mkdir()
    nameless.symlink_to(tmp_path / "theirs")
    with pytest.raises(OutsideError, match="is not this user's alone"):
        home.settle({})


def test_somebody_elses_directory_is_refused(nameless: Path, monkeypatch: pytest.MonkeyPatch):
    other = nameless.stat().st_uid + 1 if nameless.exists() else 54321
    monkeypatch.setattr(home.os, "getuid", lambda: other)
    nameless.with_name(f"mlops-{other}").mkdir(mode=0o700)
    with pytest.raises(OutsideError, match="is not this user's alone"):
        home.settle({})


def test_no_place_for_one_is_told(nameless: Path):
    nameless.write_text("")
    nameless.chmod(0o600)
    with pytest.raises(OutsideError, match="none can be made") as refused:
        home.settle({})
    assert "HOME" in refused.value.hint
