"""What went wrong in other tools, each fault by the name it is known by; here on real git.

Those whose subject is policy or a document are in tests/unit/test_pitfalls.py.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mlops.adapters.git import GitOpsBranch, Repository, RunClaims
from mlops.adapters.git.command import check_path, check_ref, check_revision
from mlops.adapters.git.ranges import Ranges
from mlops.domain.environment import Hold
from mlops.domain.project import ModelConfig, Project
from mlops.domain.source import Commit
from mlops.engine.guard import Guard
from mlops.engine.hold import HoldOrder, hold
from mlops.engine.preflight import Preflight
from mlops.engine.promote import PromoteOrder, Promoter
from mlops.engine.publishing import Publisher
from mlops.engine.rollback import RollbackOrder, Roller
from mlops.errors import ConfigError, GitError, MlopsError, RefusedError, UsageError
from mlops.steps.sources import open_repository
from tests.fakes.deployment import Deployment, held
from tests.fakes.estate import digest, release

KUSTOMIZATION = "environments/prod/kustomization.yaml"
FLUX = b"""images:
  - name: spam
    digest: sha256:%b # {"$imagepolicy": "flux-system:spam:digest"}
"""


@pytest.fixture
def prod(sandbox) -> Deployment:
    """A clone of a bare remote; prod pins B after A, pushed."""
    found = Deployment.begin(sandbox.clone("a"), "A", "B", "C")
    found.commit(found.pinned("A"))
    found.commit(found.pinned("B"))
    found.git("push", "-q", "origin", "main")
    return found


@pytest.fixture
def publisher(sandbox) -> Callable[[Path], Publisher]:
    def made(where: Path) -> Publisher:
        return Publisher(
            gitops=sandbox.gitops(where),
            project=Project("demo", (ModelConfig("eggs"), ModelConfig("spam"))),
            actor="Ada",
            now=lambda: datetime.now(UTC),
            pause=lambda _: None,
        )

    return made


def roll_back(publisher: Publisher, **more) -> str:
    order = RollbackOrder("prod", **{"reason": "nonsense", **more})
    settled = Roller(publisher, Preflight(deadline=5)).roll_back(order)
    return settled.commit.sha if settled.commit else ""


def pulled(prod: Deployment) -> str:
    prod.git("pull", "-q", "--rebase", "origin", "main")
    return prod.head


def refused(sandbox, prod: Deployment, base: str) -> list[str]:
    repository: Repository = sandbox.open(prod.where)
    guard = Guard(repository, Ranges(repository), "environments", lambda: datetime.now(UTC))
    found = guard.check(Commit(base), Commit(prod.head))
    return [each.violation.rule.value for each in found]


# -- rollbacks that automation undoes


def test_argo_cd_9570_a_rollback_is_in_git_with_its_hold_in_one_commit(prod, publisher):
    made = roll_back(publisher(prod.where), incident="INC-7")
    assert pulled(prod) == made
    assert prod.git("show", "--format=", "--name-only", made).splitlines() == [
        "environments/prod/holds.yaml",
        KUSTOMIZATION,
    ]
    assert "INC-7" in prod.git("show", f"{made}:environments/prod/holds.yaml")


@pytest.mark.parametrize("tool", ["renovate", "argocd-image-updater", "flux"])
def test_renovate_image_updater_and_flux_write_images_and_read_no_hold(
    sandbox, prod, publisher, tool
):
    if tool == "flux":
        prod.commit({KUSTOMIZATION: FLUX % digest("A").hex.encode()})
        prod.commit({KUSTOMIZATION: FLUX % digest("B").hex.encode()})
        prod.git("push", "-q", "origin", "main")
    roll_back(publisher(prod.where))
    base = pulled(prod)
    content = (prod.where / KUSTOMIZATION).read_bytes()
    new = content.replace(digest("A").hex.encode(), digest("C").hex.encode())
    if tool == "argocd-image-updater":  # kustomize edit set image: written anew
        new = b"images:\n- digest: sha256:%b\n  name: spam\n" % digest("C").hex.encode()
    assert new != content
    prod.commit({KUSTOMIZATION: new}, f"chore({tool}): update spam")
    assert refused(sandbox, prod, base) == ["hold"]


def test_a_git_revert_lifts_pin_and_hold_together_and_is_refused(sandbox, prod, publisher):
    made = roll_back(publisher(prod.where), quarantine=True)
    pulled(prod)
    prod.git("revert", "--no-edit", made)
    assert refused(sandbox, prod, made) == ["hold", "quarantine", "quarantine"]


def test_a_branch_that_moves_under_a_checkout_does_not_come_back_with_its_next_commit(
    sandbox, prod, publisher
):
    """`mlops` moves no branch that is checked out, so the index shows no old pin to commit."""
    head = prod.head
    roll_back(publisher(prod.where))
    assert prod.head == head
    assert prod.git("status", "--porcelain") == ""
    (prod.where / "train.py").write_text("print(2)\n")
    prod.git("commit", "-qam", "work")
    prod.git("push", "-q", "origin", "main", code=1)
    pulled(prod)
    prod.git("push", "-q", "origin", "main")
    assert str(digest("A")) in prod.git("show", f"origin/main:{KUSTOMIZATION}")


# -- races and what is swept along


def test_kargo_3071_a_lost_push_is_decided_again_on_the_new_tip(sandbox, prod, publisher):
    other = sandbox.clone("b")
    gitops = sandbox.gitops(prod.where)
    publish, raced = gitops.publish, []

    def late(*args, **more):
        if not raced:
            raced.append(1)
            hold(publisher(other), HoldOrder("prod", "spam", "freeze"))
        return publish(*args, **more)

    gitops.publish = late
    mine = publisher(prod.where)
    mine = Publisher(gitops, mine.project, mine.actor, mine.now, pause=mine.pause)
    order = PromoteOrder((str(release("C")),), "prod")
    for name in ("staging", "prod"):
        path = f"environments/{name}/environment.yaml"
        prod.change({path: b"apiVersion: mlops/v1\nkind: Environment\n"})
    prod.commit({})
    prod.git("push", "-q", "origin", "main")
    with pytest.raises(RefusedError, match="held by Ada: freeze"):
        Promoter(mine, sandbox.open(prod.where)).promote(order)
    assert raced
    assert str(digest("B")) in prod.git("show", f"origin/main:{KUSTOMIZATION}")


def test_argocd_image_updater_1174_nothing_of_mine_is_swept_into_the_commit(prod, publisher):
    (prod.where / "train.py").write_text("half done\n")
    (prod.where / KUSTOMIZATION).write_text("images: [] # half done\n")
    (prod.where / "staged.py").write_text("staged\n")
    (prod.where / "untracked.py").write_text("untracked\n")
    prod.git("add", "staged.py", KUSTOMIZATION)
    before = prod.git("status", "--porcelain")
    made = roll_back(publisher(prod.where))
    assert set(prod.git("show", "--format=", "--name-only", made).splitlines()) == {
        "environments/prod/holds.yaml",
        KUSTOMIZATION,
    }
    assert "half done" not in prod.git("show", made)
    assert prod.git("status", "--porcelain") == before
    assert prod.git("show", ":staged.py") == "staged"


def test_kargo_6741_history_goes_on_after_a_pull_without_rebase(sandbox, prod, publisher):
    prod.git("checkout", "-qb", "mine", "HEAD~1")
    prod.commit({"src/x.py": b"x"})
    roll_back(publisher(prod.where))
    prod.git("fetch", "-q", "origin")
    prod.git("merge", "-q", "--no-edit", "origin/main")
    prod.git("push", "-q", "origin", "mine:main")
    rows = publisher(prod.where).environments().history("prod").rows("spam")
    assert [row.digest for row in rows] == [digest("A"), digest("B"), digest("A")]


# -- one decision for each commit


def test_tekton_triggers_1841_two_watchers_of_one_commit_make_one_run(sandbox):
    one, two = (RunClaims(sandbox.open(sandbox.clone(name)), "origin") for name in "ab")
    assert one.put("spam-abc-1", {"state": "claimed"}, None) is not None
    assert two.put("spam-abc-1", {"state": "claimed"}, None) is None


def test_tekton_triggers_1400_an_event_that_comes_twice_starts_nothing_twice(sandbox):
    claims = RunClaims(sandbox.open(sandbox.clone("a")), "origin")
    claims.put("spam-abc-1", {"state": "claimed"}, None)
    assert claims.put("spam-abc-1", {"state": "claimed"}, None) is None
    assert len(claims.list()) == 1


def test_pipelines_as_code_1790_a_dead_holder_blocks_nobody_and_one_takes_over(sandbox):
    one, two, three = (RunClaims(sandbox.open(sandbox.clone(n)), "origin") for n in "abc")
    dead = one.put("spam-abc-1", {"state": "claimed"}, None)
    assert dead is not None
    taken = [c.put("spam-abc-1", {"state": "claimed"}, dead) for c in (two, three)]
    assert [each is not None for each in taken] == [True, False]


# -- git from Python


@pytest.mark.parametrize(
    "url", ["ext::sh -c touch% {mark}", "fd::17/x", "file::{mark}", "transport::x"]
)
def test_cve_2022_24439_ext_url(sandbox, settings, url):
    where = sandbox.clone("a")
    mark = sandbox.directory / "ran"
    with settings.open("a") as config:
        config.write('[protocol "ext"]\n allow = always\n[protocol]\n allow = always\n')
    url = url.format(mark=mark)
    sandbox.git(where, "remote", "set-url", "origin", url)
    with pytest.raises(GitError):
        sandbox.gitops(where).refresh()
    with pytest.raises(MlopsError):
        open_repository(url, sandbox.directory / "clone", fetch=True)
    assert not mark.exists()


def test_cve_2023_40267_url_rewritten_to_ext_by_the_users_settings(sandbox, settings):
    where = sandbox.clone("a")
    mark = sandbox.directory / "ran"
    with settings.open("a") as config:
        config.write(
            f'[url "ext::sh -c touch% {mark}% #"]\n insteadOf = https://git.example.com/\n'
        )
    sandbox.git(where, "remote", "set-url", "origin", "https://git.example.com/x")
    with pytest.raises(GitError, match="protocol that is not allowed"):
        sandbox.gitops(where).refresh()
    assert not mark.exists()


OPTIONS = ("--upload-pack=touch ran", "--upl=touch ran", "-u touch ran", "--output=ran", "-oran")


@pytest.mark.parametrize("text", OPTIONS)
def test_ghsa_v396_and_ghsa_2f96_options_whole_or_abbreviated_are_no_names(sandbox, text):
    """GHSA-2f96: git takes any unambiguous beginning of an option for the option."""
    repository = sandbox.open(sandbox.clone("a"))
    for check in (check_ref, check_revision):
        with pytest.raises(UsageError):
            check(text)
    with pytest.raises(UsageError):
        repository.resolve(text)
    with pytest.raises(UsageError):
        GitOpsBranch(repository, text, "environments", "origin")
    with pytest.raises(MlopsError):
        GitOpsBranch(repository, "main", "environments", text)
    with pytest.raises(MlopsError):
        open_repository(text, sandbox.directory / "clone", fetch=True)
    assert not list(sandbox.directory.rglob("ran"))


def test_a_path_that_looks_like_an_option_is_a_path(sandbox, prod):
    base = prod.commit({"--output=ran": b"x", "environments/-x/holds.yaml": b"holds: []\n"})
    repository = sandbox.open(prod.where)
    assert repository.read(Commit(base), "--output=ran") == b"x"
    found = repository.changed(
        Commit(prod.git("rev-parse", "HEAD~1")), Commit(base), "--output=ran"
    )
    assert [change.path for change in found] == ["--output=ran"]
    assert not (prod.where / "ran").exists()


def test_ghsa_v87r_a_newline_adds_no_line_to_the_configuration(sandbox):
    url = "https://git.example.com/x\n[core]\n\tsshCommand = touch ran"
    with pytest.raises(MlopsError):
        open_repository(url, sandbox.directory / "clone", fetch=True)
    assert sandbox.git(sandbox.directory / "clone", "config", "core.sshCommand", code=1) == ""


def test_ghsa_hmq2_names_in_gitmodules_write_nowhere(sandbox, publisher, prod):
    name = "../../../hooks/evil"
    modules = f'[submodule "{name}"]\n\tpath = sub\n\turl = ext::sh -c touch% ran\n\tupdate = !touch ran\n'
    base = prod.head
    prod.change({".gitmodules": modules.encode()})
    prod.git("update-index", "--add", "--cacheinfo", f"160000,{base},sub")
    prod.git("commit", "-q", "-m", "a hostile submodule")
    prod.git("push", "-q", "origin", "main")
    made = roll_back(publisher(prod.where))
    assert prod.git("ls-tree", made, "sub").startswith(f"160000 commit {base}")
    assert not [p for p in sandbox.directory.rglob("*") if p.name in ("ran", "evil", "modules")]


def test_hooks_and_core_settings_in_the_repository_run_nothing(sandbox, publisher, prod):
    mark = sandbox.directory / "mark"
    evil = sandbox.script(prod.where / "tools/evil", f"echo $0 >> {mark}")
    for name in ("pre-push", "pre-commit", "reference-transaction", "post-merge", "commit-msg"):
        sandbox.script(prod.where / ".githooks" / name, f"echo {name} >> {mark}")
    for key, value in (
        ("core.hooksPath", ".githooks"),
        ("core.fsmonitor", str(evil)),
        ("core.editor", str(evil)),
        ("core.pager", str(evil)),
        ("core.askPass", str(evil)),
        ("core.gitProxy", str(evil)),
        ("diff.external", str(evil)),
        ("alias.push", f"!{evil}"),
    ):
        prod.git("config", key, value)
    (prod.where / ".gitattributes").write_text("* filter=evil diff=evil merge=evil\n")
    for key in (
        "filter.evil.clean",
        "filter.evil.smudge",
        "diff.evil.textconv",
        "merge.evil.driver",
    ):
        prod.git("config", key, str(evil))
    made = roll_back(publisher(prod.where))
    assert made
    assert refused(sandbox, prod, prod.head) == []
    assert not mark.exists()


def test_cve_2026_40938_a_revision_that_looks_like_an_option(sandbox):
    repository = sandbox.open(sandbox.clone("a"))
    for text in ("--upload-pack=touch ran", "-x", "--end-of-options", "HEAD --output=ran", "a\nb"):
        with pytest.raises(MlopsError):
            repository.resolve(text)
    assert not list(sandbox.directory.rglob("ran"))


def test_cve_2026_33211_paths_and_links_do_not_lead_out_of_the_tree(sandbox, prod, publisher):
    secret = sandbox.directory / "secret"
    secret.write_text("images: [{name: spam}]\n")
    (prod.where / KUSTOMIZATION).unlink()
    (prod.where / KUSTOMIZATION).symlink_to(secret)
    link = prod.commit({})
    assert sandbox.open(prod.where).read(Commit(link), KUSTOMIZATION) is None
    prod.git("push", "-q", "origin", "main")
    with pytest.raises(ConfigError, match="is not on the GitOps branch"):
        roll_back(publisher(prod.where))
    for path in ("../secret", "a/../../secret", ".git/config", "a/.GIT/x"):
        with pytest.raises(UsageError):
            check_path(path)


def test_an_environment_that_is_missing_or_renamed_is_named(prod, publisher):
    prod.git("mv", "environments/prod", "environments/production")
    prod.commit({})
    prod.git("push", "-q", "origin", "main")
    with pytest.raises(ConfigError, match=r"environments/prod/kustomization\.yaml is not on"):
        roll_back(publisher(prod.where))
    assert publisher(prod.where).environments().state("staging").pins == {}


def test_two_incidents_at_once_from_two_clones_hold_both(sandbox, prod, publisher):
    for name in "AB":
        prod.commit({**prod.recorded(name, "eggs"), **prod.pinned(name, model="eggs")})
    prod.git("push", "-q", "origin", "main")
    other = sandbox.clone("b")
    gitops = sandbox.gitops(prod.where)
    publish, raced = gitops.publish, []

    def late(*args, **more):
        if not raced:
            raced.append(roll_back(publisher(other), models=("eggs",), incident="INC-8"))
        return publish(*args, **more)

    gitops.publish = late
    one = publisher(prod.where)
    mine = Publisher(gitops, one.project, one.actor, one.now, pause=one.pause)
    assert roll_back(mine, models=("spam",), incident="INC-7")
    state = publisher(prod.where).environments().state("prod")
    found = {each.model: each.incident for each in state.holds}
    assert found == {"spam": "INC-7", "eggs": "INC-8"}
    assert set(state.pins.values()) == {digest("A")}


def test_a_hold_by_hand_is_a_hold(sandbox, prod, publisher):
    mine: Hold = held("B", "*")
    base = prod.commit(prod.holds(mine))
    prod.git("push", "-q", "origin", "main")
    order = PromoteOrder((str(release("C")),), "prod")
    with pytest.raises(RefusedError, match="held by Ada"):
        Promoter(publisher(prod.where), sandbox.open(prod.where)).promote(order)
    prod.commit(prod.pinned("C"))
    assert refused(sandbox, prod, base) == ["hold"]
