"""What git's complaints mean, in plain words, and whether a retry can help."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mlops.adapters import pods
from mlops.errors import GitError

_CREDENTIAL = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_TELLING = re.compile(r"(?:fatal|error|remote|ERROR|!|ssh|Permission)\b|! ")
_EMPTY = re.compile(r"remote:[\s=*#-]*\Z")  # what forges frame their words with
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_LINES = 8
_RESTART = "Try again"
_SECRETS = "mlops-git (of a task that pushes mlops-git-push, of the watcher mlops-watch-git)"


@dataclass(frozen=True, slots=True)
class _Meaning:
    """A pattern of git's English output, what it says of the operation, and what to do next, in a pod too.

    Compiled when first needed: most commands never fail, and every one imports this.
    """

    pattern: str
    says: str
    hint: str
    retryable: bool = False
    in_pod: str = ""  # empty: the same

    def fits(self, text: str) -> bool:
        return re.search(self.pattern, text, re.IGNORECASE | re.MULTILINE) is not None

    @property
    def advice(self) -> str:
        return self.in_pod if self.in_pod and pods.inside() else self.hint


# Order matters: ssh and http end most failures with the same general line, so the particular ones
# stand first.
_MEANINGS = (
    _Meaning(
        r"dubious ownership",
        "the repository belongs to another user, and git refuses to read it",
        "Run: git config --global --add safe.directory <the repository>",
    ),
    _Meaning(
        r"could not fetch [0-9a-f]+ from promisor remote",
        "this is a partial clone, and its remote does not give what is missing here",
        "Check that the remote can be reached (git fetch), or clone without --filter",
    ),
    _Meaning(
        r"(?:SSL|TLS)\b.*certificate|certificate (?:verif|subject|problem)|certificate verify failed|"
        r"unable to get local issuer",
        "the remote's certificate is not trusted",
        "Run: git config http.sslCAInfo FILE, with the certificate of whoever issued it",
    ),
    _Meaning(
        r"Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED",
        "the remote's host key is not the one that ssh knows, or it knows none",
        "Compare it with what its administrator publishes, then run: ssh-keyscan HOST >> ~/.ssh/known_hosts",
        in_pod=f"Put what its administrator publishes as known_hosts into the Secret {_SECRETS}: see {pods.GUIDE}",
    ),
    _Meaning(
        r"rate limit|too many requests|HTTP 429|error: 429\b",
        "the remote takes no more requests for now",
        "Wait a few minutes, then run the command again",
        retryable=True,
    ),
    _Meaning(
        r"\barchived\b|read[- ]only (?:mode|instance|repository|mirror)|marked as read[- ]only|"
        r"repository is (?:in )?read[- ]only",
        "the remote is read-only",
        "Ask who administers it to make it writable, then run the command again",
    ),
    _Meaning(
        r"must have verified signatures|must be signed|unsigned commit|signature is required|"
        r"not signed with",
        "the remote takes only signed commits",
        "Run: git config commit.gpgsign true, with user.signingKey set, then the command again",
    ),
    _Meaning(
        r"GH001|file size limit|exceed(?:s|ed)? the \S+ ?\S* ?limit:|blobs? which exceed|"
        r"larger than the maximum file",
        "a file is larger than the remote takes",
        "Look for it: git log --stat -1; keep large files in DVC, not in git",
    ),
    _Meaning(
        r"pack exceeds maximum allowed size|(?:storage|size|space) (?:limit|quota)|quota exceeded for|"
        r"exceeded (?:its|the|your) (?:\S+ ){0,3}(?:limit|quota)|over (?:its|the) \S+ ?limit|"
        r"^remote:.*(?:Disk quota exceeded|No space left on device|quota exceeded)",
        "the remote has no room for it: its quota, size limit or disk is used up",
        "Ask who administers it for more room, then run the command again",
    ),
    _Meaning(
        r"protected branch|GH006|not allowed to (?:force )?push|through (?:a )?pull request|"
        r"must use a pull request|Permission denied to update branch|push(?:es)? to this branch are not|"
        r"(?:can only|must) be modified through|prohibited by Gerrit",
        "the remote protects this branch from direct pushes",
        "Use a branch of its own (gitops.branch), or gitops.mode: pull-request",
    ),
    _Meaning(
        r"branch is currently checked out|refusing to update checked out branch",
        "the remote is no bare repository, and has the branch checked out",
        "Push to a bare repository: git clone --bare, then git remote set-url",
    ),
    _Meaning(
        r"hook declined|deny updating a hidden ref|GL-HOOK-ERR|repository rule violations|GH013",
        "a rule on the remote declined it",
        "Read what the remote says, or ask who administers it",
    ),
    _Meaning(
        r"denying non-fast-forward|\(non-fast-forward\)|\(fetch first\)|\(stale info\)|"
        r"remote ref updated since checkout",
        "somebody else pushed meanwhile",
        "Run the command again: it decides on what is there now",
        retryable=True,
    ),
    _Meaning(
        r"could not read (?:Username|Password)|Authentication failed|Permission denied \(|"
        r"Permission to \S+ denied|HTTP (?:401|403)|error: (?:401|403)\b|SAML SSO|"
        r"Access denied|terminal prompts disabled|Invalid username or|permission denied for|"
        r"Too many authentication failures|password authentication was removed",
        "the remote does not accept the credentials, or there are none",
        "Check that `git fetch` works here without a question",
        in_pod=f"Give this namespace the Secret {_SECRETS}, for the URL of the repository; mlops doctor says "
        f"which is missing, {pods.GUIDE} (Credentials) how each is made",
    ),
    _Meaning(
        r"No space left on device|Disk quota exceeded",
        "the disk is full",
        "Free some space, then try again",
    ),
    _Meaning(
        r"transport '[^']*' not allowed|Unable to find remote helper|'remote-\S+' is not a git command|"
        r"strange (?:hostname|pathname|port) '[^']*' blocked",
        "the remote's URL uses a protocol that is not allowed",
        "Allowed are file, git, http, https and ssh; see: git remote -v",
    ),
    _Meaning(
        r"Could not resolve host|Temporary failure in name resolution|Connection (?:refused|reset|"
        r"timed out|closed)|Failed to connect|Operation timed out|Network is unreachable|"
        r"No route to host|RPC failed|HTTP 5\d\d|error: 5\d\d\b|early EOF|"
        r"remote end hung up|unexpected disconnect|SSL_ERROR_SYSCALL|unable to connect",
        "the remote cannot be reached",
        "Check the network, then try again",
        retryable=True,
    ),
    _Meaning(
        r"not valid: is this a git repository|not valid: could not determine hash",
        "what answers there is no git server, maybe a login page or a proxy",
        "Look at where it is: git remote -v",
    ),
    _Meaning(
        r"does not appear to be a git repository|No such remote|repository '[^']*' not found|"
        r"Repository not found|repository .* does not exist",
        "there is no such remote repository",
        "Run: git remote -v",
    ),
    _Meaning(
        r"not a git repository", "this is in no git repository", "Run: git init, or use --repo DIR"
    ),
    _Meaning(
        r"unknown revision|bad revision|Needed a single revision|Not a valid (?:object|commit) name|"
        r"bad object|unknown commit",
        "there is no such commit here",
        "Run: git fetch, then look with git log",
    ),
    _Meaning(
        r"Unable to create '[^']*\.lock'|cannot lock ref|another git process",
        "another git process is at work in the repository",
        "Try again; if none is running, remove the .lock file that is named",
        retryable=True,
    ),
    _Meaning(
        r"failed to update ref|incorrect old value|atomic transaction failed",
        "the remote was being changed at the same moment",
        _RESTART,
        retryable=True,
    ),
    _Meaning(
        r"does not support --atomic",
        "the remote cannot take several refs in one step",
        "Enable receive.advertiseAtomic on the remote",
    ),
    _Meaning(
        r"gpg failed to sign|failed to sign|failed to write commit object|No private key found|"
        r"Couldn't load public key|No secret key|user\.signingkey|agent refused operation",
        "the commit could not be signed",
        "Check that git commit -S works here, or set commit.gpgsign to false",
    ),
)


def redact(text: str) -> str:
    """`text` with the user and password of every URL in it covered."""
    return _CREDENTIAL.sub("***", text)


def failure(doing: str, complaint: str, after: str = "") -> GitError:
    """The error for a git that failed while `doing`, saying `complaint` (in the C locale).

    `after` says how things stand now, where that is known.
    """
    complaint, doing = redact(complaint.strip()), redact(doing)
    stands = f": {after}" if after else ""
    for meaning in _MEANINGS:
        if meaning.fits(complaint):
            known = stands if not meaning.retryable else ""  # it may have arrived
            return GitError(
                f"{meaning.says}, while {doing}{known} ({_quoted(complaint, meaning)})",
                hint=meaning.advice,
                retryable=meaning.retryable,
            )
    return GitError(f"git failed while {doing}{stands} ({_quoted(complaint)})")


def _quoted(complaint: str, why: _Meaning | None = None) -> str:
    """The telling lines of what git and the remote said, on one line, safe for a terminal.

    Those that `why` fits are among them.
    """
    plain = _ESCAPES.sub("", complaint)
    lines = [" ".join(_CONTROL.sub(" ", line).split()) for line in plain.splitlines()]
    said = [line for line in lines if line and not _EMPTY.match(line)]
    telling = [
        line for line in said if _TELLING.match(line) or (why is not None and why.fits(line))
    ]
    telling = telling or said
    return "; ".join(telling[-_LINES:]) or "git said nothing"
