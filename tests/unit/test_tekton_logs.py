"""What is left out of the logs of a run's pods: what the end of a sidecar leaves in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mlops.adapters.cluster.kinds import POD, Kind
from mlops.adapters.executors.tekton.logs import Source, Streams, read
from mlops.errors import ForbiddenError

NO_FILE = "exec /tekton/scripts/sidecar-script-0-d5fkw: no such file or directory"


class Pod:
    """Meets what `logs` asks of a Cluster, of one pod: a log, and how its containers stand."""

    def __init__(self, ended: str, *lines: str) -> None:
        self.ended, self.lines = ended, lines
        self.forbidden = False

    def log(self, *_: Any, **__: Any) -> Iterator[bytes]:
        yield "".join(f"{line}\n" for line in self.lines).encode()

    def get(self, kind: Kind, name: str) -> Any:
        if self.forbidden:
            raise ForbiddenError("no")
        assert (kind, name) == (POD, "p")
        state = {"terminated": {"finishedAt": self.ended}} if self.ended else {"running": {}}
        return {
            "status": {
                "containerStatuses": [
                    {
                        "name": "step-first",
                        "state": {"terminated": {"finishedAt": "2026-11-28T18:00:01Z"}},
                    },
                    {"name": "step-main", "state": state},
                    {"name": "sidecar-env", "state": {"terminated": {}}},
                ]
            }
        }


def source(*, sidecar: bool = True) -> Source:
    return Source("train", "env", "p", "sidecar-env", over=True, sidecar=sidecar)


def told(pod: Pod, *, sidecar: bool = True) -> list[str]:
    return [line.text for line in read(pod, source(sidecar=sidecar))]  # type: ignore[arg-type]


def test_what_is_left_of_a_sidecar_after_the_last_step_is_left_out():
    pod = Pod(
        "2026-11-28T18:00:09Z", "2026-11-28T18:00:08.5Z side", f"2026-11-28T18:00:30.5Z {NO_FILE}"
    )

    assert told(pod) == ["side"]


def test_whoever_follows_the_log_does_not_see_it_either():
    pod = Pod(
        "2026-11-28T18:00:09Z", "2026-11-28T18:00:08.5Z side", f"2026-11-28T18:00:30.5Z {NO_FILE}"
    )
    streams = Streams(pod)  # type: ignore[arg-type]

    streams.begin(source())

    assert [line.text for line in streams.rest()] == ["side"]


@pytest.mark.parametrize(
    ("ended", "line", "sidecar"),
    [
        ("", f"2026-11-28T18:00:30Z {NO_FILE}", True),  # a step still runs
        ("2026-11-28T18:00:09Z", f"2026-11-28T18:00:08Z {NO_FILE}", True),  # it never began
        ("2026-11-28T18:00:09Z", f"2026-11-28T18:00:30Z {NO_FILE}", False),  # a step's own
        ("2026-11-28T18:00:09Z", f"2026-11-28T18:00:30Z said {NO_FILE}", True),
        ("2026-11-28T18:00:09Z", NO_FILE, True),  # without a time
    ],
)
def test_whatever_else_says_so_is_shown(ended, line, sidecar):
    (found,) = told(Pod(ended, line), sidecar=sidecar)

    assert found.endswith(NO_FILE)


def test_it_is_shown_to_who_may_not_look_at_the_pod():
    pod = Pod("2026-11-28T18:00:09Z", f"2026-11-28T18:00:30Z {NO_FILE}")
    pod.forbidden = True

    assert told(pod) == [NO_FILE]
