"""A world for the local executor: tiny images made of this machine's own programs, and documents."""

from __future__ import annotations

import gzip
import io
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mlops.adapters.executors.local import HostTool, LocalExecutor
from mlops.adapters.executors.local.record.rundir import RunDirectory
from mlops.adapters.executors.local.runtime import proctree
from mlops.domain.digest import Digest, ImageRef
from mlops.domain.imagename import ImageMap
from mlops.domain.run import RunResult, TaskState
from mlops.errors import RegistryError

PROGRAMS = [
    "sh",
    "cat",
    "chmod",
    "chown",
    "dd",
    "env",
    "head",
    "hostname",
    "id",
    "ln",
    "ls",
    "mkdir",
    "mkfifo",
    "mv",
    "pwd",
    "readlink",
    "rm",
    "seq",
    "setpriv",
    "setsid",
    "sleep",
    "tail",
    "touch",
    "true",
    "yes",
]


class Store:
    """An image store of blobs in a directory."""

    def __init__(self, root: Path) -> None:
        self.location = str(root)
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    def add(self, content: bytes) -> Digest:
        digest = Digest.of(content)
        (self.root / digest.hex).write_bytes(content)
        return digest

    def manifest(self, digest: Digest) -> bytes:
        return self.blob_path(digest).read_bytes()

    def has_manifest(self, digest: Digest) -> bool:
        return (self.root / digest.hex).exists()

    def blob_path(self, digest: Digest) -> Path:
        path = self.root / digest.hex
        if not path.exists():
            raise RegistryError(f"{self.location} has no {digest}")
        return path

    def image(self, layers: Iterable[bytes], kinds: Iterable[str] = (), **config: Any) -> ImageRef:
        """Put an image together from plain tars; `config` is its config's `config`."""
        layers = list(layers)
        kinds = [*kinds, *[""] * len(layers)]
        described, diff_ids = [], []
        for content, kind in zip(layers, kinds, strict=False):
            packed = gzip.compress(content, 1, mtime=0)
            described.append(
                {
                    "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                    "digest": str(self.add(packed)),
                    "size": len(packed),
                    "annotations": {"dev.mlops.layer": kind} if kind else {},
                }
            )
            diff_ids.append(str(Digest.of(content)))
        document = {"architecture": "amd64", "os": "linux", "config": config}
        document["rootfs"] = {"type": "layers", "diff_ids": diff_ids}
        blob = json.dumps(document).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"digest": str(self.add(blob)), "size": len(blob)},
            "layers": described,
        }
        return ImageRef("image", self.add(json.dumps(manifest).encode()))


def tar(entries: Mapping[str, bytes | str | tarfile.TarInfo | Path | None]) -> bytes:
    """A tar: bytes are a file (executable), a string a symlink, None a directory, a Path a copy."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, what in entries.items():
            info = what if isinstance(what, tarfile.TarInfo) else tarfile.TarInfo(name)
            if isinstance(what, bytes | Path):
                content = what if isinstance(what, bytes) else what.read_bytes()
                info.size, info.mode = len(content), 0o755
                archive.addfile(info, io.BytesIO(content))
                continue
            if isinstance(what, str):
                info.type, info.linkname = tarfile.SYMTYPE, what
            elif what is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(info)
    return out.getvalue()


def _libraries(program: str) -> set[Path]:
    told = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    return {Path(found) for found in re.findall(r"(/\S+) \(0x", told)}


@pytest.fixture(scope="session")
def base_layer() -> bytes:
    """A root filesystem of a shell and some programs, with what they need."""
    entries: dict[str, Any] = {
        "etc/passwd": b"root:x:0:0::/root:/bin/sh\nada:x:1000:1001::/home/ada:/bin/sh\n",
        "usr/marker": b"base\n",
    }
    libraries: set[Path] = set()
    for name in PROGRAMS:
        program = shutil.which(name)
        assert program, f"{name} is needed"
        libraries |= _libraries(program)
        entries[f"bin/{name}"] = Path(program).resolve()
    for library in sorted(libraries):
        entries[str(library).lstrip("/")] = library.resolve()
    return tar(entries)


class Recorder:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, str]] = []
        self.states: list[TaskState] = []
        self.heard = threading.Condition()

    def task(self, state: TaskState) -> None:
        with self.heard:
            self.states.append(state)
            self.heard.notify_all()

    def log(self, task: str, step: str, line: str) -> None:
        with self.heard:
            self.lines.append((task, step, line))
            self.heard.notify_all()

    def said(self, task: str = "", step: str = "") -> list[str]:
        return [line for t, s, line in self.lines if t and task in ("", t) and step in ("", s)]

    def wait_for(self, text: str) -> None:
        with self.heard:
            found = self.heard.wait_for(
                lambda: any(text in line for _, _, line in self.lines), timeout=60
            )
        assert found, f"{text!r} was never said"


@dataclass
class World:
    """An executor with its directories, and shorthand for documents."""

    path: Path
    store: Store
    shell: ImageRef  # an image with a shell
    runtime: str = "sandbox"
    tool: HostTool | None = None
    observer: Recorder = field(default_factory=Recorder)
    cache: Path = Path()
    mapping: ImageMap = field(default_factory=ImageMap)
    executors: dict[Any, LocalExecutor] = field(default_factory=dict)

    @property
    def executor(self) -> LocalExecutor:
        key = (self.path, self.runtime, self.cache, str(self.tool), self.mapping)
        if key not in self.executors:
            self.executors[key] = LocalExecutor(
                self.path / "runs",
                self.store,
                self.runtime,
                self.cache,
                self.tool,
                mapping=self.mapping,
            )
        return self.executors[key]

    def run(self, document: Mapping[str, Any]) -> RunResult:
        return self.executor.run(document, self.observer)

    @property
    def mark(self) -> str:
        return RunDirectory(self.path / "runs" / "run-1").mark

    def processes(self) -> list[int]:
        """Those of the run `run-1` that are there now."""
        return proctree.marked(self.mark)

    def task(self, name: str, script: str, **fields: Any) -> dict[str, Any]:
        """A pipeline task of one step `main`; keys of `spec` go into its taskSpec."""
        spec = fields.pop("spec", {})
        step = {
            "name": "main",
            "image": str(self.shell),
            "script": script,
            **fields.pop("step", {}),
        }
        return {"name": name, "taskSpec": {"steps": [step], **spec}, **fields}


def document(*tasks: dict[str, Any], name: str = "run-1", **fields: Any) -> dict[str, Any]:
    """A PipelineRun; `pipeline` goes into its pipelineSpec, other fields into its spec."""
    pipeline = fields.pop("pipeline", {})
    return {
        "apiVersion": "tekton.dev/v1",
        "kind": "PipelineRun",
        "metadata": {"name": name, "labels": {"a": "b"}},
        "spec": {"pipelineSpec": {"tasks": list(tasks), **pipeline}, **fields},
    }


@pytest.fixture(scope="session")
def stock(
    tmp_path_factory: pytest.TempPathFactory, base_layer: bytes
) -> tuple[Store, ImageRef, Path]:
    root = tmp_path_factory.mktemp("stock")
    store = Store(root / "blobs")
    return (
        store,
        store.image([base_layer], Env=["PATH=/bin", "COLOUR=red"], Cmd=["id"]),
        root / "cache",
    )


@pytest.fixture
def world(tmp_path: Path, stock: tuple[Store, ImageRef, Path]) -> World:
    store, shell, cache = stock
    return World(tmp_path, store, shell, cache=cache)


@pytest.fixture
def doc() -> Any:
    return document


@pytest.fixture
def make_tar() -> Any:
    return tar


@pytest.fixture(scope="session")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """podman with a store of its own, which nothing is left of."""
    root = tmp_path_factory.mktemp("podman")
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as short:
        # with a runroot of over 50 characters podman's cleanup refuses its own call, and each
        # container's end is waited for for 20 seconds
        settings = (
            f'[storage]\ndriver = "overlay"\ngraphroot = "{root}/store"\nrunroot = "{short}/run"\n'
        )
        (root / "storage.conf").write_text(settings)
        patch.setenv("CONTAINERS_STORAGE_CONF", str(root / "storage.conf"))
        yield
        subprocess.run(["podman", "rm", "--all", "--force"], check=True, capture_output=True)
        subprocess.run(["podman", "rmi", "--all", "--force"], check=True, capture_output=True)
    subprocess.run(["umount", f"{root}/store/overlay"], check=False, capture_output=True)


@pytest.fixture(scope="session")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The docker daemon that runs here, else one of our own for the time of the tests."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as short:
        if _docker_answers():
            yield
            return
        patch.setenv("DOCKER_HOST", f"unix://{short}/sock")  # a socket's name must be short
        root = tmp_path_factory.mktemp("docker")
        argv = ["dockerd", f"--host=unix://{short}/sock", f"--data-root={root}/data"]
        argv += [f"--exec-root={short}/exec", f"--pidfile={root}/pid"]
        argv += ["--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false"]
        with (root / "log").open("wb") as log:
            daemon = subprocess.Popen(argv, stdout=log, stderr=log)
        try:
            end = time.monotonic() + 60
            while not _docker_answers():
                assert daemon.poll() is None, (root / "log").read_text()
                assert time.monotonic() < end, (root / "log").read_text()
                time.sleep(0.1)
            yield
        finally:
            daemon.terminate()
            daemon.wait(timeout=60)
            network = f"{short}/exec/netns/default"  # which the daemon leaves behind
            subprocess.run(["umount", network], check=False, capture_output=True)


def _docker_answers() -> bool:
    asked = ["docker", "version", "--format", "{{.Server.Version}}"]
    return subprocess.run(asked, check=False, capture_output=True).returncode == 0


@pytest.fixture(params=["podman", "docker"])
def engine(request: pytest.FixtureRequest, world: World) -> World:
    """A world whose containers an engine has."""
    request.getfixturevalue(request.param)
    world.runtime = request.param
    return world


@pytest.fixture(params=["sandbox", "podman", "docker"])
def contained(request: pytest.FixtureRequest, world: World) -> World:
    """A world whose containers see their image's own files."""
    if request.param != "sandbox":
        request.getfixturevalue(request.param)
    world.runtime = request.param
    return world
