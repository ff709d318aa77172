"""The state machine of pins at length: 10,000 steps in memory, 500 on real git.

The steps are the same each time, so that a red run is the change's own; MLOPS_TEST_SEED=N takes others,
MLOPS_TEST_SEED=random new ones, whose number is printed, and MLOPS_TEST_STEPS=200000 more of them in memory (a
twentieth of it on real git).
"""

from __future__ import annotations

import os
import secrets
import sys
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.machine.branches import Branch, GitBranch, MemoryBranch
from tests.machine.pins import Pins

STEPS = int(os.environ.get("MLOPS_TEST_STEPS", "10000"))
SEED = 20190716
EACH = 50  # steps on one estate, at most: some end early
ROUNDS = 8  # walks, each over what the ones before left


@pytest.fixture(autouse=True)
def colleagues(monkeypatch: pytest.MonkeyPatch, settings) -> None:
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "ada@example.com")
        monkeypatch.setenv(f"GIT_{who}_DATE", "2024-01-01T00:00:00+00:00")


def long(steps: int) -> settings:
    return settings(
        max_examples=steps // EACH + 1,
        stateful_step_count=EACH,
        deadline=None,
        derandomize=False,
        database=None,
        # whole estates are made, on a busy machine: a slow step says nothing
        suppress_health_check=[HealthCheck.too_slow],
    )


def walk(branches: Callable[[], Branch], steps: int) -> None:
    """Take so many steps, and fail where fewer were taken."""
    chosen = os.environ.get("MLOPS_TEST_SEED", str(SEED))
    number = secrets.randbits(32) if chosen == "random" else int(chosen)
    sys.stderr.write(f"MLOPS_TEST_SEED={number}\n")
    counts: Counter[str] = Counter()

    class Walk(Pins):
        counted = counts

    Walk.branches = staticmethod(branches)
    for more in range(ROUNDS):
        missing = steps - counts.total()
        if missing > 0:
            run_state_machine_as_test(seed(number + more)(Walk), settings=long(missing))
    sys.stderr.write(f"{sorted(counts.items())}\n")
    assert counts.total() >= steps


@pytest.mark.timeout(3600)
def test_pins_hold_for_ten_thousand_steps_in_memory():
    walk(MemoryBranch, STEPS)


@pytest.mark.timeout(3600)
def test_pins_hold_for_five_hundred_steps_on_real_git():
    walk(GitBranch, STEPS // 20)
