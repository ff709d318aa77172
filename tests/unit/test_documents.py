from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML  # what DVC reads with

from mlops.documents import (
    ALIASES,
    DEPTH,
    LIMIT,
    dotted,
    dump,
    load,
    load_all,
    quote,
    resolve,
)
from mlops.errors import ConfigError

calm = settings(deadline=None)  # the machine may be busy

TEXT = """\
# head
name: spam   # a name
models:
  eggs:
    paths: [a, "b",
            c]
    gates:
    - metric: loss
      max: 1e-3
    -
      metric: acc
base: &base {x: 1, y: 2}
other:
  <<: *base
  y: 3
script: |
  echo one
  echo two
"""


def refused(content: bytes | str, **options: object) -> str:
    raw = content.encode() if isinstance(content, str) else content
    with pytest.raises(ConfigError) as caught:
        load(raw, "f.yaml", **options)  # type: ignore[arg-type]
    return str(caught.value)


# --- values and places ---------------------------------------------------------------------------


def test_a_document_is_plain_values():
    assert load(TEXT.encode(), "f.yaml").value == {
        "name": "spam",
        "models": {
            "eggs": {
                "paths": ["a", "b", "c"],
                "gates": [{"metric": "loss", "max": 0.001}, {"metric": "acc"}],
            }
        },
        "base": {"x": 1, "y": 2},
        "other": {"x": 1, "y": 3},
        "script": "echo one\necho two\n",
    }


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ((), 2),
        (("name",), 2),
        (("models",), 3),
        (("models", "eggs", "paths", 1), 5),
        (("models", "eggs", "paths", 2), 6),
        (("models", "eggs", "gates", 0, "max"), 9),
        (("models", "eggs", "gates", 1), 11),
        (("models", "eggs", "gates", 1, "metric"), 11),
        (("other", "x"), 12),
        (("other", "y"), 15),
        (("models", "eggs", "nothing", "below"), 4),
        (("models", "eggs", "paths", 9), 5),
    ],
)
@pytest.mark.parametrize("eol", ["\n", "\r\n"])
def test_every_value_knows_its_line(path, line, eol):
    content = b"\xef\xbb\xbf" + TEXT.replace("\n", eol).encode()
    assert load(content, "f.yaml").line(path) == line


@pytest.mark.parametrize("eol", ["\n", "\r\n"])
def test_offsets_count_characters_of_the_text(eol):
    text = f"a: ü𝄞{eol}b: 'x' # é{eol}c: [𝄞, y]{eol}"
    document = load(text.encode(), "f.yaml")
    spans = {key.text: text[node.start : node.end] for key, node in document.root.items}
    assert spans == {"a": "ü𝄞", "b": "'x'", "c": "[𝄞, y]"}
    y = document.node(("c", 1))
    assert text[y.start : y.end] == "y"


def test_errors_name_file_line_and_path():
    document = load(TEXT.encode(), "f.yaml")
    error = document.error(("models", "eggs", "gates", 0, "max"), "expected less", hint="Do it")
    assert error.message == "f.yaml:9: models.eggs.gates[0].max: expected less"
    assert error.hint == "Do it"


def test_long_paths_are_shortened():
    assert dotted(("a",) * 40).count("a") == 9


def test_an_empty_file_reads_as_nothing():
    assert load(b"", "f").value is None
    assert load(b"# only a comment\n", "f").value is None
    assert load_all(b"", "f") == ()


def test_several_documents():
    found = load_all(b"a: 1\n---\n- b\n--- c\n", "f")
    assert [document.value for document in found] == [{"a": 1}, ["b"], "c"]
    assert [document.line(()) for document in found] == [1, 3, 4]
    assert refused("a: 1\n---\nb: 2\n") == "f.yaml:3: expected one YAML document, found 2"


def test_anchors_end_with_their_document():
    with pytest.raises(ConfigError, match=re.escape("f:3: the alias *a has no anchor before it")):
        load_all(b"&a x\n---\n*a\n", "f")


# --- what plain scalars mean ---------------------------------------------------------------------

SCALARS = [
    "1",
    "y",
    "Y",
    "n",
    "on",
    "On",
    "off",
    "NO",
    "yes",
    "True",
    "tRue",
    "false",
    "null",
    "~",
    "012",
    "0o14",
    "0O7",
    "0b11",
    "0x1F",
    "-0x1F",
    "+0b1",
    "09",
    "08.5",
    "1_000",
    "1_0.5",
    "1e3",
    "1E3",
    "1e-3",
    "-1.5e+3",
    ".5",
    "1.",
    "+.5",
    "+1",
    "-0",
    "1:30",
    "190:20:30.15",
    "2019-01-01",
    "2019-07-16T12:00:00Z",
    "1.5.2",
    "=",
    "nan",
    "inf",
    "1234e56",
    "e5",
    "0x",
    "0x_",
    "0b2",
    "0_7",
    "_1",
    "1e400",
    "-",
    ".",
    "..",
    "+",
    "Null",
    "None",
    "NaN",
    "1e",
    "1e+",
    ".e5",
    "._1",
    "12e03",
    "1a",
    "0777",
    "-012",
]


def test_plain_scalars_mean_what_kubernetes_makes_of_them(tmp_path):
    kubectl = shutil.which("kubectl")
    assert kubectl, "kubectl is needed to compare with"
    data = "".join(f"  k{i}: {text}\n" for i, text in enumerate(SCALARS) if text != "-")
    document = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata:\n{data}"
    (tmp_path / "c.yaml").write_text(document)
    done = subprocess.run(
        [kubectl, "label", "--local", "-f", "c.yaml", "-o", "json", "a=b"],
        cwd=tmp_path, env={"HOME": str(tmp_path), "PATH": str(Path(kubectl).parent)},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    theirs = json.loads(done.stdout)["data"]
    ours = load(document.encode(), "c.yaml").value["data"]
    differ = {
        SCALARS[int(key[1:])]: (theirs[key], ours[key])
        for key in ours
        if theirs[key] != ours[key] or isinstance(theirs[key], bool) != isinstance(ours[key], bool)
    }
    assert differ == {}


# times, no scalar, and forms on which its own parsers disagree with each other
UNLIKE_DVC = {*"- = 2019-01-01 2019-07-16T12:00:00Z 0O7 0x_ 1e400 1_0.5 ._1".split()}  # noqa: SIM905


def test_plain_scalars_mean_what_dvc_makes_of_them():
    for text in sorted(set(SCALARS) - UNLIKE_DVC):
        theirs = YAML(typ="safe", pure=True).load(text)
        ours = resolve(text, "1.2")
        assert (ours, isinstance(ours, bool)) == (theirs, isinstance(theirs, bool)), text


def test_infinity_and_not_a_number():
    assert resolve(".inf") == math.inf
    assert resolve("-.INF") == -math.inf
    assert math.isnan(resolve(".NaN"))  # type: ignore[arg-type]


def test_quoted_and_tagged_scalars():
    value = load(
        b"a: '1'\nb: !!str 1\nc: !!float 1\nd: !!int '2'\ne: !!null ''\nf: ! 1\n", "f"
    ).value
    assert value == {"a": "1", "b": "1", "c": 1.0, "d": 2, "e": None, "f": "1"}
    assert isinstance(value["c"], float)


# --- keys ----------------------------------------------------------------------------------------


def test_words_that_yaml_1_1_takes_for_booleans_are_keys():
    assert load(b"on: 1\ny: 2\nno: 3\n", "f").value == {"on": 1, "y": 2, "no": 3}


@pytest.mark.parametrize("key", ["1", "1.5", "true", "~", "null", "0x1F"])
def test_other_keys_are_strings_or_taken_by_their_text(key):
    assert f'f.yaml:2: a: expected a string as key: write "{key}"' == refused(f"a:\n  {key}: x\n")
    assert load(f"a:\n  {key}: x\n".encode(), "f", text_keys=True).value == {"a": {key: "x"}}
    assert load(f'a:\n  "{key}": x\n'.encode(), "f").value == {"a": {key: "x"}}


def test_merged_keys():
    content = b"a: &a {x: 1}\nb: &b {x: 2, y: 2}\nc:\n  z: 3\n  <<: [*a, *b]\nd: {'<<': 1}\n"
    value = load(content, "f").value
    assert value["c"] == {"x": 1, "y": 2, "z": 3}
    assert value["d"] == {"<<": 1}
    assert "merge key" in refused("<<: 1\n")
    assert "merge key" in refused("a: {<<: [1]}\n")
    assert "duplicate key" in refused("a: &a {}\nb:\n  <<: *a\n  <<: *a\n")


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: 1\nb:\n  c: 1\n  c: 2\n", "f.yaml:4: b.c: duplicate key, first on line 3"),
        ("{a: 1, 'a': 2}", "f.yaml:1: a: duplicate key, first on line 1"),
        ("a:\n- !!python/object:os.system x\n", "f.yaml:2: a[0]: expected no tag, found"),
        ("a: !!binary aGk=\n", "f.yaml:1: a: expected no tag, found"),
        ("a: !!set {b}\n", "f.yaml:1: a: expected no tag, found"),
        ("a: !!timestamp 2019-01-01\n", "f.yaml:1: a: expected no tag, found"),
        ("a: !local b\n", "f.yaml:1: a: expected no tag, found !local"),
        ("a: !!seq {b: 1}\n", "f.yaml:1: a: expected no tag, found"),
        ("a: !!int foo\n", "f.yaml:1: a: expected what its tag !!int says, found 'foo'"),
        ("a: *b\n", "f.yaml:1: a: the alias *b has no anchor before it"),
        ("a: &a [1, *a]\n", "f.yaml:1: a[1]: the alias *a refers to what it stands in"),
        ("? [a]\n: b\n", "f.yaml:1: expected a string as key, found a list"),
        ("x: {{ a }}\n", "f.yaml:1: x: expected a string as key, found a mapping"),
        ("a: &a b\n*a : c\n", "f.yaml:2: expected a string as key, found an alias"),
        ("a: 1\nb: c: d\n", "f.yaml:2: not YAML: mapping values are not allowed"),
        ("a:\n\t- b\n", "f.yaml:2: a: not YAML: found character that cannot start any token"),
        ("a: [1,\n", "f.yaml:2: a[1]: not YAML: did not find expected node content"),
        ("a: 'b\n", "not YAML: found unexpected end of stream"),
        ("a: @b\n", "f.yaml:1: a: not YAML"),
        ("%YAML 3.0\n---\na\n", "f.yaml:1: not YAML: found incompatible YAML document"),
        ("a: " + "1" * 5000, "f.yaml:1: a: expected a number of at most 4000 digits"),
        ("a:\n- b\n- \x07\n", "f.yaml:3: expected text, found the control character U+0007"),
        ("a: b\0", "f.yaml:1: expected text, found the control character U+0000"),
        ('a: "\\0"\n', "f.yaml:1: a: expected text, found the control character U+0000"),
        ('a: "\\ud800"\n', "not YAML"),
        (b"a: 1\nb: \xff\n", "f.yaml:2: not UTF-8: byte 0xff at offset 8"),
        ("a: 1\n".encode("utf-16"), "not UTF-8"),
        (b"\x80\x03}q\x00.", "not UTF-8"),
    ],
)
def test_what_is_no_plain_yaml_is_refused_with_its_line(content, message):
    assert message in refused(content)


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? ", "{? ", "[a, [", "!!seq [", "&a ["])
@pytest.mark.parametrize("limit", [LIMIT, 1 << 26])
def test_deep_nesting_is_refused_before_anything_recurses(opening, limit):
    content = opening * (900_000 // len(opening))
    told = refused(content, limit=limit)
    assert f"expected at most {DEPTH} levels" in told or "as key" in told
    assert len(told) < 300


def test_deep_block_nesting_is_refused():
    content = "".join(" " * depth + "a:\n" for depth in range(1000))
    assert refused(content).startswith(f"f.yaml:{DEPTH + 1}: a.a.")


def test_the_depth_that_is_allowed():
    assert load(b"[" * DEPTH + b"]" * DEPTH, "f").value
    assert "levels" in refused(b"[" * (DEPTH + 1) + b"]" * (DEPTH + 1))


def test_aliases_do_not_nest_deeper_than_that():
    lines = ["a0: &a0 [x]"] + [f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 2000)]
    assert "levels of nesting" in refused("\n".join(lines))


def test_a_billion_laughs_are_refused():
    lines = ["a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    told = refused("\n".join(lines))
    assert f"expected aliases to stand for at most {ALIASES} values" in told
    assert told.startswith("f.yaml:4: a3")


def test_modest_aliases_are_plain_values_of_their_own():
    value = load(b"a: &a [1]\nb: *a\nc: *a\n", "f").value
    assert value == {"a": [1], "b": [1], "c": [1]}
    assert value["a"] is not value["b"]


def test_size_is_capped_before_anything_is_read():
    assert (
        refused(b"\xff" * (LIMIT + 1))
        == f"f.yaml: {LIMIT + 1} bytes long, expected at most {LIMIT}"
    )
    assert refused(b"a: 1\n", limit=4) == "f.yaml: 5 bytes long, expected at most 4"
    assert load(b"a: 1", "f", limit=4).value == {"a": 1}


def test_a_large_file_within_the_cap_is_read():
    content = b"- {a: 1, b: [x, y]}\n" * 10_000
    assert len(load(content, "f").value) == 10_000


@calm
@given(st.binary(max_size=300))
@example(b"\xef\xbb\xbf\xef\xbb\xbf")
@example(b"\xc2\x85- a")
def test_no_bytes_raise_anything_but_a_config_error(content):
    try:
        load_all(content, "f.yaml")
    except ConfigError as exc:
        told = str(exc)
    else:
        return
    assert told.startswith("f.yaml:")


soup = st.lists(
    st.sampled_from(
        ["a", "b", "- ", ": ", "? ", ", ", "[", "]", "{", "}", "\n", "  ", "&x ", "*x", "<<: ",
         "'", '"', "|\n", ">-\n", "#", "!!str ", "!", "---\n", "...\n", "%", "\\"]
    ),
    max_size=40,
)  # fmt: skip


@calm
@given(soup)
def test_yaml_that_we_read_means_the_same_to_pyyaml(pieces):
    text = "".join(pieces)
    try:
        ours = load(text.encode(), "f.yaml").value
    except ConfigError:
        return
    try:
        theirs = yaml.load(text, Loader=TextLoader)  # noqa: S506 - a safe loader
    except yaml.YAMLError as exc:
        # an anchor may stand twice in YAML 1.2
        assert "duplicate anchor" in str(exc)  # noqa: PT017
        return
    assert texts(ours) == (theirs or "" if ours is None else theirs)


class TextLoader(yaml.CSafeLoader):
    """PyYAML's own composition, with every scalar a text."""


def _construct_text(loader, node):
    return loader.construct_scalar(node)


for _tag in ("int", "float", "bool", "null", "timestamp", "value"):
    TextLoader.add_constructor(f"tag:yaml.org,2002:{_tag}", _construct_text)


def texts(value):
    if isinstance(value, dict):
        return {key: texts(child) for key, child in value.items()}
    if isinstance(value, list):
        return [texts(child) for child in value]
    return "" if value is None else value


# --- writing -------------------------------------------------------------------------------------

TRAPS = [
    *SCALARS, "", " ", "a ", " a", "a: b", "a #b", "#a", "a:", "a,b", "[a", "{a}", "!a", "&a", "*a",
    "?", "? a", "- a", "-a", "|", ">", "%a", "@a", "`a", "'", '"', '"a"', "a\tb", "\t", "a\n", "\na",
    "a\nb", "a\n\n", "a \nb", "  a\nb", "\n", "a\r\nb", "a\rb", "\x85", "\u2028", "\ufeff", "\x7f",
    "é", "𝄞", "---", "...", "--- a", "a\n---\nb", "a\n...\n", "<<", "null", "Infinity", "-inf",
    "1234e56", "0e0", "9e9", "1e5", "y", "N", "a" * 300, "a b " * 100, "12:30:45", "0.1.2", "$(x)",
    "#!/bin/sh\nset -e\n\nif true; then\n  echo hi\nfi\n", "tab\there\nx", "x\n\ty\n", "\\", "\\n",
]  # fmt: skip
texts_of_all_kinds = (
    st.sampled_from(TRAPS)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
    | st.text(st.sampled_from("a1.e+-_: #\n\t'\"xnoy[]{},&*!|>%@`?~=<"), max_size=12)
)
plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts_of_all_kinds,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(texts_of_all_kinds, inner, max_size=4)
    ),
    max_leaves=12,
)


@calm
@given(texts_of_all_kinds)
def test_every_text_is_read_back_as_that_text_by_every_reader(text):
    written = dump({"k": text, "l": [text], text: 1})
    expected = {"k": text, "l": [text], text: 1} | ({"k": 1} if text == "k" else {})
    expected |= {"l": 1} if text == "l" else {}
    assert yaml.safe_load(written) == expected
    assert load(written.encode(), "f").value == expected
    assert load(written.encode(), "f", schema="1.2").value == expected


@calm
@given(texts_of_all_kinds)
def test_a_quoted_text_is_read_back_in_block_and_flow(text):
    for form in (f"k: {quote(text)}\n", f"{{k: {quote(text)}, l: 1}}", f"- [{quote(text)}]"):
        value = load(form.encode(), "f", schema="1.2").value
        assert (value["k"] if isinstance(value, dict) else value[0][0]) == text
        value = yaml.safe_load(form)
        assert (value["k"] if isinstance(value, dict) else value[0][0]) == text


@pytest.mark.parametrize("text", SCALARS)
def test_what_any_reader_takes_for_something_else_is_quoted(text):
    tag = yaml.SafeLoader("").resolve(yaml.ScalarNode, text, (True, False))
    readings = (resolve(text, "1.1"), resolve(text, "1.2"))
    if not tag.endswith(":str") or not all(isinstance(reading, str) for reading in readings):
        assert quote(text) == f'"{text}"'


@pytest.mark.parametrize(
    "text",
    [
        "spam",
        "sha256:" + "a" * 64,
        "registry.example.com:5000/ml/spam",
        "$(params.x)",
        "./a b",
        "dev",
    ],
)
def test_ordinary_texts_stay_plain(text):
    assert quote(text) == text
    assert dump({"k": text}) == f"k: {text}\n"


@calm
@given(plain_values)
def test_every_value_is_read_back(value):
    written = dump(value)
    assert dump(load(written.encode(), "f").value) == written
    assert load(written.encode(), "f").value == value


def test_scripts_are_literal_blocks_and_order_is_kept():
    script = "#!/bin/sh\nset -e\n\nif true; then\n  echo hi\nfi\n"
    assert dump({"z": 1, "script": script, "a": [{"b": "x\ny"}]}) == (
        "z: 1\nscript: |\n  #!/bin/sh\n  set -e\n\n  if true; then\n    echo hi\n  fi\n"
        "a:\n- b: |-\n    x\n    y\n"
    )


@pytest.mark.parametrize("text", ["a \nb", "a\n\n", " a\nb", "\na", "a\n\t\nb"])
def test_what_an_editor_would_trim_is_no_literal_block(text):
    written = dump({"k": text})
    assert written.startswith('k: "')
    assert load(written.encode(), "f").value == {"k": text}


def test_numbers_that_are_none():
    assert dump([math.inf, -math.inf, math.nan]) == "- .inf\n- -.inf\n- .nan\n"


def test_other_collections_and_enumerations_are_written_as_what_they_hold():
    class Phase(StrEnum):
        DONE = "y"

    value = {"a": (1, Phase.DONE), "b": MappingProxyType({"c": []})}
    assert dump(value) == 'a:\n- 1\n- "y"\nb:\n  c: []\n'


def test_the_same_object_twice_is_written_twice():
    shared = {"a": [1]}
    assert "&" not in dump([shared, shared])


@pytest.mark.parametrize("value", [object(), {"a": {1, 2}}, b"bytes", "a\0b", "\udcff", {1: 2}])
def test_what_yaml_cannot_hold_is_refused(value):
    with pytest.raises(ConfigError, match="cannot be written"):
        dump({"k": value})


def test_what_is_nested_too_deep_is_not_written():
    value: list[object] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(ConfigError, match="levels of nesting"):
        dump(value)


def test_nothing_heavy_is_imported():
    code = "import sys, mlops.documents; print(*{m.split('.')[0] for m in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(done.stdout.split())
    assert "yaml" in loaded
    assert loaded.isdisjoint({"pydantic", "ruamel", "dvc"})
