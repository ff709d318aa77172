"""The parts of the git adapter that need no repository."""

from __future__ import annotations

import os
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops.adapters.git.changes import pathspec, raw_changes
from mlops.adapters.git.command import check_path, check_ref, check_revision
from mlops.adapters.git.commits import TreeEntry, parse_commit, parse_tree, trailers
from mlops.adapters.git.failures import failure, redact
from mlops.adapters.git.pack import NewObjects, object_id, tree_content
from mlops.adapters.git.remote import _porcelain
from mlops.errors import GitError, UsageError

_COMMIT = b"tree %s\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 2 +0000\n\nsubject\n" % (b"0" * 40)


class TestNames:
    @settings(deadline=None, max_examples=60)  # a process for each
    @given(st.text(max_size=12))
    def test_a_ref_that_passes_is_one_that_git_accepts(self, name):
        try:
            check_ref(name)
        except UsageError:
            return
        done = subprocess.run(
            ["git", "check-ref-format", "--branch", os.fsencode(name)],
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0
        assert not name.startswith("-")

    @pytest.mark.parametrize("name", ["main", "feature/x-1", "refs/tags/mlops/spam/0f", "é", "a.b"])
    def test_good_refs(self, name):
        assert check_ref(name) == name

    @given(st.text(max_size=12))
    def test_a_path_that_passes_stays_below(self, path):
        try:
            check_path(path)
        except UsageError:
            return
        assert not os.path.normpath(path).startswith(("..", "/"))
        assert ".git" not in path.lower().split("/")

    @given(st.text(max_size=12))
    def test_a_revision_that_passes_is_no_option_and_one_line(self, rev):
        try:
            check_revision(rev)
        except UsageError:
            return
        assert not rev.startswith("-")
        assert not set(rev) & {"\0", "\n", "\r"}

    def test_pathspecs_are_literal(self):
        assert pathspec("a/*") == (":(top,literal)a/*",)
        assert pathspec("") == ()


class TestTrailers:
    @pytest.mark.parametrize(
        ("message", "found"),
        [
            ("subject\n\nA: b\nC:d\n", (("A", "b"), ("C", "d"))),
            ("subject\r\n\r\nA: b\r\n", (("A", "b"),)),
            ("subject\n\nbody\n\nA: b\n  more\n\n\n", (("A", "b more"),)),
            ("A: b\n", ()),
            ("subject\n\nA: b\n\nnot the last\n", ()),
            ("subject\n\nA: b\nplain text\n", ()),
            (
                "subject\n\nA: b\nSigned-off-by: Z <z@z>\nplain\n",
                (("A", "b"), ("Signed-off-by", "Z <z@z>")),
            ),
            ("subject\n\nA: b\n(cherry picked from commit 123)\n", (("A", "b"),)),
            ("", ()),
            ("\n\nsubject", ()),
            ("subject\n\nA: \n", (("A", ""),)),
            ("subject\n\nTwo Words: x\n", ()),
        ],
    )
    def test_as_git_reads_them(self, message, found):
        assert trailers(message) == found
        done = subprocess.run(
            ["git", "interpret-trailers", "--parse"],
            input=message.encode(),
            capture_output=True,
            check=True,
        )
        parsed = tuple(
            (key, value.strip())
            for key, _, value in (line.partition(":") for line in done.stdout.decode().splitlines())
        )
        assert parsed == found

    @given(st.text())
    def test_any_message_is_read(self, message):
        for key, value in trailers(message):
            assert key
            assert "\n" not in value


class TestObjects:
    @given(st.binary(max_size=200))
    def test_a_malformed_commit_is_an_error_of_ours(self, content):
        try:
            parse_commit("0" * 40, content)
        except GitError:
            return

    @given(st.binary(max_size=200))
    def test_a_malformed_tree_is_an_error_of_ours(self, content):
        try:
            list(parse_tree(content, 20))
        except GitError:
            return

    def test_odd_commits(self):
        latin = _COMMIT.replace(b"\n\nsubject", b"\nencoding latin1\ngpgsig a\n b\n\nZo\xeb")
        assert parse_commit("0", latin).message == "Zoë\n"
        unknown = _COMMIT.replace(b"\n\nsubject", b"\nencoding none\n\nZo\xeb")
        assert parse_commit("0", unknown).message == "Zo\N{REPLACEMENT CHARACTER}\n"
        late = _COMMIT.replace(b"> 2 ", b"> 999999999999999999999 ")
        assert parse_commit("0", late).info("0").committed.year == 1970
        merge = _COMMIT.replace(b"\nauthor", b"\nparent x\nparent y\nauthor")
        assert parse_commit("0", merge).parents == ("x", "y")

    @given(
        st.dictionaries(
            st.text("ab.-0", min_size=1, max_size=3),
            st.sampled_from(["100644", "40000"]),
            max_size=6,
        )
    )
    def test_trees_come_back(self, names):
        entries = [
            TreeEntry(mode, name, f"{n:040x}") for n, (name, mode) in enumerate(names.items())
        ]
        content = tree_content(entries)
        assert set(parse_tree(content, 20)) == set(entries)
        assert len(list(parse_tree(content, 20))) == len(entries)

    def test_ids_are_gits(self):
        assert object_id("tree", b"", 20) == "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
        assert object_id("blob", b"x\n", 20) == "587be6b4c3f93f93c489c0111bba5596147a26cb"

    @pytest.mark.parametrize("form", ["sha1", "sha256"])
    def test_a_pack_of_every_size_is_unpacked(self, tmp_path, form):
        from_git = ["git", "init", "-q", f"--object-format={form}", "."]
        subprocess.run(from_git, cwd=tmp_path, check=True)
        new = NewObjects(20 if form == "sha1" else 32)
        contents = [b"x" * size for size in (0, 1, 15, 16, 17, 2047, 2048, 2049, 300_000)]
        names = [new.add("blob", content) for content in contents]
        entries = [TreeEntry("100644", f"f{n}", name) for n, name in enumerate(names)]
        inner = new.add("tree", tree_content(entries))
        new.add(
            "tree",
            tree_content(
                [
                    TreeEntry("40000", "a", inner),
                    TreeEntry("100644", "a.b", names[0]),
                    TreeEntry("100644", "a-b", names[0]),
                    TreeEntry("40000", "a0", inner),
                ]
            ),
        )

        class Here:
            def run(self, *args, doing, stdin):
                subprocess.run(["git", *args], cwd=tmp_path, input=stdin, check=True)

        new.store(Here())
        check = subprocess.run(
            ["git", "fsck", "--strict", "--no-dangling"],
            cwd=tmp_path,
            capture_output=True,
            check=True,
        )
        assert b"error" not in check.stderr
        for name, content in zip(names, contents, strict=True):
            shown = ["git", "cat-file", "blob", name]
            assert (
                subprocess.run(shown, cwd=tmp_path, capture_output=True, check=True).stdout
                == content
            )


class TestFailures:
    @pytest.mark.parametrize(
        ("complaint", "says", "retryable"),
        [
            (
                "fatal: not a git repository (or any of the parent directories): .git",
                "no git repo",
                False,
            ),
            ("fatal: Authentication failed for 'https://x/'", "credentials", False),
            (
                "git@x: Permission denied (publickey).\nfatal: Could not read from remote repository.",
                "credentials",
                False,
            ),
            (
                "fatal: unable to access 'http://x/': The requested URL returned error: 403",
                "credentials",
                False,
            ),
            (
                "fatal: unable to access 'http://x/': The requested URL returned error: 503",
                "cannot be reached",
                True,
            ),
            (
                "ssh: Could not resolve hostname x: Name or service not known",
                "cannot be reached",
                True,
            ),
            ("ssh: connect to host x port 22: Connection refused", "cannot be reached", True),
            ("fatal: the remote end hung up unexpectedly", "cannot be reached", True),
            (
                "remote: error: GH006: Protected branch update failed for refs/heads/main.",
                "protects this branch",
                False,
            ),
            ("! [remote rejected] main -> main (pre-receive hook declined)", "declined", False),
            ("fatal: '/x' does not appear to be a git repository", "no such remote", False),
            ("fatal: detected dubious ownership in repository at '/x'", "another user", False),
            ("error: unable to write file: No space left on device", "disk is full", False),
            (
                "fatal: Unable to create '/x/.git/index.lock': File exists.",
                "another git process",
                True,
            ),
            ("fatal: something new", "git failed", False),
            ("", "said nothing", False),
        ],
    )
    def test_plain_words(self, complaint, says, retryable):
        error = failure("doing this", complaint)
        assert says in error.message
        assert "doing this" in error.message
        assert error.retryable is retryable
        assert "\n" not in str(error)

    def test_secrets_are_covered(self):
        assert (
            redact("at https://me:pw@x.com/a and http://tok@y")
            == "at https://***@x.com/a and http://***@y"
        )
        error = failure("pushing", "fatal: Authentication failed for 'https://me:hunter2@x.com/'")
        assert "hunter2" not in str(error)


def test_the_answer_of_a_push():
    text = (
        "To /x\n*\tabc:refs/heads/new\t[new branch]\n \tabc:refs/heads/a\t1..2\n"
        "=\tabc:refs/tags/t\t[up to date]\n!\tabc:refs/heads/b\t[rejected] (stale info)\nDone\n"
    )
    flags, reasons = _porcelain(text)
    assert flags == {
        "refs/heads/new": "*",
        "refs/heads/a": " ",
        "refs/tags/t": "=",
        "refs/heads/b": "!",
    }
    assert reasons == ["! [rejected] (stale info) refs/heads/b"]


def test_raw_changes():
    zero, one = "0" * 40, "1" * 40
    records = ["\n:000000 100644", "a", ":100644 000000", "b", ":100644 120000", "c", ""]
    records[0] += f" {zero} {one} A"
    records[2] += f" {one} {zero} D"
    records[4] += f" {one} {one} T"
    found = list(raw_changes(iter(records)))
    assert [(c.status, c.path, c.old, c.new, c.mode) for c in found] == [
        ("A", "a", None, one, "100644"),
        ("D", "b", one, None, ""),
        ("T", "c", one, one, "120000"),
    ]
