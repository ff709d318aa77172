"""The layers strategy against `buildah build` for the same content, on the same base, side by side.

Run: python benchmarks/builds.py [ROUNDS]. Needs buildah, skopeo, docker-registry, mmdebstrap and root. The packages are
scikit-learn's, from a directory of wheels that both read, so no network counts. Each round begins with nothing built
(cold), then changes the code, one small package, and the model; after each, what was built is pushed to a registry of
its own that has what was pushed before, and the bytes that came to it are counted.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import compiled, median_ratio, seconds, write

sys.path.insert(0, str(Path(__file__).parent.parent))
from mlops.adapters.layout import OciLayout
from scripts.debian_base import TAG, layout
from tests.system.registry.servers import start

UV = str(Path(sys.executable).with_name("uv"))
OURS, THEIRS = "mlops", "buildah"
WANTED = ("scikit-learn==1.7.2", "numpy==2.2.6", "scipy==1.15.3", "threadpoolctl==3.6.0")
SMALL = ("joblib==1.5.1", "joblib==1.5.2")  # the small package, before and after
CHANGES = ("cold", "code", "dependency", "model")
MODEL = 20 << 20  # bytes
BUILD = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from mlops.adapters.baserunner import SandboxedBase
from mlops.adapters.layout import OciLayout
from mlops.adapters.uv import Uv
from mlops.build import image, strategy
from mlops.build.strategy import EnvironmentRequest, PinnedBase, ReleaseRequest, Toolchain
from mlops.domain.digest import Digest
from mlops.domain.source import Commit
from mlops.build.host import host_platform
place, bases, base = Path(sys.argv[1]), OciLayout(Path(sys.argv[2])), Digest.parse(sys.argv[3])
store = OciLayout(place / "registry")
image.copy(bases, store, base, "base")
pinned = PinnedBase("oci:bases", base, base, host_platform())
lock = (place / "tree/requirements.lock").read_bytes()
tools = Toolchain(Uv(place), SandboxedBase(store, place / "cache"))
environment = strategy.build_environment(
    store, EnvironmentRequest("wine", pinned, lock, place, server=False, bytecode=sys.argv[4] == "yes"), tools
)
made = strategy.build_release(
    store,
    ReleaseRequest(
        "wine", Commit("0123456789abcdef0123456789abcdef01234567"), datetime(2024, 5, 6, tzinfo=UTC),
        environment.manifest, place / "tree", ("src",), "models/model.bin", ("python", "-m", "src.serve"),
    ),
)
(place / "made").write_text(str(made.manifest))
"""
PUSH = """
import sys
from pathlib import Path
from mlops.adapters.layout import OciLayout
from mlops.adapters.registry import Registry, images
from mlops.domain.digest import Digest
images.push(OciLayout(Path(sys.argv[1])), Digest.parse(sys.argv[2]), Registry(sys.argv[3]), tag="v1")
"""
DOCKERFILE = """
FROM {base}
COPY requirements.lock /app/requirements.lock
RUN python3 -m venv /opt/venv && /opt/venv/bin/pip install --quiet --disable-pip-version-check --no-cache-dir \\
  --no-index --find-links /wheels --no-deps --require-hashes -r /app/requirements.lock
COPY src /app/src
COPY models /app/models
CMD ["/opt/venv/bin/python", "-m", "src.serve"]
"""


class Project:
    """The files that both build from, and what changes in them."""

    def __init__(self, tree: Path, wheels: Path) -> None:
        self.tree, self.wheels = tree, wheels
        for name in ("src", "models"):
            (tree / name).mkdir(parents=True)
        self.turn = 0
        self.change("code")
        self.change("model")
        self.lock(SMALL[0])

    def change(self, what: str) -> None:
        self.turn += 1
        if what == "code":
            (self.tree / "src/serve.py").write_text(f"print('serving {self.turn}')\n")
        elif what == "model":
            (self.tree / "models/model.bin").write_bytes(os.urandom(MODEL))
        elif what == "dependency":
            self.lock(SMALL[1])

    def lock(self, small: str) -> None:
        lines = []
        for pin in (*WANTED, small):
            name = pin.replace("==", "-").replace("scikit-learn", "scikit_learn")
            (path,) = self.wheels.glob(f"{name}-*.whl")
            lines.append(f"{pin} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n")
        (self.tree / "requirements.lock").write_text("".join(sorted(lines)))


class Ours:
    """mlops, with a store and caches of its own, empty at first."""

    def __init__(self, place: Path, bases: Path, project: Project, *, bytecode: bool) -> None:
        self.place, self.bases, self.project = place, bases, project
        self.bytecode = "yes" if bytecode else "no"
        place.mkdir()
        (place / "tree").symlink_to(project.tree)
        (place / "uv.toml").write_text(f'no-index = true\nfind-links = ["{project.wheels}"]\n')
        self.base = str(OciLayout(bases).entries()[0]["digest"])

    def build(self) -> float:
        env = {"UV_CONFIG_FILE": f"{self.place}/uv.toml", "UV_CACHE_DIR": f"{self.place}/uv-cache"}
        argv = [sys.executable, "-c", BUILD, str(self.place), str(self.bases), self.base]
        return seconds([*argv, self.bytecode], env=os.environ | env)

    def push(self, host: str) -> float:
        made = (self.place / "made").read_text()
        store = str(self.place / "registry")
        return seconds([sys.executable, "-c", PUSH, store, made, f"{host}/wine"])


class Buildah:
    """buildah, with a storage of its own; layers are kept and used again (`--layers`)."""

    def __init__(self, place: Path, bases: Path, project: Project) -> None:
        self.project = project
        place.mkdir()
        storage = f"overlay@{place}/root+{place}/run"
        self.program = ["buildah", "--storage-driver", "overlay"]
        self.program += ["--root", f"{place}/root", "--runroot", f"{place}/run"]
        # both have the base before the clock starts
        there = f"containers-storage:[{storage}]localhost/base:1"
        seconds(["skopeo", "copy", "--quiet", f"oci:{bases}:{TAG}", there])
        (project.tree / "Dockerfile").write_text(DOCKERFILE.format(base="localhost/base:1"))

    def build(self) -> float:
        volume = f"{self.project.wheels}:/wheels:ro"
        argv = ["build", "--quiet", "--layers", "--isolation", "chroot", "--volume", volume]
        return seconds([*self.program, *argv, "--tag", "wine", str(self.project.tree)])

    def push(self, host: str) -> float:
        argv = ["push", "--quiet", "--tls-verify=false", "wine", f"docker://{host}/wine:v1"]
        return seconds([*self.program, *argv])


def wheels(into: Path) -> None:
    """Download the wheels for the base's Python, which is Debian 12's."""
    platforms = ("manylinux_2_28_x86_64", "manylinux2014_x86_64", "manylinux_2_17_x86_64")
    argv = [UV, "run", "--no-project", "--quiet", "--with", "pip", "python", "-m", "pip"]
    argv += ["download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(into)]
    argv += [
        "--python-version",
        "3.11",
        "--implementation",
        "cp",
        "--abi",
        "cp311",
        "--abi",
        "none",
    ]
    for name in platforms:
        argv += ["--platform", name]
    for pin in (*WANTED, *SMALL):
        subprocess.run([*argv, pin], check=True)


def held(registry: Path) -> int:
    """Bytes of the blobs that a registry has."""
    return sum(path.stat().st_size for path in registry.rglob("data") if path.is_file())


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    compiled()
    bases = layout("python3-pip", "python3-venv")
    times: dict[tuple[str, str], list[float]] = {}
    sent: dict[tuple[str, str], list[int]] = {}
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as name:
        scratch = Path(name)
        (scratch / "wheels").mkdir()
        wheels(scratch / "wheels")
        for turn in range(rounds):
            place = scratch / str(turn)
            project = Project(place / "tree", scratch / "wheels")
            builders = {
                OURS: Ours(place / "ours", bases, project, bytecode=True),
                f"{OURS}, no bytecode": Ours(place / "bare", bases, project, bytecode=False),
                THEIRS: Buildah(place / "theirs", bases, project),
            }
            registries = {}
            for who in builders:
                (place / f"registry-{who}").mkdir()
                registries[who] = start(place / f"registry-{who}")
            hosts = {who: next(running).host for who, running in registries.items()}
            for what in CHANGES:
                project.change(what)
                for who, builder in builders.items():
                    before = held(place / f"registry-{who}")
                    times.setdefault((what, who), []).append(builder.build())
                    builder.push(hosts[who])
                    now = held(place / f"registry-{who}")
                    sent.setdefault((what, who), []).append(now - before)
            for running in registries.values():
                running.close()
            subprocess.run(
                [*builders[THEIRS].program, "rmi", "--all", "--force"],
                check=False,
                capture_output=True,
            )
            shutil.rmtree(place, ignore_errors=True)
    rows = [
        (
            what,
            who,
            f"{statistics.median(found):.2f}",
            f"{median_ratio(found, times[what, OURS]):.1f}",
            f"{statistics.median(sent[what, who]) / 1e6:.2f}",
        )
        for (what, who), found in times.items()
    ]
    remark = (
        f"scikit-learn and what it needs on Debian 12, a model of {MODEL >> 20} MiB; {rounds} rounds in turn, each with"
        " empty caches, the base and the wheels on the disk; whole processes. buildah runs `pip install` in RUN, keeps"
        " its layers, and compiles no bytecode beside pip's. The first push counts the base too."
    )
    headings = ("change", "by", "median, s", "ratio to mlops", "MB pushed")
    write("builds", "An image, and what a change of it costs", headings, rows, remark)


if __name__ == "__main__":
    main()
