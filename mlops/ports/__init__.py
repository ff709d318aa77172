"""What the use cases need of the world, and adapters meet."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from mlops.domain.deployment import Deployed, Inventory, Object, Owner, Progress, Running
from mlops.domain.digest import ImageRef
from mlops.domain.pipeline import Stage
from mlops.domain.run import RunResult, TaskState
from mlops.domain.source import Commit, DataObject
from mlops.domain.watching import Tip, Tracked
from mlops.ports.images import BaseImages as BaseImages
from mlops.ports.images import Bind as Bind
from mlops.ports.images import ImageCopies as ImageCopies
from mlops.ports.images import ImageFiles as ImageFiles
from mlops.ports.images import ImageReader as ImageReader
from mlops.ports.images import ImageStore as ImageStore
from mlops.ports.images import TagReader as TagReader
from mlops.ports.intake import Deliveries as Deliveries
from mlops.ports.intake import Pending as Pending
from mlops.ports.packages import Resolution as Resolution
from mlops.ports.packages import Resolved as Resolved
from mlops.ports.packages import Resolver as Resolver
from mlops.ports.packages import Target as Target

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file in a commit: its mode (`100644`, `100755`, `120000`, `160000`) and blob id."""

    path: str
    mode: str
    blob: str


@dataclass(frozen=True, slots=True)
class CommitInfo:
    """A commit on the line: its first-parent order is the caller's; times are aware, in UTC."""

    commit: Commit
    author: str
    committed: datetime
    subject: str
    trailers: tuple[tuple[str, str], ...]

    def trailer(self, key: str) -> str:
        return next((value for name, value in self.trailers if name == key), "")

    def all(self, key: str) -> tuple[str, ...]:
        return tuple(value for name, value in self.trailers if name == key)


@dataclass(frozen=True, slots=True)
class LineChange:
    """A commit of the line that changed files under a prefix: path → (old blob, new blob).

    Blob ids are None where the file is absent on that side. At the line's root, or where a shallow
    clone ends, every old blob is None and `cut` tells the latter.
    """

    info: CommitInfo
    files: Mapping[str, tuple[str | None, str | None]]
    cut: bool = False


@dataclass(frozen=True, slots=True)
class PushedCommit:
    """A commit of a range, the one before it on the way, and the files it leaves changed: mode and
    blob are empty where a file is gone."""

    commit: Commit
    parent: Commit
    files: tuple[FileEntry, ...]


class Ranges(Protocol):
    """The commits that a push brings."""

    def steps(self, base: Commit, head: Commit, prefix: str) -> Iterator[PushedCommit]:
        """The commits of base..head that change files below `prefix`, oldest first. Raises GitError
        where `base` is not an ancestor of `head`."""
        ...

    def passes_by(self, base: Commit, head: Commit, prefix: str) -> bool:
        """Whether the line of pushed tips from `head` leaves out changes that `base` has."""
        ...


class SourceReader(Protocol):
    """Reads the project's repository at commits, from the object store, never the work tree."""

    def resolve(self, rev: str) -> Commit: ...
    def read(self, commit: Commit, path: str) -> bytes | None:
        """A regular file's bytes; None where absent, a symlink or a submodule."""
        ...

    def blob(self, blob: str) -> bytes: ...
    def files(self, commit: Commit, prefix: str = "") -> tuple[FileEntry, ...]: ...
    def source_of(self, commit: Commit, transparent: str) -> Commit:
        """The nearest first-parent ancestor (or itself) that changes anything outside the
        directory `transparent`; `commit` itself where `transparent` is empty."""
        ...

    def is_ancestor(self, ancestor: Commit, descendant: Commit) -> bool: ...
    def ancestors(self, commit: Commit) -> Iterator[Commit]:
        """`commit` and all its ancestors, children before parents."""
        ...

    def between(
        self, old: Commit, new: Commit
    ) -> tuple[tuple[CommitInfo, ...], tuple[CommitInfo, ...]]:
        """The commits that `old` alone is made of, and those that `new` alone is, children before
        parents. Raises GitError where a shallow clone cannot tell."""
        ...

    def info(self, commit: Commit) -> CommitInfo: ...
    def has(self, commit: Commit) -> bool: ...
    def uncommitted(self) -> int:
        """How many files of the work tree differ from HEAD, untracked ones included."""
        ...


@dataclass(frozen=True, slots=True)
class Published:
    """The change is on the GitOps branch (or was there before, `commit` then names the tip)."""

    commit: Commit


@dataclass(frozen=True, slots=True)
class Proposed:
    """The change waits on `branch` for a pull request; `url` is where a person opens one, empty
    where that is not known; where one is open, its number and its page."""

    branch: str
    commit: Commit
    url: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True)
class Proposal:
    """A branch of ours on the remote that waits to be merged: `base` is what its commit was made on, `message`
    the whole one."""

    branch: str
    commit: Commit
    base: Commit
    made: datetime
    message: str


@dataclass(frozen=True, slots=True)
class LostRace:
    """Somebody moved the branch first: decide again on the new tip."""

    tip: Commit | None


class GitOps(Protocol):
    """The GitOps branch: where pins, holds, quarantine and records live, below `path`."""

    path: str

    def refresh(self) -> Commit | None:
        """Fetch, and give the branch's tip; None where the branch does not exist yet."""
        ...

    def tip(self) -> Commit | None:
        """The tip as last fetched."""
        ...

    def publish(
        self,
        base: Commit | None,
        changes: Mapping[str, bytes | None],
        message: str,
        refs: Mapping[str, Commit] = ...,
    ) -> Published | LostRace:
        """One commit on `base` with these files written (None: removed), pushed, with `refs` created
        in the same atomic push. Files that stand already make no commit. Raises GitError where the
        remote refuses for another reason than a lost race."""
        ...

    def propose(
        self,
        base: Commit,
        changes: Mapping[str, bytes | None],
        message: str,
        topic: str,
        refs: Mapping[str, Commit] = ...,
    ) -> Proposed | LostRace:
        """The commit that `publish` would make, on the branch `mlops/<topic>` for a pull request. The
        same proposal again changes nothing; an older one of the topic is replaced."""
        ...

    def proposed(self) -> tuple[Proposal, ...]:
        """What waits on the remote for a pull request, by branch: made by us alone, and not in the branch yet."""
        ...

    def turn(self) -> AbstractContextManager[None]:
        """Wait, not for long, until other processes that share this clone have had their turn."""
        ...

    def diff(self, base: Commit | None, changes: Mapping[str, bytes | None]) -> str:
        """The unified diff that `publish` would commit."""
        ...

    def line(self, tip: Commit, *prefixes: str) -> Iterator[LineChange]:
        """Commits on the line of pushed tips that changed files below any of `prefixes` (none: any
        files), newest first."""
        ...

    def overwritten(self, tip: Commit) -> CommitInfo | None:
        """The newest former tip, as far as this clone has seen any, whose changes below `path` a
        force push took out of the history of `tip`; None where none is known."""
        ...

    def read(self, commit: Commit, path: str) -> bytes | None: ...
    def blob(self, blob: str) -> bytes: ...
    def blobs(self, blobs: Sequence[str]) -> tuple[bytes, ...]:
        """As `blob`, for several at once."""
        ...

    def files(self, commit: Commit, prefix: str = "") -> tuple[FileEntry, ...]: ...
    def directories(self, commit: Commit, path: str) -> tuple[str, ...]:
        """The names of the directories right below `path`, in git's order; none where it is none."""
        ...


@dataclass(frozen=True, slots=True)
class Claim:
    """The blob behind `refs/mlops/runs/<run>`: a small JSON document and its object id."""

    ref: str
    object_id: str
    document: Mapping[str, Any]


class Claims(Protocol):
    """Create-only refs on the remote, moved by compare-and-swap."""

    def read(self, run: str) -> Claim | None:
        """Freshly read from the remote (the local ref where there is none)."""
        ...

    def list(self, prefix: str = "") -> tuple[Claim, ...]: ...
    def put(self, run: str, document: Mapping[str, Any], previous: Claim | None) -> Claim | None:
        """Create (previous None) or move the claim; None where somebody else was first."""
        ...

    def put_each(
        self, documents: Mapping[str, Mapping[str, Any]], previous: Mapping[str, Claim] = ...
    ) -> Mapping[str, Claim | None]:
        """Create or move claims (run → document; `previous` has those that are there), as many as they are in
        few exchanges, each for itself: run → the claim, None where somebody else was first."""
        ...

    def remove(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        """Remove claims that nobody moved meanwhile, each for itself; those that are gone."""
        ...

    def settle(self) -> None:
        """Bring to the remote what it refused to take before, if it takes it now."""
        ...


@dataclass(frozen=True, slots=True)
class Sight:
    """What one look saw: the tracked tips, by ref, all of them here now, and every claim, by name.

    `fresh` is False where the remote answered what it answered before.
    """

    tips: tuple[Tip, ...]
    claims: tuple[Claim, ...]
    fresh: bool


class Tips(Protocol):
    """Looks at a repository's remote, or at the repository itself where it has none."""

    def look(self, tracked: Tracked) -> Sight:
        """Ask once; where the answer differs from the last one, bring what is new here. Raises GitError."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """A commit, its message, and the paths that it changed against its first parent: at a root all of them,
    where a shallow clone ends none."""

    commit: Commit
    message: str
    paths: tuple[str, ...]


class History(Protocol):
    """First-parent history, and what tips hold."""

    def line(self, tip: Commit) -> Iterator[Commit]:
        """`tip` and its first-parent ancestors, newest first; lazily. A shallow clone's end is the end."""
        ...

    def changed(self, commits: Sequence[Commit]) -> tuple[Step, ...]:
        """What several commits changed, each against its first parent, read at once."""
        ...

    def between(self, old: Commit, new: Commit) -> tuple[str, ...]:
        """The paths that differ between two commits."""
        ...

    def unreached(self, commits: Iterable[Commit], tips: Collection[Commit]) -> frozenset[Commit]:
        """Those that are in the history of none of `tips`, or not here. A shallow clone cannot tell, and names
        only the latter."""
        ...


class DataStore(Protocol):
    """DVC at a source: what it versions, its stage graph, and what its remote holds."""

    def stages(self, commit: Commit) -> tuple[Stage, ...]:
        """The resolved stage graph in execution order; empty without dvc.yaml."""
        ...

    def missing(self, commit: Commit, paths: Sequence[str] | None = None) -> tuple[str, ...]:
        """Paths whose objects, as `.dvc` files at the commit record them, are not on the remote.

        Each text names path and md5, ready to print. Without a remote every path is missing."""
        ...

    def absent(self, commit: Commit, objects: Iterable[DataObject]) -> tuple[str, ...]:
        """Of any objects (outputs that a dvc.lock records), the paths of those that the remote lacks."""
        ...

    def has_remote(self, commit: Commit) -> bool: ...


class RunObserver(Protocol):
    """Hears what an executor does, as it happens; called from one thread at a time."""

    def task(self, state: TaskState) -> None: ...
    def log(self, task: str, step: str, line: str) -> None: ...


class Checkout(Protocol):
    """The files of a repository as they stand on disk, for `mlops init` and `mlops doctor`."""

    root: Path

    def files(self) -> tuple[str, ...]:
        """Paths of tracked files and of untracked ones that are not ignored, sorted."""
        ...

    def text(self, path: str) -> str | None:
        """A regular file's text; None where absent, empty where it is no text or over 1 MiB."""
        ...

    def create(self, path: str, content: str) -> bool:
        """Write a new file; False where something of that name is there already."""
        ...

    def append(self, path: str, lines: str) -> None:
        """Add lines at the end of a file, which may be absent."""
        ...

    def branch(self) -> str:
        """The branch that is checked out, also before its first commit; empty when detached."""
        ...

    def remote(self) -> tuple[str, str]:
        """Name and URL of the remote that changes are pushed to; empty texts where there is none."""
        ...

    def fetches(self, remote: str) -> tuple[str, ...]:
        """The refspecs that `git fetch REMOTE` follows."""
        ...

    def add_fetch(self, remote: str, refspec: str) -> None: ...


class Executor(Protocol):
    """Carries out PipelineRun documents. `lasting`: a run goes on when whoever began it is gone."""

    name: str
    lasting: bool

    def attend(self, run: str, observer: RunObserver) -> RunResult:
        """Follow a run that is there to its end, where runs are lasting."""
        ...

    def run(self, document: Mapping[str, Any], observer: RunObserver) -> RunResult:
        """Carry the document out and wait. Raises ConfigError (with the path of the field) where it
        holds what is not supported, ExecutorError where it cannot be carried out at all."""
        ...

    def status(self, run: str) -> RunResult | None: ...
    def list(self) -> Iterable[RunResult]: ...
    def alive(self, run: str) -> bool:
        """Whether somebody is carrying the run out right now, here."""
        ...


class Images(Protocol):
    """Runs a command of an image, or its default one, for `mlops image run`."""

    def serve(self, image: ImageRef, env: Mapping[str, str], port: int) -> int: ...


class Renderer(Protocol):
    """Renders an overlay as the tool that deploys it would."""

    @property
    def name(self) -> str:
        """What renders, for people; empty where nothing here can."""
        ...

    def render(self, files: Mapping[str, bytes], overlay: str, timeout: float) -> bytes:
        """The manifests of the directory `overlay` among `files` (path → bytes).

        Raises OutsideError where it does not render, or not within `timeout` seconds."""
        ...


class Deployer(Protocol):
    """A cluster that objects of overlays are brought to."""

    server: str

    def missing(self, wanted: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
        """The namespaces that documents are for and that the cluster lacks."""
        ...

    def create_namespace(self, name: str) -> None: ...
    def objects(self, wanted: Sequence[Mapping[str, Any]]) -> tuple[Object, ...]:
        """What documents are called on the cluster, of the kinds that it knows."""
        ...

    def apply(
        self,
        wanted: Sequence[Mapping[str, Any]],
        owner: Owner,
        *,
        dry_run: bool,
        force: bool,
    ) -> Iterator[Deployed]: ...
    def inventory(self, owner: Owner, namespace: str) -> Inventory:
        """What the last deployment of an environment applied; empty where there was none."""
        ...

    def keep(self, found: Inventory, owner: Owner, namespace: str) -> Inventory | None:
        """Keep it in place of the version that it names; None where another deployment was quicker."""
        ...

    def remove(self, which: Object, owner: Owner, *, dry_run: bool) -> Deployed | None:
        """Remove what an overlay no longer has, where it still is the environment's."""
        ...

    def progress(self, which: Object) -> Progress: ...
    def running(self, which: Object) -> tuple[Running, ...]:
        """The containers of a workload's pods."""
        ...

    def managers(self, which: Object) -> tuple[str, ...]:
        """Who else wrote fields of an object."""
        ...
