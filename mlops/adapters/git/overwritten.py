"""Former tips of a branch that a force push took away, as far as a clone remembers them."""

from __future__ import annotations

from mlops.adapters.git.changes import pathspec
from mlops.adapters.git.repository import Repository
from mlops.domain.source import Commit
from mlops.ports import CommitInfo

_REMEMBERED = 1000  # entries of the reflog that are looked at


def overwritten(
    repository: Repository, ref: str, seen: Commit | None, tip: Commit, path: str
) -> CommitInfo | None:
    """The newest former tip of `ref` with changes below `path` that are not in the history of `tip`.

    Former tips are those of the reflog, and `seen`, the one before the last fetch: a bare clone keeps
    no reflog. None where every one is contained, or is no longer here; and in a shallow clone, which
    cannot tell.
    """
    former = [*((seen.sha,) if seen else ()), *_reflog(repository, ref)]
    if not former or repository.is_shallow():
        return None
    asked = f"^{tip.sha}\n" + "".join(f"{sha}\n" for sha in dict.fromkeys(former))
    lost = set(_listed(repository, asked))
    for sha in dict.fromkeys(sha for sha in former if sha in lost):
        if _listed(repository, f"^{tip.sha}\n{sha}\n", "--max-count=1", path=path):
            return repository.info(Commit(sha))
    return None


def _reflog(repository: Repository, ref: str) -> list[str]:
    """The commits that the ref has pointed at, newest first; none where no log is kept."""
    done = repository.git.attempt(
        "log",
        "--walk-reflogs",
        f"--max-count={_REMEMBERED}",
        "--format=%H",
        ref,
        "--",
        doing=f"reading the reflog of {ref}",
    )
    moves = done.text.split() if done.code == 0 else []
    if not moves or len(moves) == _REMEMBERED:
        return moves
    # what stood before the oldest entry: a clone itself makes none
    first = repository.git.attempt(
        "rev-parse", "--verify", "--quiet", f"{ref}@{{{len(moves)}}}", doing=f"reading {ref}"
    )
    return [*moves, *first.text.split()] if first.code == 0 else moves


def _listed(repository: Repository, asked: str, *options: str, path: str = "") -> list[str]:
    """Commits that `rev-list --stdin` finds; what is asked for and not here is passed over."""
    paths = "".join(f"{spec}\n" for spec in pathspec(path))
    done = repository.git.run(
        "rev-list",
        "--ignore-missing",
        *options,
        "--stdin",
        doing="looking for former tips of the branch",
        stdin=f"{asked}--\n{paths}".encode(),
    )
    return done.text.split()
