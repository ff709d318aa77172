"""Names of images, and the map from what documents name to what is here."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops.domain.digest import Digest, ImageRef
from mlops.domain.imagename import ImageMap, ImageName, InLayout, layout_place
from mlops.errors import ConfigError, UsageError

HEX = "ab" * 32
D = f"sha256:{HEX}"


@pytest.mark.parametrize(
    ("text", "repository", "tag", "digest"),
    [
        ("ubuntu", "docker.io/library/ubuntu", "latest", False),
        ("ubuntu:22.04", "docker.io/library/ubuntu", "22.04", False),
        ("bitnami/git", "docker.io/bitnami/git", "latest", False),
        ("docker.io/ubuntu", "docker.io/library/ubuntu", "latest", False),
        ("index.docker.io/library/ubuntu:1", "docker.io/library/ubuntu", "1", False),
        ("gcr.io/a/b/c:v1", "gcr.io/a/b/c", "v1", False),
        ("localhost/x", "localhost/x", "latest", False),
        ("localhost:5000/x:y", "localhost:5000/x", "y", False),
        ("[::1]:5000/x", "[::1]:5000/x", "latest", False),
        (f"ubuntu@{D}", "docker.io/library/ubuntu", "", True),
        (f"gcr.io/x:v1@{D}", "gcr.io/x", "v1", True),
    ],
)
def test_a_name_in_full(text, repository, tag, digest):
    name = ImageName.parse(text)
    assert (name.repository, name.tag, name.digest is not None) == (repository, tag, digest)


def test_by_digest_it_is_a_reference():
    assert ImageName.parse(f"gcr.io/x:v1@{D}").ref == ImageRef("gcr.io/x", Digest(HEX))
    assert ImageName.parse("gcr.io/x:v1").ref is None


@pytest.mark.parametrize(
    "text",
    ["", " ", "Ubuntu", "a b", "a:", "a:b:c", "a@", "a@sha256:12", f"@{D}", ":tag", "a//b", "/a",
     "a/", "-a", "a:-b", "http://a/b", "$(params.x)", "a\n", f"a@{D}\n", "ä", "a:" + "t" * 129,
     "x.io/" + "a" * 300, "x.io:port/a", "a@md5:" + HEX],
)  # fmt: skip
def test_what_names_no_image(text):
    with pytest.raises(UsageError):
        ImageName.parse(text)


@given(st.text(alphabet="abAB01._-:/@[]$ \n", max_size=40))
def test_any_text_is_a_name_or_refused(text):
    """And what a name is written as names the same."""
    try:
        name = ImageName.parse(text)
    except UsageError:
        return
    again = ImageName.parse(str(name))
    assert (again.repository, again.tag, again.digest) == (name.repository, name.tag, name.digest)
    assert name.written in text


def lead(rules, text):
    found = ImageMap.parse(rules).lead(ImageName.parse(text))
    return found if found is None or isinstance(found, InLayout) else str(found)


@pytest.mark.parametrize(
    ("rules", "text", "found"),
    [
        ([], "ubuntu", None),
        (["ubuntu=m.io/u"], "ubuntu:22", "m.io/u:22"),
        (["docker.io/library/ubuntu=m.io/u"], "ubuntu", "m.io/u:latest"),
        (["ubuntu=m.io/u:1"], "ubuntu:22", "m.io/u:1"),
        (["ubuntu=m.io/u"], f"ubuntu@{D}", f"m.io/u@{D}"),
        ([f"ubuntu=u@{D}"], "ubuntu:22", f"u@{D}"),
        (["ubuntu:22=m.io/u"], "ubuntu:22", "m.io/u:latest"),
        (["ubuntu:22=m.io/u"], "ubuntu:23", None),
        (["ubuntu:22=m.io/u"], f"ubuntu:22@{D}", None),
        ([f"ubuntu@{D}=m.io/u:3"], f"ubuntu:22@{D}", "m.io/u:3"),
        (["ubuntu=oci:d//u:1"], "ubuntu", InLayout("d", "u:1")),
        (["ubuntu=oci:d/e"], "ubuntu", InLayout("d/e")),
        (["gcr.io/*=m.io/gcr/*"], "gcr.io/a/b:1", "m.io/gcr/a/b:1"),
        (["gcr.io/*=m.io/gcr/*"], f"gcr.io/a@{D}", f"m.io/gcr/a@{D}"),
        (["gcr.io/*=oci:all"], "gcr.io/a/b:1", InLayout("all")),
        (["*=m.io/one:1"], "ubuntu", "m.io/one:1"),
        (["docker.io/*=m.io/hub/*"], "ubuntu:1", "m.io/hub/library/ubuntu:1"),
        (["*=m.io/*"], "ubuntu:1", "m.io/ubuntu:1"),
        # the closest rule counts, of equally close ones the last
        (["ubuntu:22=a", "ubuntu=b", "*=c"], "ubuntu:22", "a:latest"),
        (["ubuntu:22=a", "ubuntu=b", "*=c"], "ubuntu:21", "b:21"),
        (["gcr.io/a/*=a", "gcr.io/*=b"], "gcr.io/a/x", "a:latest"),
        (["ubuntu=a", "ubuntu=b"], "ubuntu", "b:latest"),
    ],
)  # fmt: skip
def test_where_rules_lead(rules, text, found):
    assert lead(rules, text) == found


def test_one_map_over_another():
    below, above = ImageMap.parse(["a=x", "b=x"]), ImageMap.parse(["a=y"])
    both = above.over(below)
    assert [str(both.lead(ImageName.parse(each))) for each in "ab"] == ["y:latest", "x:latest"]


@pytest.mark.parametrize("text", ["a", "=b", "a=", "a=*", "a*b=c", "a=b*c", "A=b", "a=B", "a=oci:"])
def test_rules_that_cannot_be(text):
    with pytest.raises(UsageError):
        ImageMap.parse([text])


@pytest.mark.parametrize("document", [[], "a=b", {"a": 1}, {1: "a"}, {"A": "b"}])
def test_a_file_that_is_no_map(document):
    with pytest.raises(ConfigError, match=r"map\.yaml: "):
        ImageMap.read(document, "map.yaml")


def test_a_file():
    assert ImageMap.read({"a": "b", "c/*": "d/*"}, "x") == ImageMap.parse(["a=b", "c/*=d/*"])
    assert ImageMap.read(None, "x") == ImageMap()


@given(st.lists(st.sampled_from(["a=x", "a:1=x", "b/*=y/*", "*=z"])), st.sampled_from(["a", "a:1", "b/c:2"]))  # fmt: skip
def test_a_map_never_fails_on_a_name(rules, text):
    lead(rules, text)


@pytest.mark.parametrize(
    ("text", "directory", "name"),
    [
        ("oci:out", "out", ""),
        ("oci:out:v1", "out", "v1"),
        ("oci:/a/b:spam:v1", "/a/b", "spam:v1"),
        ("oci:out:r.example.com/ml/spam:v1", "out", "r.example.com/ml/spam:v1"),
        ("oci:./o@t:a--b@c+d", "./o@t", "a--b@c+d"),
    ],
)
def test_a_place_in_a_layout(text, directory, name):
    assert layout_place(text) == InLayout(directory, name)


@pytest.mark.parametrize(
    "name", ["", "_a", "a__b", "v1.", "ä", "a b", "a/", "/a", "a\n", f"x@{D}@"]
)
def test_what_a_layout_can_call_nothing(name):
    """What skopeo refuses too."""
    with pytest.raises(UsageError, match="names no place in a layout"):
        layout_place(f"oci:out:{name}")


@pytest.mark.parametrize("text", ["oci:", "oci::v1", f"oci:out@{D}"])
def test_what_is_no_place_in_a_layout(text):
    with pytest.raises(UsageError, match="names no place in a layout"):
        layout_place(text)
