"""Fetches from and pushes to one named remote, and reads what a push answers."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from mlops.adapters.git.command import Git, check_ref, check_remote
from mlops.adapters.git.failures import failure
from mlops.errors import GitError

_TIMEOUT = 300.0  # seconds for one exchange with a remote
_ATTEMPTS = 4
_PATIENCE = 20.0  # seconds after which nothing is tried again
_PAUSE, _CAP = 0.1, 2.0  # seconds: the first pause and the longest

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class RefUpdate:
    """One ref that a push moves: to object `new`, if it is `old` there now (None: not there)."""

    ref: str
    new: str
    old: str | None


@dataclass(frozen=True, slots=True)
class PushAnswer:
    """What a push came to: `error` is None where every ref is where it should be.

    `flags` maps each ref that was answered for to git's own letter: `*` new, ` ` moved, `+` moved
    by force, `=` was there already, `!` refused.
    """

    flags: Mapping[str, str]
    error: GitError | None


@dataclass(frozen=True, slots=True)
class Remote:
    """A configured remote. Every exchange is bounded in time and never asks anybody anything."""

    git: Git
    name: str

    def __post_init__(self) -> None:
        check_remote(self.name)

    def tracking(self, branch: str) -> str:
        return f"refs/remotes/{self.name}/{check_ref(branch, 'branch')}"

    def fetch_branch(self, branch: str) -> bool:
        """Bring exactly this branch into its remote-tracking ref; False where it is not there."""
        spec = f"+refs/heads/{branch}:{self.tracking(branch)}"
        return self.fetch([spec], doing=f"fetching {branch} from {self.name}")

    def fetch(self, refspecs: Sequence[str], *, doing: str) -> bool:
        """Fetch refspecs, moving no other ref; False where one is not on the remote.

        Raises GitError. What can be mended by trying again is tried again.
        """

        def once() -> bool:
            done = self.git.attempt(
                "fetch",
                "--quiet",
                "--no-tags",
                "--no-prune",
                "--no-write-fetch-head",
                "--no-recurse-submodules",
                "--no-auto-maintenance",
                "--refmap=",
                "--stdin",
                "--",
                self.name,
                doing=doing,
                stdin=os.fsencode("".join(f"{spec}\n" for spec in refspecs)),
                timeout=_TIMEOUT,
            )
            if done.code == 0:
                return True
            if "couldn't find remote ref" in done.complaint:
                return False
            raise failure(doing, done.complaint)

        return patiently(once)

    def refs(self, pattern: str) -> dict[str, str]:
        """Refs on the remote right now, ref → object id; `pattern` may end in `*`."""
        doing = f"asking {self.name} for {pattern}"

        def once() -> dict[str, str]:
            text = self.git.text(
                "ls-remote", "--quiet", "--", self.name, pattern, doing=doing, timeout=_TIMEOUT
            )
            pairs = (line.split("\t", 1) for line in text.splitlines())
            # git matches the pattern at the end of the name too: refs/x/refs/heads/main
            exact, stem = pattern.removesuffix("*") == pattern, pattern.removesuffix("*")
            return {
                ref: sha
                for sha, ref in pairs
                if not ref.endswith("^{}") and (ref == pattern if exact else ref.startswith(stem))
            }

        return patiently(once)

    def listing(self) -> str:
        """Every ref of the remote, in one exchange: lines of `git ls-remote`, the object id, a tab, the ref,
        and below an annotated tag what it leads to, as `<ref>^{}`."""
        doing = f"asking {self.name} what it has"

        def once() -> str:
            return self.git.text(
                "ls-remote", "--quiet", "--", self.name, doing=doing, timeout=_TIMEOUT
            )

        return patiently(once)

    def push(
        self, updates: Sequence[RefUpdate], *, doing: str, together: bool = True
    ) -> PushAnswer:
        """Push `updates`, each compared and swapped: all of them or none, or each for itself. Raises GitError
        only where git cannot run at all; a refusal and a lost connection are in the answer."""
        several = ["--atomic"] if together and len(updates) > 1 else []
        leases = [f"--force-with-lease={update.ref}:{update.old or ''}" for update in updates]
        try:
            done = self.git.attempt(
                *self._settings(update.ref for update in updates),
                "push",
                "--porcelain",
                "--no-verify",
                "--no-follow-tags",
                "--recurse-submodules=no",
                *several,
                *leases,
                "--",
                self.name,
                *(f"{update.new}:{update.ref}" for update in updates),
                doing=doing,
                timeout=_TIMEOUT,
            )
        except GitError as exc:  # time is up: it may have arrived
            return PushAnswer({}, exc)
        flags, reasons = _porcelain(done.text)
        if done.code == 0:
            return PushAnswer(flags, None)
        complaint = done.stderr.decode(errors="replace") + "\n" + "\n".join(reasons)
        return PushAnswer(flags, failure(doing, complaint, after="nothing was changed there"))

    def _settings(self, refs: Iterable[str]) -> Iterator[str]:
        """Settings for a push: of these refs alone, whatever the user has for this remote.

        A mirror's push would be of every ref. And git moves what the configured refspecs say that
        mirrors a pushed ref: with `+refs/*:refs/*` that is the user's own branch, under a checkout.
        A negative refspec (git-fetch(1)) keeps it from that.
        """
        yield from ("-c", f"remote.{self.name}.mirror=false")
        for ref in refs:
            yield from ("-c", f"remote.{self.name}.fetch=^{ref}")


def _porcelain(text: str) -> tuple[dict[str, str], list[str]]:
    """Flag by ref, and the reasons of refusals (git-push(1), OUTPUT)."""
    flags: dict[str, str] = {}
    reasons: list[str] = []
    for line in text.splitlines():
        parts = line.split("\t")
        if len(parts) != 3 or len(parts[0]) != 1:
            continue
        ref = parts[1].rpartition(":")[2]
        flags[ref] = parts[0]
        if parts[0] == "!":
            reasons.append(f"! {parts[2]} {ref}")
    return flags, reasons


def patiently(attempt: Callable[[], _Answer]) -> _Answer:
    """The answer of `attempt`, tried again a few times where its GitError is retryable.

    One that took long to fail is not: a remote that hangs would hang us that many times.
    """
    latest = time.monotonic() + _PATIENCE
    for number in range(_ATTEMPTS - 1):
        try:
            return attempt()
        except GitError as exc:
            if not exc.retryable or time.monotonic() > latest:
                raise
        pause(number)
    return attempt()


def pause(number: int) -> None:
    """Wait before the attempt after `number` (from 0): doubling, capped, jittered."""
    time.sleep(min(_CAP, _PAUSE * 2**number) * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
