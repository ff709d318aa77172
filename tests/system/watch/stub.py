"""A real Runner over real claims, with stubs in place of planning and training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from mlops.domain.digest import Digest, ImageRef
from mlops.domain.plan import Impact, Plan, PlanStep
from mlops.domain.run import Phase, RunResult, RunSpec
from mlops.engine.claiming import Holder
from mlops.engine.run import Order, Runner
from mlops.errors import RefusedError
from tests.system.watch.watching import Watched


class Killed(BaseException):
    """The process ends here."""


@dataclass
class Machine:
    """Where runs are carried out: which were begun, by whom, and which are at it."""

    begun: Counter[str] = field(default_factory=Counter)
    alive: dict[str, int] = field(default_factory=dict)  # run → process
    dead: set[int] = field(default_factory=set)
    pids: int = 100


@dataclass
class Executor:
    machine: Machine
    pid: int
    during: Callable[[], None]
    dies: str
    fails: bool
    name: str = "local"
    lasting: bool = False

    def alive(self, run: str) -> bool:
        return run in self.machine.alive

    def status(self, run: str) -> None:
        return None

    def run(self, document: Any, observer: Any) -> RunResult:
        name = document["metadata"]["name"]
        assert name not in self.machine.alive, f"{name} is carried out twice at once"
        if self.dies == "submitted":
            raise Killed
        self.machine.begun[name] += 1
        self.machine.alive[name] = self.pid
        try:
            self.during()
        finally:
            del self.machine.alive[name]
        if self.dies == "trained":
            raise Killed
        phase = Phase.FAILED if self.fails else Phase.SUCCEEDED
        return RunResult(name, phase, str(phase), "", None, None, results={"note": ""})


@dataclass
class Planner:
    reader: Any

    def plan(self, model: str, source: Any, known: Any, since: Any = None) -> Any:
        plan = Plan(model, source, None, Impact(), (PlanStep("package", "code"),), "code", "")
        return SimpleNamespace(plan=plan, baseline=None, model=model, source=source)

    def require_locks(self, planned: Any, say: Any = None) -> None: ...
    def require_overlay(self, planned: Any, gitops: Any, tip: Any) -> None: ...
    def require_data(self, planned: Any) -> None: ...
    def spec(self, planned: Any, name: str, attempt: int) -> RunSpec:
        tool = ImageRef("mlops", Digest("b" * 64))
        where = ("/r", "oci:/r", tool, "dev", "environments", "main")
        return RunSpec(name, attempt, planned.model, planned.source, *where)


class Claims:
    """Real claims; the process may end right after it won one."""

    def __init__(self, inner: Any, dies: str) -> None:
        self._inner, self._dies = inner, dies

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def put(self, run: str, document: Any, previous: Any) -> Any:
        won = self._inner.put(run, document, previous)
        if self._dies == document["state"] == "claimed":
            raise Killed
        return won


def carry_out(
    watched: Watched,
    machine: Machine,
    number: int = 0,
    *,
    dies: str = "",
    fails: bool = False,
    during: Callable[[], None] = lambda: None,
) -> str | None:
    """Carry out a decision that waits, as `mlops run` would; the name of the run, None where none waits."""
    waiting = watched.watcher.waiting()
    if not waiting:
        return None
    chosen = waiting[number % len(waiting)]
    machine.pids += 1
    pid = machine.pids
    runner = Runner(
        planner=Planner(watched.watcher.reader),
        gitops=SimpleNamespace(path="environments", refresh=lambda: None, tip=lambda: None),
        claims=Claims(watched.claims, dies),
        executor=Executor(machine, pid, during, dies, fails),
        holder=Holder(
            lambda: {"host": "here", "pid": pid}, lambda it: it.get("pid") in machine.dead
        ),
        now=watched.now,
        observer=SimpleNamespace(task=lambda *_: None, log=lambda *_: None),
        say=lambda _: None,
    )
    try:
        runner.carry_out(Order(chosen.model, chosen.source, patient=True))
    except RefusedError:
        pass
    except Killed:
        machine.dead.add(pid)
    return chosen.run
