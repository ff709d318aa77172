"""Logs of real pods: large ones, strange ones, rotated ones, and a kubelet that goes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from mlops.domain.run import Phase, TaskState
from mlops.tekton import asked
from tests.cluster import addresses, control
from tests.cluster.conftest import Cluster as Kubectl
from tests.cluster.conftest import Namespace
from tests.cluster.layout import Layout
from tests.cluster.waiting import until

RUN = """
apiVersion: tekton.dev/v1
kind: PipelineRun
metadata: {name: NAME}
spec:
  timeouts: {pipeline: 9m}
  pipelineSpec:
    tasks:
      - name: work
        taskSpec:
          steps:
            - name: s
              image: IMAGE
              script: |
"""
WRITES = """#!/usr/bin/env python3
import sys, time
for number in range(LINES):
    sys.stdout.write(f"{number:09} " + "x" * WIDTH + "\\n")
    if number % EVERY == 0: sys.stdout.flush(); time.sleep(PAUSE)
"""
STRANGE = r"""#!/usr/bin/env python3
import sys
write = sys.stdout.buffer.write
write(b"nul \0 and \xff\xfe no text\n")
write("zwölf\n".encode() * 3)
write("ü".encode() * 500_000 + b"\n")
write(b"the end has no newline")
"""


class Counted:
    """A RunObserver that counts numbered lines, and keeps the others."""

    def __init__(self) -> None:
        self.lines = self.next = self.lost = self.again = 0
        self.others: list[str] = []

    def task(self, state: TaskState) -> None: ...

    def log(self, task: str, step: str, line: str) -> None:
        if not line[:9].isdigit():
            self.others.append(line)
            return
        number = int(line[:9])
        self.lines += 1
        self.lost += max(0, number - self.next)
        self.again += number < self.next
        self.next = number + 1


def text_of(name: str, image: str, script: str) -> str:
    body = "".join(f"                {line}\n" for line in script.splitlines())
    return RUN.replace("NAME", name).replace("IMAGE", image) + body


def writes(lines: int, width: int, every: int = 10**9, pause: float = 0) -> str:
    script = WRITES.replace("LINES", str(lines)).replace("WIDTH", str(width))
    return script.replace("EVERY", str(every)).replace("PAUSE", str(pause))


def run_of(text: str) -> asked.Asked:
    (found,) = asked.read([("run.yaml", text.encode())], params={})
    return found


def _restart(layout: Layout, settings: str, **changed: object) -> None:
    """Start the kubelet anew, with other settings."""
    path = layout.configuration / "kubelet.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(settings), **changed}))
    before = (layout.pids / "kubelet").read_text()
    control.kill(layout, "kubelet")
    until(lambda: (layout.pids / "kubelet").read_text() not in ("", before))
    health = ("get", "--raw", f"/api/v1/nodes/{addresses.NODE}/proxy/healthz")
    until(lambda: Kubectl(layout, "default").kubectl(*health).returncode == 0)


@pytest.fixture
def rotated_at(layout: Layout) -> Iterator[Callable[[str], None]]:
    """Let the kubelet rotate logs at another size."""
    before = (layout.configuration / "kubelet.yaml").read_text()
    yield lambda size: _restart(
        layout, before, containerLogMaxSize=size, containerLogMonitorInterval="3s"
    )
    _restart(layout, before)


@pytest.mark.our_node
@pytest.mark.timeout(600)
@pytest.mark.alone
def test_a_gigabyte_is_followed_to_its_end_in_little_memory(
    user: Namespace, plain: str, here: Path, rotated_at: Callable[[str], None]
) -> None:
    """In a process of its own, as a user types it, where the kubelet keeps all of it."""
    rotated_at("4Gi")
    (here / "run.yaml").write_text(text_of("much", plain, writes(1 << 20, 1013)))
    where = ("--executor", "tekton", "-n", user.name)
    argv = ("runs", "submit", "-f", "run.yaml", "--logs", *where)
    reader = "import resource, runpy, sys\nsys.argv = ['mlops', *sys.argv[1:]]\n"
    reader += "try:\n    runpy.run_module('mlops', run_name='__main__')\nfinally:\n"
    reader += (
        "    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=open('peak', 'w'))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", reader, *argv], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    heard = Counted()
    assert process.stderr is not None
    with process.stderr:
        for raw in process.stderr:
            line = raw.decode()
            if "work/s | " in line:
                heard.log("work", "s", line.partition("work/s | ")[2].rstrip("\n"))
    assert process.wait() == 0
    assert (heard.lines, heard.lost, heard.again, heard.others) == (1 << 20, 0, 0, [])
    assert int(Path("peak").read_text()) < 300 << 10  # KiB
    counted = Counted()
    for each in user.executor().logs("much"):
        counted.log(each.task, each.step, each.text)
    assert (counted.lines, counted.lost, counted.again, counted.others) == (1 << 20, 0, 0, [])


@pytest.mark.timeout(600)
@pytest.mark.alone
def test_what_was_rotated_away_before_it_was_read_is_told(
    namespace: Namespace, plain: str, rotated_at: Callable[[str], None]
) -> None:
    """Who follows stops reading until two files were rotated and the step is over."""
    rotated_at("1Mi")
    kept = namespace.executor()

    class Slow(Counted):
        def log(self, task: str, step: str, line: str) -> None:
            super().log(task, step, line)
            if self.lines == 1000:
                until(lambda: (found := kept.status("fast")) is not None and found.phase.done, 240)

    heard = Slow()
    result = kept.submit(run_of(text_of("fast", plain, writes(200_000, 1013, 5_000, 1.0))), heard)
    assert result.phase is Phase.SUCCEEDED
    assert heard.lost > 0
    assert heard.again == 0
    assert heard.next == 200_000
    assert any("the kubelet drops" in line for line in heard.others)
    again = Counted()
    for each in kept.logs("fast"):
        again.log(each.task, each.step, each.text)
    (told,) = again.others
    assert "of a large log the kubelet gives its newest file only" in told
    assert (again.lost + again.lines, again.again, again.next) == (200_000, 0, 200_000)


def test_bytes_of_any_kind_are_lines(namespace: Namespace, plain: str) -> None:
    kept = namespace.executor()
    result = kept.submit(run_of(text_of("strange", plain, STRANGE)), Counted())
    assert result.phase is Phase.SUCCEEDED, result.message
    for lines in (kept.logs("strange"), kept.follow("strange")):
        text = "".join(each.text + ("" if each.partial else "\n") for each in lines)
        assert text == (
            "nul \0 and �� no text\n" + "zwölf\n" * 3 + "ü" * 500_000 + "\nthe end has no newline\n"
        )


@pytest.mark.alone
def test_a_kubelet_that_is_started_anew_costs_no_line(namespace: Namespace, plain: str) -> None:
    kept = namespace.executor()

    class Killing(Counted):
        def log(self, task: str, step: str, line: str) -> None:
            super().log(task, step, line)
            if self.lines == 20:
                control.kill(namespace.layout, "kubelet")

    heard = Killing()
    result = kept.submit(run_of(text_of("kubelet", plain, writes(120, 10, 1, 0.1))), heard)
    assert result.phase is Phase.SUCCEEDED
    assert (heard.lines, heard.lost, heard.again, heard.others) == (120, 0, 0, [])
