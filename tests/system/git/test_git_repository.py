"""Repository against real git."""

from __future__ import annotations

import hashlib
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest

from mlops.adapters.git import Git, Repository, discover
from mlops.domain.source import Commit
from mlops.errors import GitError, UsageError
from mlops.ports import SourceReader


def test_it_meets_the_port(sandbox):
    reader: SourceReader = sandbox.open(sandbox.clone("a"))
    assert reader.resolve("HEAD").sha == sandbox.git(sandbox.directory / "a", "rev-parse", "HEAD")


class TestResolve:
    def test_every_form_of_a_revision(self, sandbox):
        where = sandbox.clone("a")
        first = sandbox.git(where, "rev-parse", "HEAD")
        sandbox.git(where, "tag", "-a", "v1", "-m", "one")
        second = sandbox.commit(where, "second", {"a": "1"})
        repository = sandbox.open(where)
        for rev in ("HEAD", "main", second, second[:9], "@"):
            assert repository.resolve(rev).sha == second
        for rev in ("v1", "origin/main", "HEAD~1", first, "refs/remotes/origin/main"):
            assert repository.resolve(rev).sha == first

    def test_unknown(self, sandbox):
        repository = sandbox.open(sandbox.clone("a"))
        for rev in ("nope", "0" * 40, "abcdef1"):
            with pytest.raises(GitError, match=f"no commit '{rev}' here"):
                repository.resolve(rev)

    def test_a_tree_is_no_commit(self, sandbox):
        repository = sandbox.open(sandbox.clone("a"))
        with pytest.raises(GitError):
            repository.resolve("HEAD^{tree}")

    @pytest.mark.parametrize("rev", ["--all", "-n1", "a..b", "a\nb", "a\0b", "", " ", ":/first"])
    def test_what_is_no_revision(self, sandbox, rev):
        repository = sandbox.open(sandbox.clone("a"))
        with pytest.raises(UsageError, match="names no revision"):
            repository.resolve(rev)

    def test_an_ambiguous_prefix(self, sandbox):
        where = sandbox.clone("a")
        tree = sandbox.git(where, "rev-parse", "HEAD^{tree}")
        seen: dict[str, str] = {}
        for number in count():
            text = f"tree {tree}\nauthor A <a> 1 +0000\ncommitter A <a> 1 +0000\n\n{number}\n"
            sha = hashlib.sha1(
                f"commit {len(text)}\0{text}".encode(), usedforsecurity=False
            ).hexdigest()
            if sha[:4] in seen:
                break
            seen[sha[:4]] = text
        for content in (text, seen[sha[:4]]):
            (where / "raw").write_text(content)
            sandbox.git(where, "hash-object", "-t", "commit", "-w", "raw")
        with pytest.raises(GitError, match="more than one commit"):
            sandbox.open(where).resolve(sha[:4])

    def test_an_empty_repository(self, sandbox):
        repository = sandbox.open(sandbox.new("a"))
        assert not repository.has_commits()
        assert repository.branch() == "main"
        for rev in ("HEAD", "main"):
            with pytest.raises(GitError, match="no commits yet"):
                repository.resolve(rev)
        with pytest.raises(GitError, match="no commits yet"):
            repository.head()
        assert repository.uncommitted() == 0


class TestContent:
    def test_reads_the_commit_and_not_the_work_tree(self, sandbox):
        where = sandbox.clone("a")
        repository = sandbox.open(where)
        (where / "train.py").write_text("dirty")
        assert repository.read(repository.head(), "train.py") == b"print(1)\n"

    def test_only_regular_files_are_read(self, sandbox):
        where = sandbox.clone("a")
        inner = sandbox.new("inner")
        sandbox.commit(inner, "x", {"x": "x"})
        sandbox.git(
            where, "-c", "protocol.file.allow=always", "submodule", "-q", "add", str(inner), "sub"
        )
        (where / "link").symlink_to("train.py")
        sandbox.commit(where, "more", {"dir/file": "f", "-x": "minus", "run.sh": "#!"})
        sandbox.git(where, "update-index", "--chmod=+x", "run.sh")
        sandbox.git(where, "commit", "-qm", "x")
        repository = sandbox.open(where)
        head = repository.head()
        for path in ("link", "sub", "dir", "absent", "train.py/x", "link/x", "sub/x"):
            assert repository.read(head, path) is None
        assert repository.read(head, "-x") == b"minus"
        modes = {file.path: file.mode for file in repository.files(head)}
        assert modes["link"] == "120000"
        assert modes["sub"] == "160000"
        assert modes["run.sh"] == "100755"
        assert modes["dir/file"] == "100644"

    @pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a//b", "", "a\0b", ".git/config"])
    def test_paths_outside_are_refused(self, sandbox, path):
        repository = sandbox.open(sandbox.clone("a"))
        with pytest.raises(UsageError, match="not a path below"):
            repository.read(repository.head(), path)

    def test_files_in_gits_order_whatever_their_names(self, sandbox):
        where = sandbox.clone("a")
        names = ["a-b", "a/b", "a.b", "é", "tab\there", 'quote"', "new\nline", " lead"]
        sandbox.commit(where, "names", dict.fromkeys(names, "x"))
        os.close(os.open(os.fsencode(where) + b"/\xff", os.O_CREAT))
        sandbox.commit(where, "bytes", {})
        repository = sandbox.open(where)
        listed = [file.path for file in repository.files(repository.head())]
        assert set(names) < set(listed)
        assert listed == sorted(listed, key=os.fsencode)
        assert "\udcff" in listed
        assert repository.read(repository.head(), "\udcff") == b""
        below = [file.path for file in repository.files(repository.head(), "a/")]
        assert below == ["a/b"]

    def test_changed(self, sandbox):
        where = sandbox.clone("a")
        one = sandbox.commit(where, "one", {"gone": "1", "kept": "1", "moved/x": "same"})
        (where / "new\nname").write_text("n")
        (where / "moved" / "x").rename(where / "y")
        (where / "kept").chmod(0o755)
        two = sandbox.commit(where, "two", {"gone": None})
        repository = sandbox.open(where)
        found = {
            change.path: change.status for change in repository.changed(Commit(one), Commit(two))
        }
        assert found == {"gone": "D", "kept": "M", "moved/x": "D", "new\nname": "A", "y": "A"}
        first = repository.changed(None, Commit(two))
        assert {change.status for change in first} == {"A"}
        assert len(first) == len(repository.files(Commit(two)))
        assert all(change.old is None and change.new for change in first)

    def test_a_missing_blob_or_commit_is_told(self, sandbox):
        repository = sandbox.open(sandbox.clone("a"))
        with pytest.raises(GitError, match="is not here"):
            repository.blob("1" * 40)
        with pytest.raises(GitError, match="is not here"):
            repository.info(Commit("1" * 40))
        tree = repository.commit(repository.head()).tree
        with pytest.raises(GitError, match="is a tree, not a blob"):
            repository.blob(tree)
        assert repository.read(repository.head(), "train.py") == b"print(1)\n"
        assert repository.has(repository.head())
        assert not repository.has(Commit(tree))

    def test_many_threads_share_one_process(self, sandbox):
        where = sandbox.clone("a")
        sandbox.commit(where, "many", {f"f{number}": f"{number}" * 900 for number in range(60)})
        repository = sandbox.open(where)
        head = repository.head()
        with ThreadPoolExecutor(8) as pool:
            read = list(pool.map(lambda n: repository.read(head, f"f{n % 60}"), range(480)))
        assert read == [str(number % 60).encode() * 900 for number in range(480)]

    def test_a_dead_helper_is_started_anew(self, sandbox):
        repository = sandbox.open(sandbox.clone("a"))
        head = repository.head()
        assert repository.has(head)
        process = repository.objects._stream._process
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert repository.read(head, "train.py") == b"print(1)\n"

    def test_new_objects_are_seen(self, sandbox):
        where = sandbox.clone("a")
        repository = sandbox.open(where)
        assert not repository.has(Commit("2" * 40))
        second = sandbox.commit(where, "second", {"late": "1"})
        sandbox.git(where, "repack", "-adq")
        sandbox.git(where, "prune-packed")
        assert repository.read(Commit(second), "late") == b"1"

    def test_refs_that_move_are_seen(self, sandbox):
        """Also where they were packed meanwhile, or deleted."""
        where = sandbox.clone("a")
        repository = sandbox.open(where)
        assert repository.ref("refs/heads/main") == repository.head()
        for number in range(3):
            sha = sandbox.commit(where, "more", {"x": str(number)})
            assert repository.ref("refs/heads/main").sha == sha == repository.head().sha
            sandbox.git(where, "pack-refs", "--all")
            assert repository.resolve("main").sha == sha
        sandbox.git(where, "branch", "side")
        assert repository.ref("refs/heads/side") == repository.head()
        sandbox.git(where, "pack-refs", "--all")
        sandbox.git(where, "branch", "-D", "side")
        assert repository.ref("refs/heads/side") is None

    def test_replacements_do_not_count(self, sandbox):
        where = sandbox.clone("a")
        first = sandbox.git(where, "rev-parse", "HEAD")
        second = sandbox.commit(where, "second", {"train.py": "evil"})
        sandbox.git(where, "replace", first, second)
        assert sandbox.open(where).read(Commit(first), "train.py") == b"print(1)\n"

    def test_a_sha256_repository(self, sandbox):
        where = sandbox.new("a", "--object-format=sha256")
        sha = sandbox.commit(where, "one", {"d/f": "x"})
        repository = sandbox.open(where)
        assert len(sha) == 64
        assert repository.read(repository.resolve("HEAD"), "d/f") == b"x"
        made = repository.write_commit(Commit(sha), {"d/g": b"y", "d/f": None}, "two")
        assert [change.status for change in repository.changed(Commit(sha), made)] == ["D", "A"]
        assert repository.changed(None, made)[0].path == "d/g"


class TestInfo:
    def test_author_time_subject_and_trailers(self, sandbox):
        where = sandbox.clone("a")
        message = (
            "pin spam\nto dev\n\nBody: no trailer\n\nMlops-Action: promote\nMlops-Reason: a\n  b\n"
        )
        sandbox.git(
            where,
            "commit",
            "-q",
            "--allow-empty",
            "-m",
            message,
            env={"GIT_COMMITTER_DATE": "1700000000 +0530", "GIT_AUTHOR_NAME": "Zoë"},
        )
        info = sandbox.open(where).info(sandbox.open(where).head())
        assert info.author == "Zoë <ada@example.com>"
        assert info.committed == datetime.fromtimestamp(1700000000, UTC)
        assert info.subject == "pin spam to dev"
        assert info.trailers == (("Mlops-Action", "promote"), ("Mlops-Reason", "a b"))
        assert info.trailer("Mlops-Action") == "promote"


class TestHistory:
    def test_commits_of_the_gitops_directory_are_transparent(self, sandbox):
        where = sandbox.clone("a")
        code = sandbox.commit(where, "code", {"train.py": "2", "environments/dev/k": "1"})
        sandbox.commit(where, "pin", {"environments/dev/k": "2"})
        sandbox.commit(where, "empty", {})
        pin = sandbox.commit(where, "pin", {"environments/dev/k": "3"})
        repository = sandbox.open(where)
        assert repository.source_of(Commit(pin), "environments").sha == code
        assert repository.source_of(Commit(pin), "environments/").sha == code
        assert repository.source_of(Commit(code), "environments").sha == code
        assert repository.source_of(Commit(pin), "").sha == pin

    def test_a_name_that_starts_alike_is_no_part_of_it(self, sandbox):
        where = sandbox.clone("a")
        sha = sandbox.commit(where, "x", {"environments2/k": "1"})
        assert sandbox.open(where).source_of(Commit(sha), "environments").sha == sha

    def test_a_merge_is_compared_with_its_first_parent(self, sandbox):
        where = sandbox.clone("a")
        code = sandbox.commit(where, "code", {"train.py": "2"})
        sandbox.git(where, "switch", "-qc", "side", "HEAD~1")
        sandbox.commit(where, "side", {"environments/k": "1"})
        sandbox.git(where, "switch", "-q", "main")
        sandbox.git(where, "merge", "-q", "--no-ff", "-m", "merge", "side")
        repository = sandbox.open(where)
        assert repository.source_of(repository.head(), "environments").sha == code
        sandbox.git(where, "switch", "-q", "side")
        sandbox.git(where, "merge", "-q", "--no-ff", "-m", "brings code", "main")
        assert repository.source_of(repository.head(), "environments") == repository.head()

    def test_nothing_else_anywhere(self, sandbox):
        where = sandbox.new("a")
        sha = sandbox.commit(where, "only", {"environments/k": "1"})
        with pytest.raises(GitError, match="changes anything outside environments/"):
            sandbox.open(where).source_of(Commit(sha), "environments")

    def test_a_shallow_clone_says_so(self, sandbox):
        first = sandbox.clone("a")
        sandbox.commit(first, "code", {"train.py": "2"})
        code = sandbox.commit(first, "code", {"train.py": "3"})
        pin = sandbox.commit(first, "pin", {"environments/k": "1"})
        sandbox.git(first, "push", "-q")
        where = sandbox.directory / "shallow"
        url = f"file://{sandbox.remote}"
        sandbox.git(sandbox.directory, "clone", "-q", "--depth=1", url, str(where))
        repository = sandbox.open(where)
        assert repository.is_shallow()
        with pytest.raises(GitError, match="cut off here") as raised:
            repository.source_of(Commit(pin), "environments")
        assert "git fetch --unshallow" in raised.value.hint
        sandbox.git(where, "fetch", "-q", "--depth=3")
        assert repository.source_of(Commit(pin), "environments").sha == code

    def test_a_shallow_clone_does_not_guess_ancestry(self, sandbox):
        first = sandbox.clone("a")
        start = sandbox.git(first, "rev-parse", "HEAD")
        sandbox.git(first, "push", "-q", "origin", f"{start}:refs/tags/start")
        sandbox.commit(first, "code", {"train.py": "2"})
        tip = sandbox.commit(first, "code", {"train.py": "3"})
        sandbox.git(first, "push", "-q")
        where = sandbox.directory / "shallow"
        url = f"file://{sandbox.remote}"
        sandbox.git(sandbox.directory, "clone", "-q", "--depth=2", url, str(where))
        sandbox.git(where, "fetch", "-q", "--depth=1", "origin", "tag", "start")
        repository = sandbox.open(where)
        with pytest.raises(GitError, match="cut off here"):
            repository.is_ancestor(Commit(start), Commit(tip))
        assert repository.is_ancestor(repository.resolve("main~1"), Commit(tip))
        assert not repository.is_ancestor(Commit(tip), repository.resolve("main~1"))
        sandbox.git(where, "fetch", "-q", "--unshallow")
        assert repository.is_ancestor(Commit(start), Commit(tip))

    def test_ancestors_children_first_and_lazily(self, sandbox):
        where = sandbox.clone("a")
        sandbox.git(where, "switch", "-qc", "side")
        sandbox.commit(where, "side", {"s": "1"})
        sandbox.git(where, "switch", "-q", "main")
        sandbox.commit(where, "main", {"m": "1"})
        sandbox.git(where, "merge", "-q", "-m", "merge", "side")
        repository = sandbox.open(where)
        found = list(repository.ancestors(repository.head()))
        assert len(found) == 4
        assert found[0] == repository.head()
        for position, commit in enumerate(found):
            for parent in repository.commit(commit).parents:
                assert found.index(Commit(parent)) > position
        assert next(repository.ancestors(repository.head())) == repository.head()

    def test_is_ancestor_of_what_is_not_here(self, sandbox):
        repository = sandbox.open(sandbox.clone("a"))
        assert repository.is_ancestor(repository.head(), repository.head())
        with pytest.raises(GitError, match="no such commit"):
            repository.is_ancestor(Commit("3" * 40), repository.head())


class TestPlaces:
    def test_discover_from_below(self, sandbox):
        where = sandbox.clone("a")
        (where / "x" / "y").mkdir(parents=True)
        assert discover(where / "x" / "y").directory == where.resolve()
        with pytest.raises(GitError, match="not the root"):
            Git.open(where / "x")
        assert Git.open(where).directory == where.resolve()

    def test_a_linked_work_tree(self, sandbox):
        where = sandbox.clone("a")
        sandbox.git(where, "worktree", "add", "-q", "-b", "side", "../linked")
        repository = sandbox.open(sandbox.directory / "linked")
        assert repository.root == (sandbox.directory / "linked").resolve()
        assert repository.branch() == "side"
        assert repository.git_dir != repository.common_dir
        assert repository.common_dir == (where / ".git").resolve()

    def test_a_bare_repository(self, sandbox):
        sandbox.clone("a")
        repository = sandbox.open(sandbox.remote)
        assert repository.bare
        assert repository.uncommitted() == 0
        assert repository.read(repository.resolve("main"), "train.py") == b"print(1)\n"

    def test_no_repository(self, tmp_path, monkeypatch):
        monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
        (tmp_path / "none").mkdir()
        with pytest.raises(GitError, match="no git repository"):
            discover(tmp_path / "none")
        with pytest.raises(GitError, match="no directory"):
            discover(tmp_path / "absent")

    def test_a_detached_head(self, sandbox):
        where = sandbox.clone("a")
        sandbox.git(where, "switch", "-q", "--detach")
        repository = sandbox.open(where)
        assert repository.branch() is None
        assert repository.head().sha == sandbox.git(where, "rev-parse", "main")
        assert repository.remote_name() == "origin"
        assert repository.default_branch() == "main"

    def test_uncommitted_counts_files(self, sandbox):
        where = sandbox.clone("a")
        sandbox.commit(where, "ignore", {".gitignore": "*.log\n", "kept": "1"})
        repository = sandbox.open(where)
        assert repository.uncommitted() == 0
        (where / "new").mkdir()
        for name in ("new/a", "new/b", "x.log", "staged"):
            (where / name).write_text("1")
        (where / "train.py").write_text("dirty")
        (where / "kept").unlink()
        sandbox.git(where, "add", "staged")
        assert repository.uncommitted() == 5


class TestRemotes:
    def test_without_one(self, sandbox):
        where = sandbox.new("a")
        sandbox.commit(where, "one", {"a": "1"})
        repository = sandbox.open(where)
        assert repository.remote_name() is None
        assert repository.remote_url() is None
        assert repository.default_branch() == "main"

    def test_the_tracked_then_origin_then_the_only_one(self, sandbox):
        where = sandbox.clone("a")
        repository = sandbox.open(where)
        sandbox.git(where, "remote", "add", "fork", "../fork.git")
        assert repository.remote_name() == "origin"
        sandbox.git(where, "config", "branch.main.remote", "fork")
        assert repository.remote_name() == "fork"
        assert repository.remote_url() == str((sandbox.directory / "fork.git").resolve())
        sandbox.git(where, "config", "branch.main.remote", "https://example.com/x")
        assert repository.remote_name() == "origin"
        sandbox.git(where, "remote", "rename", "origin", "other")
        sandbox.git(where, "config", "--unset-all", "branch.main.remote")
        with pytest.raises(GitError, match="several remotes"):
            repository.remote_name()
        sandbox.git(where, "remote", "remove", "fork")
        assert repository.remote_name() == "other"

    @pytest.mark.parametrize(
        ("url", "shown"),
        [
            ("https://me:secret@example.com/a.git", "https://example.com/a.git"),
            ("ssh://git@example.com/a.git", "ssh://git@example.com/a.git"),
            ("git@example.com:ml/a.git", "git@example.com:ml/a.git"),
            ("file:///srv/a.git", "/srv/a.git"),
        ],
    )
    def test_urls_show_no_secret(self, sandbox, url, shown):
        where = sandbox.new("a")
        sandbox.git(where, "remote", "add", "origin", url)
        assert sandbox.open(where).remote_url() == shown

    def test_a_remote_that_looks_like_an_option(self, sandbox):
        where = sandbox.new("a")
        with (where / ".git" / "config").open("a") as config:
            config.write('[remote "--upload-pack=touch x"]\n\turl = /x\n')
        repository = sandbox.open(where)
        for name in ("--upload-pack=x", "ext::sh", "../x"):
            with pytest.raises(UsageError, match="remote"):
                repository.remote(name)


class TestNothingOfTheUsers:
    """Hooks, aliases and settings that would change what git does."""

    def test_the_environment_does_not_point_elsewhere(self, sandbox, monkeypatch):
        where = sandbox.clone("a")
        other = sandbox.new("other")
        monkeypatch.setenv("GIT_DIR", str(other / ".git"))
        monkeypatch.setenv("GIT_WORK_TREE", str(other))
        monkeypatch.setenv("GIT_INDEX_FILE", str(other / "index"))
        monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(other / "objects"))
        repository = sandbox.open(where)
        assert repository.root == where.resolve()
        assert repository.read(repository.head(), "train.py") == b"print(1)\n"
        assert repository.uncommitted() == 0

    def test_settings_do_not_change_the_answers(self, sandbox, settings):
        where = sandbox.clone("a")
        with settings.open("a") as config:
            config.write(
                "[core]\n quotePath = true\n abbrev = 5\n[status]\n branch = true\n showStash = true\n"
                "short = true\n relativePaths = true\n[diff]\n renames = copies\n noprefix = true\n"
                "[log]\n showSignature = true\n decorate = full\n[color]\n ui = always\n"
                "[alias]\n rev-parse = !false\n status = !false\n[format]\n pretty = oneline\n"
                "[i18n]\n logOutputEncoding = latin1\n commitEncoding = latin1\n"
            )
        one = sandbox.commit(where, "one", {"old é": "same\n" * 9})
        (where / "old é").rename(where / "new é")
        two = sandbox.commit(where, "two", {})
        repository = sandbox.open(where)
        found = {(c.status, c.path) for c in repository.changed(Commit(one), Commit(two))}
        assert found == {("D", "old é"), ("A", "new é")}
        (where / "é").write_text("x")
        assert repository.status() == (("??", "é"),)
        made = repository.write_commit(Commit(two), {"x": b"1"}, "Zoë")
        assert repository.info(made).subject == "Zoë"

    def test_no_program_of_the_users_runs(self, sandbox, settings):
        where = sandbox.clone("a")
        mark = sandbox.directory / "ran"
        program = sandbox.script(sandbox.directory / "evil", f'echo "$0 $@" >> {mark}\ncat')
        for hook in ("reference-transaction", "pre-push", "post-index-change", "post-checkout"):
            sandbox.script(where / ".git" / "hooks" / hook, f"echo {hook} >> {mark}")
        with settings.open("a") as config:
            config.write(
                f"[core]\n fsmonitor = {program}\n pager = {program}\n"
                f"[diff]\n external = {program}\n[pager]\n log = {program}\n"
            )
        sandbox.git(where, "status")
        assert mark.exists()  # the trap works
        mark.unlink()
        repository = sandbox.open(where)
        base = repository.head()
        (where / "train.py").write_text("changed")
        assert repository.uncommitted() == 1
        gitops = sandbox.gitops(where)
        assert gitops.publish(gitops.refresh(), {"environments/k": b"1"}, "pin")
        local = sandbox.gitops(where, remote=None)
        assert local.publish(base, {"environments/k": b"1"}, "pin")
        assert list(local.line(local.tip(), "environments"))
        assert not mark.exists()


class TestWriting:
    def test_a_commit_touches_neither_index_nor_work_tree(self, sandbox):
        where = sandbox.clone("a")
        (where / "staged").write_text("1")
        sandbox.git(where, "add", "staged")
        before = (where / ".git" / "index").read_bytes()
        repository = sandbox.open(where)
        head = repository.head()
        files = {"environments/dev/k.yaml": b"\xff\r\n", "train.py": None}
        made = repository.write_commit(head, files, "subject\n\nKey: value")
        assert repository.commit(made).parents == (head.sha,)
        assert repository.commit(made).message == "subject\n\nKey: value\n"
        assert [file.path for file in repository.files(made)] == ["environments/dev/k.yaml"]
        assert repository.read(made, "environments/dev/k.yaml") == b"\xff\r\n"
        assert (where / ".git" / "index").read_bytes() == before
        assert repository.head() == head
        assert (where / "train.py").exists()
        sandbox.git(where, "fsck", "--strict")

    def test_it_can_be_dated(self, sandbox):
        where = sandbox.clone("a")
        repository = sandbox.open(where)
        when = datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)
        one, two = (
            repository.write_commit(repository.head(), {"x": b"1"}, "m", when=when) for _ in "12"
        )
        assert one == two
        assert repository.info(one).committed == when

    def test_modes_stay(self, sandbox):
        where = sandbox.clone("a")
        (where / "run").write_text("1")
        (where / "run").chmod(0o755)
        head = Commit(sandbox.commit(where, "x", {}))
        repository = sandbox.open(where)
        made = repository.write_commit(head, {"run": b"2"}, "m")
        assert {f.path: f.mode for f in repository.files(made)}["run"] == "100755"

    def test_what_stands_in_the_way(self, sandbox):
        where = sandbox.clone("a")
        (where / "link").symlink_to("train.py")
        head = Commit(sandbox.commit(where, "x", {"d/f": "1"}))
        repository = sandbox.open(where)
        for path in ("link", "d", "d/f/x", "link/x"):
            with pytest.raises(GitError, match="Remove it from the branch"):
                repository.write_commit(head, {path: b"1"}, "m")
        with pytest.raises(UsageError, match="both a file and a directory"):
            repository.write_commit(head, {"n": b"1", "n/m": b"1"}, "m")
        for path in ("../x", ".git/hooks/x", "/x"):
            with pytest.raises(UsageError):
                repository.write_commit(head, {path: b"1"}, "m")
        with pytest.raises(UsageError, match="message"):
            repository.write_commit(head, {"n": b"1"}, "a\0b")

    def test_an_identity_where_none_is_configured(self, sandbox, settings, monkeypatch):
        where = sandbox.clone("a")
        settings.write_text("[user]\n useConfigOnly = true\n")
        repository = sandbox.open(where)
        assert repository.identity() == ""
        made = repository.write_commit(repository.head(), {"x": b"1"}, "m")
        assert repository.info(made).author == "mlops <mlops@localhost>"
        monkeypatch.setenv("MLOPS_ACTOR", "Grace Hopper")
        made = repository.write_commit(repository.head(), {"x": b"1"}, "m")
        assert repository.info(made).author == "Grace Hopper <mlops@localhost>"
        monkeypatch.setenv("MLOPS_ACTOR", "Grace <grace@example.com>")
        made = repository.write_commit(repository.head(), {"x": b"1"}, "m")
        assert repository.info(made).author == "Grace <grace@example.com>"
        monkeypatch.setenv("MLOPS_ACTOR", "<\n>")
        made = repository.write_commit(repository.head(), {"x": b"1"}, "m")
        assert repository.info(made).author == "mlops <mlops@localhost>"

    def test_the_configured_identity_comes_first(self, sandbox, monkeypatch):
        repository = sandbox.open(sandbox.clone("a"))
        monkeypatch.setenv("MLOPS_ACTOR", "Grace")
        made = repository.write_commit(repository.head(), {"x": b"1"}, "m")
        assert repository.info(made).author == "Ada <ada@example.com>"
        assert repository.identity() == "Ada"

    def test_signing_is_honoured(self, sandbox, settings):
        where = sandbox.clone("a")
        signer = sandbox.script(
            sandbox.directory / "signer",
            'cat > /dev/null; echo "[GNUPG:] SIG_CREATED " >&2\n'
            'printf -- "-----BEGIN PGP SIGNATURE-----\\n\\nabc\\n-----END PGP SIGNATURE-----\\n"',
        )
        repository = sandbox.open(where)
        made = repository.write_commit(repository.head(), {"x": b"1"}, "m")
        assert "gpgsig" not in sandbox.git(where, "cat-file", "commit", made.sha)
        with settings.open("a") as config:
            config.write(f"[commit]\n gpgsign\n[gpg]\n program = {signer}\n")
        made = repository.write_commit(repository.head(), {"x": b"1"}, "m\n\nKey: v")
        assert "gpgsig" in sandbox.git(where, "cat-file", "commit", made.sha)
        assert repository.info(made).trailers == (("Key", "v"),)
        sandbox.script(signer, "exit 1")
        with pytest.raises(GitError, match="could not be signed"):
            repository.write_commit(repository.head(), {"x": b"1"}, "m")


def test_closing_ends_the_process(sandbox):
    where = sandbox.clone("a")
    with Repository(discover(where)) as repository:
        repository.has(repository.head())
        process = repository.objects._stream._process
    assert process.returncode is not None
    assert repository.read(repository.head(), "train.py") == b"print(1)\n"  # opens again
    repository.close()
    assert Path(where).is_dir()


def test_between_two_commits_lie_those_of_each_side(sandbox):
    where = sandbox.clone("w")
    base = sandbox.commit(where, "base", {"a": "1"})
    one = sandbox.commit(where, "one", {"a": "2"})
    two = sandbox.commit(where, "two", {"a": "3"})
    sandbox.git(where, "switch", "-q", "--detach", base)
    other = sandbox.commit(where, "other", {"b": "1"})
    repository = sandbox.open(where)

    def between(old, new):
        sides = repository.between(Commit(old), Commit(new))
        return [[info.commit.sha for info in side] for side in sides]

    assert between(base, two) == [[], [two, one]]
    assert between(two, base) == [[two, one], []]
    assert between(two, other) == [[two, one], [other]]
    assert between(base, base) == [[], []]


def test_between_says_where_a_shallow_clone_cannot_tell(sandbox):
    where = sandbox.clone("w")
    first = sandbox.commit(where, "first", {"a": "1"})
    sandbox.commit(where, "second", {"a": "2"})
    sandbox.git(where, "push", "-q", "origin", "HEAD:main")
    url = f"file://{sandbox.remote}"
    sandbox.git(sandbox.directory, "clone", "-q", "--depth=1", url, "shallow")
    sandbox.git(sandbox.directory / "shallow", "fetch", "-q", "--depth=1", "origin", first)
    repository = sandbox.open(sandbox.directory / "shallow")
    with pytest.raises(GitError, match="cut off"):
        repository.between(Commit(first), repository.head())
