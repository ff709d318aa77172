"""Which packages get layers of their own."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops.build import distributions
from mlops.build.layering import shares
from mlops.build.tar import Content, Entry, Link
from mlops.errors import BuildError

SITE = "opt/venv/lib/python3.12/site-packages"
LARGE = 8 << 20


def installed(sizes: dict[str, int], shared: str = "") -> dict[str, Entry]:
    """Distributions of one module of so many bytes each, and their RECORDs."""
    tree: dict[str, Entry] = {"opt/venv/bin/python": Link("/usr/bin/python3")}
    for name, size in sizes.items():
        tree[f"{SITE}/{name}.py"] = Content(b"#" * size)
        record = f"{name}.py,sha256=x,{size}\n{name}-1.dist-info/RECORD,,\n"
        if shared:
            tree[f"{SITE}/{shared}"] = Content(b"s" * LARGE)
            record += f"{shared},sha256=s,\n"
        tree[f"{SITE}/{name}-1.dist-info/RECORD"] = Content(record.encode())
    return tree


def names(tree: dict[str, Entry]) -> list[str]:
    return [share.name for share in shares(tree, distributions.owners(tree))]


def test_large_ones_stand_alone_and_the_rest_lies_above():
    tree = installed({"b": LARGE, "a": LARGE + 1, "small": LARGE - 200, "tiny": 1})
    found = shares(tree, distributions.owners(tree))
    assert [share.name for share in found] == ["a 1", "b 1", ""]
    assert set(found[0].tree) == {f"{SITE}/a.py", f"{SITE}/a-1.dist-info/RECORD"}
    assert {f"{SITE}/small.py", f"{SITE}/tiny.py", "opt/venv/bin/python"} <= set(found[2].tree)


def test_a_change_of_one_moves_no_other():
    first = installed({"a": LARGE, "b": LARGE, "c": 5})
    second = installed({"a": LARGE, "b": LARGE + 5, "c": 6})
    before, after = (shares(tree, distributions.owners(tree)) for tree in (first, second))
    assert before[0] == after[0]
    assert before[1] != after[1]


def test_at_most_twelve_stand_alone_the_largest():
    tree = installed({f"p{number:02}": LARGE + number for number in range(14)})
    assert names(tree) == [f"p{number:02} 1" for number in range(2, 14)] + [""]


def test_what_two_own_belongs_to_neither():
    tree = installed({"a": 1, "b": 1}, shared="shared.py")
    (rest,) = shares(tree, distributions.owners(tree))
    assert f"{SITE}/shared.py" in rest.tree


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from("abcdefgh"), st.sampled_from((0, 9, LARGE)), max_size=6))
def test_nothing_is_lost_and_nothing_there_twice(sizes: dict[str, int]):
    tree = installed(sizes)
    found = shares(tree, distributions.owners(tree))
    paths = [path for share in found for path in share.tree]
    assert sorted(paths) == sorted(tree)


def test_collisions_name_both_and_equal_files_do_not_collide():
    tree = installed({"a": 1, "b": 1}, shared="shared.py")
    record = f"{SITE}/b-1.dist-info/RECORD"
    tree[record] = Content(tree[record].content.replace(b"sha256=s", b"sha256=t"))
    with pytest.raises(BuildError, match=f"a 1 and b 1 both install /{SITE}/shared.py"):
        distributions.owners(tree)


def test_what_a_distribution_carries_along_is_its_own():
    """setuptools brings copies of others with their RECORDs, which name files beside themselves."""
    tree = installed({"carrier": 1})
    inside = "carrier/_vendor/other-1.dist-info/RECORD"
    own = tree[f"{SITE}/carrier-1.dist-info/RECORD"]
    assert isinstance(own, Content)
    tree[f"{SITE}/carrier-1.dist-info/RECORD"] = Content(
        own.content + f"{inside},sha256=x,\n".encode()
    )
    tree[f"{SITE}/{inside}"] = Content(b"other-1.dist-info/RECORD,,\nother.py,sha256=y,1\n")
    found = distributions.owners(tree)
    assert [owned.name for owned in found[f"{SITE}/{inside}"]] == ["carrier-1"]
    assert f"{SITE}/carrier/_vendor/other.py" not in found
