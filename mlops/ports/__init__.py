"""What the use cases need of the world, and adapters meet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from mlops.domain.deployment import Deployed, Inventory, Object, Owner, Progress, Running
from mlops.domain.digest import ImageRef
from mlops.domain.pipeline import Stage
from mlops.domain.run import RunResult, TaskState
from mlops.domain.source import Commit, DataObject
from mlops.ports.gitops import GitOps as GitOps
from mlops.ports.gitops import LostRace as LostRace
from mlops.ports.gitops import Proposal as Proposal
from mlops.ports.gitops import Proposed as Proposed
from mlops.ports.gitops import Published as Published
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
from mlops.ports.source import CommitInfo as CommitInfo
from mlops.ports.source import FileEntry as FileEntry
from mlops.ports.source import History as History
from mlops.ports.source import LineChange as LineChange
from mlops.ports.source import PushedCommit as PushedCommit
from mlops.ports.source import Ranges as Ranges
from mlops.ports.source import SourceReader as SourceReader
from mlops.ports.source import Step as Step
from mlops.ports.watching import Claim as Claim
from mlops.ports.watching import Claims as Claims
from mlops.ports.watching import Sight as Sight
from mlops.ports.watching import Tips as Tips

Clock = Callable[[], datetime]


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
