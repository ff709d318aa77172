"""What registries say, whatever it is: read, or refused, and never a traceback."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops.adapters import retryafter
from mlops.adapters.registry import Repository, images, referrers, tokens
from mlops.domain.digest import Digest
from mlops.errors import RegistryError, UsageError

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=8,
)
DIGEST = Digest("0" * 64)


@given(st.lists(st.text(max_size=300), max_size=3))
def test_any_challenge(headers):
    for found in tokens.challenges(headers):
        assert found.scheme == found.scheme.lower()
        assert found.scheme.isascii()


NAME = st.text("abcXYZ019._-", min_size=1, max_size=8).filter(lambda t: t[0].isalpha())
VALUE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)


@given(st.dictionaries(st.sampled_from(["realm", "service", "scope", "error"]), VALUE, min_size=1))
def test_a_challenge_reads_back(params):
    quoted = ",".join(
        f'{key}="{value}"'
        for key, value in (
            (k, v.replace("\\", "\\\\").replace('"', '\\"')) for k, v in params.items()
        )
    )
    (found,) = tokens.challenges([f"Bearer {quoted}"])
    assert (found.scheme, dict(found.params)) == ("bearer", params)


@given(st.text(max_size=40))
def test_any_retry_after(text):
    assert retryafter.seconds(text) >= 0


def test_a_retry_after_in_words():
    later = datetime.now(UTC) + timedelta(hours=1)
    assert 3000 < retryafter.seconds(format_datetime(later)) <= 3600
    assert retryafter.seconds(format_datetime(later - timedelta(days=1))) == 0


@given(ANY)
def test_any_token(found):
    held = tokens._held({"token": found, "expires_in": found}, 0.0)
    assert held is None or held.header.startswith("Bearer ")


@pytest.mark.parametrize("lasts", [None, "60", -1, 0, float("inf"), float("nan"), True, 10**30])
def test_a_life_that_is_none(lasts):
    held = tokens._held({"token": "x", "expires_in": lasts}, 0.0)
    assert held is not None
    assert held.until == pytest.approx(54)


@given(ANY, ANY)
def test_any_manifest(config, layers):
    try:
        found = images.blobs({"config": config, "layers": layers}, DIGEST)
    except RegistryError:
        return
    assert all(isinstance(size, int) and size >= 0 for size in found.values())


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"[" * 99999, b'{"subject": 3}', b'{"subject": {}}', b"\xff"]
)
def test_a_subject_that_is_none(content):
    with pytest.raises(RegistryError):
        referrers.subject_of(content)


@given(st.text(max_size=60))
def test_any_repository(text):
    try:
        found = Repository.parse(text)
    except UsageError:
        return
    assert Repository.parse(str(found)) == found
    assert not set("?#@ \\") & set(str(found))


def test_the_client_loads_no_command_line():
    """httpx's own takes as long to load as all the rest of it; who wants it later still gets it."""
    code = (
        "import sys; import mlops.adapters.registry; "
        "print(sorted({'rich', 'click', 'pygments', 'httpx._main'} & set(sys.modules))); "
        "import httpx._main"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"
