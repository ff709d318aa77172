"""Claims: small JSON blobs under create-only refs, moved by compare-and-swap."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from mlops.adapters.git.failures import failure
from mlops.adapters.git.remote import RefUpdate, Remote, patiently
from mlops.adapters.git.repository import Repository
from mlops.errors import GitError, UsageError
from mlops.ports import Claim

PREFIX = "refs/mlops/runs/"

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?!\.|lock\Z|\Z))*\Z")
_LIMIT = 1 << 20  # bytes of one claim
_ROUNDS = 4  # readings of a list that moves while it is read
_TOGETHER = 100  # claims of one push


class RunClaims:
    """Meets `ports.Claims`: on a remote, or on local refs where `remote` is None."""

    def __init__(self, repository: Repository, remote: str | None) -> None:
        self._repository = repository
        self._remote = Remote(repository.git, remote) if remote is not None else None
        self._documents: dict[str, dict[str, Any]] = {}  # blob → document

    def read(self, run: str) -> Claim | None:
        """The claim of a run, freshly read; None where nobody made one. Raises GitError."""
        return next(iter(self._read(_ref(run))), None)

    def list(self, prefix: str = "") -> tuple[Claim, ...]:
        """The claims of all runs whose name starts with `prefix`, by name. Raises GitError."""
        return self._read(f"{_ref(prefix) if prefix else PREFIX}*")

    def put(self, run: str, document: Mapping[str, Any], previous: Claim | None) -> Claim | None:
        """Create (previous None) or move the claim; None where somebody else was first.

        A `token` that is missing, or the previous one's, is replaced by a random one: two equal
        documents would both seem to win. Raises GitError where the remote refuses such refs.
        """
        ref = _ref(run)
        document = _tokened(document, previous)
        blob = self._repository.writer.blob(_content(run, document))
        claim = Claim(ref, blob, document)
        old = previous.object_id if previous else None
        won = (
            self._put_local(ref, blob, old) if self._remote is None else self._push(ref, blob, old)
        )
        return claim if won else None

    def create(self, documents: Mapping[str, Mapping[str, Any]]) -> dict[str, Claim | None]:
        """Create claims, run → document, each for itself; None where somebody else was first.

        All blobs are stored at once, and a push takes a hundred. Raises GitError where the remote refuses
        such refs, or cannot be asked: then some may be there.
        """
        given = {_ref(run): _tokened(document, None) for run, document in documents.items()}
        contents = [_content(ref.removeprefix(PREFIX), one) for ref, one in given.items()]
        blobs = dict(zip(given, self._repository.writer.blobs(contents), strict=True))
        won: set[str] = set()
        refs = list(blobs)
        for first in range(0, len(refs), _TOGETHER):
            some = {ref: blobs[ref] for ref in refs[first : first + _TOGETHER]}
            won |= self._create_local(some) if self._remote is None else self._create(some)
        return {
            ref.removeprefix(PREFIX): Claim(ref, blobs[ref], given[ref]) if ref in won else None
            for ref in given
        }

    def _create(self, blobs: Mapping[str, str]) -> set[str]:
        """The refs that are ours after one push. Where it does not say so itself the remote is asked."""
        assert self._remote is not None
        remote, won = self._remote, set[str]()
        doing = f"claiming {_several(blobs)} on {remote.name}"

        def once() -> None:
            left = {ref: blob for ref, blob in blobs.items() if ref not in won}
            updates = [RefUpdate(ref, blob, None) for ref, blob in left.items()]
            answer = remote.push(updates, doing=doing, together=False)
            # `=` is the very blob, token and all: an earlier push of ours whose answer was lost
            won.update(ref for ref in left if answer.flags.get(ref, "!") in "*=")
            if answer.error is None or won.issuperset(left):
                return
            try:
                there = remote.refs(f"{PREFIX}*")
            except GitError as exc:
                raise answer.error from exc
            won.update(ref for ref, blob in left.items() if there.get(ref) == blob)
            absent = next((ref for ref in left if ref not in there), None)
            if absent is not None:
                raise _refused(answer.error, absent, remote.name)

        patiently(once)
        return won

    def _create_local(self, blobs: Mapping[str, str]) -> set[str]:
        return {ref for ref, blob in blobs.items() if self._put_local(ref, blob, None)}

    def known(self, refs: Mapping[str, str]) -> tuple[Claim, ...]:
        """The claims behind refs (ref → blob) that were listed and brought here before, by name.

        What is no claim, or not here, has an empty document: it stands for a decision all the same.
        """
        self.absent(refs)
        self._documents = {blob: self._documents.get(blob, {}) for blob in refs.values()}
        return tuple(Claim(ref, blob, self._documents[blob]) for ref, blob in sorted(refs.items()))

    def absent(self, refs: Mapping[str, str]) -> Sequence[str]:
        """The refs (ref → blob) whose blob is not here; all others are read, each blob once."""
        fresh = [blob for blob in dict.fromkeys(refs.values()) if blob not in self._documents]
        kind = self._repository.objects.kind
        for blob, content in zip(fresh, self._contents(fresh), strict=True):
            if content is not None or kind(blob) is not None:
                self._documents[blob] = _parsed(content) or {}
        return [ref for ref, blob in refs.items() if blob not in self._documents]

    def _contents(self, blobs: Sequence[str]) -> Sequence[bytes | None]:
        objects = self._repository.objects
        try:
            return objects.several(blobs, "blob")
        except GitError:  # one of them is something else, or huge: anybody may have pushed it
            return [self._content_of(blob) for blob in blobs]

    def _content_of(self, blob: str) -> bytes | None:
        with contextlib.suppress(GitError):
            return self._repository.objects.get(blob, "blob")
        return None

    def _push(self, ref: str, blob: str, old: str | None) -> bool:
        """Whether the ref is ours. Where the answer was lost, or is no, the remote is asked."""
        assert self._remote is not None
        remote = self._remote
        update = RefUpdate(ref, blob, old)

        def once() -> bool:
            answer = remote.push([update], doing=f"claiming {ref} on {remote.name}")
            if answer.error is None:
                return True
            try:
                there = remote.refs(ref).get(ref)
            except GitError as exc:
                raise answer.error from exc
            if there == blob:
                return True
            if there != old:
                return False
            raise _refused(answer.error, ref, remote.name)

        return patiently(once)

    def _put_local(self, ref: str, blob: str, old: str | None) -> bool:
        doing = f"claiming {ref}"

        def once() -> bool:
            expected = old or self._repository.zero
            done = self._repository.git.attempt("update-ref", ref, blob, expected, doing=doing)
            if done.code == 0:
                return True
            there = self._refs(ref).get(ref)
            if there == blob:
                return True
            if there != old:
                return False
            raise failure(doing, done.complaint)

        return patiently(once)

    def _read(self, pattern: str) -> tuple[Claim, ...]:
        for _ in range(_ROUNDS):
            refs = self._refs(pattern)
            if self._bring(refs):
                return tuple(self._claim(ref, blob) for ref, blob in sorted(refs.items()))
        raise GitError(
            f"the claims {pattern} change faster than they can be read",
            hint="Try again",
            retryable=True,
        )

    def _refs(self, pattern: str) -> dict[str, str]:
        if self._remote is not None:
            return self._remote.refs(pattern)
        text = self._repository.git.text(
            "for-each-ref", "--format=%(objectname) %(refname)", PREFIX, doing="reading claims"
        )
        stem, exact = pattern.removesuffix("*"), not pattern.endswith("*")
        found = (line.split(" ", 1) for line in text.splitlines())
        return {ref: sha for sha, ref in found if (ref == stem if exact else ref.startswith(stem))}

    def _bring(self, refs: Mapping[str, str]) -> bool:
        """Fetch the blobs that are not here; False where a ref moved or went meanwhile."""
        absent = [ref for ref, sha in refs.items() if self._repository.objects.kind(sha) is None]
        if not absent or self._remote is None:
            return True
        self._remote.fetch(absent, doing=f"fetching claims from {self._remote.name}")
        return all(self._repository.objects.kind(refs[ref]) is not None for ref in absent)

    def _claim(self, ref: str, sha: str) -> Claim:
        document = _parsed(self._content_of(sha))
        if document is None:
            where = self._remote.name if self._remote else "."
            raise GitError(
                f"{ref} holds no claim",
                hint=f"Look who made it, then remove it: git push {where} --delete {ref}",
            )
        return Claim(ref, sha, document)


def _ref(run: str) -> str:
    if _NAME.match(run) is None:
        raise UsageError(f"{run!r} cannot be the name of a run")
    return PREFIX + run


def _tokened(document: Mapping[str, Any], previous: Claim | None) -> dict[str, Any]:
    spent = previous.document.get("token") if previous else None
    token = document.get("token")
    return {**document, "token": secrets.token_hex(16) if not token or token == spent else token}


def _content(run: str, document: Mapping[str, Any]) -> bytes:
    content = json.dumps(document, sort_keys=True, allow_nan=False)
    if len(content) >= _LIMIT:
        raise UsageError(f"the claim {run} is too large: {len(content)} characters")
    return content.encode() + b"\n"


def _parsed(content: bytes | None) -> dict[str, Any] | None:
    """A claim's document; None where it is none."""
    try:
        document = json.loads(content) if content is not None and len(content) <= _LIMIT else None
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _several(refs: Mapping[str, str]) -> str:
    return next(iter(refs)) if len(refs) == 1 else f"{len(refs)} decisions"


def _refused(error: GitError, ref: str, remote: str) -> GitError:
    if error.retryable:
        return error
    return GitError(
        f"the remote {remote} does not take {ref}: {error.message}",
        hint=error.hint or f"Allow refs below {PREFIX} on it",
    )
