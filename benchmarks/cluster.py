"""Runs on a real cluster: 200 at once before the eyes of one process, the same run on both executors, a log, a release.

Run: make cluster-up; .venv/bin/python -m tests.cluster run .venv/bin/python benchmarks/cluster.py [NAME …].
Without names all of them: many, two, log, release.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from kubernetes.client import ApiClient
from measure import median_ratio, write

sys.path.insert(0, str(Path(__file__).parents[1]))
from mlops.adapters.cluster import connect
from mlops.adapters.cluster.kinds import PIPELINE_RUN, TASK_RUN
from mlops.adapters.cluster.watching import Change, Watch, Watches
from mlops.adapters.executors.local import LocalExecutor
from mlops.adapters.executors.tekton import TektonExecutor
from mlops.adapters.layout import OciLayout
from mlops.adapters.uv import Uv
from mlops.build import host
from mlops.domain.cluster import Access
from mlops.domain.run import TaskState
from mlops.tekton import asked
from tests.cluster import addresses, control, images, world
from tests.cluster.layout import Layout

RUNS, ROUNDS, LATER, LOG = 200, 5, 1, 1 << 18


class Silent:
    def task(self, state: TaskState) -> None: ...
    def log(self, task: str, step: str, line: str) -> None: ...


def namespace() -> str:
    name = f"bench-{uuid.uuid4().hex[:6]}"
    subprocess.run(["kubectl", "create", "namespace", name], check=True, capture_output=True)
    made = ["kubectl", "wait", "-n", name, "--for=create", "serviceaccount/default"]
    subprocess.run(made, check=True, capture_output=True)
    return name


def document(name: str, tasks: list[dict[str, Any]]) -> dict[str, Any]:
    about = {"name": name, "labels": {"app.kubernetes.io/managed-by": "mlops"}}
    spec = {"timeouts": {"pipeline": "1h"}, "pipelineSpec": {"tasks": tasks}}
    return {"apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "metadata": about, "spec": spec}


def noop(image: str) -> list[dict[str, Any]]:
    step = {"name": "s", "image": image, "command": ["true"]}
    return [{"name": "work", "taskSpec": {"steps": [step]}}]


def counted() -> Counter[str]:
    """The requests that this process sends from now on."""
    found: Counter[str] = Counter()
    whole = ApiClient.call_api

    def call(self: ApiClient, method: str, *rest: Any, **more: Any) -> Any:
        found[method] += 1
        return whole(self, method, *rest, **more)

    ApiClient.call_api = call
    return found


def told(requests: Counter[str], ended: Counter[str]) -> None:
    """Print what one process has measured of itself."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    usage = resource.getrusage(resource.RUSAGE_SELF)
    found = {
        "peak": peak,
        "cpu": usage.ru_utime + usage.ru_stime,
        "requests": dict(requests),
        "ended": dict(ended),
    }
    print(json.dumps(found))


def one_watch(where: str, image: str) -> None:
    """Create the runs, and wait for all of them, as `mlops runs submit --detach` and `wait` do."""
    requests, kept = counted(), TektonExecutor(connect(Access(namespace=where)))
    names = [f"many-{number}" for number in range(RUNS)]
    for name in names:
        (run,) = asked.read([("run", json.dumps(document(name, noop(image))).encode())], params={})
        kept.create(run)
    Path(f"/tmp/{where}.created").write_text("")  # noqa: S108
    ended: Counter[str] = Counter()
    for result in kept.endings(names):
        ended[f"{result.name} {result.phase}"] += 1
        if sum(ended.values()) == RUNS // 4:
            control.kill(Layout(Path(os.environ["MLOPS_TEST_CLUSTER"])), "kube-apiserver")
    told(requests, ended)


def one_each(where: str) -> None:
    """Follow the same runs, each as `mlops runs submit` does: two watches, and the logs of its steps."""
    requests, kept = counted(), TektonExecutor(connect(Access(namespace=where)))
    ended: Counter[str] = Counter()

    def follow(name: str) -> None:
        result = kept.attend(name, Silent())
        ended[f"{result.name} {result.phase}"] += 1

    names = [f"many-{number}" for number in range(RUNS)]
    threads = [threading.Thread(target=follow, args=(name,)) for name in names]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    told(requests, ended)


def idle() -> None:
    """What a process takes that has asked the cluster once."""
    requests = counted()
    TektonExecutor(connect(Access(namespace="default"))).list()
    told(requests, Counter())


def many() -> None:
    where, image = namespace(), images.plain()
    argv = [sys.executable, __file__]
    started = time.monotonic()
    first = subprocess.Popen([*argv, "one-watch", where, image], stdout=subprocess.PIPE, text=True)
    while not Path(f"/tmp/{where}.created").exists():  # noqa: S108
        if first.poll() is not None:
            raise SystemExit("the runs could not be created")
        time.sleep(0.1)
    created = time.monotonic() - started
    second = subprocess.Popen([*argv, "one-each", where], stdout=subprocess.PIPE, text=True)
    answers = [json.loads(each.communicate()[0]) for each in (first, second)]
    took = time.monotonic() - started
    nothing = json.loads(subprocess.check_output([*argv, "idle"], text=True))
    wanted = {f"many-{number} Succeeded": 1 for number in range(RUNS)}
    for each in answers:
        if each["ended"] != wanted:
            raise SystemExit(f"lost or told twice: {each['ended']}")
    rows = []
    for name, each in (
        ("asks once, for comparison", nothing),
        ("creates all, one watch for all (`runs submit --detach`, `runs wait`)", answers[0]),
        ("follows each, with its tasks and logs, beside it", answers[1]),
    ):
        asked_for = sum(each["requests"].values())
        rows.append(
            (
                name,
                f"{each['peak']:.0f}",
                f"{each['cpu']:.1f}",
                str(asked_for),
                f"{asked_for / RUNS:.2f}" if each is not nothing else "",
            )
        )
    write(
        "cluster_many",
        f"{RUNS} PipelineRuns on a cluster at once",
        ("one process that", "peak, MiB", "processor, s", "API requests", "for each run"),
        rows,
        f"One no-op task each, one node; created in {created:.0f} s, over after {took:.0f} s. The API server was killed"
        " when a quarter was over; each process told the end of every run, once: checked in the run.",
    )
    subprocess.run(["kubectl", "delete", "namespace", where, "--wait=false"], check=False)


def pair(image: str) -> list[dict[str, Any]]:
    says = {"name": "s", "image": image, "script": "#!/bin/sh\nprintf hi > $(results.r.path)\n"}
    hears = {"name": "s", "image": image, "command": ["test", "$(params.r)", "=", "hi"]}
    return [
        {"name": "says", "taskSpec": {"results": [{"name": "r"}], "steps": [says]}},
        {
            "name": "hears",
            "params": [{"name": "r", "value": "$(tasks.says.results.r)"}],
            "taskSpec": {"params": [{"name": "r"}], "steps": [hears]},
        },
    ]


def two() -> None:
    where, image = namespace(), images.plain()
    kept = TektonExecutor(connect(Access(namespace=where)))
    times: dict[str, list[float]] = {"local, sandbox": [], "tekton": []}
    with tempfile.TemporaryDirectory() as made:
        store = OciLayout(Path(made) / "registry")
        packed = f"base-host@{host.pack(store, Uv(Path(made)))[0]}"
        local = LocalExecutor(Path(made) / "runs", store, "sandbox", Path(made) / "cache")
        for turn in range(ROUNDS + 1):
            for name, executor, using in (
                ("local, sandbox", local, packed),
                ("tekton", kept, image),
            ):
                started = time.perf_counter()
                result = executor.run(document(f"two-{turn}", pair(using)), Silent())
                took = time.perf_counter() - started
                if str(result.phase) != "Succeeded":
                    raise SystemExit(f"{name}: {result.message}")
                if turn:  # the first unpacks and pulls
                    times[name].append(took)
    ratio = median_ratio(times["tekton"], times["local, sandbox"])
    rows = [
        (name, f"{statistics.median(each):.2f}", f"{min(each):.2f} to {max(each):.2f}", said)
        for (name, each), said in zip(times.items(), ("1.0", f"{ratio:.0f}"), strict=True)
    ]
    write(
        "cluster_two",
        "The same run of two tasks on both executors",
        ("executor", "median, s", "from, to", "ratio"),
        rows,
        f"The second task takes a result of the first; {ROUNDS} rounds in turn, images there already.",
    )
    subprocess.run(["kubectl", "delete", "namespace", where, "--wait=false"], check=False)


def peak_of(argv: list[str]) -> tuple[float, float, int]:
    """Seconds and peak MiB of a command, and the bytes that it prints."""
    started, size = time.perf_counter(), 0
    running = subprocess.Popen(argv, stdout=subprocess.PIPE)
    assert running.stdout is not None
    while piece := running.stdout.read(1 << 20):
        size += len(piece)
    _, status, usage = os.wait4(running.pid, 0)
    if status:
        raise SystemExit(f"{argv}: {status}")
    return time.perf_counter() - started, usage.ru_maxrss / 1024, size


def log() -> None:
    where, image = namespace(), images.plain()
    layout = Layout(Path(os.environ["MLOPS_TEST_CLUSTER"]))
    settings = layout.configuration / "kubelet.yaml"
    before = settings.read_text()
    whole = {**yaml.safe_load(before), "containerLogMaxSize": "4Gi"}
    settings.write_text(yaml.safe_dump(whole))
    control.kill(layout, "kubelet")
    try:
        kept = TektonExecutor(connect(Access(namespace=where)))
        script = f"#!/usr/bin/env python3\nfor n in range({LOG}): print('%09d' % n, 'x' * 1013)\n"
        step = {"name": "s", "image": image, "script": script}
        document_of = document("much", [{"name": "work", "taskSpec": {"steps": [step]}}])
        (run,) = asked.read([("run", json.dumps(document_of).encode())], params={})
        kept.create(run)
        while not (found := kept.status("much")) or not found.phase.done:
            time.sleep(1)
        pod = f"{found.tasks[0].taskrun}-pod"
        kubectl = ["kubectl", "logs", "-n", where, pod, "-c", "step-s"]
        ours = [sys.executable, "-m", "mlops", "runs", "logs", "much", "--executor", "tekton"]
        ours += ["-n", where, "--task", "work", "--step", "s"]
        commands = {"kubectl logs": kubectl, "mlops runs logs": ours}
        times: dict[str, list[tuple[float, float, int]]] = {name: [] for name in commands}
        for _ in range(3):
            for name, argv in commands.items():
                times[name].append(peak_of(argv))
                if times[name][-1][2] != LOG * 1024:
                    raise SystemExit(f"{name}: {times[name][-1][2]} bytes")
    finally:
        settings.write_text(before)
        control.kill(layout, "kubelet")
    reference = [each[0] for each in times["kubectl logs"]]
    rows = [
        (
            name,
            f"{statistics.median(t[0] for t in each):.1f}",
            f"{LOG / 1024 / statistics.median(t[0] for t in each):.0f}",
            f"{max(t[1] for t in each):.0f}",
            f"{median_ratio([t[0] for t in each], reference):.2f}",
        )
        for name, each in times.items()
    ]
    write(
        "cluster_log",
        f"{LOG // 1024} MiB of a step's log from a cluster",
        ("by", "median, s", "MiB/s", "peak, MiB", "ratio"),
        rows,
        "Lines of 1 KiB, from one pod through the API server; 3 rounds in turn, whole processes; every byte came:"
        " checked in the run.",
    )
    subprocess.run(["kubectl", "delete", "namespace", where, "--wait=false"], check=False)


def tip(repository: Path) -> str:
    argv = ["git", "-C", str(repository), "rev-parse", "main"]
    return subprocess.check_output(argv, text=True).strip()


def seen(kept: Watches, what: Callable[[Change], bool], seconds: float = 900) -> float:
    """When a change comes that is meant."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        change = kept.next(0.05)
        if change is not None and what(change):
            return time.perf_counter()
    raise SystemExit("it does not come")


def ended(change: Change, task: str) -> bool:
    labels = change.object["metadata"].get("labels") or {}
    over = (change.object.get("status") or {}).get("completionTime")
    return labels.get("tekton.dev/pipelineTask") == task and bool(over)


def round_of(project: world.Project, served: Path) -> tuple[float, float, float]:
    """Seconds from `mlops run` to the PipelineRun, from attest's end to the pin, and of the whole command."""
    there = connect(Access(namespace=project.namespace))
    known = {each.name for each in TektonExecutor(there).list()}
    watches = Watches(Watch(there, PIPELINE_RUN), Watch(there, TASK_RUN))
    old = {each["metadata"]["name"] for each in there.list(TASK_RUN)[0]}
    before, started = tip(served), time.perf_counter()
    argv = [sys.executable, "-m", "mlops", "run"]
    running = subprocess.Popen(argv, cwd=project.work, env=dict(project.env))
    created = seen(watches, lambda c: c.kind is PIPELINE_RUN and c.name not in known)
    attested = seen(watches, lambda c: c.name not in old and ended(c, "attest"))
    while tip(served) == before:
        if running.poll():
            raise SystemExit(f"mlops run ended with {running.returncode}")
        time.sleep(0.02)
    pushed = time.perf_counter()
    if running.wait():
        raise SystemExit(f"mlops run ended with {running.returncode}")
    watches.stop()
    return created - started, pushed - attested, time.perf_counter() - started


def release() -> None:
    layout = Layout(Path(os.environ["MLOPS_TEST_CLUSTER"]))
    with tempfile.TemporaryDirectory() as made:
        root = Path(made) / "root"
        root.mkdir()
        tool = world.installed(Path(made) / "installed")
        with world.project(layout, root, tool) as project:
            project.install()
            project.mlops("init", "--yes")
            project.configure(
                executor="tekton",
                registry=f"{addresses.REGISTRY}/{project.name}",
                cluster={"namespace": project.namespace},
            )
            project.mlops("lock")
            project.commit("Add mlops")
            times = [round_of(project, root / "served" / f"{project.name}.git")]
            for number in range(LATER):
                (project.work / "src" / "more.py").write_text(f"NUMBER = {number}\n")
                project.commit("Change the code")
                times.append(round_of(project, root / "served" / f"{project.name}.git"))
    rows = [
        (name, f"{times[0][place]:.1f}", f"{statistics.mean(t[place] for t in times[1:]):.1f}")
        for place, name in enumerate(
            (
                "from `mlops run` to the PipelineRun created",
                "from the end of `attest` to the pushed pin",
                "the whole command",
            )
        )
    ]
    write(
        "cluster_release",
        "A release on a cluster",
        ("what", "first, s", "later, s"),
        rows,
        "The demo's project, git server and registry on the same machine; first: nothing built or pulled; later: after"
        f" a change of the code, mean of {LATER}. Times are when a watch told of it, and when the branch's tip moved.",
    )


if __name__ == "__main__":
    wanted = sys.argv[1:] or ["two", "many", "log", "release"]
    inner = {
        "one-watch": lambda: one_watch(*wanted[1:]),
        "one-each": lambda: one_each(*wanted[1:]),
        "idle": idle,
    }
    if wanted[0] in inner:
        inner[wanted[0]]()
    else:
        for each in wanted:
            {"many": many, "two": two, "log": log, "release": release}[each]()
