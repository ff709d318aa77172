"""The health check of a release's image, as engines carry it out: its own Python asks its own server."""

import itertools
import json
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mlops.adapters import imagearchive
from mlops.adapters.executors.local.runtime.engine import _ways
from mlops.adapters.layout import OciLayout
from mlops.adapters.uv import Uv
from mlops.build import host, strategy
from mlops.build.strategy import EnvironmentRequest, PinnedBase, ReleaseRequest, Toolchain
from mlops.domain.imagename import ImageName
from mlops.domain.source import Commit

NAME = ImageName.parse("well:1")
LOCK = Path(__file__).parents[3] / "requirements-dev.txt"
SERVER = ("anyio", "click", "h11", "idna", "prometheus-client", "starlette", "typing-extensions", "uvicorn")  # fmt: skip
MODEL = "class Sum:\n    def predict(self, rows):\n        return [sum(row) for row in rows]\n"
PICKLE = "import pickle, sys, total; pickle.dump(total.Sum(), open(sys.argv[1], 'wb'))"
# podman knows of health checks in images of docker's kind alone: `podman load` would take it as OCI's
TAKES: dict[str, Callable[[Path], list[str]]] = {
    "podman": lambda file: ["pull", f"docker-archive:{file}"],
    "docker": lambda file: ["load", "--input", str(file)],
}
WITHIN = 120  # seconds: until a busy machine has started a container


def locked() -> bytes:
    """What the server needs, as this checkout's own lock has it."""
    text = LOCK.read_text()
    blocks = [re.search(rf"^{name}==(?:.*\\\n)*.*\n", text, re.MULTILINE) for name in SERVER]
    return "".join(block[0] for block in blocks if block).encode()


@pytest.fixture(scope="module")
def release(
    tmp_path_factory: pytest.TempPathFactory, host_store: Callable[[Path], OciLayout]
) -> tuple[OciLayout, ReleaseRequest]:
    root = tmp_path_factory.mktemp("well")
    store = host_store(root / "registry")
    digest, platform = host.pack(store, Uv())
    base = PinnedBase("host", digest, digest, platform)
    asked = EnvironmentRequest("well", base, locked(), root, bytecode=False)
    environment = strategy.build_environment(store, asked, Toolchain(Uv()))
    tree = root / "tree"
    (tree / "src").mkdir(parents=True)
    (tree / "src/total.py").write_text(MODEL)
    # what the project calls its modules must not reach the check
    (tree / "src/http.py").write_text("raise SystemExit(7)\n")
    subprocess.run([sys.executable, "-c", PICKLE, tree / "model.pkl"], cwd=tree / "src", check=True)
    source = Commit("0123456789abcdef0123456789abcdef01234567")
    when = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
    return store, ReleaseRequest(
        "well", source, when, environment.manifest, tree, ("src/total.py",), "model.pkl"
    )


@pytest.fixture(scope="module")
def loaded(
    release: tuple[OciLayout, ReleaseRequest], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The release as one file, which docker and podman load alike."""
    store, asked = release
    made = strategy.build_release(store, asked)
    file = tmp_path_factory.mktemp("archive") / "well.tar"
    with file.open("wb") as stream:
        imagearchive.write(stream, imagearchive.parts(store, made.manifest, NAME))
    return file


class Container:
    """The release's container in an engine, with options of the engine's `run`."""

    def __init__(self, program: str, *options: str) -> None:
        self.program = program
        self.name = f"well-{secrets.token_hex(6)}"
        said = ""
        named = ("run", "--detach", "--name", self.name, "--network", "none")
        for way in _ways():
            done = self._ask(*named, *way, *options, "well:1")
            if done.returncode == 0:
                return
            said = done.stderr
            self.gone()  # what does not start was made all the same
        pytest.fail(f"{program} starts nothing here: {said}")

    def _ask(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.program, *argv], capture_output=True, text=True, check=False, timeout=WITHIN
        )

    def said(self, *argv: str) -> str:
        done = self._ask(*argv)
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout

    def inspected(self, field: str) -> dict[str, object]:
        return json.loads(self.said("inspect", "--format", f"{{{{json {field}}}}}", self.name))

    def signal(self, name: str) -> None:
        self.said("kill", "--signal", name, self.name)

    def asked(self) -> tuple[int, str]:
        """podman's own check, once: where there is no systemd, nobody else asks."""
        code = self._ask("healthcheck", "run", self.name).returncode
        log = self.inspected(".State.Health")["Log"]
        return code, log[-1]["Output"].strip() if log else ""

    def until(self, status: str) -> str:
        """What docker's last check said once it came to this verdict."""
        end = time.monotonic() + WITHIN
        for _ in itertools.count():
            health = self.inspected(".State.Health")
            if health["Status"] == status:
                return health["Log"][-1]["Output"].strip()
            assert time.monotonic() < end, (health, self.said("logs", self.name))
            time.sleep(0.2)
        raise AssertionError

    def gone(self) -> None:
        self._ask("rm", "--force", self.name)


@pytest.fixture
def started(request: pytest.FixtureRequest, loaded: Path) -> Iterator[object]:
    made = []

    def start(program: str, *options: str) -> Container:
        request.getfixturevalue(program)
        subprocess.run([program, *TAKES[program](loaded)], check=True, capture_output=True)
        made.append(Container(program, *options))
        return made[-1]

    yield start
    for each in made:
        each.gone()


def test_docker_says_how_the_server_is(started):
    quick = [f"--health-{word}" for word in ("interval=500ms", "timeout=2s", "retries=2")]
    container = started("docker", *quick)
    assert container.until("healthy") == "ready"
    container.signal("STOP")
    container.until("unhealthy")
    container.signal("CONT")
    assert container.until("healthy") == "ready"


def test_podman_says_how_the_server_is(started):
    container = started("podman")
    end = time.monotonic() + WITHIN
    while (found := container.asked()) != (0, "ready"):
        assert time.monotonic() < end, (found, container.said("logs", container.name))
        time.sleep(0.2)
    container.signal("STOP")
    code, said = container.asked()
    assert (code, said) == (1, "TimeoutError: timed out")
    container.signal("CONT")
    assert container.asked() == (0, "ready")


def test_engines_take_the_check_from_the_image(started):
    check = ["CMD", "python", "-I", "-S", "/opt/mlops/mlops_serving/health.py"]
    for program in ("podman", "docker"):
        found = started(program).inspected(".Config.Healthcheck")
        times = {name: found[name] // 10**9 for name in ("Interval", "Timeout", "StartPeriod")}
        assert found["Test"] == check
        assert times == {"Interval": 30, "Timeout": 10, "StartPeriod": 60}
        assert found["Retries"] == 3
