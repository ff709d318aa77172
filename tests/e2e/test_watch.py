"""`mlops watch` as a person has it: real git, real runs."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

TRAIN = "src/train.py"


def claims(project) -> dict[str, dict]:
    """Run → the document of its claim, as the remote has it."""
    project.git("fetch", "-q", "origin", "+refs/mlops/runs/*:refs/mlops/runs/*")
    refs = project.git("for-each-ref", "--format=%(refname)", "refs/mlops/runs/").split()
    return {
        ref.rpartition("/")[2]: json.loads(project.git("cat-file", "blob", ref)) for ref in refs
    }


def block(store: Path) -> list[Path]:
    """Let a DVC remote take no new object: a file stands where each new directory would."""
    made = [store / "files" / "md5" / f"{number:02x}" for number in range(256)]
    made = [path for path in made if not path.exists()]
    for path in made:
        path.touch()
    return made


def test_what_an_outside_system_fails_waits_its_time_and_a_person_does_not(live):
    live.write(TRAIN, (live.path / TRAIN).read_text().replace("sum(rows)", "1 + sum(rows)"))
    source = live.commit("Change the training")
    run = f"spam-{source[:12]}-1"
    blocked = block(live.data)

    first = live.mlops("watch", "--once", code=1)
    assert "the next attempt is due" in first.stderr, first.stderr
    claim = claims(live)[run]
    assert (claim["outcome"], claim["failures"]) == ("interrupted", 1)
    due = datetime.fromisoformat(claim["after"])
    assert due < datetime.now(UTC) + timedelta(minutes=2)

    waiting = live.mlops("watch", "--once", "-o", "json")
    told = f"waits until {due:%Y-%m-%d %H:%M:%S} UTC for attempt 2 of 8"
    assert re.search(re.escape(told), waiting.stderr), waiting.stderr
    (answer,) = json.loads(waiting.stdout)
    assert (answer["fresh"], answer["due"]) == (False, claim["after"])
    assert claims(live)[run] == claim

    live.mlops("run", code=3)
    assert claims(live)[run]["failures"] == 2
    for path in blocked:
        path.unlink()
    assert live.mlops("run", "--quiet").stdout.strip() == f"spam@{live.pinned('dev')}"
    assert live.mlops("watch", "--once").stdout == ""
