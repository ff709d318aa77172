"""Tags in overlays become the digests that they name; what cannot move stays and is named."""

from datetime import timedelta

import pytest

from mlops.domain.digest import Digest
from mlops.domain.environment import Hold, QuarantineEntry
from mlops.engine.tags import Answers, Overlays, move, publish, standing, write
from mlops.errors import ConfigError, RegistryError, UnreachableError, UsageError
from mlops.manifests.overlay import dump_holds, dump_quarantine
from tests.fakes.estate import Estate, digest, record
from tests.fakes.gitops import START

SPAM = "registry.example.com/ml/spam"
OTHER = "other.example.com/proxy"
FILE = "environments/prod/kustomization.yaml"
CONTENT = f"""# by hand
images:
  - name: spam   # the filter
    newName: {SPAM}
    newTag: v12  # since Monday
  - name: {OTHER}
    newTag: "1.0"
"""


class Registries:
    """What tags name, by repository and tag; `down` hosts cannot be asked, `lying` give nonsense."""

    def __init__(self, tags=None, down=(), lying=()):
        self.tags = {(SPAM, "v12"): digest("A"), (OTHER, "1.0"): digest("P")} | (tags or {})
        self.down, self.lying, self.asked = down, lying, []

    def __call__(self, name):
        if "UPPER" in name:
            raise UsageError(f"{name} names no repository of a registry")
        return Reader(self, name)


class Reader:
    def __init__(self, registries, name):
        self.registries, self.name = registries, name

    def resolve(self, tag):
        self.registries.asked.append((self.name, tag))
        host = self.name.partition("/")[0]
        if host in self.registries.down:
            raise UnreachableError(f"{host} cannot be asked", retryable=True)
        if host in self.registries.lying:
            raise RegistryError(f"{host} sent other bytes")
        return self.registries.tags.get((self.name, tag))


class Tree:
    """A work tree in memory."""

    def __init__(self, content=CONTENT, **more):
        self.files = {FILE: content.encode()}
        self.files |= {f"environments/{name}": text for name, text in more.items()}

    @property
    def overlays(self):
        return Overlays("environments", ("dev", "prod"), self.files.get, START)

    def write(self, registries, **more):
        return write(self.overlays, Answers(registries), self.files.__setitem__, **more)

    @property
    def text(self):
        return self.files[FILE].decode()


def left(settled):
    return {each.tag.name if each.tag else each.path: each.reason for each in settled.decision.left}


def test_each_tag_gives_way_to_its_digest_and_nothing_else_changes():
    tree = Tree()
    settled = tree.write(Registries())
    assert tree.text == CONTENT.replace("newTag: v12", f"digest: {digest('A')}").replace(
        'newTag: "1.0"', f'digest: "{digest("P")}"'
    )
    assert [(each.tag.name, each.digest) for each in settled.decision.moved] == [
        ("spam", digest("A")),
        (OTHER, digest("P")),
    ]
    assert not settled.decision.left
    again = tree.write(Registries())
    assert not again.decision.moved
    assert not again.decision.files


def test_line_ends_and_a_missing_last_break_stay():
    content = CONTENT.replace("\n", "\r\n").removesuffix("\r\n")
    tree = Tree(content)
    tree.write(Registries())
    assert tree.text.replace(f"digest: {digest('A')}", "newTag: v12").replace(
        f'digest: "{digest("P")}"', 'newTag: "1.0"'
    ) == content  # fmt: skip


def test_a_dry_run_prints_the_diff_and_writes_nothing():
    tree = Tree("images:\n- name: spam\n  newName: registry.example.com/ml/spam\n  newTag: v12")
    settled = tree.write(Registries(), dry_run=True)
    assert tree.text.endswith("newTag: v12")
    assert settled.diff == (
        f"--- a/{FILE}\n+++ b/{FILE}\n@@ -1,4 +1,4 @@\n images:\n - name: spam\n"
        "   newName: registry.example.com/ml/spam\n"
        "-  newTag: v12\n\\ No newline at end of file\n"
        f"+  digest: {digest('A')}\n\\ No newline at end of file\n"
    )


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("name: spam, newTag: v12", "spam names no registry"),
        ("name: ml/spam, newTag: v12", "ml/spam names no registry"),
        (f"name: spam, newName: {SPAM}, newTag: v13", f"{SPAM} has no tag v13"),
        (f"name: spam, newName: {SPAM}, newTag: 12", "newTag is no text"),
        (f"name: spam, newName: {SPAM}, newTag: v12, tagSuffix: -x", "tagSuffix"),
        ("name: spam, newName: r.example.com/UPPER, newTag: v12", "names no repository"),
        ("name: spam, newName: lies.example.com/spam, newTag: v12", "sent other bytes"),
        ("name: spam, newName: down.example.com/spam, newTag: v12", "cannot be asked"),
    ],
)
def test_what_cannot_be_resolved_stays_and_the_others_move(entry, reason):
    tree = Tree(f"images:\n- {{{entry}}}\n- {{name: {OTHER}, newTag: '1.0'}}\n")
    settled = tree.write(Registries(down=("down.example.com",), lying=("lies.example.com",)))
    (found,) = left(settled).values()
    assert reason in found
    assert f"- {{{entry}}}\n" in tree.text
    assert str(digest("P")) in tree.text
    assert settled.decision.unasked is ("down.example.com" in entry)


def test_a_form_that_cannot_be_edited_stays_and_says_what_to_write():
    tree = Tree(
        f"x: &v v12\nimages:\n- name: spam\n  newName: {SPAM}\n  newTag: &t v12\n- name: b\n  newTag: *t\n"
    )
    before = tree.text
    assert "cannot edit this form safely" in left(tree.write(Registries()))["spam"]
    assert tree.text == before


def test_a_file_that_is_no_kustomization_is_named_and_the_others_move():
    files = {"dev/kustomization.yaml": b"- a\n"}
    tree = Tree(**files)
    found = left(tree.write(Registries()))
    assert "found a list" in found["environments/dev/kustomization.yaml"]
    assert str(digest("A")) in tree.text
    assert len(standing(Tree(**files).overlays)) == 2


@pytest.mark.parametrize(
    ("model", "stays"), [("*", {"spam", OTHER}), ("spam", {"spam"}), ("eggs", set())]
)
def test_what_is_held_stays_as_guard_would_refuse_it(model, stays):
    hold = Hold(model, START, "Ada", "freeze")
    tree = Tree(**{"prod/holds.yaml": dump_holds([hold])})
    found = left(tree.write(Registries()))
    assert set(found) == stays
    assert all(text == "prod is held by Ada: freeze" for text in found.values())


@pytest.mark.parametrize("artifact", [None, record("A").artifact])
def test_what_is_in_quarantine_stays_by_digest_and_by_artifact(artifact):
    bad = digest("B" if artifact else "A")
    entry = QuarantineEntry("spam", bad, START, "Ada", "leaks", artifact=artifact)
    path = f"releases/spam/{digest('A').hex}.json"
    tree = Tree(**{"quarantine.yaml": dump_quarantine([entry]), path: record("A").dump()})
    found = left(tree.write(Registries()))
    assert set(found) == {"spam"}
    assert "quarantined" in found["spam"]


def test_without_a_readable_quarantine_nothing_moves():
    tree = Tree(**{"quarantine.yaml": b"quarantine: 7\n"})
    with pytest.raises(ConfigError, match=r"quarantine\.yaml"):
        tree.write(Registries())
    assert tree.text == CONTENT


def test_each_tag_is_asked_for_once_and_a_host_that_is_down_is_left_alone():
    many = "".join(
        f"- {{name: i{n}, newName: down.example.com/i{n}, newTag: v1}}\n" for n in range(100)
    )
    same = "".join(f"- {{name: s{n}, newName: {SPAM}, newTag: v12}}\n" for n in range(5))
    registries = Registries(down=("down.example.com",))
    settled = Tree(f"images:\n{many}{same}").write(registries)
    assert len(settled.decision.left) == 100
    assert registries.asked.count((SPAM, "v12")) == 1
    assert sum(name.startswith("down.") for name, _ in registries.asked) <= 8


def test_on_a_branch_it_is_one_commit_decided_again_where_somebody_was_faster():
    estate = Estate()
    estate.write("prod/kustomization.yaml", CONTENT.encode())
    estate.write("dev/kustomization.yaml", CONTENT.encode())
    registries = Registries()
    answers = Answers(registries)
    changed = CONTENT.replace("since Monday", "since Tuesday")

    def rival():
        estate.write("prod/kustomization.yaml", changed.encode())

    estate.gitops.before_push = rival
    settled = publish(estate.publisher, answers)
    assert len(settled.decision.moved) == 4
    assert estate.pins("prod") == {"spam": digest("A")}
    assert "since Tuesday" in estate.read("prod/kustomization.yaml").decode()
    assert sorted(registries.asked) == [(OTHER, "1.0"), (SPAM, "v12")]
    (change, *_) = estate.gitops.line(settled.commit, "environments")
    assert change.info.trailer("Mlops-Action") == "lock"
    assert change.info.all("Mlops-Model") == (f"spam@{digest('A')}",)
    assert publish(estate.publisher, answers).commit is None


def test_a_dry_run_on_a_branch_gives_the_diff():
    estate = Estate()
    tip = estate.write("prod/kustomization.yaml", CONTENT.encode())
    settled = publish(estate.publisher, Answers(Registries()), dry_run=True)
    assert f"+    digest: {digest('A')}  # since Monday" in settled.diff
    assert estate.gitops.tip() == tip


def test_a_hold_that_has_passed_stops_nobody():
    hold = Hold("spam", START - timedelta(hours=2), "Ada", "freeze", until=START)
    tree = Tree(**{"prod/holds.yaml": dump_holds([hold])})
    assert len(move(tree.overlays, Answers(Registries())).moved) == 2


def test_hostile_names_lead_to_no_file():
    entry = QuarantineEntry("spam", Digest("0" * 64), START, "Ada", "leaks")
    read = []

    class Watched(dict):
        def get(self, path, default=None):
            read.append(path)
            return super().get(path, default)

    tree = Tree(
        f'images:\n- {{name: "../../../etc", newName: {SPAM}, newTag: v12}}\n'
        f'- {{name: "a/../b\\nMlops-Action: rollback", newName: {SPAM}, newTag: v12}}\n'
    )
    tree.files = Watched(tree.files)
    tree.files["environments/quarantine.yaml"] = dump_quarantine([entry])
    assert len(tree.write(Registries()).decision.moved) == 2
    assert not any(".." in path for path in read)
