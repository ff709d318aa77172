"""Locking against a real uv and a package index on loopback: what it serves, withdraws, swaps or hides."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mlops.adapters.uv import Uv
from mlops.config.lockfile import parse_lock
from mlops.config.project import parse_project
from mlops.domain.digest import Digest
from mlops.domain.lock import TOOL, LockedImage
from mlops.engine.lock import Installed, Locked, Locker
from mlops.errors import BuildError, ConfigError, UsageError
from mlops.ports import Target
from tests.fakes.wheels import index, sdist, wheel

PROJECT = """\
apiVersion: mlops/v1
kind: Project
name: wine
models:
  wine:
    build: {BUILD}
    artifact: m.pkl
    serve: {command: [python, serve.py]}
"""
DIGEST = Digest("a" * 64)


class OneBase:
    """A base that is always there."""

    def pin(self, name: str, platform: str) -> LockedImage:
        return LockedImage(name, name, DIGEST, DIGEST, platform)

    def restore(self, image: LockedImage) -> None:
        raise AssertionError(f"{image} is there")

    def has(self, image: LockedImage) -> bool:
        return bool(image)

    def target(self, image: LockedImage) -> Target:
        return Target(image.platform, "3.12.4", "2.36")

    def tool(self) -> LockedImage:
        return LockedImage(TOOL, TOOL, DIGEST, DIGEST, "linux/amd64")


@dataclass
class Tree:
    """A work tree on disk, and an index beside it."""

    root: Path
    wheels: Path
    monkeypatch: pytest.MonkeyPatch
    build: str = "{requirements: requirements.txt}"
    yanked: dict[str, str] = field(default_factory=dict)

    def write(self, name: str, text: str | bytes) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)

    def read(self, name: str) -> bytes | None:
        path = self.root / name
        return path.read_bytes() if path.is_file() else None

    @property
    def locked(self) -> str:
        return (self.read("requirements.lock") or b"").decode()

    @contextmanager
    def serving(self) -> Iterator[None]:
        with index(self.wheels, yanked=self.yanked) as (place, _):
            self.monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://{place}")
            yield

    def locker(self) -> Locker:
        content = self.read("mlops.lock")
        return Locker(
            parse_project(PROJECT.replace("{BUILD}", self.build).encode(), "mlops.yaml"),
            parse_lock(content) if content else None,
            self.read,
            Installed({"mlops": "1"}, "layers 1"),
            OneBase(),
            Uv(self.root),
        )

    def lock(self, *upgrade: str) -> Locked:
        done = self.locker().lock(upgrade)
        for path, content in done.files.items():
            self.write(path, content)
        return done


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    (tmp_path / "wheels").mkdir()
    (tmp_path / "p").mkdir()
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    for name in ("UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    made = Tree(tmp_path / "p", tmp_path / "wheels", monkeypatch)
    wheel(made.wheels, "inner", {"inner.py": "x = 1\n"})
    wheel(made.wheels, "outer", {"outer.py": "x = 1\n"}, requires=("inner",))
    made.write("requirements.txt", "outer\n")
    return made


def sha256(tree: Tree, file: str) -> str:
    return hashlib.sha256((tree.wheels / file).read_bytes()).hexdigest()


def swap(tree: Tree, file: str) -> None:
    """Other bytes under the same name."""
    name, version, tag = file.removesuffix(".whl").split("-", 2)
    wheel(tree.wheels, name, {f"{name}.py": "import evil\n"}, version=version, tag=tag)
    tree.monkeypatch.setenv("UV_CACHE_DIR", str(tree.root.parent / "another-cache"))


# -- upgrades


def test_an_upgrade_of_one_leaves_the_others(tree: Tree):
    with tree.serving():
        tree.lock()
        wheel(tree.wheels, "inner", {"inner.py": "x = 2\n"}, version="2.0")
        wheel(tree.wheels, "outer", {"outer.py": "x = 2\n"}, version="2.0", requires=("inner",))
        assert tree.lock().files == {}
        (change,) = tree.lock("Inner").changes
        assert str(change) == "requirements.lock: inner 1.0 → 2.0"
        assert "outer==1.0" in tree.locked
        (change,) = tree.lock("*").changes
        assert (change.name, change.before, change.after) == ("outer", "1.0", "2.0")
        before = tree.locked
        with pytest.raises(
            UsageError, match=r"iner is neither a locked package.*Did you mean inner"
        ):
            tree.lock("iner")
        assert tree.locked == before


# -- what an index may do


def test_a_hash_that_differs_from_the_source_is_refused(tree: Tree):
    pin = wheel(tree.wheels, "solo", {"solo.py": "x = 1\n"}).replace(" --hash", " \\\n  --hash")
    tree.write("requirements.txt", pin)
    swap(tree, "solo-1.0-py3-none-any.whl")
    with (
        tree.serving(),
        pytest.raises(BuildError, match=r"solo 1\.0 has other bytes in the package index than req"),
    ):
        tree.lock()
    assert tree.read("mlops.lock") is None


def test_files_that_came_after_the_source_are_not_trusted(tree: Tree):
    tree.write("requirements.txt", wheel(tree.wheels, "solo", {"solo.py": "x = 1\n"}))
    good = sha256(tree, "solo-1.0-py3-none-any.whl")
    wheel(tree.wheels, "solo", {"solo.py": "import evil\n"}, tag="cp312-none-any")
    with tree.serving():
        tree.lock()
    assert tree.locked.count("--hash") == 1
    assert good in tree.locked


def test_what_is_locked_keeps_its_hash_when_the_index_swaps_it(tree: Tree):
    with tree.serving():
        tree.lock()
        before = tree.locked
        swap(tree, "inner-1.0-py3-none-any.whl")
        tree.write("requirements.txt", "outer\n# touched\n")
        tree.lock()
        assert tree.locked == before
        told = [str(each) for each in tree.lock("inner").changes]
    assert told == [
        "requirements.lock: inner: 1.0, every file has other bytes under the same version"
    ]


def test_a_withdrawn_release_is_passed_over_and_named_where_it_is_pinned(tree: Tree):
    tree.yanked["inner-2.0-py3-none-any.whl"] = "eats data"
    wheel(tree.wheels, "inner", {"inner.py": "x = 2\n"}, version="2.0")
    with tree.serving():
        assert tree.lock().withdrawn == ()
        assert "inner==1.0" in tree.locked
        tree.write("requirements.txt", "outer\ninner==2.0\n")
        done = tree.lock()
    assert done.withdrawn == (
        "requirements.lock: inner 2.0 was withdrawn from its index: eats data",
    )
    assert "requirements.lock: inner 1.0 → 2.0" in map(str, done.changes)


def test_no_wheel_for_the_target_is_told_with_what_there_is(tree: Tree):
    wheel(tree.wheels, "fast", {"fast.py": ""}, tag="cp312-cp312-win_amd64")
    tree.write("requirements.txt", "fast\n")
    with (
        tree.serving(),
        pytest.raises(
            BuildError, match=r"no wheel of fast .*linux/amd64, Python 3\.12\.4"
        ) as caught,
    ):
        tree.lock()
    assert "allow_sdist: [fast]" in caught.value.hint


def test_an_sdist_alone_is_no_wheel(tree: Tree):
    sdist(tree.wheels, "slow", {"slow.py": ""})
    tree.write("requirements.txt", "slow\n")
    with tree.serving(), pytest.raises(BuildError, match="no wheel of slow"):
        tree.lock()


def test_an_index_that_is_away_leaves_the_lock_as_it_stands(tree: Tree):
    with tree.serving():
        tree.lock()
    before = (tree.locked, tree.read("mlops.lock"))
    tree.write("requirements.txt", "outer\nmore\n")
    with pytest.raises(
        BuildError, match=r"the package index cannot be asked for http://127"
    ) as caught:
        tree.lock()
    assert (caught.value.exit_code, caught.value.retryable) == (3, True)
    assert "Connection refused" in caught.value.message
    assert (tree.locked, tree.read("mlops.lock")) == before


def test_mlops_lock_is_written_after_what_it_speaks_of(tree: Tree):
    with tree.serving():
        done = tree.locker().lock()
        assert list(done.files) == ["requirements.lock", "mlops.lock"]
        # a kill between the two: the next check and the next lock see it
        tree.lock()
        wheel(tree.wheels, "solo", {"solo.py": ""})
        tree.write("requirements.txt", "outer\nsolo\n")
        done = tree.locker().lock()
        tree.write("requirements.lock", done.files["requirements.lock"])
        assert tree.locker().stale() == (
            "requirements.lock: requirements.txt changed since it was locked",
        )
        tree.lock()
        assert tree.locker().stale() == ()


# -- a lock that was damaged


def test_a_lock_that_a_merge_broke_is_stale_and_made_again_with_its_versions(tree: Tree):
    with tree.serving():
        tree.lock()
        wheel(tree.wheels, "inner", {"inner.py": "x = 2\n"}, version="2.0")
        whole = tree.locked
        lines = whole.splitlines(keepends=True)
        tree.write("requirements.lock", "".join(["<<<<<<< ours\n", *lines, "=======\n", *lines]))
        (fault,) = tree.locker().stale()
        assert fault == "requirements.lock: damaged: '<<<<<<< ours' is no pin with a hash"
        tree.lock()
    assert tree.locked == whole


# -- other tools' locks


def uv_lock(tree: Tree, dependencies: str = '"outer"') -> None:
    tree.build = "{requirements: uv.lock}"
    tree.write(
        "pyproject.toml",
        f'[project]\nname = "me"\nversion = "0"\nrequires-python = ">=3.11"\n'
        f"dependencies = [{dependencies}]\n",
    )
    Uv(tree.root)._uv(["lock", "--quiet"], "locking")


def test_a_uv_lock_is_followed_and_its_hashes_are_held(tree: Tree):
    with tree.serving():
        uv_lock(tree)
        wheel(tree.wheels, "inner", {"inner.py": "x = 2\n"}, version="2.0")
        tree.lock()
        assert "inner==1.0" in tree.locked
        assert sha256(tree, "inner-1.0-py3-none-any.whl") in tree.locked
        with pytest.raises(UsageError, match=r"uv\.lock pins inner 1\.0\. Upgrade it there"):
            tree.lock("inner")
        (tree.root / "requirements.lock").unlink()
        swap(tree, "inner-1.0-py3-none-any.whl")
        with pytest.raises(BuildError, match=r"inner 1\.0 has other bytes .* than uv\.lock pins"):
            tree.lock()


def test_a_uv_lock_older_than_its_project_is_refused(tree: Tree):
    with tree.serving():
        uv_lock(tree)
        text = (tree.read("pyproject.toml") or b"").decode()
        tree.write("pyproject.toml", text.replace('"outer"', '"outer", "inner>=1"'))
        with pytest.raises(ConfigError, match=r"uv\.lock is older than pyproject\.toml: inner>=1"):
            tree.lock()


def test_a_uv_lock_that_uv_cannot_read_is_a_fault_of_the_file(tree: Tree):
    with tree.serving():
        uv_lock(tree)
        text = (tree.read("uv.lock") or b"").decode()
        tree.write(
            "uv.lock",
            text.replace('name = "inner"\nversion = "1.0"', 'name = "inner"\nversion = 1'),
        )
        with pytest.raises(ConfigError, match=r"uv\.lock cannot be read by uv") as caught:
            tree.lock()
    assert caught.value.hint == "Write it again: uv lock"


def test_a_pylock_that_uv_writes_is_followed(tree: Tree):
    with tree.serving():
        uv_lock(tree)
        text = Uv(tree.root)._uv(["export", "--quiet", "--format", "pylock.toml"], "exporting")
        tree.write("pylock.toml", text)
        tree.build = "{requirements: pylock.toml}"
        wheel(tree.wheels, "inner", {"inner.py": "x = 2\n"}, version="2.0")
        tree.lock()
        assert "inner==1.0" in tree.locked
        swap(tree, "inner-1.0-py3-none-any.whl")
        (tree.root / "requirements.lock").unlink()
        with pytest.raises(BuildError, match=r"inner 1\.0 has other bytes .* than pylock\.toml"):
            tree.lock()


# by pipenv 2026.10.3, of the Pipfile below
OF_PIPFILE = "3700d96cda8fe7e8b349aece6361d6e041d61e0c4e1ea431d3244d65bee98731"


def test_a_pipfile_lock_is_followed_and_is_not_written_over(tree: Tree):
    tree.build = "{requirements: Pipfile.lock}"
    hashes = {
        name: [f"sha256:{sha256(tree, f'{name}-1.0-py3-none-any.whl')}"]
        for name in ("inner", "outer")
    }
    pins = {name: {"version": "==1.0", "hashes": hashes[name]} for name in hashes}
    made = {"pipfile-spec": 6, "hash": {"sha256": OF_PIPFILE}}
    text = json.dumps({"_meta": made, "default": pins, "develop": {"x": 1}})
    tree.write("Pipfile.lock", text)
    tree.write("Pipfile", '[packages]\ninner = "*"\nouter = "*"\n')
    wheel(tree.wheels, "inner", {"inner.py": "x = 2\n"}, version="2.0")
    with tree.serving():
        tree.lock()
        assert tree.read("Pipfile.lock") == text.encode()
        assert "inner==1.0" in tree.locked
        assert not [text for text in tree.locker().stale() if "requirements.lock" in text]
        tree.write("Pipfile", '[packages]\ninner = "==2.0"\nouter = "*"\n')
        assert (
            "requirements.lock: Pipfile.lock changed since it was locked" in tree.locker().stale()
        )
        with pytest.raises(
            ConfigError, match=r"made from another Pipfile.*pipenv lock, then mlops"
        ):
            tree.lock()
        (tree.root / "Pipfile").unlink()  # a lock alone is taken at its word
        (tree.root / "requirements.lock").unlink()
        swap(tree, "outer-1.0-py3-none-any.whl")
        with pytest.raises(BuildError, match=r"outer 1\.0 has other bytes .* than Pipfile\.lock"):
            tree.lock()


# -- which of them


@pytest.mark.parametrize("name", ["environment.yml", "environment.yaml"])
def test_a_conda_environment_alone_is_refused_with_advice(tree: Tree, name: str):
    tree.build = "{}"
    (tree.root / "requirements.txt").unlink()
    tree.write(name, "dependencies: [numpy]\n")
    for ask in (tree.lock, tree.locker().stale):
        with pytest.raises(ConfigError, match=r"a conda environment cannot be locked.*pip list"):
            ask()


def test_two_sources_at_once_are_refused_until_one_is_chosen(tree: Tree):
    tree.build = "{}"
    tree.write("pyproject.toml", "[project]\nname='x'\nversion='0'\ndependencies=['inner']\n")
    for ask in (tree.lock, tree.locker().stale):
        with pytest.raises(ConfigError, match=r"requirements\.txt and pyproject\.toml each say"):
            ask()
    tree.build = "{requirements: pyproject.toml}"
    with tree.serving():
        tree.lock()
    assert "outer" not in tree.locked
