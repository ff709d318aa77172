"""What an index gives and what uv says of it: neither is taken at its word."""

import hashlib

import pytest
from packaging.pylock import PackageWheel

from mlops.adapters.packages import IndexedPackages
from mlops.adapters.uv import Uv
from mlops.adapters.uvcomplaints import explained, withdrawn, without_passwords
from mlops.errors import BuildError

NAME = "one-1.0-py3-none-any.whl"


def listed(content: bytes) -> PackageWheel:
    return PackageWheel(path=NAME, hashes={"sha256": hashlib.sha256(content).hexdigest()})


def test_bytes_other_than_the_index_says(tmp_path):
    source = IndexedPackages(Uv(tmp_path), tmp_path)
    wheel = source._file("one", listed(b"right"))
    (tmp_path / NAME).write_bytes(b"right")
    source.bring(wheel, tmp_path / "first")
    assert (tmp_path / "first").read_bytes() == b"right"
    (tmp_path / NAME).write_bytes(b"wrong")
    with pytest.raises(
        BuildError, match=f"{NAME} has other bytes than requirements.lock pins: sha256"
    ):
        source.bring(wheel, tmp_path / "second")


@pytest.mark.parametrize(
    "text",
    [
        "Failed to fetch: `https://me:hidden@h/simple/x/`\n  cause: HTTP status 500",
        "error: https://hidden@h/simple is no index",
        "error sending request for url (http://me:hidden@h:8080/simple/x/)",
    ],
)
def test_passwords_in_what_uv_says_are_covered(text):
    """uv covers most of them itself, and not in every version and message."""
    said = explained(BuildError(text, hint="Try again"), "linux/amd64")
    assert "hidden" not in str(said)
    assert "hidden" not in without_passwords(text)
    assert "h/simple" in without_passwords(text).replace(":8080", "")


def test_passwords_in_a_warning_are_covered():
    warned = 'warning: `x==1` is yanked (reason: "see https://me:hidden@h/why")\n'
    assert withdrawn(warned) == ("x 1 was withdrawn from its index: see https://…@h/why",)
