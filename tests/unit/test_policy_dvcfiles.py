"""DVC's files, parameters, patterns and hashes, read without dvc."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from mlops.domain import params, yaml12
from mlops.domain.dvcfiles import (
    LockedEntry,
    TrackedData,
    address,
    join,
    lock_path_of,
    parse_dvc,
    parse_lock,
)
from mlops.domain.patterns import ignored, matches
from mlops.errors import ConfigError
from mlops.policy.hashes import directory_md5, file_md5, legacy_md5

SCALARS = [
    "1e-3", "1E5", "1.", ".5", "-.5e+3", "5e3", "1_000", "0x1F", "0o17", "017", "0b11", "+1", "-0",
    "on", "off", "yes", "no", "y", "true", "True", "FALSE", "null", "~", "", ".inf", "-.INF", ".nan",
    "12:30:45", "2019-07-16", "1.2.3", "1e", "e5", "0.1e", "_1", "1__0", "'1e-3'", '"on"', "3f2a",
    "12345678901234567890", "00012e4", "<<x", "1,000", "0x", "089",
]  # fmt: skip


@pytest.mark.parametrize("text", SCALARS)
def test_scalars_are_what_ruamel_makes_of_them(text: str) -> None:
    """ruamel.yaml is what DVC reads with."""
    content = f"k: {text}\n"
    theirs = YAML(typ="safe", pure=True).load(content)["k"]
    ours = yaml12.load(content.encode(), "x")["k"]
    assert type(ours) is type(theirs)
    assert ours == theirs or (isinstance(ours, float) and math.isnan(ours) and math.isnan(theirs))


@given(st.from_regex(r"[-+]?[0-9._]{1,6}([eE][-+]?[0-9]{1,2})?", fullmatch=True))
def test_numbers_are_what_ruamel_makes_of_them(text: str) -> None:
    def outcome(load: object) -> object:
        try:
            value = load(f"k: {text}\n")["k"]  # type: ignore[operator]
        except (ValueError, ConfigError):
            return "refused"
        return (type(value).__name__, value)

    theirs = outcome(YAML(typ="safe", pure=True).load)
    assert outcome(lambda t: yaml12.load(t.encode(), "x")) == theirs


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a: 1\na: 2\n", r"f\.yaml:2: the key 'a' stands twice"),
        (b"a: [1\n", r"f\.yaml:2: "),
        (b"\xff\xfe\xff", "not UTF-8"),
        (b"a: !!python/object:os.system x\n", r"f\.yaml:1: .*constructor"),
        (b"[" * 100 + b"]" * 100, "nested more than 60 deep"),
        (b"? [1, 2]\n: x\n", r"f\.yaml:1: .*"),
        (b"a: &a [*a]\n", "holds itself"),
        (b"a: 1\n---\nb: 2\n", "document"),
        (b" " * (yaml12.LIMIT + 1), "too large"),
    ],
)
def test_hostile_yaml_is_refused_with_its_place(content: bytes, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        yaml12.load(content, "f.yaml")


def test_a_billion_laughs_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(ConfigError, match="unfold to more than"):
        yaml12.load("\n".join(lines).encode(), "f.yaml")


@given(st.binary(max_size=300))
def test_any_bytes_are_a_lock_or_refused(content: bytes) -> None:
    for parse in (parse_lock, parse_dvc, params.parse):
        said = "dvc.lock"
        try:
            parse(content, "dvc.lock")
        except ConfigError as exc:
            said = exc.message
        assert said.startswith("dvc.lock")


LOCK = b"""\
schema: '2.0'
stages:
  train:
    cmd: [a, b]
    deps:
    - {path: ../data, hash: md5, md5: ab.dir, size: 3, nfiles: 2}
    - {path: old.txt, md5: cd}
    params: {params.yaml: {lr: 0.001}}
    outs: [{path: model.bin, hash: md5, md5: ef, size: 1}]
"""


def test_a_lock() -> None:
    (name, stage), *rest = parse_lock(LOCK, "sub/dvc.lock").items()
    assert (name, rest) == ("sub/dvc.yaml:train", [])
    assert stage.cmd == ("a", "b")
    assert stage.deps["../data"] == LockedEntry("ab.dir", 3, 2)
    assert stage.deps["old.txt"].legacy
    assert stage.params == {"params.yaml": {"lr": 0.001}}


def test_the_first_schema_of_a_lock() -> None:
    assert set(parse_lock(b"train: {cmd: x}\n", "dvc.lock")) == {"train"}
    assert parse_lock(b"", "dvc.lock") == {}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[]", "not a dvc.lock"),
        (b"schema: '2.0'\nstages: []\n", "stages is not a mapping"),
        (b"train: []\n", "stage train is not a mapping"),
        (b"train: {params: [x]}\n", "params"),
        (b"train: {deps: {}}\n", "deps is not a list"),
        (b"train: {outs: [{md5: x}]}\n", "outs has an entry without path"),
    ],
)
def test_what_is_no_lock(content: bytes, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_lock(content, "dvc.lock")


def test_a_tracker() -> None:
    content = b"outs:\n- {path: raw, md5: ab.dir, size: 3, nfiles: 2, hash: md5, remote: r}\n"
    assert parse_dvc(content, "data/raw.dvc") == (
        TrackedData("data/raw", "ab.dir", 3, 2, remote="r"),
    )
    assert parse_dvc(b"wdir: ..\nouts:\n- {path: raw, md5: ab}\n", "data/raw.dvc")[0].path == "raw"
    assert parse_dvc(b"outs:\n- {path: raw}\n", "raw.dvc") == (), "imported and not yet downloaded"


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", ".."])
def test_a_tracker_that_leads_out_of_the_project(path: str) -> None:
    with pytest.raises(ConfigError, match="outside the project"):
        parse_dvc(f"outs:\n- {{path: {path}, md5: ab}}\n".encode(), "raw.dvc")


def test_addresses() -> None:
    assert address("dvc.lock", "a") == "a"
    assert address("x/y/dvc.lock", "a") == "x/y/dvc.yaml:a"
    assert lock_path_of("a@1") == "dvc.lock"
    assert lock_path_of("x/y/dvc.yaml:a") == "x/y/dvc.lock"
    assert join("a/b", "../c") == "a/c"
    assert join("a", "s3://b/../c") == "s3://b/../c"


# -- parameters


def test_parameters_in_four_languages() -> None:
    assert params.parse(b"a: {b: 1e-3}", "p.yaml") == {"a": {"b": 0.001}}
    assert params.parse(b'{"a": [1]}', "p.json") == {"a": [1]}
    assert params.parse(b"[a]\nb = 1\n", "p.toml") == {"a": {"b": 1}}
    code = b"A = 1\nB: int = 2\nC = D = 3\nE = f()\nclass N:\n    w = (1, 2)\n    def __init__(self):\n        self.h = [1]\n        x = 1\n"
    assert params.parse(code, "p.py") == {"A": 1, "B": 2, "N": {"w": (1, 2), "h": [1]}}
    assert params.parse(b"", "p.yaml") == {}


@pytest.mark.parametrize(
    ("content", "path"),
    [
        (b"{", "p.json"),
        (b"a = ", "p.toml"),
        (b"def", "p.py"),
        (b"- 1", "p.yaml"),
        (b"\xff", "p.toml"),
    ],
)
def test_parameters_that_cannot_be_read(content: bytes, path: str) -> None:
    with pytest.raises(ConfigError, match=f"^{path}"):
        params.parse(content, path)


def test_lookup_goes_through_mappings_and_lists() -> None:
    values = {"a": {"b": [{"c": 1}]}, 3: "x", "n": None}
    assert params.lookup(values, "a.b.0.c") == (True, 1)
    assert params.lookup(values, "a.b.1.c") == (False, None)
    assert params.lookup(values, "3") == (True, "x")
    assert params.lookup(values, "n") == (True, None)
    assert params.lookup(values, "n.x") == (False, None)


# -- hashes


def test_hashes_of_before_dvc_3() -> None:
    assert legacy_md5(b"a\r\nb") == file_md5(b"a\nb")
    assert legacy_md5(b"\x00a\r\nb") == file_md5(b"\x00a\r\nb"), "binary stays as it is"
    assert directory_md5({"b": "2", "a": "1"}) == directory_md5({"a": "1", "b": "2"})


# -- patterns


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("src/**", "src/a/b.py", True),
        ("src/**", "src", False),
        ("src/**", "lib/src/a.py", False),
        ("src", "src/a/b.py", True),
        ("src", "lib/src/a.py", True),
        ("src/", "src/a.py", True),
        ("src/", "lib/src", False),
        ("/src", "lib/src/a.py", False),
        ("dvc.*", "dvc.yaml", True),
        ("dvc.*", "sub/dvc.lock", True),
        ("params.yaml", "sub/params.yaml", True),
        ("a/*.py", "a/b.py", True),
        ("a/*.py", "a/b/c.py", False),
        ("a/**/c.py", "a/c.py", True),
        ("a/**/c.py", "a/x/y/c.py", True),
        ("**/c.py", "c.py", True),
        ("**", "any/thing", True),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("[a-c].py", "b.py", True),
        ("[!a-c].py", "b.py", False),
        ("[z-a].py", "b.py", False),
        ("a[", "a[", True),
        (r"\#a", "#a", True),
        (r"\!a", "!a", True),
        (r"a\*", "a*", True),
        (r"a\*", "ab", False),
        ("# a", "# a", False),
        ("", "a", False),
        ("/", "a", False),
        ("a**b", "axxb", True),
        ("./src/a", "src/a", True),
    ],
)
def test_patterns(pattern: str, path: str, expected: bool) -> None:
    assert matches([pattern], path) is expected


def test_the_last_pattern_decides() -> None:
    assert not matches(["src/**", "!src/notes/**"], "src/notes/a.md")
    assert matches(["src/**", "!src/notes/**", "src/notes/a.md"], "src/notes/a.md")
    assert ignored(["build/", "!build/keep"], "build/keep"), "nothing below it can be taken back"
    assert not ignored(["build/*", "!build/keep"], "build/keep")


@given(st.text(max_size=20), st.text(min_size=1, max_size=20))
def test_any_pattern_can_be_asked(pattern: str, path: str) -> None:
    assert matches([pattern], path) in (True, False)
