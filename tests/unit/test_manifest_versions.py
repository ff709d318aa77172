import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops.errors import ConfigError
from mlops.manifests import kustomization, versions
from mlops.manifests.versions import Versions
from tests.fakes.estate import digest

HEAD = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
LETTERS = st.sampled_from("ABCD")


def slow(content: bytes) -> dict:
    return {pin.model: pin.digest for pin in kustomization.pins(content, "k")}


class Every:
    def __contains__(self, _name: object) -> bool:
        return True


def told(read, content: bytes):
    try:
        return dict(read(content))
    except ConfigError as exc:
        return str(exc)


def block(name: str, letter: str) -> str:
    return f"  - name: {name}\n    digest: {digest(letter)} # {name}\n"


def flow(name: str, letter: str) -> str:
    return f'  - {{name: {name}, digest: "{digest(letter)}"}}\n'


def tag(name: str, letter: str) -> str:
    return f"  - name: {name}\n    newTag: {digest(letter)}\n"


def both(name: str, letter: str) -> str:
    return f"  - {{name: {name}, newTag: '{digest('A')}', digest: {digest(letter)}}}\n"


def anchored(name: str, letter: str) -> str:
    return (
        f"  - name: {name}\n    digest: &x {digest(letter)}\n  - {{name: {name}-too, digest: *x}}\n"
    )


FORMS = st.sampled_from([block, block, block, flow, tag, both, anchored])
NAMES = st.sampled_from(["spam", "eggs", "ham", "spam"])


@st.composite
def documents(draw) -> list[bytes]:
    """Versions that differ as a history's do: by digests mostly, seldom by more."""
    entries = draw(
        st.lists(st.tuples(FORMS, NAMES), min_size=1, max_size=4, unique_by=lambda e: e[1])
    )
    found = []
    for _ in range(draw(st.integers(2, 5))):
        if draw(st.integers(0, 4)) == 0:
            entries = draw(st.permutations(entries)) + draw(
                st.lists(st.tuples(FORMS, NAMES), max_size=1)
            )
        body = "".join(form(name, draw(LETTERS)) for form, name in entries)
        if draw(st.integers(0, 9)) == 0:
            body = body.replace(
                "digest", draw(st.sampled_from(["diges", "digest ", "'digest'"])), 1
            )
        found.append((HEAD + "images:\n" + body + draw(st.sampled_from(["", "# end\n"]))).encode())
    return found


@given(documents())
@settings(max_examples=300, deadline=None)
def test_whatever_was_read_before_a_version_means_what_parsing_it_says(contents):
    reader = Versions("k", Every())
    for content in contents:
        assert told(reader.pins, content) == told(slow, content)


def test_neighbours_are_not_parsed_whole(monkeypatch):
    parsed = []
    real = kustomization.read
    monkeypatch.setattr(
        versions.kustomization, "read", lambda *args: parsed.append(args) or real(*args)
    )
    reader = Versions("k", {"spam"})
    for letter in "ABCABC":
        content = (HEAD + "images:\n" + block("eggs", "A") + block("spam", letter)).encode()
        assert dict(reader.pins(content)) == {"spam": digest(letter)}
    assert len(parsed) == 1


def test_a_digest_that_an_alias_repeats_moves_both():
    reader = Versions("k", Every())
    for letter in "AB":
        content = (HEAD + "images:\n" + anchored("spam", letter)).encode()
        assert dict(reader.pins(content)) == {"spam": digest(letter), "spam-too": digest(letter)}


@pytest.mark.parametrize("bad", [b"[", b"", b"images: 3\n"])
def test_what_cannot_be_read_says_so_and_the_next_is_read(bad):
    reader = Versions("k", Every())
    good = (HEAD + "images:\n" + block("spam", "A")).encode()
    reader.pins(good)
    with pytest.raises(ConfigError):
        reader.pins(bad)
    assert dict(reader.pins(good)) == {"spam": digest("A")}
