"""The ground: every error that reaches a user, and the exit code that it stands for.

The exit codes are API: 0 done, 1 the answer is no, 2 usage or configuration, 3 an outside
system failed, 4 a bug, 130 interrupted.
"""

from __future__ import annotations

from typing import ClassVar


class MlopsError(Exception):
    """Something a user must hear of: what failed, which object, what to do next.

    `message` is one line or a few, without the leading `error: `; `hint` is the next command
    or step, and may be empty.
    """

    exit_code: ClassVar[int] = 4

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}" if self.hint else self.message


class RefusedError(MlopsError):
    """The answer is no: policy refuses, a run failed, a rebuild differs (exit 1)."""

    exit_code = 1


class RunInterruptedError(MlopsError):
    """A signal ended a run that was carried out here (exit 130)."""

    exit_code = 130


class UsageError(MlopsError):
    """The command line asks for something that cannot be meant (exit 2)."""

    exit_code = 2


class ConfigError(MlopsError):
    """A file that a person wrote is not what it must be; the message has file, line and key."""

    exit_code = 2


class OutsideError(MlopsError):
    """A system that is not ours failed: git, DVC, a registry, the file system (exit 3).

    `retryable` says whether the same call may go through later.
    """

    exit_code = 3

    def __init__(self, message: str, *, hint: str = "", retryable: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.retryable = retryable


class GitError(OutsideError):
    """git refused or failed."""


class GitUsageError(GitError):
    """What was asked of git cannot be meant: no repository, no such commit (exit 2)."""

    exit_code = 2


class DvcError(OutsideError):
    """DVC refused or failed."""


class RegistryError(OutsideError):
    """An image store (layout or registry) refused, failed or lied about its content."""


class UnreachableError(RegistryError):
    """A registry could not be asked: it is down, or does not let us in. That says nothing of its
    content."""


class JournalError(OutsideError):
    """The journal of deliveries could not be written."""


class ExecutorError(OutsideError):
    """The executor could not carry a document out (not: a step of it failed)."""


class ClusterError(ExecutorError):
    """A Kubernetes cluster refused, failed or could not be reached."""


class ForbiddenError(ClusterError):
    """The cluster knows who asks, and does not let them do that."""


class BuildError(OutsideError):
    """An image could not be assembled: resolver, installer, base or disk."""


class CommandError(BuildError):
    """A command in an image exited with `code`, not 0; `complaint` is the end of what it wrote."""

    def __init__(self, doing: str, code: int, complaint: str) -> None:
        super().__init__(f"failed while {doing} (exit {code}): {complaint}")
        self.code = code
        self.complaint = complaint


class PackageIndexError(BuildError):
    """A package index could not be asked, lets us not in, or lacks what was asked of it."""


class ForgeError(OutsideError):
    """A forge (GitHub, GitLab, Gitea, Forgejo) refused, failed, or answered what cannot be."""
