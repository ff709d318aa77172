"""The train task as real pods under restricted Pod Security: the shell's shim here, the user's commands in the sidecar."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlops.adapters import cluster as api
from mlops.adapters.executors.tekton import TektonExecutor
from mlops.domain.cluster import Access, Pods
from mlops.domain.digest import ImageRef
from mlops.domain.run import Ending, Phase, Resources, RunResult, RunSpec, TaskState
from mlops.domain.source import Commit
from mlops.manifests.pipelinerun import generate
from tests.cluster import addresses, storage, world
from tests.cluster.conftest import Cluster
from tests.cluster.layout import Layout
from tests.system.git.servers import http

MLOPS = """
apiVersion: mlops/v1
kind: Project
name: spam-filter
environments: [dev]
models:
  spam: {build: {base: host, code: [src]}, artifact: models/spam.txt, metrics: metrics.json}
"""
DVC = """
stages:
  train: {cmd: python3 src/train.py, deps: [src/train.py], outs: [models/spam.txt]}
"""
TRAINS = """
import pathlib
pathlib.Path("models").mkdir(exist_ok=True)
pathlib.Path("models/spam.txt").write_text("trained")
print("trained")
"""
LOOKS = """
import json, os, pathlib
def kept(path):
    try: return sorted(os.listdir(path))
    except OSError: return None
def writable(path):
    try: (pathlib.Path(path) / "mine").write_text("x")
    except OSError: return False
    return True
status = dict(l.split(":\\t", 1) for l in pathlib.Path("/proc/self/status").read_text().splitlines() if ":\\t" in l)
found = {
    "env": dict(os.environ), "ids": [os.getuid(), os.getgid()], "groups": os.getgroups(),
    "kernel": {k: status[k].strip() for k in ("CapEff", "CapPrm", "NoNewPrivs", "Seccomp")},
    "token": kept("/var/run/secrets/kubernetes.io/serviceaccount"), "secrets": kept("/var/run/secrets"),
    "creds": [kept(p) for p in ("/tekton/creds", "/tekton/creds-secrets", "/tekton/home")],
    "workspace": kept("/workspace"), "here": kept("."), "exchange": kept("/exchange"),
    "mounts": [l.split()[4] for l in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()],
    "others": [pathlib.Path(f"/proc/{p}/cmdline").read_bytes().decode() for p in os.listdir("/proc") if p.isdigit()],
    "writable": {p: writable(p) for p in ("/etc", "/usr", "/root")},
}
print("FOUND " + json.dumps(found))
"""
MEMORY = """
import os
# of the processes of the container the kernel ends the largest: the runner, where the memory is a file's
if WHO: os.execvp("dd", ["dd", "if=/dev/zero", "of=/dev/shm/full", "bs=1M", "count=200"])
x = bytearray(600 << 20)
for i in range(0, len(x), 4096): x[i] = 1
"""
SLEEPS = "import time\nprint('sleeps', flush=True)\ntime.sleep(600)\n"


SMALL = Pods(size="64Mi")


class Heard:
    """A RunObserver that keeps what it hears, and does something once training has said a word."""

    def __init__(self, word: str = "", act: Callable[[], None] = lambda: None) -> None:
        self.states: list[TaskState] = []
        self.lines: list[str] = []
        self._word, self._act = word, act

    def task(self, state: TaskState) -> None:
        self.states.append(state)

    def log(self, task: str, step: str, line: str) -> None:
        self.lines.append(line)
        if self._word and self._word in line:
            self._word = ""
            self._act()

    @property
    def waits(self) -> str:
        """What the train task was told to wait for, all of it."""
        return "\n".join(state.waits for state in self.states if state.name == "train")


@dataclass
class Training:
    """A repository with a training program, and the tasks `fetch` and `train` of its run."""

    cluster: Cluster
    tool: ImageRef
    image: str
    url: str
    work: Path
    kept: TektonExecutor
    made: int = field(default=0)

    def commit(self, program: str) -> Commit:
        (self.work / "src/train.py").write_text(program)
        self._git("add", "-A")
        self._git("commit", "-q", "--allow-empty", "-m", "change")
        self._git("push", "-q", "origin", "main")
        return Commit.parse(self._git("rev-parse", "HEAD").strip())

    def _git(self, *argv: str) -> str:
        named = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
        done = subprocess.run(
            ["git", *named, *argv], cwd=self.work, check=True, capture_output=True, text=True
        )
        return done.stdout

    def document(self, program: str, pods: Pods, **more: Any) -> dict[str, Any]:
        """What the generator writes, without the tasks that training does not need."""
        self.made += 1
        spec = RunSpec(
            name=f"spam-{self.made}",
            attempt=1,
            model="spam",
            source=self.commit(program),
            repository=self.url,
            registry=f"{addresses.REGISTRY}/spam",
            tool=self.tool,
            environment="dev",
            gitops_path="environments",
            gitops_branch="main",
            pods=pods,
        )
        document = generate(replace(spec, **more))
        run = document["spec"]
        tasks = {each["name"]: each for each in run["pipelineSpec"]["tasks"]}
        train = tasks["train"]
        train["runAfter"] = ["fetch"]
        for param in train["params"]:
            if param["name"] == "image":
                param["value"] = self.image
        run["pipelineSpec"]["tasks"] = [tasks["fetch"], train]
        del run["pipelineSpec"]["results"]
        wanted = ("fetch", "train")
        run["taskRunSpecs"] = [
            each for each in run["taskRunSpecs"] if each["pipelineTaskName"] in wanted
        ]
        return document

    def run(self, program: str, heard: Heard, pods: Pods = SMALL, **more: Any) -> RunResult:
        return self.kept.run(self.document(program, pods, **more), heard)


def train_of(result: RunResult) -> TaskState:
    return next(each for each in result.tasks if each.name == "train")


@pytest.fixture(scope="module")
def tool(layout: Layout, tmp_path_factory: pytest.TempPathFactory) -> ImageRef:
    """The tool image, as a release names it."""
    place = world.installed(tmp_path_factory.mktemp("installed"))
    record = yaml.safe_load((place / "mlops/_data/tool-image.yaml").read_text())
    return ImageRef.parse(f"{record['repository']}@{record['digest']}")


@pytest.fixture
def training(
    cluster: Cluster, tool: ImageRef, plain: str, tmp_path: Path, layout: Layout
) -> Iterator[Training]:
    served, work = tmp_path / "served", tmp_path / "work"
    for name, text in {
        "mlops.yaml": MLOPS,
        "dvc.yaml": DVC,
        ".gitignore": "/models/\n",
        ".dvc/config": "",
        "src/train.py": "",
    }.items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(text.lstrip("\n"))
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", served / "spam.git"], check=True)
    subprocess.run(["git", "init", "-q", "-b", "main"], cwd=work, check=True)
    subprocess.run(["git", "remote", "add", "origin", served / "spam.git"], cwd=work, check=True)
    cluster.done("apply", "-f", str(world.ACCOUNTS))
    access = Access(namespace=cluster.namespace, kubeconfig=str(layout.kubeconfig))
    with http(served, host=addresses.HOST) as server:
        url = server.url(served / "spam.git")
        yield Training(
            cluster, tool, _digest(plain), url, work, TektonExecutor(api.connect(access))
        )


def _digest(image: str) -> str:
    """The image by its digest."""
    argv = ["skopeo", "inspect", "--tls-verify=false", "--format={{.Digest}}", f"docker://{image}"]
    found = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()
    return f"{image.rpartition(':')[0]}@{found}"


SECRET = "hunter2-Zw9x"


def _credentials(cluster: Cluster) -> None:
    """All that the accounts of a run may have."""
    login = {"username": "bot", "password": SECRET}
    docker = {"auths": {addresses.REGISTRY: {"username": "bot", "password": SECRET}}}
    server = {"tekton.dev/git-0": f"http://{addresses.HOST}"}
    for name, kind, content, marks in (
        ("mlops-git", "kubernetes.io/basic-auth", login, server),
        ("mlops-git-push", "kubernetes.io/basic-auth", login, server),
        (
            "mlops-registry",
            "kubernetes.io/dockerconfigjson",
            {".dockerconfigjson": json.dumps(docker)},
            {},
        ),
        ("mlops-dvc", "Opaque", {"AWS_SECRET_ACCESS_KEY": SECRET}, {}),
        ("mlops-packages", "Opaque", {"UV_INDEX_TEAM_PASSWORD": SECRET}, {}),
    ):
        document = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": kind,
            "metadata": {"name": name, "annotations": marks},
            "stringData": content,
        }
        cluster.done("create", "-f", "-", document=document)
    settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mlops-settings"}}
    settings["data"] = {"HTTPS_PROXY": f"http://bot:{SECRET}@proxy.example.com"}
    cluster.done("create", "-f", "-", document=settings)


@pytest.mark.timeout(300)
def test_training_sees_the_project_and_nobodys_credentials(training: Training) -> None:
    _credentials(training.cluster)
    heard = Heard()
    result = training.run(LOOKS + TRAINS, heard, Pods(size="64Mi", user=12345))
    assert result.phase is Phase.SUCCEEDED, (result.message, heard.lines)
    (line,) = (each for each in heard.lines if each.startswith("FOUND "))
    found = json.loads(line.removeprefix("FOUND "))
    assert SECRET not in line
    assert found["ids"] == [12345, 12345]
    assert 0 not in found["groups"]
    assert found["kernel"] == {
        "CapEff": "0" * 16,
        "CapPrm": "0" * 16,
        "NoNewPrivs": "1",
        "Seccomp": "2",
    }
    assert found["token"] is None
    assert found["secrets"] is None
    assert all(not each for each in found["creds"])
    assert found["workspace"] == ["source"]
    assert ".git" not in found["here"]
    assert not [each for each in found["mounts"] if "secret" in each or "creds" in each]
    assert not [each for each in found["others"] if "mlops" in each and "step" in each]
    named = [
        each for each in found["env"] if each.startswith(("AWS", "DVC_", "GIT", "UV_", "HTTP"))
    ]
    assert named == ["DVC_STAGE"]
    assert not any(found["writable"].values())
    told = json.loads(training.cluster.done("get", "pods", "-o", "json"))
    for pod in told["items"]:
        if "-train-" in pod["metadata"]["name"]:
            assert not [each for each in pod["spec"]["volumes"] if "secret" in each]
            assert pod["spec"]["serviceAccountName"] == "mlops-train"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("who", ["command", "container"])
def test_training_that_runs_out_of_memory_is_told_so(training: Training, who: str) -> None:
    heard = Heard()
    program = MEMORY.replace("WHO", str(who == "container"))
    result = training.run(program, heard, resources=Resources(memory="48Mi"))
    task = train_of(result)
    assert (result.phase, task.phase) == (Phase.FAILED, Phase.FAILED)
    told = "\n".join([*heard.lines, task.message])
    assert "OOMKilled" in told, told
    if who == "command":
        assert "stage train failed (exit 137): OOMKilled" in told
        assert "train.resources.memory" in told
    else:
        assert "sidecar environment ran out of memory (OOMKilled)" in task.message
    assert task.steps[0].exit_code == 1


@pytest.mark.timeout(300)
def test_training_that_takes_too_long_is_ended(training: Training) -> None:
    result = training.run(SLEEPS, Heard(), train_timeout=25)
    task = train_of(result)
    assert (result.phase, task.phase, task.reason) == (
        Phase.FAILED,
        Phase.FAILED,
        "TaskRunTimeout",
    )
    assert '"25s"' in task.message
    training.cluster.done("wait", "--for=delete", "--timeout=60s", f"pod/{task.taskrun}-pod")


@pytest.mark.timeout(300)
def test_training_is_cancelled(training: Training) -> None:
    heard = Heard("sleeps", lambda: training.kept.cancel("spam-1", Ending.CANCELLED) and None)
    result = training.run(SLEEPS, heard)
    task = train_of(result)
    assert (result.phase, task.phase) == (Phase.CANCELLED, Phase.CANCELLED)
    training.cluster.done("wait", "--for=delete", "--timeout=60s", f"pod/{task.taskrun}-pod")


@pytest.mark.timeout(300)
def test_a_node_without_a_gpu_is_told_and_one_with_it_is_taken(training: Training) -> None:
    wanted = Resources(gpu=1)
    heard = Heard()
    result = training.run(TRAINS, heard, resources=wanted, train_timeout=20)
    task = train_of(result)
    assert (result.phase, task.reason) == (Phase.FAILED, "TaskRunTimeout")
    assert "Insufficient nvidia.com/gpu" in heard.waits
    assert "Insufficient nvidia.com/gpu" in task.message
    with _node(training.cluster, gpus="1"):
        result = training.run(TRAINS, heard, resources=wanted)
    assert result.phase is Phase.SUCCEEDED, result.message
    pod = training.cluster.get("pod", f"{train_of(result).taskrun}-pod")
    limits = {each["name"]: each["resources"].get("limits") for each in pod["spec"]["containers"]}
    assert limits["sidecar-environment"] == {"nvidia.com/gpu": "1"}
    assert limits["step-train"] in (None, {})


@pytest.mark.timeout(300)
@pytest.mark.alone  # for a while nobody else's pods may go to the node
def test_pods_go_where_mlops_yaml_sends_them_with_the_volume_it_asks_for(
    training: Training,
) -> None:
    selector = (("pool", "training"),)
    taint = {"key": "pool", "operator": "Equal", "value": "training", "effect": "NoSchedule"}
    bears = (tuple(taint.items()),)
    there = Pods(size="32Mi", node_selector=selector)
    heard = Heard()
    result = training.kept.run(_soon(training.document(TRAINS, there)), heard)
    assert result.phase is Phase.FAILED
    assert "didn't match Pod's node affinity/selector" in result.tasks[0].message
    with _node(training.cluster, pool="training"):
        # the taint is on the node: without the toleration it is pending
        result = training.kept.run(_soon(training.document(TRAINS, there)), heard)
        assert result.phase is Phase.FAILED
        assert "untolerated taint" in result.tasks[0].message
        whole = replace(there, tolerations=bears, storage_class=storage.NAME)
        result = training.run(TRAINS, heard, whole)
    assert result.phase is Phase.SUCCEEDED, result.message
    claims = json.loads(training.cluster.done("get", "pvc", "-o", "json"))["items"]
    mine = [
        each["spec"]
        for each in claims
        if each["metadata"]["ownerReferences"][0]["name"] == result.name
    ]
    assert [each["resources"]["requests"]["storage"] for each in mine] == ["32Mi"]
    assert [each["storageClassName"] for each in mine] == [storage.NAME]


def _soon(document: dict[str, Any]) -> dict[str, Any]:
    """The run with little time."""
    document["spec"]["timeouts"] = {"pipeline": "20s"}
    for task in document["spec"]["pipelineSpec"]["tasks"]:
        task["timeout"] = "20s"
    return document


@contextmanager
def _node(cluster: Cluster, gpus: str = "", pool: str = "") -> Iterator[None]:
    """The node with a resource that nobody has, or as one of a pool: labelled and tainted."""
    node = ("node", addresses.NODE)

    def offer(number: str | None) -> None:
        patch = json.dumps({"status": {"capacity": {"nvidia.com/gpu": number}}})
        cluster.done("patch", *node, "--subresource=status", "--type=merge", "-p", patch)

    try:
        if gpus:
            offer(gpus)
        if pool:
            cluster.done("label", *node, f"pool={pool}")
            cluster.done("taint", *node, f"pool={pool}:NoSchedule")
        yield
    finally:
        if gpus:
            offer(None)
        if pool:
            cluster.done("label", *node, "pool-")
            cluster.done("taint", *node, "pool-")
