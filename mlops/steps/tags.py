"""The tag that keeps what a release recorded: a child of its source with dvc.lock and the outputs
that git, not DVC, keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mlops.adapters.git import Repository
from mlops.adapters.git.remote import RefUpdate
from mlops.domain.digest import Digest
from mlops.domain.source import Commit
from mlops.errors import GitError
from mlops.steps.sources import Source


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag; `there` tells that it stands already, `agrees` that it keeps what this run recorded."""

    name: str
    commit: Commit
    there: bool
    agrees: bool = True

    @property
    def ref(self) -> str:
        return f"refs/tags/{self.name}"

    @property
    def refs(self) -> Mapping[str, Commit]:
        """What is to be created in the push."""
        return {} if self.there else {self.ref: self.commit}


def tag_name(model: str, digest: Digest) -> str:
    """`mlops/spam/9f2c4a5b6c7d`."""
    return f"mlops/{model}/{digest.short}"


def find(repository: Repository, name: str) -> Commit | None:
    """The tag's commit, fetched where only the remote has it; None where nobody does.

    Raises GitError where the remote cannot be asked.
    """
    ref = f"refs/tags/{name}"
    found = repository.ref(ref)
    remote = repository.remote_name()
    if found is None and remote is not None:
        repository.remote(remote).fetch([f"{ref}:{ref}"], doing=f"fetching {name}")
        found = repository.ref(ref)
    return found


def differences(repository: Repository, before: Commit, after: Commit) -> Mapping[str, bytes]:
    """Regular files that `after` has, and `before` has not or not so."""
    old = {entry.path: entry.blob for entry in repository.files(before)}
    return {
        entry.path: repository.blob(entry.blob)
        for entry in repository.files(after)
        if entry.mode.startswith("100") and old.get(entry.path) != entry.blob
    }


def keep(source: Source, digest: Digest, *, shared: bool) -> Tag | None:
    """The release's tag, its commit stored; None without DVC stages.

    `shared` says that the GitOps branch lies in the same repository, so that tag and record go in
    one push; where not, the tag is pushed here.
    """
    if not source.scope:
        return None
    commit = _commit(source)
    name = tag_name(source.model.name, digest)
    standing = find(source.repository, name)
    if standing is not None:
        tree = source.repository.commit
        agrees = tree(standing).tree == tree(commit).tree
        return Tag(name, standing, there=True, agrees=agrees)
    tag = Tag(name, commit, there=False)
    return tag if shared else _push(source.repository, tag)


def _commit(source: Source) -> Commit:
    """The source's child with the recorded files; the source itself where it has them all."""
    files = dict(source.recorded_locks())
    for path in sorted(source.state.kept.rglob("*")):
        if path.is_file() and not path.is_symlink():
            files[path.relative_to(source.state.kept).as_posix()] = path.read_bytes()
    read = source.repository.read
    new = {path: data for path, data in files.items() if read(source.commit, path) != data}
    if not new:
        return source.commit
    return source.repository.write_commit(
        source.commit,
        new,
        f"What training {source.model.name} at {source.commit.short} recorded\n",
        when=source.repository.info(source.commit).committed,
    )


def _push(repository: Repository, tag: Tag) -> Tag:
    remote = repository.remote_name()
    if remote is None:
        repository.git.run(
            "update-ref", tag.ref, tag.commit.sha, repository.zero, doing=f"creating {tag.name}"
        )
        return Tag(tag.name, tag.commit, there=True)
    update = RefUpdate(tag.ref, tag.commit.sha, None)
    answer = repository.remote(remote).push([update], doing=f"pushing {tag.name}")
    if answer.error is not None and find(repository, tag.name) != tag.commit:
        raise answer.error
    return Tag(tag.name, tag.commit, there=True)


def bring(repository: Repository, tag: Tag) -> None:
    """Have the tag here too: the next plan in this repository reads it."""
    if find(repository, tag.name) is None:
        raise GitError(f"the tag {tag.name} was pushed, and is not on the remote")
