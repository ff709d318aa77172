"""What forges, ssh, curl and git print when they refuse, and what we say of it."""

import pytest

from mlops.adapters.git.failures import failure

REJECTED = " ! [remote rejected] 1f2e3d -> main "
DECLINED = f"{REJECTED}(pre-receive hook declined)"

PROTECTED = "protects this branch"
AUTH = "credentials"
READ_ONLY = "read-only"
ROOM = "has no room"
LARGE = "larger than the remote takes"
SIGNED = "only signed commits"
RULE = "a rule on the remote declined it"

SAID = {
    "GitHub GH006": (
        ("remote: error: GH006: Protected branch update failed for refs/heads/main.\n"
        "remote: error: Changes must be made through a pull request.\n"
        f"{REJECTED}(protected branch hook declined)"),
        PROTECTED,
    ),
    "GitHub rules: pull request": (
        ("remote: error: GH013: Repository rule violations found for refs/heads/main.\n"
        "remote: \nremote: - Changes must be made through a pull request.\nremote: \n"
        f"{REJECTED}(push declined due to repository rule violations)"),
        PROTECTED,
    ),
    "GitHub rules: signatures": (
        ("remote: error: GH013: Repository rule violations found for refs/heads/main.\n"
        "remote: - Commits must have verified signatures.\n"
        f"{REJECTED}(push declined due to repository rule violations)"),
        SIGNED,
    ),
    "GitHub rules: another": (
        ("remote: error: GH013: Repository rule violations found for refs/heads/main.\n"
        "remote: - Required workflow 'build' is not successful.\n"
        f"{REJECTED}(push declined due to repository rule violations)"),
        RULE,
    ),
    "GitHub GH001": (
        ("remote: error: GH001: Large files detected. You may want to try Git Large File Storage.\n"
        "remote: error: File big.bin is 123.00 MB; this exceeds GitHub's file size limit of 100.00 MB\n"
        f"{DECLINED}"),
        LARGE,
    ),
    "GitHub archived, http": (
        ("remote: This repository was archived so it is read-only.\n"
        "fatal: unable to access 'https://github.com/o/r/': The requested URL returned error: 403"),
        READ_ONLY,
    ),
    "GitHub archived, ssh": (
        ("ERROR: This repository was archived so it is read-only.\n"
        "fatal: Could not read from remote repository."),
        READ_ONLY,
    ),
    "GitHub deploy key": (
        ("ERROR: The key you are authenticating with has been marked as read only.\n"
        "fatal: Could not read from remote repository."),
        READ_ONLY,
    ),
    "GitHub denied": (
        ("remote: Permission to o/r.git denied to ada.\n"
        "fatal: unable to access 'https://github.com/o/r/': The requested URL returned error: 403"),
        AUTH,
    ),
    "GitHub password": (
        ("remote: Support for password authentication was removed on August 13, 2021.\n"
        "fatal: Authentication failed for 'https://github.com/o/r/'"),
        AUTH,
    ),
    "GitHub single sign-on": (
        ("ERROR: The 'acme' organization has enabled or enforced SAML SSO.\n"
        "fatal: Could not read from remote repository."),
        AUTH,
    ),
    "GitHub not found": (
        "ERROR: Repository not found.\nfatal: Could not read from remote repository.",
        "no such remote repository",
    ),
    "rate limit, http": (
        "fatal: unable to access 'https://x/': The requested URL returned error: 429",
        "no more requests for now",
    ),
    "rate limit, words": (
        ("remote: You have exceeded a secondary rate limit.\n"
        "fatal: unable to access 'https://x/': The requested URL returned error: 403"),
        "no more requests for now",
    ),
    "GitLab protected": (
        ("remote: GitLab: You are not allowed to push code to protected branches on this project.\n"
        f"{DECLINED}"),
        PROTECTED,
    ),
    "GitLab size": (
        ("remote: GitLab: Your push has been rejected, because this repository has exceeded its size"
        " limit of 10 MB by 1 MB. Please contact your GitLab administrator.\n"
        f"{DECLINED}"),
        ROOM,
    ),
    "GitLab storage": (
        ("remote: GitLab: Your push to this repository has been rejected because the namespace storage"
        f" limit of 5 GB has been reached.\n{DECLINED}"),
        ROOM,
    ),
    "GitLab blobs": (
        ("remote: GitLab: You are attempting to check in one or more blobs which exceed the 100MiB"
        f" limit:\n{DECLINED}"),
        LARGE,
    ),
    "GitLab signature": (f"remote: GitLab: Commit must be signed with a GPG key\n{DECLINED}", SIGNED),
    "GitLab custom hook": (f"remote: GL-HOOK-ERR: no pins on Friday\n{DECLINED}", RULE),
    "GitLab read-only": (
        f"remote: You can't push code to a read-only GitLab instance.\n{DECLINED}",
        READ_ONLY,
    ),
    "GitLab token": (
        ("remote: HTTP Basic: Access denied. The provided password or token is incorrect.\n"
        "fatal: Authentication failed for 'https://gitlab.com/o/r.git/'"),
        AUTH,
    ),
    "Gitea protected": (
        f"remote: error: Gitea: Not allowed to push to protected branch main\n{DECLINED}",
        PROTECTED,
    ),
    "Gitea denied": (
        ("remote: Gitea: User permission denied for writing.\n"
        "fatal: Could not read from remote repository."),
        AUTH,
    ),
    "Bitbucket protected": (f"remote: Permission denied to update branch main.\n{DECLINED}", PROTECTED),
    "Bitbucket Server protected": (
        ("remote: Branch refs/heads/main can only be modified through pull requests.\n"
        f"{DECLINED}"),
        PROTECTED,
    ),
    "Bitbucket full": (
        f"remote: Your repository has exceeded its 4 GB size limit\n{DECLINED}",
        ROOM,
    ),
    "Azure protected": (
        ("remote: TF402455: Pushes to this branch are not permitted; you must use a pull request to"
        f" update this branch.\n{REJECTED}(TF402455)"),
        PROTECTED,
    ),
    "Gerrit": (f"{REJECTED}(prohibited by Gerrit: not permitted: update)", PROTECTED),
    "pack size": (
        ("remote: fatal: pack exceeds maximum allowed size (10.00 MiB)\n"
        f"{REJECTED}(unpacker error)"),
        ROOM,
    ),
    "quota of the remote's disk": (
        ("remote: error: unable to write file ./objects/aa/bb: Disk quota exceeded\n"
        f"{REJECTED}(unpacker error)"),
        ROOM,
    ),
    "disk here": ("error: unable to write file .git/objects/aa/bb: Disk quota exceeded", "disk is full"),
    "not fast-forward": (
        f"remote: error: denying non-fast-forward refs/heads/main\n{REJECTED}(non-fast-forward)",
        "somebody else pushed meanwhile",
    ),
    "behind": (" ! [rejected] 1f2e3d -> main (fetch first)", "somebody else pushed meanwhile"),
    "not bare": (
        ("remote: error: refusing to update checked out branch: refs/heads/main\n"
        f"{REJECTED}(branch is currently checked out)"),
        "no bare repository",
    ),
    "certificate, OpenSSL": (
        "fatal: unable to access 'https://x/': SSL certificate problem: self-signed certificate",
        "certificate is not trusted",
    ),
    "certificate, GnuTLS": (
        "fatal: unable to access 'https://x/': server certificate verification failed. CAfile: none",
        "certificate is not trusted",
    ),
    "host key": (
        "Host key verification failed.\nfatal: Could not read from remote repository.",
        "host key is not the one",
    ),
    "ssh key": (
        "git@x: Permission denied (publickey).\nfatal: Could not read from remote repository.",
        AUTH,
    ),
    "helper": (
        ("git: 'remote-file' is not a git command. See 'git --help'.\n"
        "fatal: remote helper 'file' aborted session"),
        "protocol that is not allowed",
    ),
    "partial": (
        ("fatal: '/x' does not appear to be a git repository\n"
        "fatal: could not fetch 1f2e3d4c from promisor remote"),
        "partial clone",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SAID)
def test_each_refusal_has_words_of_its_own(name):
    complaint, says = SAID[name]
    error = failure("pushing main to origin", complaint, after="nothing was changed there")
    assert says in error.message
    assert error.hint, "each says what to do next"
    assert error.retryable or "nothing was changed there" in error.message
    assert complaint.split("\n")[0].removeprefix("remote: ").strip()[:30] in str(error), (
        "in its own words"
    )


def test_a_remote_cannot_write_to_our_terminal():
    error = failure(
        "pushing",
        "remote: \x1b[2J\x1b]0;owned\x07no pins\x9b31m\u202e on Friday\x00\r\n"
        "remote: ==========\nremote: \n ! [remote rejected] x -> main (pre-receive hook declined)",
    )
    assert "no pins" in error.message
    assert not any(ord(letter) < 32 or 0x7F <= ord(letter) < 0xA0 for letter in str(error))
    assert "\u202e" not in error.message
    assert "owned" not in error.message
    assert "====" not in error.message


def test_what_we_were_doing_shows_no_password():
    error = failure("cloning https://me:hunter2@x.com/a", "fatal: something new")
    assert "hunter2" not in str(error)


@pytest.mark.parametrize(
    "complaint",
    [
        "fatal: could not read Username for 'https://git.example.com': terminal prompts disabled",
        "git@x: Permission denied (publickey).\nfatal: Could not read from remote repository.",
    ],
)
def test_in_a_pod_a_missing_login_is_a_secret_that_is_missing(complaint, monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    here = failure("fetching main", complaint)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    there = failure("fetching main", complaint)

    assert here.message == there.message
    assert "git fetch" in here.hint
    assert "Secret" not in here.hint
    for told in ("mlops-git", "mlops-git-push", "mlops-watch-git", "docs/how-to/use-a-cluster.md"):
        assert told in there.hint
