"""Pins of a requirements lock: held against their source, read from damage, compared."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops.domain.digest import Digest
from mlops.domain.lock import TOOL, LockedImage, ProjectLock
from mlops.engine import lockdiff, requirementpins
from mlops.engine.lockdiff import Change
from mlops.errors import BuildError, ConfigError

calm = settings(deadline=None)
A, B, C = "a" * 64, "b" * 64, "c" * 64


def line(name: str, version: str, *hashes: str, marker: str = "") -> str:
    words = [f"{name}=={version}{marker}", *(f"--hash=sha256:{each}" for each in hashes)]
    return " \\\n    ".join(words) + "\n"


def test_only_hashes_that_the_source_has_are_kept():
    content = line("a", "1.0", A, B, marker=" ; python_version > '3'") + line("b", "2.0", C)
    held = requirementpins.held_against(content.encode(), {("a", "1.0"): frozenset({B})}, "uv.lock")
    assert held.decode() == line("a", "1.0", B, marker=" ; python_version > '3'") + line(
        "b", "2.0", C
    )


def test_without_hashes_in_the_source_nothing_changes():
    content = (line("a", "1.0", B, A) + "# as it is\n").encode()
    for trusted in ({}, {("a", "1.0"): frozenset()}):
        assert requirementpins.held_against(content, trusted, "x") == content


@pytest.mark.parametrize("version", ["1", "1.0", "1.0.0"])
def test_a_mismatch_is_seen_however_the_version_is_written(version: str):
    trusted = {("a", version): frozenset({B})}
    with pytest.raises(
        BuildError, match=r"a 1\.0 has other bytes .*expected sha256:bbbb.*found sha256:aa"
    ):
        requirementpins.held_against(line("A", "1.0", A).encode(), trusted, "uv.lock")


@pytest.mark.parametrize(
    "text",
    [
        "a\n",
        "a>=1 --hash=sha256:aa\n",
        "a==1.0\n",
        "a==1.0 --hash=md5:aa\n",
        "-e . --hash=sha256:aa\n",
    ],
)
def test_an_answer_without_version_and_hash_is_refused(text: str):
    with pytest.raises(ConfigError, match="has no version and hash to lock"):
        requirementpins.check_pins(text.encode(), "requirements.txt")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (line("a", "1.0", A), ""),
        ("# a comment\n" + line("a", "1.0", A, marker=" ; os_name == 'posix'"), ""),
        ("<<<<<<< ours\n" + line("a", "1.0", A), "<<<<<<< ours"),
        (line("a", "1.0", A) + "=======\n", "======="),
        ("--index-url https://evil\n" + line("a", "1.0", A), "--index-url https://evil"),
        ("a==1.0\n", "a==1.0"),
        ("a==1.0 \\\n", "a==1.0"),
        (line("a", "1.0", A)[:-20], "a==1.0"),
    ],
)
def test_damage_is_found(text: str, found: str):
    assert requirementpins.damaged(text.encode()) == found


def test_what_is_sound_is_kept_once_in_its_order():
    text = line("b", "1.0", A) + "<<<<<<< ours\n" + line("a", "1.0", A) + line("a", "2.0", B)
    assert requirementpins.sound(text.encode()).decode() == (
        f"b==1.0   --hash=sha256:{A}\na==1.0   --hash=sha256:{A}\n".replace("   ", "      ")
    )


@calm
@given(st.binary(max_size=120))
def test_any_bytes_are_damaged_or_sound(content: bytes):
    kept = requirementpins.sound(content)
    assert requirementpins.damaged(kept) == ""
    assert requirementpins.sound(kept) == kept
    requirementpins.hashes(content)


@calm
@given(
    st.dictionaries(st.sampled_from("abcd"), st.sets(st.sampled_from([A, B, C]), min_size=1)),
    st.dictionaries(st.sampled_from("abcd"), st.sets(st.sampled_from([A, B, C]), min_size=1)),
)
def test_no_hash_gets_by_that_the_source_does_not_have(index, source):
    content = "".join(line(name, "1.0", *sorted(index[name])) for name in sorted(index)).encode()
    trusted = {(name, "1.0"): frozenset(source[name]) for name in source}
    swapped = any(not index[name] & source[name] for name in index if name in source)
    if swapped:
        with pytest.raises(BuildError, match="has other bytes"):
            requirementpins.held_against(content, trusted, "x")
        return
    held = requirementpins.hashes(requirementpins.held_against(content, trusted, "x"))
    assert {key[0] for key in held} == set(index)
    for (name, _), hashes in held.items():
        assert hashes == (index[name] & source[name] if name in source else index[name])


# -- what changed


def image(name: str, letter: str, platform: str = "linux/amd64") -> LockedImage:
    return LockedImage(name, name, Digest(letter * 64), Digest(letter * 64), platform)


def test_images_that_come_move_and_go():
    old = ProjectLock((image("a", "1"), image("b", "1"), image(TOOL, "1")))
    new = ProjectLock((image("a", "2"), image(TOOL, "1"), image("c", "3", "linux/arm64")))
    assert [str(each) for each in lockdiff.images(old, new)] == [
        "mlops.lock: base a: 222222222222".replace("222222222222", "111111111111 → 222222222222"),
        "mlops.lock: base c (linux/arm64): 333333333333",
        "mlops.lock: base b: 111111111111 → not used",
    ]


def test_packages_and_files_of_packages():
    before = (
        line("a", "1.0", A) + line("b", "1.0", A) + line("c", "1.0", A) + line("d", "1.0", A, B)
    )
    after = line("a", "2.0", A) + line("c", "1.0", C) + line("d", "1.0", B, C) + line("e", "1.0", A)
    told = lockdiff.requirements("r.lock", before.encode(), after.encode())
    assert [str(each) for each in told] == [
        "r.lock: a 1.0 → 2.0",
        "r.lock: b 1.0 → absent",
        "r.lock: e absent → 1.0",
        "r.lock: c: 1.0, every file has other bytes under the same version",
        "r.lock: d: 1.0, 1 files more, 1 fewer",
    ]


def test_a_first_lock_and_one_of_another_form():
    content = line("a", "1.0", A).encode()
    assert list(lockdiff.requirements("r.lock", None, content)) == [
        Change("r.lock", "file", "", note="1 package")
    ]
    (told,) = lockdiff.requirements("r.lock", content, b"# new\n" + content)
    assert str(told) == "r.lock: comments or form"


@pytest.mark.parametrize(
    ("before", "head"), [(None, "new file mode 100644\n--- /dev/null\n"), (b"", "--- a/x")]
)
def test_a_unified_diff(before: bytes | None, head: str):
    text = lockdiff.unified("x", before, b"1\n2")
    assert text.startswith(f"diff --git a/x b/x\n{head}")
    assert text.endswith("+1\n+2\n\\ No newline at end of file\n")
