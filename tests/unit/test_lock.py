"""`mlops lock`: what is resolved, what is kept, what is stale, what is refused."""

import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from mlops.adapters.uv import Uv
from mlops.config.lockfile import parse_lock
from mlops.config.project import parse_project
from mlops.domain.digest import Digest
from mlops.domain.lock import TOOL, LockedImage
from mlops.engine.lock import Installed, Locked, Locker
from mlops.errors import BuildError, ConfigError
from mlops.ports import Resolution, Resolved, Target

ZERO = "0" * 64
INSTALLED = Installed({"mlops": "0.1.0", "uv": "0.9"}, "mlops layers 1")


@dataclass
class FakeBases:
    """Bases whose content is a number that goes up when the world changes."""

    version: int = 1
    tool_version: int = 1
    absent: set[str] = field(default_factory=set)
    pinned: list[str] = field(default_factory=list)
    restored: list[LockedImage] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    unfit: bool = False

    def restore(self, image: LockedImage) -> None:
        self.restored.append(image)
        self.absent.discard(image.name)

    def pin(self, name: str, platform: str) -> LockedImage:
        self.pinned.append(name)
        self.absent.discard(name)
        digest = Digest.of(f"{name} {platform} {self.version}".encode())
        return LockedImage(name, name, digest, digest, platform)

    def has(self, image: LockedImage) -> bool:
        return image.name not in self.absent

    def keep(self, image: LockedImage) -> None:
        self.kept.append(image.name)

    def target(self, image: LockedImage) -> Target:
        if self.unfit:
            raise BuildError(f"the base {image.name} is built on musl")
        return Target(image.platform, "3.12.4", "2.36")

    def tool(self) -> LockedImage:
        digest = Digest.of(f"tool {self.tool_version}".encode())
        return LockedImage(TOOL, TOOL, digest, digest, "linux/amd64")


@dataclass
class FakeResolver:
    """Every name has the version `available`, unless the previous lock had another."""

    available: str = "1.0"
    asked: list[Resolution] = field(default_factory=list)
    exported: Sequence[str] = ()
    answer: bytes | None = None
    withdrawn: tuple[str, ...] = ()

    def resolve(self, resolution: Resolution) -> Resolved:
        self.asked.append(resolution)
        if self.answer is not None:
            return Resolved(self.answer)
        names = [line.partition("==")[0] for line in resolution.lines]
        names += ["pandas"] if resolution.path else []
        old = dict(
            line.split(" ")[0].split("==")
            for line in resolution.previous.decode().splitlines()
            if "==" in line
        )
        kept = (
            {}
            if "*" in resolution.upgrade
            else {k: v for k, v in old.items() if k not in resolution.upgrade}
        )
        lines = [
            f"{n}=={kept.get(n, self.available)} --hash=sha256:{ZERO}\n" for n in sorted(set(names))
        ]
        return Resolved("".join(lines).encode(), self.withdrawn)

    def export(self, path: str) -> tuple[str, ...]:
        return tuple(self.exported)


ONE = """\
apiVersion: mlops/v1
kind: Project
name: wine
models:
  wine:
    build: {requirements: requirements.txt}
    artifact: m.pkl
"""


class World:
    """A work tree in memory."""

    def __init__(self, project: str = ONE, **files: str) -> None:
        self.project = parse_project(project.encode(), "mlops.yaml")
        self.files = {name: text.encode() for name, text in files.items()}
        self.bases = FakeBases()
        self.resolver = FakeResolver()
        self.installed = INSTALLED
        self.asked: list[str] = []
        self.tags = 1

    def locker(self) -> Locker:
        content = self.files.get("mlops.lock")
        current = parse_lock(content) if content is not None else None
        return Locker(
            self.project,
            current,
            self.files.get,
            self.installed,
            self.bases,
            self.resolver,
            self.digest_of,
        )

    def digest_of(self, name: str) -> Digest:
        self.asked.append(name)
        return Digest.of(f"{name} {self.tags}".encode())

    def lock(self, *upgrade: str) -> Locked:
        done = self.locker().lock(upgrade)
        self.files |= done.files
        return done

    def told(self, *upgrade: str) -> tuple[str, ...]:
        return tuple(map(str, self.lock(*upgrade).changes))

    def stale(self) -> tuple[str, ...]:
        return self.locker().stale()


@pytest.fixture
def world() -> World:
    return World(**{"requirements.txt": "pandas\n"})


def test_the_first_lock(world: World):
    assert world.stale() == ("mlops.lock: missing",)
    done = world.lock()
    assert set(done.files) == {"mlops.lock", "requirements.lock"}
    assert done.files["requirements.lock"].decode() == (
        "# Written by mlops lock from requirements.txt; review it like code.\n"
        f"pandas==1.0 --hash=sha256:{ZERO}\n"
        f"prometheus-client==1.0 --hash=sha256:{ZERO}\n"
        f"starlette==1.0 --hash=sha256:{ZERO}\n"
        f"uvicorn==1.0 --hash=sha256:{ZERO}\n"
    )
    assert done.lock.image("host") is not None
    assert done.lock.image(TOOL) is not None
    assert done.lock.tool("uv") == "0.9"
    assert "requirements.lock: 4 packages" in map(str, done.changes)
    assert world.resolver.asked[0].target == Target("linux/amd64", "3.12.4", "2.36")


def test_locking_twice_changes_nothing_and_asks_nobody(world: World):
    world.lock()
    world.bases.version = 2
    world.resolver.available = "2.0"
    done = world.lock()
    assert (done.files, done.changes) == ({}, ())
    assert len(world.resolver.asked) == 1
    assert world.bases.pinned == ["host"]
    assert world.stale() == ()


def test_changed_requirements_keep_the_other_pins(world: World):
    world.lock()
    world.files["requirements.txt"] = b"pandas\n# a comment\n"
    world.resolver.available = "2.0"
    assert world.stale() == ("requirements.lock: requirements.txt changed since it was locked",)
    done = world.lock()
    assert b"pandas==1.0" in world.files["requirements.lock"]
    assert set(done.files) == {"mlops.lock"}
    assert world.stale() == ()


def test_an_upgrade_of_one_package_and_of_all(world: World):
    world.lock()
    world.resolver.available = "2.0"
    world.bases.version = 2
    assert world.told("pandas") == ("requirements.lock: pandas 1.0 → 2.0",)
    assert world.bases.pinned == ["host"]
    changes = world.told("*")
    assert "requirements.lock: uvicorn 1.0 → 2.0" in changes
    assert changes[0].startswith("mlops.lock: base host: ")
    assert world.bases.pinned == ["host", "host"]


@pytest.mark.parametrize("name", ["base", "host"])
def test_an_upgrade_of_the_base_resolves_again_and_keeps_versions(world: World, name: str):
    world.lock()
    world.resolver.available = "2.0"
    world.bases.version = 2
    done = world.lock(name)
    assert set(done.files) == {"mlops.lock"}
    assert len(world.resolver.asked) == 2
    assert world.resolver.asked[1].upgrade == ()
    assert world.stale() == ()


def test_a_base_that_is_gone_is_restored_as_it_is_locked(world: World):
    locked = world.lock().lock.image("host")
    world.bases.absent = {"host"}
    world.bases.version = 2  # what the name stands for now
    assert world.lock().files == {}
    assert world.bases.restored == [locked]
    assert world.bases.pinned == ["host"]


def test_a_base_that_is_gone_and_upgraded_is_resolved_anew(world: World):
    world.lock()
    world.bases.absent = {"host"}
    world.bases.version = 2
    assert world.told("base")[0].startswith("mlops.lock: base host: ")
    assert world.bases.restored == []


def test_a_missing_lock_file_is_made_again(world: World):
    world.lock()
    before = world.files.pop("requirements.lock")
    assert world.stale() == ("requirements.lock: missing",)
    assert world.lock().files == {"requirements.lock": before}


def test_other_tools_and_builders_are_stale(world: World):
    world.lock()
    world.installed = Installed({"mlops": "0.2.0", "dvc": "3"}, "mlops layers 2")
    assert world.stale() == (
        "mlops.lock: builder: mlops layers 1 → mlops layers 2",
        "mlops.lock: dvc: not locked → 3",
        "mlops.lock: mlops: 0.1.0 → 0.2.0",
        "mlops.lock: uv: 0.9 → not used",
    )
    assert world.told() == world_changes(world)
    assert world.stale() == ()


def world_changes(world: World) -> tuple[str, ...]:
    return (
        "mlops.lock: builder: mlops layers 1 → mlops layers 2",
        "mlops.lock: dvc: not locked → 3",
        "mlops.lock: mlops: 0.1.0 → 0.2.0",
        "mlops.lock: uv: 0.9 → not used",
    )


def test_a_tool_image_that_changed_is_named(world: World):
    world.lock()
    world.bases.tool_version = 2
    (change,) = world.told()
    assert change.startswith("mlops.lock: tool image: ")


PUBLISHED = LockedImage(
    TOOL, "ghcr.io/ada/mlops", Digest("d" * 64), Digest("e" * 64), "linux/amd64"
)


def test_the_image_that_a_release_names_is_locked_as_it_is(world: World):
    world.lock()
    assert world.stale() == ()
    world.installed = replace(INSTALLED, tool=PUBLISHED)
    assert world.stale() == (
        "mlops.lock: the tool image is another than that of the installed mlops",
    )
    assert world.lock().lock.image(TOOL) == PUBLISHED
    assert world.stale() == ()


def test_the_mlops_in_that_image_keeps_what_is_locked(world: World):
    world.installed = replace(INSTALLED, tool=PUBLISHED)
    world.lock()
    world.installed = INSTALLED
    assert world.stale() == ()
    assert world.lock().files == {}


def test_another_version_that_names_no_image_builds_its_own(world: World):
    world.installed = replace(INSTALLED, tool=PUBLISHED)
    world.lock()
    world.installed = Installed({**INSTALLED.tools, "mlops": "0.2.0"}, INSTALLED.builder)
    assert world.lock().lock.image(TOOL) != PUBLISHED


def test_a_server_of_ones_own_needs_nothing_more():
    own = ONE + "    serve: {command: [python, serve.py]}\n"
    world = World(own, **{"requirements.txt": "pandas\n"})
    world.lock()
    assert world.resolver.asked[0].lines == ()


def test_included_files_are_inputs(world: World):
    world.files["requirements.txt"] = b"-r more/base.txt\n--constraint=c.txt\n"
    world.files["more/base.txt"] = b"-r ../requirements.txt\n-r inner.txt\nx\n"
    world.files["more/inner.txt"] = b"y\n"
    world.files["c.txt"] = b"x<2\n"
    world.lock()
    for path in ("more/base.txt", "more/inner.txt", "c.txt"):
        assert world.stale() == ()
        old = world.files[path]
        world.files[path] = old + b"# changed\n"
        assert len(world.stale()) == 1
        world.files[path] = old
    del world.files["c.txt"]
    with pytest.raises(ConfigError, match=r"includes c\.txt, which is not there"):
        world.lock()


@pytest.mark.parametrize("path", ["../secret.txt", "/etc/passwd", "a/../../x"])
def test_files_outside_of_the_project_are_not_read(world: World, path: str):
    world.files["requirements.txt"] = f"-r {path}\n".encode()
    world.files[path] = b"password\n"
    with pytest.raises(ConfigError, match="which is outside of the project"):
        world.lock()


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("-e .", "an editable install"),
        ("--editable=./lib", "an editable install"),
        ("./lib", "a path of this machine"),
        ("/opt/lib.whl", "a path of this machine"),
        ("lib @ file:///opt/lib.whl", "a path of this machine"),
        ("git+https://example.com/lib", "a repository"),
        ("lib @ git+ssh://git@example.com/lib", "a repository"),
    ],
)
def test_what_has_no_hash_is_refused_by_its_line(world: World, line: str, what: str):
    world.files["requirements.txt"] = f"pandas\n{line}\n".encode()
    with pytest.raises(ConfigError, match=rf"requirements\.txt:2: .* is {what}"):
        world.lock()


def test_options_that_the_settings_of_uv_write_are_left_out(world: World):
    url = "--index-url https://bot:secret@example.com/simple"
    world.resolver.answer = f"{url}\n\npandas==1.0 --hash=sha256:{ZERO}\n".encode()
    world.lock()
    assert b"secret" not in world.files["requirements.lock"]
    assert world.stale() == ()


@pytest.mark.parametrize("line", ["lib", "lib @ git+https://x", "-e file:///x", "lib==1.0"])
def test_an_answer_without_hashes_is_refused(world: World, line: str):
    world.resolver.answer = f"pandas==1.0 --hash=sha256:{ZERO}\n{line}\n".encode()
    with pytest.raises(ConfigError, match="has no version and hash to lock"):
        world.lock()
    assert set(world.files) == {"requirements.txt"}


def test_requirements_that_are_not_there(world: World):
    del world.files["requirements.txt"]
    with pytest.raises(ConfigError, match=r"build\.requirements: requirements\.txt is not there"):
        world.lock()


def test_a_project_without_requirements_has_the_server_alone():
    world = World(ONE.replace("    build: {requirements: requirements.txt}\n", ""))
    world.lock()
    text = world.files["requirements.lock"].decode()
    assert text.startswith("# Written by mlops lock; review it like code.\n")
    assert world.resolver.asked[0].path == ""
    assert world.stale() == ()


def test_requirements_are_found_where_none_are_named():
    bare = ONE.replace("    build: {requirements: requirements.txt}\n", "")
    world = World(bare, **{"pyproject.toml": "[project]\nname='x'\ndependencies=['pandas']\n"})
    world.lock()
    assert world.resolver.asked[0].path == "pyproject.toml"


GO = "docker.io/library/golang:1.22"


def test_images_of_tekton_documents_are_locked_once_and_upgraded_by_name(world: World):
    world.lock()
    assert world.asked == []
    bare = world.project
    world.project = replace(bare, images=(GO, "alpine"))
    assert world.stale() == (
        f"mlops.lock: task image {GO} is not locked",
        "mlops.lock: task image alpine is not locked",
    )
    first = Digest.of(f"{GO} 1".encode())
    assert f"mlops.lock: task image {GO}: {str(first)[7:19]}" in world.told()
    assert world.stale() == ()
    world.tags = 2
    assert world.lock().files == {}
    assert world.asked == [GO, "alpine"]
    second = Digest.of(f"{GO} 2".encode())
    assert world.told(GO) == (
        f"mlops.lock: task image {GO}: {str(first)[7:19]} → {str(second)[7:19]}",
    )
    assert world.asked == [GO, "alpine", GO]
    assert len(world.resolver.asked) == 1
    world.project = bare
    assert len(world.stale()) == 2
    assert f"mlops.lock: task image {GO}: {str(second)[7:19]} → not used" in world.told()
    assert b"golang" not in world.files["mlops.lock"]


TWO = """\
apiVersion: mlops/v1
kind: Project
name: two
models:
  a:
    build: {requirements: a/requirements.txt}
    artifact: a.pkl
    serve: {command: [x]}
  b:
    build: {requirements: B}
    artifact: b.pkl
"""


def test_models_share_a_lock_or_have_their_own():
    files = {"a/requirements.txt": "pandas\n", "b/requirements.txt": "pandas\n"}
    world = World(TWO.replace("B}", "a/requirements.txt}"), **files)
    world.lock()
    assert [r.lines for r in world.resolver.asked] == [INSTALLED.server]
    world = World(TWO.replace("B}", "b/requirements.txt}"), **files)
    world.lock()
    assert {"a/requirements.lock", "b/requirements.lock"} <= set(world.files)
    assert [r.lines for r in world.resolver.asked] == [(), INSTALLED.server]


def test_one_lock_for_two_bases_is_refused():
    world = World(
        TWO.replace("B}", "a/requirements.txt, base: 'oci:x'}"),
        **{"a/requirements.txt": "pandas\n"},
    )
    with pytest.raises(ConfigError, match=r"models a and b would share a/requirements\.lock"):
        world.lock()


def test_what_no_model_names_any_more_is_stale(world: World):
    world.lock()
    world.project = parse_project(
        ONE.replace("requirements: requirements.txt", "base: 'oci:x'").encode(), "x"
    )
    stale = world.stale()
    assert "mlops.lock: base oci:x (linux/amd64) is not locked" in stale
    assert "mlops.lock: base host (linux/amd64) is locked, and no model names it" in stale


# -- against uv itself, from wheels made here


def wheel(directory: Path, name: str, version: str, requires: str = "") -> None:
    info = f"{name}-{version}.dist-info"
    requires = f"Requires-Dist: {requires}\n" if requires else ""
    with zipfile.ZipFile(directory / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr(
            f"{info}/METADATA",
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}",
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "wheels"
    directory.mkdir()
    for version in ("1.0", "2.0"):
        wheel(directory, "inner", version)
    wheel(directory, "outer", "1.0", "inner")
    settings = tmp_path / "uv.toml"
    settings.write_text(f'no-index = true\nfind-links = ["{directory}"]\n')
    monkeypatch.setenv("UV_CONFIG_FILE", str(settings))
    return directory


HERE = Target("linux/amd64", f"3.{sys.version_info.minor}.0", "2.36")


def test_uv_resolves_keeps_and_upgrades(index: Path, tmp_path: Path):
    (tmp_path / "requirements.txt").write_text("outer\ninner<2\n")
    uv = Uv(tmp_path)
    asked = Resolution("requirements.txt", (), HERE)
    first = uv.resolve(asked).content
    assert b"inner==1.0" in first
    assert first.count(b"--hash=sha256:") == 2
    assert str(tmp_path).encode() not in first
    assert b"#" not in first
    (tmp_path / "requirements.txt").write_text("outer\n")
    assert uv.resolve(replace(asked, previous=first)).content == first
    assert b"inner==2.0" in uv.resolve(replace(asked, previous=first, upgrade=("inner",))).content
    assert b"inner==2.0" in uv.resolve(replace(asked, previous=first, upgrade=("*",))).content


def test_uv_says_why_there_is_no_solution(index: Path, tmp_path: Path):
    (tmp_path / "requirements.txt").write_text("inner>3\n")
    with pytest.raises(BuildError, match=r"(?s)resolving requirements\.txt.*inner>3"):
        Uv(tmp_path).resolve(Resolution("requirements.txt", (), HERE))


@pytest.mark.parametrize(
    "target",
    [
        Target("linux/riscv64", "3.12.0", "2.36"),
        Target("linux/amd64", "3.12.0", "2.5"),
        Target("linux/amd64", "3.12.0", ""),
    ],
)
def test_platforms_without_wheels_are_refused(tmp_path: Path, target: Target):
    with pytest.raises(BuildError, match="wheels for linux/"):
        Uv(tmp_path).resolve(Resolution("", ("x",), target))


def test_images_are_kept_when_all_of_them_are_known_to_be_fit():
    world = World(**{"requirements.txt": "sklearn\n"})
    world.bases.unfit = True
    with pytest.raises(BuildError, match="built on musl"):
        world.lock()
    world.bases.unfit = False
    locked = world.lock()
    assert world.bases.kept == []  # a dry run ends here
    world.locker().keep(locked)
    assert world.bases.kept == ["host", TOOL]


@pytest.mark.parametrize(
    ("named", "hint"), [("Pandass", "Did you mean pandas?"), ("x", "would have: pandas, ")]
)
def test_what_is_to_be_built_and_is_in_no_lock_is_refused(named: str, hint: str):
    def world_of(name: str) -> World:
        project = ONE.replace("txt}", f"txt, allow_sdist: [{name}]}}")
        return World(project, **{"requirements.txt": "pandas\n"})

    with pytest.raises(
        ConfigError, match=f"allow_sdist: {named} is not in requirements.lock"
    ) as no:
        world_of(named).lock()
    assert hint in str(no.value.hint)
    world_of("Pandas").lock()
