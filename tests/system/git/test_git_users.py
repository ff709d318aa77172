"""Nothing of the user's is changed, and nothing of it changes what we do.

Each circumstance is made in a real clone; then we read, publish, and compare all that the user has.
"""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from mlops.errors import GitError
from mlops.ports import Published
from tests.system.git.snapshot import snapshot

PIN = "environments/dev/kustomization.yaml"
RECORD = "environments/releases/spam/abc.json"
CONTENT = b"images:\n- name: spam\r\n  digest: \xff\n"
HOOKS = (
    "applypatch-msg", "commit-msg", "fsmonitor-watchman", "post-applypatch", "post-checkout",
    "post-commit", "post-index-change", "post-merge", "post-rewrite", "pre-applypatch", "pre-auto-gc",
    "pre-commit", "pre-merge-commit", "pre-push", "pre-rebase", "prepare-commit-msg", "push-to-checkout",
    "reference-transaction", "sendemail-validate",
)  # fmt: skip


def plain(sandbox, where):
    """Nothing special."""


def staged_and_unstaged(sandbox, where):
    (where / "staged").write_text("1")
    (where / "both").write_text("1")
    sandbox.git(where, "add", "staged", "both")
    (where / "both").write_text("2")
    (where / "train.py").write_text("dirty")
    (where / "untracked").write_text("x")
    target = where / PIN
    target.parent.mkdir(parents=True)
    target.write_text("mine, and not yet committed\n")
    sandbox.git(where, "add", "-N", "untracked")


def half_a_merge(sandbox, where):
    sandbox.git(where, "config", "rerere.enabled", "true")
    sandbox.git(where, "config", "rerere.autoUpdate", "true")
    sandbox.git(where, "switch", "-qc", "side")
    sandbox.commit(where, "side", {"train.py": "side\n"})
    sandbox.git(where, "switch", "-q", "main")
    sandbox.commit(where, "main", {"train.py": "main\n"})
    sandbox.git(where, "merge", "side", code=1)
    assert (where / ".git" / "rr-cache").is_dir()


def half_a_rebase(sandbox, where):
    half_a_merge(sandbox, where)
    sandbox.git(where, "merge", "--abort")
    sandbox.git(where, "rebase", "side", code=1)


def detached(sandbox, where):
    sandbox.git(where, "switch", "-q", "--detach")


def unborn(sandbox, where):
    sandbox.git(where, "switch", "-q", "--orphan", "nothing")


def index_locked(sandbox, where):
    (where / ".git" / "index.lock").write_text("")


def behind(sandbox, where):
    """The user's branch is checked out, and one commit behind the remote."""
    other = sandbox.clone("other")
    sandbox.commit(other, "ahead", {"train.py": "ahead\n"})
    sandbox.git(other, "push", "-q")


def ahead(sandbox, where):
    sandbox.commit(where, "not pushed", {"train.py": "ahead\n"})


def lfs(sandbox, where):
    trap = sandbox.script(sandbox.directory / "lfs", f"touch {sandbox.directory}/ran; exit 1")
    for part in ("clean", "smudge", "process"):
        sandbox.git(where, "config", f"filter.lfs.{part}", str(trap))
    sandbox.git(where, "config", "filter.lfs.required", "true")
    attributes = where / ".git" / "info" / "attributes"
    attributes.write_text("* filter=lfs diff=lfs merge=lfs -text\n")


def line_ends(sandbox, where):
    sandbox.git(where, "config", "core.autocrlf", "true")
    sandbox.git(where, "config", "core.eol", "crlf")
    sandbox.git(where, "config", "core.safecrlf", "true")
    mine = sandbox.directory / "attributes"
    mine.write_text("* text=auto eol=crlf working-tree-encoding=UTF-16 ident\n")
    sandbox.git(where, "config", "core.attributesFile", str(mine))


def sparse(sandbox, where):
    sandbox.git(where, "sparse-checkout", "set", "--cone", "nowhere")


def replaced(sandbox, where):
    first = sandbox.git(where, "rev-parse", "HEAD")
    tree = sandbox.git(where, "mktree", env={"GIT_DIR": str(where / ".git")})
    other = sandbox.git(where, "commit-tree", "-m", "other", tree)
    sandbox.git(where, "replace", first, other)


def grafted(sandbox, where):
    head = sandbox.git(where, "rev-parse", "HEAD")
    tree = sandbox.git(where, "rev-parse", "HEAD^{tree}")
    other = sandbox.git(where, "commit-tree", "-m", "other", tree)
    (where / ".git" / "info" / "grafts").write_text(f"{head} {other}\n")


def alternates(sandbox, where):
    shared = sandbox.directory / "shared.git"
    shutil.copytree(sandbox.remote, shared)
    shutil.rmtree(where / ".git" / "objects")
    (where / ".git" / "objects" / "info").mkdir(parents=True)
    (where / ".git" / "objects" / "pack").mkdir()
    (where / ".git" / "objects" / "info" / "alternates").write_text(f"{shared}/objects\n")


def hooked(sandbox, where):
    for hook in HOOKS:
        sandbox.script(where / ".git" / "hooks" / hook, f"touch {sandbox.directory}/ran; exit 1")
    mine = sandbox.directory / "hooks"
    shutil.copytree(where / ".git" / "hooks", mine)
    sandbox.git(where, "config", "core.hooksPath", str(mine))


def aliased(sandbox, where):
    trap = f"!touch {sandbox.directory}/ran; false"
    names = (
        "fetch push commit-tree update-ref rev-parse cat-file unpack-objects status merge-base"
        " ls-remote config remote for-each-ref symbolic-ref rev-list diff-tree worktree"
    )
    for name in names.split():
        sandbox.git(where, "config", f"alias.{name}", trap)


def programs(sandbox, where):
    trap = str(sandbox.script(sandbox.directory / "trap", f"touch {sandbox.directory}/ran; exit 1"))
    for key in (
        "core.fsmonitor", "core.editor", "core.pager", "core.askPass", "core.gitProxy", "sequence.editor",
        "diff.external", "diff.x.command", "diff.x.textconv", "merge.x.driver", "interactive.diffFilter",
        "pager.fetch", "pager.push", "uploadpack.packObjectsHook", "gpg.program", "gpg.ssh.program",
        "web.browser", "browser.x.cmd", "difftool.x.cmd", "sendemail.smtpServer",
        "core.alternateRefsCommand", "trailer.sign.command", "trailer.sign.cmd", "tar.x.command",
    ):  # fmt: skip
        sandbox.git(where, "config", key, trap)
    (where / ".git" / "info" / "attributes").write_text("* diff=x merge=x\n")


def included(sandbox, where):
    """Settings that come by `include.path`, from a file beside."""
    hooked(sandbox, where)
    extra = sandbox.directory / "extra"
    extra.write_text(f"[core]\n\thooksPath = {sandbox.directory}/hooks\n\tfsmonitor = true\n")
    sandbox.git(where, "config", "--unset", "core.hooksPath")
    sandbox.git(where, "config", "include.path", str(extra))


def pushing_otherwise(sandbox, where):
    for key, value in {
        "push.default": "nothing", "push.followTags": "true", "push.gpgSign": "if-asked",
        "push.pushOption": "ci.skip", "push.recurseSubmodules": "only", "push.negotiate": "true",
        "push.useForceIfIncludes": "true", "remote.pushDefault": "elsewhere", "remote.origin.push": "x:y",
        "branch.main.pushRemote": "elsewhere", "branch.main.merge": "refs/heads/other",
        "remote.origin.mirror": "true", "remote.origin.prune": "true", "remote.origin.tagOpt": "--tags",
        "fetch.prune": "true", "fetch.pruneTags": "true", "fetch.parallel": "0", "fetch.output": "compact",
        "fetch.writeCommitGraph": "true", "remote.origin.fetch": "+refs/*:refs/*", "gc.auto": "1",
        "transfer.fsckObjects": "true", "core.logAllRefUpdates": "always", "submodule.recurse": "true",
    }.items():  # fmt: skip
        sandbox.git(where, "config", key, value)
    sandbox.git(where, "tag", "-a", "mine", "-m", "mine")


def with_submodule(sandbox, where):
    inner = sandbox.new("inner")
    sandbox.commit(inner, "inner", {"x": "x"})
    allowed = ("-c", "protocol.file.allow=always")
    sandbox.git(where, *allowed, "submodule", "-q", "add", str(inner), "sub")
    sandbox.commit(where, "sub", {})
    sandbox.git(where, "push", "-q")
    (where / "sub" / "x").write_text("dirty")
    # what a commit may bring along, and must not run
    (where / ".gitmodules").write_text(
        f'[submodule "sub"]\n\tpath = sub\n\turl = ext::sh -c touch% {sandbox.directory}/ran\n'
        f"\tupdate = !touch {sandbox.directory}/ran\n[core]\n\thooksPath = hooks\n"
    )


CIRCUMSTANCES = (
    plain, staged_and_unstaged, half_a_merge, half_a_rebase, detached, unborn, index_locked, behind,
    ahead, lfs, line_ends, sparse, replaced, grafted, alternates, hooked, aliased, programs, included,
    pushing_otherwise, with_submodule,
)  # fmt: skip


@pytest.mark.parametrize("circumstance", CIRCUMSTANCES, ids=lambda each: each.__name__)
def test_with_a_remote_nothing_of_the_users_changes(sandbox, circumstance):
    where = sandbox.clone("a")
    circumstance(sandbox, where)
    before = snapshot(where)
    gitops = sandbox.gitops(where)
    base = gitops.refresh()
    repository = gitops.repository
    assert repository.read(base, "train.py") is not None
    assert not list(gitops.line(base, "environments"))
    done = gitops.publish(base, {PIN: CONTENT, RECORD: b"{}\n"}, "pin", {"mlops/t": base})
    assert isinstance(done, Published)
    assert repository.is_ancestor(base, done.commit)
    assert snapshot(where) == before
    assert not (sandbox.directory / "ran").exists(), "a program of the user's ran"
    raw = subprocess.run(
        ["git", "cat-file", "blob", f"main:{PIN}"],
        cwd=sandbox.remote,
        capture_output=True,
        check=True,
    ).stdout
    assert raw == CONTENT, "bytes are as they were given"
    assert sandbox.git(sandbox.remote, "rev-list", "--parents", "-1", "main").split() == [
        done.commit.sha,
        base.sha,
    ]
    assert sandbox.git(sandbox.remote, "for-each-ref", "--format=%(refname)").split() == [
        "refs/heads/main",
        "refs/tags/mlops/t",
    ], "and no other ref went along"


@pytest.mark.parametrize(
    "circumstance",
    [
        plain,
        staged_and_unstaged,
        detached,
        unborn,
        lfs,
        line_ends,
        hooked,
        aliased,
        programs,
        included,
    ],
    ids=lambda each: each.__name__,
)
def test_a_branch_of_its_own_without_a_remote(sandbox, circumstance):
    """Only that branch moves."""
    where = sandbox.clone("a")
    circumstance(sandbox, where)
    gitops = sandbox.gitops(where, remote=None, branch="gitops")
    before = snapshot(where)
    done = gitops.publish(gitops.refresh(), {PIN: CONTENT}, "pin")
    assert isinstance(done, Published)
    after = snapshot(where)
    moved = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert moved == {"git/refs/heads/gitops", "git/logs/refs/heads/gitops"}
    assert not (sandbox.directory / "ran").exists()
    assert gitops.read(done.commit, PIN) == CONTENT


@pytest.mark.parametrize(
    "how", ["bare", "mirror", "shallow", "linked", "blobless", "treeless", "moved"]
)
def test_every_kind_of_clone(sandbox, how):
    first = sandbox.clone("first")
    sandbox.commit(first, "more", {"src/x.py": "1\n", PIN: "0\n", "environments/prod/k": "1\n"})
    sandbox.git(first, "push", "-q")
    sandbox.git(sandbox.remote, "config", "uploadpack.allowFilter", "true")
    sandbox.git(sandbox.remote, "config", "uploadpack.allowAnySHA1InWant", "true")
    url, where = f"file://{sandbox.remote}", sandbox.directory / "a"
    options = {
        "bare": ["--bare"], "mirror": ["--mirror"], "shallow": ["--depth=1"],
        "blobless": ["--filter=blob:none", "--no-checkout"],
        "treeless": ["--filter=tree:0", "--no-checkout"],
    }  # fmt: skip
    sandbox.git(sandbox.directory, "clone", "-q", *options.get(how, []), url, "a")
    git_dir = None
    if how == "linked":
        git_dir = where / ".git"
        sandbox.git(where, "worktree", "add", "-q", "-b", "side", "../linked")
        where = sandbox.directory / "linked"
    if how == "moved":  # the work tree is told by core.worktree
        sandbox.git(where, "config", "core.worktree", str(sandbox.directory / "tree"))
        (sandbox.directory / "tree").mkdir()
        sandbox.git(where, "reset", "-q", "--hard")
    before = snapshot(where, git_dir)
    gitops = sandbox.gitops(where)
    base = gitops.refresh()
    assert gitops.read(base, PIN) == b"0\n"
    done = gitops.publish(base, {PIN: CONTENT}, "pin")
    assert isinstance(done, Published)
    assert sandbox.git(sandbox.remote, "rev-parse", "main") == done.commit.sha
    assert gitops.read(done.commit, "environments/prod/k") == b"1\n"
    assert gitops.tip() == done.commit
    assert snapshot(where, git_dir) == before
    sandbox.git(sandbox.remote, "fsck", "--strict")


@pytest.mark.parametrize("what", ["blob:none", "tree:0"])
def test_a_partial_clone_without_its_remote_says_so(sandbox, what):
    first = sandbox.clone("first")
    sandbox.commit(first, "pin", {PIN: "0\n"})
    sandbox.git(first, "push", "-q")
    sandbox.git(sandbox.remote, "config", "uploadpack.allowFilter", "true")
    url = f"file://{sandbox.remote}"
    sandbox.git(sandbox.directory, "clone", "-q", f"--filter={what}", "--no-checkout", url, "a")
    gitops = sandbox.gitops(sandbox.directory / "a")
    base = gitops.tip()
    sandbox.remote.rename(sandbox.directory / "gone.git")
    with pytest.raises(GitError, match="partial clone") as raised:
        gitops.read(base, PIN)
    assert "git fetch" in raised.value.hint


def test_the_repository_of_somebody_else(sandbox, monkeypatch):
    """safe.directory is git's to decide: its word reaches the user, with what to run."""
    where = sandbox.clone("a")
    real = shutil.which("git")
    sandbox.script(
        sandbox.directory / "bin" / "git",
        f'GIT_TEST_ASSUME_DIFFERENT_OWNER=1 exec {real} "$@"',  # git's own switch, for its tests
    )
    monkeypatch.setenv("PATH", f"{sandbox.directory}/bin:{os.environ['PATH']}")
    with pytest.raises(GitError, match="belongs to another user") as raised:
        sandbox.gitops(where)
    assert "safe.directory" in raised.value.hint


def test_a_real_key_signs(sandbox, settings):
    """commit.gpgsign with an ssh key; git itself verifies."""
    key = sandbox.directory / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    allowed = sandbox.directory / "allowed"
    allowed.write_text(f"ada@example.com {key.with_suffix('.pub').read_text()}")
    with settings.open("a") as config:
        config.write(
            f"[commit]\n gpgSign = 1\n[gpg]\n format = ssh\n[user]\n signingKey = {key}.pub\n"
            f'[gpg "ssh"]\n allowedSignersFile = {allowed}\n'
        )
    gitops = sandbox.gitops(sandbox.clone("a"))
    done = gitops.publish(gitops.refresh(), {PIN: CONTENT}, "pin")
    sandbox.git(sandbox.directory / "a", "verify-commit", done.commit.sha)
    key.unlink()
    with pytest.raises(GitError, match="could not be signed"):
        gitops.publish(done.commit, {PIN: b"2\n"}, "pin")


@pytest.mark.parametrize("setting", ["insteadOf", "pushInsteadOf"])
@pytest.mark.parametrize("scheme", ["ext", "file"])
def test_a_url_that_becomes_a_program(sandbox, settings, setting, scheme):
    where = sandbox.clone("a")
    mark = sandbox.directory / "ran"
    with pytest.MonkeyPatch.context() as patch:
        gitops = sandbox.gitops(where)
        base = gitops.refresh()
        evil = f"ext::sh -c touch% {mark}% #" if scheme == "ext" else "file::"
        with settings.open("a") as config:
            config.write(
                f'[protocol]\n allow = always\n[protocol "ext"]\n allow = always\n[url "{evil}"]\n'
                f" {setting} = {sandbox.remote}\n"
            )
        patch.setenv("GIT_ALLOW_PROTOCOL", "ext:file")
        act = {
            "insteadOf": gitops.refresh,
            "pushInsteadOf": lambda: gitops.publish(base, {PIN: b"1\n"}, "pin"),
        }[setting]
        with pytest.raises(GitError, match=r"not allowed|no such remote"):
            act()
    assert not mark.exists()


@pytest.mark.parametrize(
    "url",
    [
        "--upload-pack=touch ran",
        "-oProxyCommand=x",
        "ssh://-oProxyCommand=touch%20ran/x",
        "ssh://x:-p/y",
    ],
)
def test_a_url_that_looks_like_an_option(sandbox, url):
    where = sandbox.clone("a")
    sandbox.git(where, "config", "remote.origin.url", url)
    with pytest.raises(GitError):
        sandbox.gitops(where).refresh()
    assert not (where / "ran").exists()


NAMES = ("with space", "new\nline", 'quo"te', "it's", "$(touch ran)", "`touch ran`", "-lead", "--force",
         "ünïcode", "p\u0430th", "\u202eevil", "a;b|c&d", "*", "[x]", "tab\t", "\\back", "%s", "~")  # fmt: skip


def test_hostile_file_names(sandbox):
    where = sandbox.clone("a")
    gitops = sandbox.gitops(where)
    files = {f"environments/{name}/{name}": name.encode() for name in NAMES}
    done = gitops.publish(gitops.refresh(), files, "pin")
    listed = {each.path for each in gitops.files(done.commit, "environments")}
    assert listed == set(files)
    for path, content in files.items():
        assert gitops.read(done.commit, path) == content
    sandbox.git(sandbox.remote, "fsck", "--strict")
    assert not (where / "ran").exists()


@pytest.mark.parametrize(
    "name",
    ["rel;ease", "$(touch${IFS}ran)", "`touch${IFS}ran`", "it's", 'quo"te', "ünï", "m\u0430in"],
)
def test_hostile_branches_and_tags_that_git_takes(sandbox, name):
    where = sandbox.clone("a")
    gitops = sandbox.gitops(where, branch=name)
    tip = sandbox.gitops(where).refresh()
    done = gitops.publish(gitops.refresh(), {PIN: b"1\n"}, "pin", {f"mlops/{name}": tip})
    assert sandbox.git(sandbox.remote, "rev-parse", f"refs/heads/{name}") == done.commit.sha
    assert sandbox.git(sandbox.remote, "rev-parse", f"refs/tags/mlops/{name}") == tip.sha
    assert not (where / "ran").exists()
    assert sandbox.gitops(where).tip() == tip, "main, spelled otherwise, is another branch"
