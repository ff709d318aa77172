"""What git's complaints mean, in plain words, and whether a retry can help."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mlops.errors import GitError

_CREDENTIAL = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_TELLING = re.compile(r"(?:fatal|error|remote|ERROR|!|ssh|Permission)\b|! ")
_RESTART = "Try again"


@dataclass(frozen=True, slots=True)
class _Meaning:
    """A pattern of git's English output, what it says of the operation, and what to do next."""

    pattern: re.Pattern[str]
    says: str
    hint: str
    retryable: bool = False


def _meaning(pattern: str, says: str, hint: str, *, retryable: bool = False) -> _Meaning:
    return _Meaning(re.compile(pattern, re.IGNORECASE), says, hint, retryable)


# Order matters: ssh and http end most failures with the same general line, so the particular ones
# stand first.
_MEANINGS = (
    _meaning(
        r"dubious ownership",
        "the repository belongs to another user, and git refuses to read it",
        "Run: git config --global --add safe.directory <the repository>",
    ),
    _meaning(
        r"could not fetch \S+ from promisor remote",
        "this is a partial clone, and what it left out could not be fetched",
        "Check that the remote can be reached: git fetch. To have all of it here: git fetch --refetch "
        "--no-filter",
    ),
    _meaning(
        r"protected branch|GH006|GL-HOOK-ERR|not allowed to (?:force )?push",
        "the remote protects this branch from direct pushes",
        "Use a branch of its own (gitops.branch), or gitops.mode: pull-request",
    ),
    _meaning(
        r"hook declined|deny updating a hidden ref",
        "a rule on the remote declined it",
        "Read what the remote says, or ask who administers it",
    ),
    _meaning(
        r"could not read (?:Username|Password)|Authentication failed|Permission denied \(|"
        r"Permission to \S+ denied|HTTP (?:401|403)|error: (?:401|403)\b|"
        r"Access denied|Host key verification failed|terminal prompts disabled",
        "the remote does not accept the credentials, or there are none",
        "Check that `git fetch` works here without a question",
    ),
    _meaning(
        r"No space left on device|Disk quota exceeded",
        "the disk is full",
        "Free some space, then try again",
    ),
    _meaning(
        r"transport '[^']*' not allowed",
        "the remote's URL uses a protocol that is not allowed",
        "Allowed are file, git, http, https and ssh",
    ),
    _meaning(
        r"Could not resolve host|Temporary failure in name resolution|Connection (?:refused|reset|"
        r"timed out|closed)|Failed to connect|Operation timed out|Network is unreachable|"
        r"No route to host|RPC failed|HTTP (?:429|5\d\d)|error: (?:429|5\d\d)\b|early EOF|"
        r"remote end hung up|unexpected disconnect|SSL_ERROR_SYSCALL|unable to connect",
        "the remote cannot be reached",
        "Check the network, then try again",
        retryable=True,
    ),
    _meaning(
        r"does not appear to be a git repository|No such remote|repository '[^']*' not found|"
        r"Repository not found|repository .* does not exist",
        "there is no such remote repository",
        "Run: git remote -v",
    ),
    _meaning(
        r"not a git repository", "this is in no git repository", "Run: git init, or use --repo DIR"
    ),
    _meaning(
        r"unknown revision|bad revision|Needed a single revision|Not a valid (?:object|commit) name|"
        r"bad object|unknown commit",
        "there is no such commit here",
        "Run: git fetch, then look with git log",
    ),
    _meaning(
        r"Unable to create '[^']*\.lock'|cannot lock ref|another git process",
        "another git process is at work in the repository",
        "Try again; if none is running, remove the .lock file that is named",
        retryable=True,
    ),
    _meaning(
        r"failed to update ref|incorrect old value|atomic transaction failed",
        "the remote was being changed at the same moment",
        _RESTART,
        retryable=True,
    ),
    _meaning(
        r"does not support --atomic",
        "the remote cannot take several refs in one step",
        "Enable receive.advertiseAtomic on the remote",
    ),
    _meaning(
        r"gpg failed to sign|failed to sign|failed to write commit object",
        "the commit could not be signed",
        "Check that git commit -S works here, or set commit.gpgsign to false",
    ),
)


def redact(text: str) -> str:
    """`text` with the user and password of every URL in it covered."""
    return _CREDENTIAL.sub("***", text)


def failure(doing: str, complaint: str) -> GitError:
    """The error for a git that failed while `doing`, saying `complaint` (in the C locale)."""
    complaint = redact(complaint.strip())
    for meaning in _MEANINGS:
        if meaning.pattern.search(complaint):
            return GitError(
                f"{meaning.says}, while {doing} ({_quoted(complaint)})",
                hint=meaning.hint,
                retryable=meaning.retryable,
            )
    return GitError(f"git failed while {doing} ({_quoted(complaint)})")


def _quoted(complaint: str) -> str:
    """The telling lines of what git said, on one line."""
    lines = [" ".join(line.split()) for line in complaint.splitlines() if line.strip()]
    telling = [line for line in lines if _TELLING.match(line)] or lines
    return "; ".join(telling[-5:]) or "git said nothing"
