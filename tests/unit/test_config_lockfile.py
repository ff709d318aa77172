from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops.config.lockfile import dump_lock, parse_lock
from mlops.domain.digest import Digest
from mlops.domain.lock import TOOL, LockedImage, LockedRequirements, ProjectLock
from mlops.errors import ConfigError

calm = settings(deadline=None)  # the machine may be busy
A, B = Digest("a" * 64), Digest("b" * 64)

LOCK = ProjectLock(
    images=(
        LockedImage("host", "base-host", A, B, "linux/amd64"),
        LockedImage("mlops", "mlops", B, B, "linux/amd64"),
        LockedImage("python:3.12-slim", "docker.io/library/python", A, B, "linux/arm64"),
    ),
    tools=(("mlops", "0.1.0"), ("python", "3.12"), ("uv", "0.9"), ("zlib-ng", "1e3")),
    requirements=(LockedRequirements("requirements.lock", A),),
    builder="1",
)

TEXT = f"""\
# Written by mlops lock; review it like code.
apiVersion: mlops/v1
kind: Lock
builder: "1"
tools:
  mlops: "0.1.0"
  python: "3.12"
  uv: "0.9"
  zlib-ng: "1e3"
images:
- name: host
  ref: base-host
  platform: linux/amd64
  digest: {A}
  manifest: {B}
- name: mlops
  ref: mlops
  platform: linux/amd64
  digest: {B}
  manifest: {B}
- name: python:3.12-slim
  ref: docker.io/library/python
  platform: linux/arm64
  digest: {A}
  manifest: {B}
requirements:
- path: requirements.lock
  inputs: {A}
"""


def refused(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_lock(text.encode())
    return caught.value.message.splitlines()


def test_the_file_as_a_whole():
    assert dump_lock(LOCK).decode() == TEXT
    assert parse_lock(TEXT.encode()) == LOCK


def test_the_order_does_not_depend_on_who_wrote_it():
    shuffled = ProjectLock(LOCK.images[::-1], LOCK.tools[::-1], LOCK.requirements[::-1], "1")
    assert dump_lock(shuffled) == dump_lock(LOCK)


def test_lookups():
    assert LOCK.image("python:3.12-slim") == LOCK.images[2]
    assert LOCK.image("python:3.12-slim", "linux/arm64") == LOCK.images[2]
    assert LOCK.image("python:3.12-slim", "linux/amd64") is None
    assert LOCK.image(TOOL) == LOCK.images[1]
    assert LOCK.image("python") is None
    assert LOCK.tool("uv") == "0.9"
    assert LOCK.tool("pip") is None
    assert LOCK.inputs("requirements.lock") == A
    assert LOCK.inputs("other.lock") is None


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("kind: Lock", "kind: Project", "mlops.lock:3: kind: expected Lock; found 'Project'"),
        ('"0.9"', "0.9", 'mlops.lock:8: tools.uv: expected a string; YAML reads 0.9 as a number: write "0.9"'),
        ("ref: mlops", "reff: mlops", "mlops.lock:16: images[1].ref: is missing: expected where it was found"),
        (f"digest: {B}", "digest: latest", "mlops.lock:19: images[1].digest: expected a digest"),
        ("name: mlops", "name: host", "mlops.lock:10: images: expected host once for linux/amd64, found it twice"),
        ("path: req", "path: ../req", "mlops.lock:27: requirements[0].path: expected a path inside"),
        ("requirements:\n", f"requirements:\n- {{path: requirements.lock, inputs: '{B}'}}\n", "mlops.lock:26: requirements: expected requirements.lock once"),
    ],
)  # fmt: skip
def test_lock_errors(old, new, error):
    assert old in TEXT
    assert refused(TEXT.replace(old, new, 1))[0].startswith(error)


names = st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12
).filter(lambda text: text.strip() != "")
digests = st.binary(min_size=32, max_size=32).map(lambda raw: Digest(raw.hex()))
images = st.builds(
    LockedImage, names, names, digests, digests, st.sampled_from(["linux/amd64", "linux/arm/v7"])
)


@calm
@given(
    st.lists(images, max_size=3, unique_by=lambda image: (image.name, image.platform)),
    st.dictionaries(names, names, max_size=3),
    st.lists(digests, max_size=2),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5),
    st.dictionaries(names, digests, max_size=2),
)
def test_what_is_written_is_read_back(found, tools, inputs, builder, tasks):
    lock = ProjectLock(
        tuple(sorted(found, key=lambda image: (image.name, image.platform))),
        tuple(sorted(tools.items())),
        tuple(LockedRequirements(f"r{i}.lock", digest) for i, digest in enumerate(inputs)),
        builder,
        tuple(sorted(tasks.items())),
    )
    assert parse_lock(dump_lock(lock)) == lock


def test_images_of_tekton_documents():
    text = f"{TEXT}tasks:\n- name: alpine:3\n  digest: {A}\n"
    assert parse_lock(text.encode()).task("alpine:3") == A
    assert dump_lock(parse_lock(text.encode())).decode() == text
    twice = f"{text}- name: alpine:3\n  digest: {B}\n"
    assert refused(twice) == ["mlops.lock:29: tasks: expected alpine:3 once, found it twice"]
