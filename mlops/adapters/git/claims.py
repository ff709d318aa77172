"""Claims: small JSON blobs under create-only refs, moved by compare-and-swap."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from types import MappingProxyType
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
    """Meets `ports.Claims`: on a remote, or on local refs where `remote` is None; below `prefix`."""

    def __init__(self, repository: Repository, remote: str | None, prefix: str = PREFIX) -> None:
        self.prefix = prefix
        self._repository = repository
        self._remote = Remote(repository.git, remote) if remote is not None else None
        self._documents: dict[str, dict[str, Any]] = {}  # blob → document

    def read(self, run: str) -> Claim | None:
        """The claim of a run, freshly read; None where nobody made one. Raises GitError."""
        return next(iter(self._read(self._ref(run))), None)

    def list(self, prefix: str = "") -> tuple[Claim, ...]:
        """The claims of all runs whose name starts with `prefix`, by name. Raises GitError."""
        return self._read(f"{self._ref(prefix) if prefix else self.prefix}*")

    def refs(self) -> dict[str, str]:
        """The refs of all claims → blob, freshly listed; nothing else is read. Raises GitError."""
        return self._refs(f"{self.prefix}*")

    def put(self, run: str, document: Mapping[str, Any], previous: Claim | None) -> Claim | None:
        """Create (previous None) or move the claim; None where somebody else was first.

        A `token` that is missing, or the previous one's, is replaced by a random one: two equal
        documents would both seem to win. Raises GitError where the remote refuses such refs.
        """
        ref = self._ref(run)
        document = _tokened(document, previous)
        blob = self._repository.writer.blob(_content(run, document))
        claim = Claim(ref, blob, document)
        old = previous.object_id if previous else None
        won = (
            self._put_local(ref, blob, old) if self._remote is None else self._push(ref, blob, old)
        )
        return claim if won else None

    def put_each(
        self,
        documents: Mapping[str, Mapping[str, Any]],
        previous: Mapping[str, Claim] = MappingProxyType({}),
    ) -> dict[str, Claim | None]:
        """As `put`, for several (run → document; `previous` has those that are there), each for itself.

        All blobs are stored at once, and a push takes a hundred. Raises GitError where the remote refuses
        such refs, or cannot be asked: then some may be there.
        """
        given = {self._ref(run): _tokened(one, previous.get(run)) for run, one in documents.items()}
        contents = [_content(ref.removeprefix(self.prefix), one) for ref, one in given.items()]
        blobs = self._repository.writer.blobs(contents)
        updates = [
            RefUpdate(ref, blob, before.object_id if before else None)
            for ref, blob, before in zip(given, blobs, map(previous.get, documents), strict=True)
        ]
        won: set[str] = set()
        for first in range(0, len(updates), _TOGETHER):
            some = updates[first : first + _TOGETHER]
            won |= self._put_here(some) if self._remote is None else self._push_each(some)
        return {
            ref.removeprefix(self.prefix): Claim(ref, blob, given[ref]) if ref in won else None
            for ref, blob in zip(given, blobs, strict=True)
        }

    def _push_each(self, updates: Sequence[RefUpdate]) -> set[str]:
        """The refs that are ours after one push. Where it does not say so itself the remote is asked."""
        assert self._remote is not None
        remote, won = self._remote, set[str]()
        what = updates[0].ref if len(updates) == 1 else f"{len(updates)} decisions"

        def once() -> None:
            left = [update for update in updates if update.ref not in won]
            answer = remote.push(left, doing=f"claiming {what} on {remote.name}", together=False)
            # `=` is the very blob, token and all: an earlier push of ours whose answer was lost
            won.update(each.ref for each in left if answer.flags.get(each.ref, "!") in "*=+ ")
            if answer.error is None or won.issuperset(each.ref for each in left):
                return
            try:
                there = remote.refs(f"{self.prefix}*")
            except GitError as exc:
                raise answer.error from exc
            won.update(each.ref for each in left if there.get(each.ref) == each.new)
            for each in left:
                if each.ref not in won and there.get(each.ref) == each.old:
                    raise _refused(answer.error, each.ref, remote.name)

        patiently(once)
        return won

    def _put_here(self, updates: Sequence[RefUpdate]) -> set[str]:
        return {each.ref for each in updates if self._put_local(each.ref, each.new, each.old)}

    def known(self, refs: Mapping[str, str]) -> tuple[Claim, ...]:
        """The claims behind refs (ref → blob) that were listed and brought here before, by name.

        What is no claim, or not here, has an empty document: it stands for a decision all the same.
        """
        self.absent(refs)
        self._documents = {blob: self._documents.get(blob, {}) for blob in refs.values()}
        return tuple(Claim(ref, blob, self._documents[blob]) for ref, blob in sorted(refs.items()))

    def settle(self) -> None:
        """Nothing stands anywhere else."""

    def remove(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        """Remove claims that nobody moved meanwhile; those that are gone now. Raises GitError."""
        done: list[Claim] = []
        for first in range(0, len(claims), _TOGETHER):
            some = claims[first : first + _TOGETHER]
            updates = [RefUpdate(each.ref, "", each.object_id) for each in some]
            gone = self._remove_here(updates) if self._remote is None else self._unpush(updates)
            done += [each for each in some if each.ref in gone]
        return done

    def _unpush(self, updates: Sequence[RefUpdate]) -> set[str]:
        assert self._remote is not None
        remote = self._remote
        doing = f"removing {len(updates)} decisions on {remote.name}"
        answer = remote.push(updates, doing=doing, together=False)
        if answer.error is None:
            return {each.ref for each in updates}
        there = remote.refs(f"{self.prefix}*")
        gone = {each.ref for each in updates if each.ref not in there}
        if not gone and all(there.get(each.ref) == each.old for each in updates):
            raise _refused(answer.error, updates[0].ref, remote.name)
        return gone

    def _remove_here(self, updates: Sequence[RefUpdate]) -> set[str]:
        git = self._repository.git
        return {
            each.ref
            for each in updates
            if git.attempt(
                "update-ref", "-d", each.ref, each.old or "", doing=f"removing {each.ref}"
            ).code
            == 0
        }

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

    def _ref(self, run: str) -> str:
        if _NAME.match(run) is None:
            raise UsageError(f"{run!r} cannot be the name of a run")
        return self.prefix + run

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
            "for-each-ref", "--format=%(objectname) %(refname)", self.prefix, doing="reading claims"
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


class NotTakenError(GitError):
    """The remote lets nobody of us write refs below `refs/mlops/runs/`."""


def _refused(error: GitError, ref: str, remote: str) -> GitError:
    if error.retryable:
        return error
    return NotTakenError(
        f"the remote {remote} does not take {ref}: {error.message}",
        hint=error.hint or f"Allow refs below {PREFIX} on it",
    )
