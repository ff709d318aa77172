"""tool-image.yaml, the lock of what the image holds, and the index over its platforms."""

import contextlib
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import mlops
from mlops import resources
from mlops.build import locked
from mlops.config import toolimage
from mlops.config.toolimage import dump_tool_image, packaged, parse_tool_image
from mlops.domain.digest import Digest
from mlops.domain.lock import LockedImage
from mlops.domain.toolimage import ToolImage
from mlops.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
A, B, C = Digest("a" * 64), Digest("b" * 64), Digest("c" * 64)
IMAGE = ToolImage(
    mlops.__version__, "ghcr.io/ada/mlops", A, (("linux/amd64", B), ("linux/arm64", C))
)
TEXT = f"""\
# Written by the release workflow, after it published the image.
apiVersion: mlops/v1
kind: ToolImage
version: "{mlops.__version__}"
repository: ghcr.io/ada/mlops
digest: {A}
manifests:
  linux/amd64: {B}
  linux/arm64: {C}
"""


def test_written_and_read():
    assert dump_tool_image(IMAGE).decode() == TEXT
    assert parse_tool_image(TEXT.encode()) == IMAGE


def test_it_is_locked_the_same_on_every_machine():
    assert IMAGE.locked() == LockedImage("mlops", "ghcr.io/ada/mlops", A, B, "linux/amd64")


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (f"digest: {A}", "digest: sha256:12", "tool-image.yaml:6: digest"),
        ("ghcr.io/ada/mlops", "oci:here", "tool-image.yaml:5: repository"),
        ("kind: ToolImage", "kind: Lock", "tool-image.yaml:3: kind"),
        ("linux/arm64", "windows", "manifests"),
        ("version:", "versoin:", "version"),
        (f"  linux/amd64: {B}\n  linux/arm64: {C}\n", "  {}\n", "manifests"),
    ],
)
def test_what_is_wrong_in_it_is_named(before: str, after: str, said: str):
    assert before in TEXT
    with pytest.raises(ConfigError, match=said):
        parse_tool_image(TEXT.replace(before, after).encode())


@given(st.binary(max_size=400) | st.text(max_size=400).map(str.encode))
@settings(deadline=None)
def test_anything_else_is_refused_in_words(content: bytes):
    with pytest.raises(ConfigError):
        parse_tool_image(content)


@given(st.integers(0, len(TEXT) - 1), st.binary(min_size=1, max_size=3))
@settings(deadline=None)
def test_a_damaged_file_is_refused_or_whole(at: int, damage: bytes):
    content = TEXT.encode()[:at] + damage + TEXT.encode()[at + len(damage) :]
    with contextlib.suppress(ConfigError):
        parse_tool_image(content).locked()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package of an installation; its file is at _data/tool-image.yaml."""
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path)
    (tmp_path / "_data").mkdir()
    return tmp_path / "_data" / toolimage.NAME


def test_a_checkout_names_none(package: Path):
    assert packaged() is None


def test_a_release_names_its_own(package: Path):
    package.write_text(TEXT)
    assert packaged() == IMAGE


def test_the_image_of_another_version_is_refused(package: Path):
    package.write_text(TEXT.replace(mlops.__version__, "9.9"))
    with pytest.raises(ConfigError, match=r"names the image of 9\.9") as refused:
        packaged()
    assert refused.value.hint == "Install mlops again"


def test_a_damaged_installation_is_told_what_to_do(package: Path):
    package.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="tool-image") as refused:
        packaged()
    assert refused.value.hint == "Install mlops again"


# -- requirements-tool.txt


def test_the_lock_of_the_image_is_that_of_development():
    tool, dev = (
        locked.parse((ROOT / f"requirements-{name}.txt").read_bytes()) for name in ("tool", "dev")
    )
    assert tool
    assert {pin.line for pin in tool} <= {pin.line for pin in dev}


def test_the_lock_of_the_image_has_what_mlops_needs():
    pins = {pin.name: pin for pin in locked.parse((ROOT / "requirements-tool.txt").read_bytes())}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for text in project["dependencies"]:
        needed = Requirement(text)
        assert needed.specifier.contains(pins[canonicalize_name(needed.name)].version), text
