"""Whether a release can take another's place: the contracts that it keeps, and the platforms it runs on."""

from __future__ import annotations

from collections.abc import Mapping

from mlops.domain.release import ReleaseRecord


def broken_contracts(target: ReleaseRecord, standing: ReleaseRecord | None) -> tuple[str, ...]:
    """What callers of the standing release rely on and the target does not keep, in words.

    Contracts are the `compatibility` of mlops.yaml, as each release's record has them.
    """
    theirs = target.compatibility
    ours = standing.compatibility if standing is not None else {}
    return tuple(
        f"{name} is {theirs.get(name, 'not declared')}, what stands has {ours[name]}"
        for name in sorted(ours)
        if theirs.get(name) != ours[name]
    )


def lacking_platforms(
    target: ReleaseRecord, standing: ReleaseRecord | None
) -> tuple[str, ...] | None:
    """The platforms that the standing release has and the target lacks; None where one of the two
    records none, so that nobody can tell."""
    have = target.platforms
    need = standing.platforms if standing is not None else frozenset()
    if not have or not need:
        return None
    return tuple(sorted(need - have))


def declared(value: Mapping[str, object]) -> dict[str, str]:
    """Contracts as a record keeps them: names in order, values as text."""
    return {name: str(value[name]) for name in sorted(value)}
