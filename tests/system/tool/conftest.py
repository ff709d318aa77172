"""The tool image of this checkout, built once on a Debian with Python and git, published, and named by a wheel."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mlops.adapters.executors.local.runtime.engine import _ways
from mlops.domain.digest import Digest
from mlops.domain.toolimage import ToolImage
from scripts import debian_base
from tests.system.local.conftest import podman  # noqa: F401 (a fixture)
from tests.system.registry.servers import Running, start

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "scripts" / "tool_image.py"
PACKAGED = "mlops/_data/tool-image.yaml"


def tool_image(*argv: object, code: int = 0, **env: str) -> subprocess.CompletedProcess[str]:
    """Run scripts/tool_image.py, which must exit with `code`."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, argv)],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


def distributions(source: Path, into: Path, *kinds: str) -> list[Path]:
    """Build a wheel, or what else `kinds` say, of a checkout; no network."""
    argv = [Path(sys.executable).with_name("uv"), "build", "--quiet", "--no-build-isolation"]
    argv += ["--python", sys.executable, "--out-dir", into, *(kinds or ("--wheel",))]
    subprocess.run([*map(str, argv), str(source)], check=True, capture_output=True)
    return sorted(path for path in into.iterdir() if path.suffix in (".whl", ".gz"))


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What git has of this checkout, with its changes: a release builds in a fresh clone."""
    place = tmp_path_factory.mktemp("checkout")
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes((ROOT / name).read_bytes())
    assert not (place / PACKAGED).exists()
    return place


@pytest.fixture(scope="session")
def base() -> str:
    """The base as `--base` names it."""
    return f"oci:{debian_base.layout('git', 'openssh-client')}"


@pytest.fixture(scope="session")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    (made,) = distributions(checkout, tmp_path_factory.mktemp("wheel"))
    return made


@dataclass(frozen=True)
class Built:
    store: Path
    digest: Digest


@pytest.fixture(scope="session")
def built(wheel: Path, base: str, tmp_path_factory: pytest.TempPathFactory) -> Built:
    store = tmp_path_factory.mktemp("tool") / "store"
    out = tool_image("build", wheel, "--store", store, "--base", base).stdout
    return Built(store, Digest.parse(out.strip()))


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    yield from start(tmp_path_factory.mktemp("registry"))


@dataclass(frozen=True)
class Published:
    """A release: where its image is, what the package says of it, and the distributions that say so."""

    image: ToolImage
    ref: str  # repository@digest
    wheel: Path
    sdist: Path


@pytest.fixture(scope="session")
def published(
    built: Built, registry: Running, checkout: Path, tmp_path_factory: pytest.TempPathFactory
) -> Published:
    from mlops.config.toolimage import parse_tool_image  # noqa: PLC0415

    record = checkout / PACKAGED
    argv = ("publish", "--store", built.store, "--to", f"{registry.host}/ml/mlops")
    ref = tool_image(*argv, "--record", record).stdout.strip()
    sdist, wheel = distributions(checkout, tmp_path_factory.mktemp("dist"), "--wheel", "--sdist")[
        ::-1
    ]
    image = parse_tool_image(record.read_bytes())
    record.unlink()
    return Published(image, ref, wheel, sdist)


@pytest.fixture(scope="session")
def container(
    published: Published,
    podman: None,  # noqa: F811
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a shell script in the published image, pulled by podman: no privileges, no entry in passwd,
    read-only root, `options` of podman's besides."""
    base = ["podman", "run", "--rm", "--tls-verify=false"]
    tried = [[*base, *way, published.ref, "true"] for way in _ways()]
    way = next(
        (way for way, argv in zip(_ways(), tried, strict=True) if _run(argv).returncode == 0), None
    )
    assert way is not None, _run(tried[0]).stderr

    def run(script: str, *options: str, user: str = "12345:0") -> subprocess.CompletedProcess[str]:
        rights = ["--cap-drop=all", "--security-opt=no-new-privileges", "--read-only"]
        as_whom = [*rights, "--passwd=false", "--user", user]
        return _run([*base, *way, *as_whom, *options, published.ref, "sh", "-euc", script])

    return run


def _run(argv: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, check=False, capture_output=True, text=True)


@pytest.fixture(scope="session")
def bare() -> str:
    """A base with Python and without git."""
    return f"oci:{debian_base.layout()}"
