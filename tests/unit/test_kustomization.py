from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops.domain.digest import Digest
from mlops.domain.environment import Pin
from mlops.errors import ConfigError
from mlops.manifests.kustomization import pins, tags, with_pin, without_pin

ORIGIN = "environments/dev/kustomization.yaml"
calm = settings(deadline=None)  # the machine may be busy
NEW = Digest("f" * 64)
A, B, C = (Digest(c * 64) for c in "abc")

PLAIN = f"""\
# our pins
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
  - ../base   # shared
images:
  # the filter
  - name: spam                       # the image name of the base
    newName: registry.example.com/ml/spam
    digest: sha256:{"a" * 64}  # by mlops
  - name: "eggs"
    newTag: v1 # for now
  - {{name: ham, digest: 'sha256:{"b" * 64}'}}

labels: [] # end
""".encode()


def edited(content: bytes | str, model: str = "spam", new_name: str | None = None) -> str:
    raw = content.encode() if isinstance(content, str) else content
    return with_pin(raw, model, NEW, ORIGIN, new_name).decode()


def refused(content: bytes | str, model: str = "spam") -> str:
    raw = content.encode() if isinstance(content, str) else content
    with pytest.raises(ConfigError) as caught:
        with_pin(raw, model, NEW, ORIGIN)
    return str(caught.value)


def test_pins_are_the_entries_with_a_digest():
    assert pins(PLAIN, ORIGIN) == (Pin("spam", A), Pin("ham", B))


@pytest.mark.parametrize(
    "digest", ["sha256:TODO", "''", "~", "", "sha512:" + "a" * 64, "SHA256:" + "a" * 64]
)
def test_an_entry_without_a_valid_digest_is_no_pin(digest):
    assert pins(f"images:\n- name: spam\n  digest: {digest}\n".encode(), ORIGIN) == ()


def test_a_digest_beside_a_tag_is_a_pin_for_kustomize_renders_it():
    content = f"images:\n- name: spam\n  newTag: v1\n  digest: {A}\n".encode()
    assert pins(content, ORIGIN) == (Pin("spam", A),)


def test_a_promotion_changes_the_bytes_of_the_digest_alone():
    assert edited(PLAIN) == PLAIN.decode().replace("a" * 64, NEW.hex)
    assert edited(PLAIN, "ham") == PLAIN.decode().replace("b" * 64, NEW.hex)


def test_pinning_what_is_pinned_changes_nothing():
    assert with_pin(PLAIN, "spam", A, ORIGIN) is PLAIN


def test_a_tag_gives_way_to_the_digest_in_its_place():
    assert edited(PLAIN, "eggs") == PLAIN.decode().replace("newTag: v1", f"digest: {NEW}")
    json_like = '{"images": [{"name": "spam", "newTag": "v1"}]}'
    assert edited(json_like) == json_like.replace('"newTag": "v1"', f'"digest": "{NEW}"')


@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize(
    "content",
    [
        "images:\n- name: spam\t# a tab\n  newTag: v1\t# another\n",
        "images:\n-   name:    spam\n    newTag:    v1   \n",
        "images:\n- name: spam\n\n  # why\n  newTag: v1\n\n# next\n- name: b\n",
        "---\nimages:\n- name: spam\n  newTag: v1\n...\n",
        "%YAML 1.2\n--- # ours\nimages:\n- name: spam\n  newTag: v1\n... # end\n",
        "images:\n- newTag: v1\n  name: spam",
        "images: [ {newTag: v1, name: spam} , {name: b} ]\r\n",
        "images: [\r\n  {name: spam,\r\n   newTag: v1, # c\r\n   newName: q}\r\n]",
        "images:\n- ? name\n  : spam\n  ? newTag\n  : v1\n",
        "images:\n- 'name' : 'spam'\n  newTag : v1\n",
        "x: &a 1\nimages:\n- name: spam\n  newTag: v1\n- name: b\n  newTag: &t v2\ny: *t\n",
        "images:\n- name: spam # v1\n  newTag: v1 # v1, see newTag: v1\n  newName: v1\n",
    ],
)
def test_a_tag_gives_way_in_any_form_and_no_other_byte_changes(content, bom):
    before = bom + content
    at = before.index("newTag", 0)
    expected = before[:at] + before[at:].replace("newTag", "digest", 1)
    at = expected.index("v1", expected.index("digest"))
    assert edited(before) == expected[:at] + str(NEW) + expected[at + 2 :]


@pytest.mark.parametrize("mark", ["|-", ">-", "|", ">"])
def test_a_tag_in_a_block_scalar_keeps_the_lines_around_it(mark):
    content = f"images:\n- name: spam\n  newTag: {mark}\n    v1\n\n  newName: x\n# end\n"
    assert edited(content) == f"images:\n- name: spam\n  digest: {NEW}\n\n  newName: x\n# end\n"
    last = f"images:\n- name: spam\n  newTag: {mark}\n    v1\n"
    assert edited(last) == f"images:\n- name: spam\n  digest: {NEW}\n"


def test_tags_are_read_with_where_the_image_lies_and_what_speaks_against_a_digest():
    content = f"""images:
- {{name: a, newTag: v1}}
- {{name: b, newName: r.example.com/b, newTag: "1.0"}}
- {{name: c, newTag: v1, digest: {A}}}
- {{name: d, newTag: 1.10}}
- {{name: e, newTag: v1, tagSuffix: -gpu}}
- {{name: f, newTag: v1, digest: latest}}
- {{name: g, newTag: v1}}
- {{name: g, newName: h}}
- {{name: i, newTag: ~}}
- {{name: j}}
"""
    found = {tag.name: (tag.image, tag.tag, tag.fault) for tag in tags(content.encode(), ORIGIN)}
    assert found == {
        "a": ("a", "v1", ""),
        "b": ("r.example.com/b", "1.0", ""),
        "d": ("d", "1.1", "newTag is no text to kustomize: quote it"),
        "e": ("e", "v1", "it has a tagSuffix, which a digest would drop"),
        "f": ("f", "v1", "'latest' beside it is no digest"),
        "g": ("g", "v1", "it stands there more than once"),
    }


def test_a_tag_beside_a_digest_stays():
    content = f"images:\n- name: spam\n  newTag: v1\n  digest: {A}\n"
    assert edited(content) == content.replace(A.hex, NEW.hex)


def test_new_name_is_written_once_and_then_left_alone():
    content = f"images:\n- name: spam\n  digest: {A}\n"
    named = edited(content, new_name="r.example.com/ml/spam")
    assert named == f"images:\n- name: spam\n  newName: r.example.com/ml/spam\n  digest: {NEW}\n"
    assert edited(named, new_name="other.example.com/spam") == named


@pytest.mark.parametrize(
    ("content", "added"),
    [
        ("images:\n- name: a\n", "- name: spam\n  digest: {}\n"),
        ("images:\n  -   name: a\n      newTag: x", "\n  -   name: spam\n      digest: {}"),
        ("images:\n-\n  name: a # x\n# end\n", "- name: spam\n  digest: {}\n"),
        (
            'images:\n- "name": "a"\n  "newTag": "b"\n',
            '- "name": "spam"\n  "digest": "{}"\n',
        ),
        (
            f"images:\n- name: a\n  digest: 'sha256:{'c' * 64}'\n",
            "- name: 'spam'\n  digest: '{}'\n",
        ),
        ("images:\n  - { name: a }\n", "  - { name: spam, digest: {} }\n"),
        ("images: [{name: a}]\nx: 1\n", ", {name: spam, digest: {}}"),
        ("images: [\n  {name: a}]\n", ",\n  {name: spam, digest: {}}"),
        ("images: [\n  {name: a}, # a\n]\n", "  {name: spam, digest: {}},\n"),
        ('{"images":[{"name":"a"}]}', ', {"name": "spam", "digest": "{}"}'),
        ("resources:\n- a\n", "images:\n- name: spam\n  digest: {}\n"),
        ("resources:\n    - a\n", "images:\n    - name: spam\n      digest: {}\n"),
        ("resources: [a]", "\nimages:\n  - name: spam\n    digest: {}"),
        ("---\nresources: [a]\n...\n", "images:\n  - name: spam\n    digest: {}\n"),
        ("resources: [a]\r\n", "images:\r\n  - name: spam\r\n    digest: {}\r\n"),
        ("{resources: [a]}", ", images: [{name: spam, digest: {}}]"),
        ('{"resources": ["a"]}\n', ', "images": [{"name": "spam", "digest": "{}"}]'),
        ("images:\n# none yet\n", ""),
        ("patches:\n- patch: |-\n    a\n", "images:\n- name: spam\n  digest: {}\n"),
    ],
)
def test_a_new_entry_is_written_in_the_style_of_its_neighbours(content, added):
    result = edited(content)
    if added:
        text = added.replace("{}", str(NEW))
        assert text in result
        assert result.replace(text, "", 1) == content
    assert Pin("spam", NEW) in pins(result.encode(), ORIGIN)


def test_a_comma_is_added_before_a_comment_and_the_comment_stays_with_its_entry():
    content = "images: [\n  {name: a} # about a\n]\n"
    assert edited(content) == (
        f"images: [\n  {{name: a}}, # about a\n  {{name: spam, digest: {NEW}}}\n]\n"
    )


@pytest.mark.parametrize("empty", ["", " ~", " null", " []", " [ ]"])
def test_an_empty_list_becomes_a_block_list(empty):
    content = f"images:{empty}  # pins\nresources:\n- a\n"
    assert edited(content) == (f"images:  # pins\n- name: spam\n  digest: {NEW}\nresources:\n- a\n")
    flow = "{images:" + (empty or " ") + ", resources: [a]}"
    assert Pin("spam", NEW) in pins(edited(flow).encode(), ORIGIN)


@pytest.mark.parametrize(
    "name",
    [
        "1234e56",
        "012",
        "no",
        "0x1f",
        "1_000",
        "12:30:45",
        "~",
        ".inf",
        "y",
        "0o7",
        "0b1",
        "+1",
        "-0",
        ".5",
        ".NaN",
        "null",
        "True",
        "OFF",
        "2024-01-01",
        "=",
        "<<",
        "1.",
        "190:20:30",
    ],
)
@pytest.mark.parametrize("start", ["images:\n- name: a\n", "images: [{name: a}]\n", "x: 1\n"])
def test_every_name_that_a_reader_could_take_for_something_else_is_quoted(name, start):
    result = edited(start, name)
    assert f'name: "{name}"' in result
    assert Pin(name, NEW) in pins(result.encode(), ORIGIN)
    assert yaml.safe_load(result)["images"][-1]["name"] == name


def test_a_name_that_yaml_reads_otherwise_is_quoted():
    assert '- name: "on"\n' in edited("images:\n- name: a\n", "on")
    assert '- name: "1e3"\n' in edited("resources: []\n", "1e3")


@pytest.mark.parametrize("value", ["", " ''", ' ""', " ~", " sha256:TODO", " >-\n    " + str(A)])
def test_a_digest_in_any_form_is_filled_in(value):
    content = f"images:\n- name: spam\n  digest:{value}\n  newName: x\nresources: [a]\n"
    result = yaml.safe_load(edited(content))
    expected = yaml.safe_load(content)
    expected["images"][0]["digest"] = str(NEW)
    assert result == expected


def test_aliases_and_anchors_are_kept_or_refused():
    anchored = f"x: &d {A}\nimages:\n- name: spam\n  digest: *d\n"
    assert edited(anchored) == f"x: &d {A}\nimages:\n- name: spam\n  digest: {NEW}\n"
    own = f"images:\n- name: spam\n  digest: &d {A}\n"
    assert edited(own) == own.replace(A.hex, NEW.hex)
    merged = f"images:\n- &a {{name: a, digest: {A}}}\n- <<: *a\n  name: spam\n"
    assert edited(merged) == merged + f"  digest: {NEW}\n"
    shared = f"images:\n- name: spam\n  digest: &d {A}\n- name: ham\n  digest: *d\n"
    message = refused(shared)
    assert message.startswith(f"{ORIGIN}:2: images[0]: cannot edit this form safely")
    assert f"digest: {NEW}" in message
    assert "safely" in refused(f"x: &i\n- name: spam\n  digest: {A}\nimages: *i\n")
    assert "safely" in refused("x: &i\n- name: a\nimages: *i\n")
    assert "safely" in refused(f"<<: &r {{images: [{{name: a, digest: {A}}}]}}\nresources: []\n")


def test_a_model_listed_twice_names_both_lines():
    content = f"images:\n- name: spam\n  digest: {A}\n- name: ham\n- name: spam\n  newTag: x\n"
    for call in (
        lambda: pins(content.encode(), ORIGIN),
        lambda: with_pin(content.encode(), "spam", NEW, ORIGIN),
        lambda: without_pin(content.encode(), "spam", ORIGIN),
    ):
        with pytest.raises(ConfigError) as caught:
            call()
        assert str(caught.value) == (
            f"{ORIGIN}:5: images[2]: expected spam once, found it on line 2 too: keep one"
        )
    assert pins(b"images:\n- name: x\n- name: x\n", ORIGIN) == ()


@pytest.mark.parametrize(
    ("content", "line", "says"),
    [
        (b"", 1, "found nothing"),
        (b"# only a comment\n", 1, "found nothing"),
        (b"{}", 1, "found nothing"),
        (b"- a\n", 1, "found a list"),
        (b"text", 1, "found a scalar"),
        (b"a: 1\n---\nb: 2\n", 3, "one YAML document"),
        (b"images: {a: b}\n", 1, "list of images"),
        (b"images:\n- spam\n", 2, "images[0]: expected a mapping"),
        (b"images:\n- newTag: x\n", 2, "images[0].name"),
        (b"images:\n- name: 12\n", 2, "images[0].name"),
        (b"images:\n- name: spam\n  digest: 12\n", 3, "images[0].digest"),
        (b'images:\n- name: "{{ .model }}"\n', 2, "a template"),
        (b"images:\n- name: {{ .model }}\n", 2, "like a template"),
        (b"{{ if x }}\nimages: []\n{{ end }}\n", 1, "like a template"),
        (b"images:\n\t- name: x\n", 2, "not YAML"),
        (b"images: []\nimages: []\n", 2, "duplicate key"),
        (b"images:\n- name: spam\n  name: ham\n", 3, "images[0].name: duplicate key"),
        (b"a: \xff\n", 1, "not UTF-8"),
    ],
)
def test_what_is_no_kustomization_is_refused_with_its_line(content, line, says):
    for call in (
        lambda: pins(content, ORIGIN),
        lambda: with_pin(content, "spam", NEW, ORIGIN),
        lambda: without_pin(content, "spam", ORIGIN),
    ):
        with pytest.raises(ConfigError) as caught:
            call()
        assert str(caught.value).startswith(f"{ORIGIN}:{line}: ")
        assert says in str(caught.value)


def test_ten_megabytes_are_refused():
    assert "expected at most" in refused(b"resources:\n" + b"- a\n" * 2_500_000)


def test_a_bomb_of_anchors_is_refused_with_its_line():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    told = refused("\n".join([*lines, "images: *a9\n"]))
    assert told.startswith(f"{ORIGIN}:4: a3")


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_ten_thousand_levels_are_refused(opening):
    assert "levels of nesting" in refused(f"images:\n- {opening * 10_000}")


def test_templates_elsewhere_are_the_users_own():
    content = f"images:\n- name: spam\n  digest: {A}\npatches:\n- patch: 'x: {{{{ y }}}}'\n"
    assert edited(content) == content.replace(A.hex, NEW.hex)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            f"images:\n- name: a\n- name: spam # x\n  digest: {A} # y\n# z\n",
            "images:\n- name: a\n# z\n",
        ),
        (f"images:\n- name: spam\n  digest: {A}\n- name: a\n", "images:\n- name: a\n"),
        (f"images:\n- name: a\n- name: spam\n  digest: {A}", "images:\n- name: a"),
        (f"a: 1\r\nimages: # x\r\n- name: spam\r\n  digest: {A}\r\n", "a: 1\r\nimages: [] # x\r\n"),
        (f"images: [{{name: spam, digest: {A}}}, {{name: a}}]", "images: [{name: a}]"),
        (f"images: [{{name: a}}, {{name: spam, digest: {A}}}]", "images: [{name: a}]"),
        (f"images: [{{name: spam, digest: {A}}}]", "images: []"),
        (f"images: [{{name: spam, digest: {A}}} ,]", "images: []"),
        ("images:\n- name: spam\n  newTag: x\n", "images:\n- name: spam\n  newTag: x\n"),
        ("resources: [a]\n", "resources: [a]\n"),
        (f"images:\n- name: spam\n  digest: {A}", "images: []"),
        (f"images:\r\n-\r\n  name: spam\r\n  digest: {A}", "images: []"),
    ],
)
def test_without_pin_removes_the_entry(content, expected):
    assert without_pin(content.encode(), "spam", ORIGIN).decode() == expected


# --- every style that a hand may write -----------------------------------------------------------

names = st.from_regex(r"[a-z]([a-z0-9-]{0,6}[a-z0-9])?", fullmatch=True).filter(
    lambda name: name not in ("y", "n", "on", "no", "off", "yes", "null", "true", "false", "new")
)
comments = st.sampled_from(["", " # why", "  # spam: sha256:x — ü", " #"])
quotes = st.sampled_from(["", "'", '"'])


@st.composite
def entry_lines(draw: st.DrawFn, name: str, digest: Digest) -> list[str]:
    q, key = draw(quotes), draw(st.sampled_from(["", "", '"']))
    fields = [f"{key}name{key}: {q}{name}{q}", f"{key}digest{key}: {q}{digest}{q}"]
    if draw(st.booleans()):
        fields.insert(1, f"{key}newName{key}: r.example.com:5000/ml/{name}")
    fields = draw(st.permutations(fields))
    gap = " " * draw(st.integers(1, 3))
    if draw(st.booleans()):
        pad = draw(st.sampled_from(["", " "]))
        return ["-" + gap + "{" + pad + ", ".join(fields) + pad + "}" + draw(comments)]
    lines = ["-" + gap + fields[0] + draw(comments)]
    for field in fields[1:]:
        if draw(st.integers(0, 4)) == 0:
            lines.append(draw(st.sampled_from(["", "# between", "      # deep"])))
        lines.append(" " * (1 + len(gap)) + field + draw(comments))
    return lines


BEFORE = [
    "# top",
    "",
    "resources:",
    "- ../base",
    "kind: Kustomization",
    'namePrefix: "x-"',
    "tag: &t v1",
]
AFTER = ["labels: {a: b}", "# tail", "", "patches:", "- patch: |-", "    images:", "    - name: q"]


@st.composite
def kustomizations(draw: st.DrawFn) -> tuple[bytes, dict[str, Digest]]:
    models = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    digests = {name: Digest(f"{i:064x}") for i, name in enumerate(models, 1)}
    indent = " " * draw(st.sampled_from([0, 2, 4]))
    lines = BEFORE[: draw(st.sampled_from([0, 2, 4, 5, 6, 7]))]
    lines.append("images:" + draw(comments))
    for name in models:
        if draw(st.integers(0, 3)) == 0:
            lines.append(indent + "# above " + name)
        lines += [indent + line for line in draw(entry_lines(name, digests[name]))]
    lines += AFTER[: draw(st.sampled_from([0, 1, 3, 7]))]
    if draw(st.booleans()):
        lines.insert(0, "---")
    eol = draw(st.sampled_from(["\n", "\r\n"]))
    text = eol.join(lines) + (eol if draw(st.booleans()) else "")
    bom = b"\xef\xbb\xbf" if draw(st.booleans()) else b""
    return bom + text.encode(), digests


def values(content: bytes) -> dict:
    return yaml.safe_load(content.decode("utf-8-sig"))


@calm
@given(kustomizations(), st.data())
def test_any_style_keeps_every_other_byte(case, data):
    content, digests = case
    assert {pin.model: pin.digest for pin in pins(content, ORIGIN)} == digests
    model = data.draw(st.sampled_from(sorted(digests)))
    result = with_pin(content, model, NEW, ORIGIN)
    assert result == content.replace(digests[model].hex.encode(), NEW.hex.encode())
    assert with_pin(result, model, digests[model], ORIGIN) == content


@calm
@given(kustomizations(), names, st.sampled_from([None, "r.example.com/ml/new"]))
def test_adding_to_any_style_inserts_one_run_of_bytes(case, model, new_name):
    content, digests = case
    if model in digests:
        return
    result = with_pin(content, model, NEW, ORIGIN, new_name)
    grown = len(result) - len(content)
    assert any(
        result[:at] == content[:at] and result[at + grown :] == content[at:]
        for at in range(len(content) + 1)
    )
    expected = values(content)
    expected["images"].append(
        {"name": model, "digest": str(NEW)} | ({"newName": new_name} if new_name else {})
    )
    assert values(result) == expected
    assert result.endswith(b"\n") == content.endswith(b"\n")
    assert result.count(b"\n") - content.count(b"\n") in (1, 2, 3)
    assert without_pin(result, model, ORIGIN) == content


@calm
@given(kustomizations(), st.data())
def test_removing_from_any_style_removes_that_entry_alone(case, data):
    content, digests = case
    model = data.draw(st.sampled_from(sorted(digests)))
    result = without_pin(content, model, ORIGIN)
    expected = values(content)
    expected["images"] = [e for e in expected["images"] if e["name"] != model]
    assert values(result) == expected


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@calm
@given(
    st.dictionaries(
        st.sampled_from(["resources", "labels", "x", "images"]), json_values, min_size=1
    ),
    st.sampled_from([None, 1, 2]),
    st.sampled_from(["json", "yaml"]),
)
def test_any_document_is_edited_rightly_or_refused(value, indent, form):
    text = (
        json.dumps(value, indent=indent, ensure_ascii=False)
        if form == "json"
        else yaml.safe_dump(value)
    )
    try:
        result = with_pin(text.encode(errors="replace"), "spam", NEW, ORIGIN)
    except ConfigError as exc:
        told = str(exc)
    else:
        after, before = values(result), yaml.safe_load(text)
        after["images"].remove({"name": "spam", "digest": str(NEW)})
        assert after == before | {"images": before.get("images") or []}
        return
    assert told.startswith(f"{ORIGIN}:")


@calm
@given(
    st.binary(max_size=200)
    | st.text(st.sampled_from("images:-{}[]\"'&*!|>%@`#, \n\tname"), max_size=80).map(str.encode)
)
def test_no_bytes_raise_anything_but_a_config_error(content):
    for call in (
        lambda: pins(content, ORIGIN),
        lambda: with_pin(content, "spam", NEW, ORIGIN),
        lambda: without_pin(content, "spam", ORIGIN),
    ):
        try:
            call()
        except ConfigError as exc:
            told = str(exc)
        else:
            continue
        assert told.startswith(f"{ORIGIN}:")


# --- kustomize itself ----------------------------------------------------------------------------

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: spam}
spec:
  selector: {matchLabels: {app: spam}}
  template:
    metadata: {labels: {app: spam}}
    spec: {containers: [{name: spam, image: spam}]}
"""


def rendered(directory: Path) -> str:
    kubectl = shutil.which("kubectl")
    assert kubectl, "kubectl with kustomize 5 is needed to render overlays"
    done = subprocess.run(
        [kubectl, "kustomize", str(directory)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    spec = yaml.safe_load(done.stdout)["spec"]["template"]["spec"]
    return spec["containers"][0]["image"]


def overlay(root: Path, content: bytes) -> Path:
    base, dev = root / "base", root / "dev"
    for directory in (base, dev):
        directory.mkdir(exist_ok=True)
    (base / "deployment.yaml").write_text(DEPLOYMENT)
    (base / "kustomization.yaml").write_text("resources: [deployment.yaml]\n")
    (dev / "kustomization.yaml").write_bytes(content)
    return dev


def test_kustomize_renders_the_digest_that_was_pinned(tmp_path):
    start = b"resources:\r\n- ../base # ours\r\n"
    pinned = with_pin(start, "spam", A, ORIGIN, "r.example.com/ml/spam")
    assert rendered(overlay(tmp_path, pinned)) == f"r.example.com/ml/spam@{A}"
    moved = with_pin(pinned, "spam", B, ORIGIN)
    assert rendered(overlay(tmp_path, moved)) == f"r.example.com/ml/spam@{B}"
    assert rendered(overlay(tmp_path, without_pin(moved, "spam", ORIGIN))) == "spam"


@pytest.mark.parametrize(
    "images",
    [
        "images:\n- name: spam\n  newTag: v1\n",
        'images: [{"name": "spam", "newTag": "v1"}]\n',
        f"images:\n- &a {{name: a, digest: {A}}}\n- <<: *a\n  name: spam\n",
        "images: ~\n",
    ],
)
def test_kustomize_agrees_on_each_form(tmp_path, images):
    content = ("resources: [../base]\n" + images).encode()
    assert rendered(overlay(tmp_path, with_pin(content, "spam", NEW, ORIGIN))) == f"spam@{NEW}"


def test_kustomize_follows_a_digest_beside_a_tag(tmp_path):
    content = f"resources: [../base]\nimages:\n- name: spam\n  newTag: v1\n  digest: {A}\n".encode()
    image = rendered(overlay(tmp_path, with_pin(content, "spam", NEW, ORIGIN)))
    assert image.endswith(f"@{NEW}")
