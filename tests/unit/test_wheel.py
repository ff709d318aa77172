"""What a tool image is made of: a wheel of mlops, read."""

import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops.build import wheel
from mlops.domain.digest import Digest
from mlops.errors import BuildError

INFO = "mlops_gitops-1.2.dist-info"
METADATA = (
    "Metadata-Version: 2.4\nName: mlops-gitops\nVersion: 1.2\nRequires-Dist: httpx>=0.27\n\nText\n"
)


def write(place: Path, metadata: str = METADATA, **files: str) -> Path:
    path = place / "mlops_gitops-1.2-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mlops/__init__.py", "")
        if metadata:
            archive.writestr(f"{INFO}/METADATA", metadata)
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def test_version_needs_and_files(tmp_path: Path):
    path = write(tmp_path)
    found = wheel.read(path)
    assert found.version == "1.2"
    assert [str(need) for need in found.requires] == ["httpx>=0.27"]
    assert dict(found.contents())["mlops/__init__.py"] == b""
    assert found.digest == Digest.of(path.read_bytes())


def test_its_line_names_path_and_hash(tmp_path: Path):
    (tmp_path / "a b").mkdir()
    found = wheel.read(write(tmp_path / "a b"))
    assert found.line().startswith(f"mlops-gitops @ file://{tmp_path}/a%20b/mlops_gitops")
    assert found.line().endswith(f" --hash=sha256:{found.digest.hex}\n")


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ("", "it has no metadata"),
        (METADATA.replace("mlops-gitops", "other"), "is a wheel of other"),
        (METADATA.replace("Version: 1.2\n", ""), "not of mlops"),
        (METADATA.replace("httpx>=0.27", "httpx >> 1"), "cannot be read as a wheel"),
        (METADATA + "x" * (1 << 20), "it has no metadata"),
    ],
)
def test_what_is_no_wheel_of_mlops_is_refused(tmp_path: Path, metadata: str, said: str):
    with pytest.raises(BuildError, match=said):
        wheel.read(write(tmp_path, metadata))


def test_a_file_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(BuildError, match="cannot be read as a wheel"):
        wheel.read(tmp_path / "none.whl")


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_a_damaged_wheel_is_refused_or_read(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
):
    path = write(tmp_path_factory.mktemp("wheel"))
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content[: data.draw(st.integers(at, len(content)))])
    try:
        list(wheel.read(path).contents())
    except BuildError:
        return
