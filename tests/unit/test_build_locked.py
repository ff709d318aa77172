"""requirements.lock, read strictly: bad lines are refused, whatever they look like."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops.build import locked
from mlops.errors import BuildError

HASH = "--hash=sha256:" + "0f" * 32
LOCK = f"""# Written by mlops lock
Typing_Extensions==4.12.2 \\
    {HASH} \\
    {HASH}
uvicorn[standard]==0.34.0 ; python_version >= "3.8" \\
    {HASH}   # via -r requirements.txt
annoy @ https://example.com/annoy-1.17-cp311-cp311-linux_x86_64.whl {HASH}
"""


def test_the_form_that_mlops_lock_writes():
    pins = locked.parse(LOCK.encode())
    assert [(pin.name, pin.version) for pin in pins] == [
        ("typing-extensions", "4.12.2"),
        ("uvicorn", "0.34.0"),
        ("annoy", ""),
    ]
    assert pins[2].url.endswith(".whl")
    assert locked.parse(locked.dump(pins)) == pins
    assert "python_version" in pins[1].line


def test_an_empty_lock_is_one():
    assert locked.parse(b"") == locked.parse(b"# nothing\n\n") == ()


def test_the_line_that_is_named_is_where_the_pin_begins():
    with pytest.raises(BuildError, match=r"requirements\.lock:3: b==1 has no sha256"):
        locked.parse(f"a==1 \\\n  {HASH}\nb==1 \\\n  --hash=md5:00\n".encode())


@pytest.mark.parametrize(
    "text", ["-r other.txt", "--find-links /x", "--trusted-host x", "a", "a>1", "a==1;x", "\\", "@"]
)
def test_anything_else_is_refused(text: str):
    if text == "\\":
        assert locked.parse(text.encode()) == ()
        return
    with pytest.raises(BuildError, match=r"requirements\.lock:1: "):
        locked.parse(text.encode())


@given(st.binary(max_size=200))
def test_bytes_of_strangers(content: bytes):
    try:
        pins = locked.parse(content)
    except BuildError:
        return
    for pin in pins:
        assert pin.version or pin.url
        assert "--hash=sha256:" in pin.line


@given(st.text(alphabet="ab=@:/.#-\\ \n;[]\"'0", max_size=60))
def test_lines_near_to_pins(text: str):
    try:
        pins = locked.parse(f"{text} {HASH}".encode())
    except BuildError:
        return
    assert all(not pin.line.startswith("-") for pin in pins)
