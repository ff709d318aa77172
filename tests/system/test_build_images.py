"""Environment and release images, built for real on `base: host`, from a wheel made here."""

import base64
import hashlib
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mlops.adapters.layout import OciLayout
from mlops.adapters.uv import Uv
from mlops.build import host, image, strategy
from mlops.build.layers import LayerKind
from mlops.build.strategy import EnvironmentRequest, PinnedBase, ReleaseRequest, Toolchain
from mlops.domain.digest import Digest
from mlops.domain.source import Commit
from mlops.errors import BuildError, RegistryError

SOURCE = Commit("0123456789abcdef0123456789abcdef01234567")
COMMITTED = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)


def wheel(directory: Path) -> str:
    """A small wheel with a module, a package with tests, data and a script; its requirement line."""
    info = "tiny_thing-1.0.dist-info"
    files = {
        "tiny_thing/__init__.py": "NAMES = {'a', 'b', 'c'}\n\ndef main():\n    print('tiny', sorted(NAMES))\n",
        "tiny_thing/broken.py": "this is { no python\n",
        "tiny_thing/tests/test_it.py": "assert True\n",
        "tiny_thing-1.0.data/data/share/tiny/data.txt": "data\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: tiny-thing\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\ntiny = tiny_thing:main\n",
    }
    record = ""
    for name, text in files.items():
        code = (
            base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        )
        record += f"{name},sha256={code},{len(text)}\n"
    path = directory / "tiny_thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), text)
    return f"tiny-thing==1.0 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


@pytest.fixture(scope="module")
def packed(
    tmp_path_factory: pytest.TempPathFactory, host_store: Callable[[Path], OciLayout]
) -> tuple[OciLayout, PinnedBase]:
    """A layout with this machine's interpreter as a base."""
    store = host_store(tmp_path_factory.mktemp("base"))
    digest, platform = host.pack(store, Uv())
    return store, PinnedBase("host", digest, digest, platform)


@pytest.fixture(scope="module")
def requirements(tmp_path_factory: pytest.TempPathFactory) -> Iterator[bytes]:
    directory = tmp_path_factory.mktemp("wheels")
    line = wheel(directory)
    with pytest.MonkeyPatch.context() as patch:
        settings = directory / "uv.toml"
        settings.write_text(f'no-index = true\nfind-links = ["{directory}"]\n')
        patch.setenv("UV_CONFIG_FILE", str(settings))
        yield line.encode()


def store_at(path: Path, packed: tuple[OciLayout, PinnedBase]) -> OciLayout:
    store = OciLayout(path)
    image.copy(packed[0], store, packed[1].manifest, host.REPOSITORY)
    return store


def request(base: PinnedBase, requirements: bytes, project: Path) -> EnvironmentRequest:
    return EnvironmentRequest("wine", base, requirements, project)


def project(root: Path) -> Path:
    for name, text in {
        "src/train.py": "print('train')\n",
        "src/__pycache__/train.pyc": "old",
        "run.sh": "#!/bin/sh\n",
        "models/model.pkl": "model",
        ".git/config": "secret",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "run.sh").chmod(0o700)
    (root / "src/link.py").symlink_to("train.py")
    return root


def release(environment: Digest, tree: Path) -> ReleaseRequest:
    code = ("src", "run.sh", "models")
    return ReleaseRequest("wine", SOURCE, COMMITTED, environment, tree, code, "models/model.pkl")


def unpacked(store: OciLayout, manifest: Digest, root: Path) -> Path:
    root.mkdir()
    for layer in image.load(store, manifest).layers:
        blob = store.blob_path(layer.digest)
        subprocess.run(["tar", "-xzf", blob, "-C", root], check=True)
    return root


def inside(root: Path, env: dict[str, str], *argv: str) -> str:
    """Run a command in an unpacked root, with nothing of this machine's /usr."""
    box = ["bwrap", "--bind", str(root), "/", "--proc", "/proc", "--dev", "/dev", "--unshare-pid"]
    sets = [word for name, value in env.items() for word in ("--setenv", name, value)]
    done = subprocess.run(
        [*box, "--clearenv", *sets, "--", *argv], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(
    packed: tuple[OciLayout, PinnedBase],
    requirements: bytes,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[OciLayout, strategy.BuiltImage, strategy.BuiltImage]:
    """An environment image and a release image on it, in one layout."""
    root = tmp_path_factory.mktemp("built")
    store = store_at(root / "registry", packed)
    asked = request(packed[1], requirements, root)
    environment = strategy.build_environment(store, asked, Toolchain(Uv()))
    made = strategy.build_release(store, release(environment.manifest, project(root / "tree")))
    return store, environment, made


def test_two_builds_give_one_digest(
    built: tuple[OciLayout, strategy.BuiltImage, strategy.BuiltImage],
    packed: tuple[OciLayout, PinnedBase],
    requirements: bytes,
    tmp_path: Path,
):
    place = tmp_path / (
        "a directory with blanks and a name that is longer than shebangs may be" * 2
    )
    old = os.umask(0o077)
    try:
        store = store_at(place / "registry", packed)
        asked = request(packed[1], requirements, place)
        environment = strategy.build_environment(store, asked, Toolchain(Uv()))
        tree = project(place / "tree")
        for path in tree.rglob("*"):
            os.utime(path, (1, 1), follow_symlinks=False)
        made = strategy.build_release(store, release(environment.manifest, tree))
    finally:
        os.umask(old)
    assert (environment, made) == built[1:]
    assert not environment.reused


def test_the_base_is_packed_the_same_again(packed: tuple[OciLayout, PinnedBase], tmp_path: Path):
    again = OciLayout(tmp_path / "registry")
    assert host.pack(again, Uv())[0] == packed[1].manifest
    before = packed[0].entries()
    assert host.pack(packed[0], Uv())[0] == packed[1].manifest  # found, by its files' times
    assert packed[0].entries() == before


def test_layers_stand_in_their_order_and_are_shared(
    built: tuple[OciLayout, strategy.BuiltImage, strategy.BuiltImage],
):
    _, environment, made = built
    kinds = [layer.kind for layer in made.layers]
    assert kinds == list(LayerKind)
    assert made.layers[:3] == environment.layers
    assert made.base == environment.base
    assert made.base["ref"] == "host"


def test_the_documents_are_by_the_specification(
    built: tuple[OciLayout, strategy.BuiltImage, strategy.BuiltImage],
):
    store, environment, made = built
    manifest = json.loads(store.manifest(made.manifest))
    assert manifest["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert [layer["annotations"]["dev.mlops.layer"] for layer in manifest["layers"]] == list(
        LayerKind
    )
    for part in (manifest["config"], *manifest["layers"]):
        assert store.blob_path(Digest.parse(part["digest"]), size=part["size"], verify=True)
    config = json.loads(store.blob_path(Digest.parse(manifest["config"]["digest"])).read_bytes())
    assert config["created"] == "2024-05-06T07:08:09Z"
    assert config["os"] == "linux"
    assert len(config["history"]) == len(config["rootfs"]["diff_ids"]) == len(manifest["layers"])
    settings = config["config"]
    assert settings["Cmd"] == ["python", "-m", "mlops_serving"]
    assert settings["WorkingDir"] == "/app"
    assert settings["User"] == "65532:65532"
    assert settings["ExposedPorts"] == {"8080/tcp": {}}
    assert settings["Labels"]["org.opencontainers.image.revision"] == SOURCE.sha
    assert settings["Labels"]["dev.mlops.model"] == "wine"
    env = dict(pair.split("=", 1) for pair in settings["Env"])
    assert len(env) == len(settings["Env"])
    assert env["PATH"].startswith("/opt/venv/bin:")
    assert env["PYTHONPATH"] == "/app:/app/src:/opt/mlops"
    assert store.resolve("wine", f"source-{SOURCE.sha[:12]}") == made.manifest
    tags = [tag for tag in store.tags("wine-env") if tag.startswith("env-")]
    assert [store.resolve("wine-env", tag) for tag in tags] == [environment.manifest]


def test_a_known_environment_is_reused(
    built: tuple[OciLayout, strategy.BuiltImage, strategy.BuiltImage],
    packed: tuple[OciLayout, PinnedBase],
    requirements: bytes,
    tmp_path: Path,
):
    store, environment, _ = built
    asked = request(packed[1], requirements, tmp_path)
    again = strategy.build_environment(store, asked, Toolchain(Uv()))
    assert again == replace(environment, reused=True)
    forced = strategy.build_environment(store, replace(asked, rebuild=True), Toolchain(Uv()))
    assert forced == environment


def test_every_input_names_another_environment(
    packed: tuple[OciLayout, PinnedBase], tmp_path: Path
):
    first = request(packed[1], b"a", tmp_path)
    others = (
        replace(first, requirements=b"b"),
        replace(first, server=False),
        replace(first, allow_builds=("a",)),
        replace(first, base=replace(packed[1], manifest=Digest.of(b""))),
    )
    tags = {strategy.environment_tag(each) for each in (first, *others)}
    assert len(tags) == 5
    assert strategy.environment_tag(replace(first, model="other", project=Path("/"))) in tags


def test_a_code_change_is_one_layer_and_a_model_change_another(
    built: tuple[OciLayout, strategy.BuiltImage, strategy.BuiltImage], tmp_path: Path
):
    store, environment, made = built
    tree = project(tmp_path / "tree")
    (tree / "src/train.py").write_text("print('better')\n")
    changed = strategy.build_release(store, release(environment.manifest, tree))
    differing = [a.kind for a, b in zip(made.layers, changed.layers, strict=True) if a != b]
    assert differing == [LayerKind.CODE]
    (tree / "models/model.pkl").write_text("better")
    better = strategy.build_release(store, release(environment.manifest, tree))
    differing = [a.kind for a, b in zip(changed.layers, better.layers, strict=True) if a != b]
    assert differing == [LayerKind.MODEL]


def test_it_runs_with_nothing_of_this_machine(
    built: tuple[OciLayout, strategy.BuiltImage, strategy.BuiltImage], tmp_path: Path
):
    store, _, made = built
    root = unpacked(store, made.manifest, tmp_path / "root")
    env = dict(image.load(store, made.manifest).env)
    assert inside(root, env, "tiny") == "tiny ['a', 'b', 'c']\n"
    script = "mkdir -p /tmp/m && python /app/src/train.py | tee /tmp/m/out | grep -c train"
    assert inside(root, env, "/bin/sh", "-c", script) == "1\n"
    ask = (
        "import sys, ssl, sqlite3, ctypes, lzma, bz2, zlib, hashlib, tiny_thing, json\n"
        "print(sys.prefix, sys.version_info[:3], tiny_thing.__cached__, tiny_thing.main.__code__.co_filename)"
    )
    version = sys.version_info
    cached = f"__init__.cpython-{version[0]}{version[1]}.pyc"
    site = f"/opt/venv/lib/python{version[0]}.{version[1]}/site-packages/tiny_thing"
    found = inside(root, env, "python", "-c", ask)
    expected = f"/opt/venv {tuple(version[:3])} {site}/__pycache__/{cached} {site}/__init__.py\n"
    assert found == expected
    assert (root / site.lstrip("/") / "__pycache__" / cached).is_file()
    assert not (
        root / site.lstrip("/") / "__pycache__" / cached.replace("__init__", "broken")
    ).exists()
    assert not (root / site.lstrip("/") / "tests" / "__pycache__").exists()
    assert (root / "opt/venv/share/tiny/data.txt").read_text() == "data\n"


def test_what_of_the_project_is_in_the_image(
    built: tuple[OciLayout, strategy.BuiltImage, strategy.BuiltImage], tmp_path: Path
):
    store, _, made = built
    root = unpacked(store, made.manifest, tmp_path / "root") / "app"
    found = {str(p.relative_to(root)) for p in root.rglob("*") if not p.is_dir()}
    assert found == {"src/train.py", "src/link.py", "run.sh", "models/model.pkl"}
    assert os.access(root / "run.sh", os.X_OK)
    note = json.loads((root.parent / "opt/mlops/model.json").read_text())
    assert note == {"artifact": "/app/models/model.pkl", "model": "wine"}
    assert [layer.kind for layer in made.layers].count(LayerKind.MODEL) == 1


def test_without_paths_the_code_is_the_whole_tree(
    built: tuple[OciLayout, strategy.BuiltImage, strategy.BuiltImage], tmp_path: Path
):
    store, environment, _ = built
    tree = project(tmp_path / "tree")
    for name in ("serve.py", ".github/x.yml", "environments/dev/kustomization.yaml"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("x")
    made = strategy.build_release(store, replace(release(environment.manifest, tree), code=()))
    (layer,) = [layer for layer in made.layers if layer.kind is LayerKind.CODE]
    with tarfile.open(store.blob_path(layer.digest)) as tar:
        found = {member.name for member in tar if not member.isdir()}
    assert found == {"app/serve.py", "app/run.sh", "app/src/train.py", "app/src/link.py"}


def test_everybody_may_read_it(
    built: tuple[OciLayout, strategy.BuiltImage, strategy.BuiltImage],
):
    """This machine's interpreter may lie below a directory that only its owner enters."""
    store, _, made = built
    for layer in made.layers:
        with tarfile.open(store.blob_path(layer.digest)) as tar:
            for member in tar:
                assert member.mode & 0o005 == 0o005 or (member.isfile() and member.mode & 0o004)
                assert not member.mode & 0o6000


def test_wrong_hashes_and_unpinned_requirements_are_refused(
    packed: tuple[OciLayout, PinnedBase], requirements: bytes, tmp_path: Path
):
    store = store_at(tmp_path / "registry", packed)
    before = store.entries()
    absent = b"no-such-thing==1.0 --hash=sha256:" + b"0" * 64
    for text, message in (
        (
            requirements[:-9] + b"00000000\n",
            "tiny-thing==1.0 has other bytes than requirements.lock",
        ),
        (b"tiny-thing==1.0\n", "requirements.lock:1: tiny-thing==1.0 has no sha256"),
        (absent, "no-such-thing is not in the package index"),
    ):
        with pytest.raises(BuildError, match=message):
            strategy.build_environment(store, request(packed[1], text, tmp_path), Toolchain(Uv()))
    assert store.entries() == before
    assert list((store.root / "tmp").iterdir()) == []


def test_a_base_that_is_not_the_locked_one_is_refused(
    packed: tuple[OciLayout, PinnedBase], tmp_path: Path
):
    other = Digest.of(b"another machine's")
    base = replace(packed[1], digest=other, manifest=other)
    with pytest.raises(
        BuildError, match=f"host is {packed[1].manifest} now, and mlops.lock pins {other}"
    ):
        strategy.build_environment(packed[0], request(base, b"", tmp_path), Toolchain(Uv()))


def test_an_environment_without_requirements_and_server(
    packed: tuple[OciLayout, PinnedBase], tmp_path: Path
):
    store = store_at(tmp_path / "registry", packed)
    asked = replace(request(packed[1], b"", tmp_path), server=False)
    found = strategy.build_environment(store, asked, Toolchain(Uv()))
    assert [layer.kind for layer in found.layers] == [LayerKind.BASE, LayerKind.DEPENDENCIES]
    made = strategy.build_release(
        store,
        replace(
            release(found.manifest, project(tmp_path / "tree")), command=("serve", "me"), port=9000
        ),
    )
    loaded = image.load(store, made.manifest)
    assert (loaded.command, loaded.ports) == (("serve", "me"), (9000,))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("artifact-link", "the model models/model.pkl is a symbolic link to /etc/hostname"),
        ("to-directory", "the model models/model.pkl is a symbolic link to /etc"),
        ("directory-link", "leads out of the project"),
        ("absent", "models/model.pkl is not in the project's tree"),
        ("code-link", "src/out.py is a symbolic link to ../../secret, outside the project"),
        ("inner-link", "the model models/model.pkl/x is a symbolic link"),
    ],
)
def test_what_training_may_plant_is_refused(
    built: tuple[OciLayout, strategy.BuiltImage, strategy.BuiltImage],
    tmp_path: Path,
    damage: str,
    message: str,
):
    store, environment, _ = built
    tree = project(tmp_path / "tree")
    model = tree / "models/model.pkl"
    model.unlink()
    if damage == "artifact-link":
        model.symlink_to("/etc/hostname")
    elif damage == "directory-link":
        (tree / "models").rmdir()
        (tree / "models").symlink_to("/etc")
    elif damage == "code-link":
        model.write_text("model")
        (tree / "src/out.py").symlink_to("../../secret")
    elif damage == "to-directory":
        model.symlink_to("/etc")
    elif damage == "inner-link":
        model.mkdir()
        (model / "x").symlink_to("y")
    with pytest.raises(BuildError, match=message.replace(".", r"\.")):
        strategy.build_release(store, replace(release(environment.manifest, tree), code=("src",)))


def test_a_damaged_image_is_an_error(tmp_path: Path):
    store = OciLayout(tmp_path / "registry")
    for content in (b"{}", b'{"config": {"digest": "x"}}', b'{"config": []}'):
        digest = store.put_manifest(content, "application/json", "wine")
        with pytest.raises(BuildError, match="is no image"):
            image.load(store, digest)
    with pytest.raises(RegistryError, match="is not in"):
        image.load(store, Digest.of(b"absent"))
