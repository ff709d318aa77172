"""Claims: small JSON blobs under create-only refs, moved by compare-and-swap."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
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
_ATTEMPTS = 4


class RunClaims:
    """Meets `ports.Claims`: on a remote, or on local refs where `remote` is None."""

    def __init__(self, repository: Repository, remote: str | None) -> None:
        self._repository = repository
        self._remote = Remote(repository.git, remote) if remote is not None else None

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
        document = dict(document)
        spent = previous.document.get("token") if previous else None
        if not document.get("token") or document["token"] == spent:
            document["token"] = secrets.token_hex(16)
        content = json.dumps(document, sort_keys=True, allow_nan=False)
        if len(content) >= _LIMIT:
            raise UsageError(f"the claim {run} is too large: {len(content)} characters")
        blob = self._repository.writer.blob(content.encode() + b"\n")
        claim = Claim(ref, blob, document)
        old = previous.object_id if previous else None
        won = (
            self._put_local(ref, blob, old) if self._remote is None else self._push(ref, blob, old)
        )
        return claim if won else None

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
        try:
            content = self._repository.blob(sha)
            document = json.loads(content) if len(content) <= _LIMIT else None
        except (GitError, ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
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


def _refused(error: GitError, ref: str, remote: str) -> GitError:
    if error.retryable:
        return error
    return GitError(
        f"the remote {remote} does not take {ref}: {error.message}",
        hint=error.hint or f"Allow refs below {PREFIX} on it",
    )
