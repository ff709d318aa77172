"""What git's configuration says, as git itself puts it together."""

from __future__ import annotations

from mlops.adapters.git.command import Git


def read_settings(git: Git, pattern: str, *, doing: str) -> dict[str, str]:
    """Settings whose names match the regular expression `pattern`; of several values the last, and
    `true` for a name without one. Section and key are in small letters, as git gives them.

    Raises GitError where the configuration cannot be read.
    """
    done = git.run("config", "-z", "--get-regexp", pattern, doing=doing, ok=(0, 1))
    records = (record.partition("\n") for record in done.text.split("\0") if record)
    return {key: value if newline else "true" for key, newline, value in records}
