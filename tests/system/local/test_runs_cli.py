"""`mlops runs …` as it is typed, in a directory without a project, in processes of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from mlops.cli import answers
from tests.e2e.test_answers import closed
from tests.e2e.test_pins_cli import on_a_terminal


@dataclass
class Shell:
    """A directory, and `mlops` in it; `clone` is where `on_a_terminal` starts it."""

    clone: Path
    env: dict[str, str]
    image: str
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def argv(self, *args: str) -> list[str]:
        return [sys.executable, "-m", "mlops", "runs", *args]

    def __call__(
        self, *args: str, code: int = 0, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.argv(*args), cwd=self.clone, env=self.env, capture_output=True, text=True, check=False,
            input=stdin, timeout=120,
        )  # fmt: skip
        assert done.returncode == code, f"{args} → {done.returncode}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    def json(self, *args: str, code: int = 0) -> Any:
        return json.loads(self(*args, "-o", "json", code=code).stdout)

    def begin(self, *args: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            self.argv(*args), cwd=self.clone, env=self.env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.started.append(process)
        return process

    def task(self, name: str, script: str, **fields: Any) -> dict[str, Any]:
        spec = fields.pop("spec", {})
        step = {"name": "main", "image": self.image, "script": script}
        return {"name": name, "taskSpec": {"steps": [step], **spec}, **fields}

    def file(
        self, *tasks: dict[str, Any], name: str = "spam", path: str = "run.yaml", **spec: Any
    ) -> str:
        pipeline = {"tasks": list(tasks), **spec.pop("pipeline", {})}
        document = {
            "apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "metadata": {"name": name},
            "spec": {"pipelineSpec": pipeline, **spec},
        }  # fmt: skip
        (self.clone / path).write_text(yaml.safe_dump(document))
        return path

    def until(self, *args: str, says: str, seconds: float = 30) -> str:
        end = time.monotonic() + seconds
        while says not in (told := self(*args).stdout):
            assert time.monotonic() < end, told
            time.sleep(0.05)
        return told


@pytest.fixture
def shell(stock, tmp_path):
    store, image, cache = stock
    layout = cache / "images"
    if not layout.exists():
        (layout / "blobs").mkdir(parents=True)
        (layout / "blobs/sha256").symlink_to(store.root)
        (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        (layout / "index.json").write_text('{"schemaVersion":2,"manifests":[]}')
    home = tmp_path / "home"
    (home / "here").mkdir(parents=True)
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith(("MLOPS_", "XDG_"))
    }
    env = {**kept, "HOME": str(home), "MLOPS_CACHE": str(cache), "TZ": "UTC", "TERM": "xterm"}
    made = Shell(home / "here", env, str(image))
    yield made
    for process in made.started:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            stream.close()


def two(shell, **fields):
    """A run of two tasks, one of which makes a result."""
    return shell.file(
        shell.task("first", "echo hello; printf 42 > $(results.r.path)", spec={"results": [{"name": "r"}]}),
        shell.task("second", "echo $(params.p)", spec={"params": [{"name": "p"}]},
                   params=[{"name": "p", "value": "$(tasks.first.results.r)"}]),
        pipeline={"results": [{"name": "answer", "value": "$(tasks.first.results.r)"}]}, **fields,
    )  # fmt: skip


def test_a_run_is_submitted_where_there_is_no_project(shell):
    done = shell("submit", "-f", two(shell))
    assert done.stdout == "spam: Succeeded\nanswer: 42\n"
    lines = [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in done.stderr.splitlines()]
    lines = [re.sub(r"in \d+\.\d s", "in T", line) for line in lines if not line.startswith("note")]
    assert lines == [
        "first: Running",
        "first: Succeeded in T",
        "second: Running",
        "second: Succeeded in T",
    ]
    assert (Path(shell.env["HOME"]) / ".local/state/mlops/runs/spam/run.yaml").is_file()
    assert (
        shell("list").stdout.split()[:5]
        == shell().stdout.split()[:5]
        == ["RUN", "PHASE", "AGE", "OUTCOME", "spam"]
    )
    (row,) = shell.json()
    assert (row["name"], row["phase"], row["release"]) == ("spam", "Succeeded", None)


def test_a_place_that_cannot_be_written_is_named(shell):
    shell.env["XDG_STATE_HOME"] = "/proc/nope"
    for args in ([], ["--image", "a=b"]):
        done = shell("submit", "-f", two(shell), *args, code=3)
        assert "cannot write to /proc/nope/mlops/runs" in done.stderr


def test_where_the_state_is_kept_can_be_said(shell, tmp_path):
    shell.env["XDG_STATE_HOME"] = str(tmp_path / "state")
    shell("submit", "-f", two(shell))
    assert (tmp_path / "state/mlops/runs/spam/journal").is_file()


def test_a_run_is_shown(shell):
    shell("submit", "-f", two(shell))
    text = shell("show", "spam").stdout
    for wanted in (
        "spam: Succeeded",
        "├─ ✓ first",
        "│  └─ ✓ main",
        "└─ ✓ second",
        "result answer: 42",
        "took ",
    ):
        assert wanted in text
    (row,) = jsonable = shell.json("show", "sp")
    jsonschema.Draft202012Validator(closed(answers.schema("runs show"))).validate(jsonable)
    assert [task["name"] for task in row["tasks"]] == ["first", "second"]
    assert row["tasks"][1]["after"] == ["first"]
    assert row["tasks"][0]["steps"][0]["exitCode"] == 0
    assert row["results"] == {"answer": "42"}
    assert yaml.safe_load(shell("show", "spam", "-o", "yaml").stdout) == [row]
    assert ET.fromstring(shell("show", "spam", "-o", "svg").stdout).tag.endswith("svg")  # noqa: S314
    assert '"first" -> "second";' in shell("show", "spam", "-o", "dot").stdout
    tekton = json.loads(shell("show", "spam", "-o", "tekton").stdout)
    assert tekton["status"]["conditions"][0]["reason"] == "Succeeded"
    assert tekton["status"]["results"] == [{"name": "answer", "value": "42"}]
    whole = json.loads(shell("show", "spam", "-o", "tekton", "--with-taskruns").stdout)
    assert [each["kind"] for each in whole["items"]] == ["PipelineRun", "TaskRun", "TaskRun"]


def test_names_are_completed_and_the_nearest_told(shell):
    for name in ("spam-a-1", "spam-b-1"):
        shell("submit", "-f", two(shell, name=name))
    assert "spam-a-1: Succeeded" in shell("show", "spam-a").stdout
    assert (
        "begins the names of several runs. There is: spam-a-1, spam-b-1"
        in shell("show", "spam", code=2).stderr
    )
    assert (
        "no run 'spma-a-1' is kept here. Did you mean spam-a-1"
        in shell("show", "spma-a-1", code=2).stderr
    )
    assert "There is: spam-a-1" in shell("logs", "zzz", code=2).stderr
    assert "no run '../runs/spam-a-1'" in shell("cancel", "../runs/spam-a-1", code=2).stderr


def test_logs_have_times_and_names(shell):
    shell("submit", "-f", two(shell))
    assert shell("logs", "spam").stdout == "first/main | hello\nsecond/main | 42\n"
    assert shell("logs", "spam", "--task", "first", "--step", "main").stdout == "hello\n"
    line = shell("logs", "spam", "--timestamps", "--task", "second").stdout
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z second/main \| 42\n", line)
    rows = [json.loads(each) for each in shell("logs", "spam", "-o", "json").stdout.splitlines()]
    assert [(row["task"], row["step"], row["line"]) for row in rows] == [
        ("first", "main", "hello"), ("second", "main", "42"),
    ]  # fmt: skip
    assert rows[0]["time"] < rows[1]["time"]
    assert (
        "has no task 'third'. There is: first, second"
        in shell("logs", "spam", "--task", "third", code=2).stderr
    )


def test_logs_are_what_was_written(shell):
    """With task and step named, into a pipe: the very lines, tabs and long ones too."""
    script = r"""printf 'a\tb\033[31m\n'; printf '%0100000d\n' 0; echo end"""
    task = shell.task("a", script)
    task["taskSpec"]["steps"].insert(
        0, {"name": "first", "image": shell.image, "script": "echo before"}
    )
    shell("submit", "-f", shell.file(task), "--logs")
    assert (
        shell("logs", "spam", "--task", "a", "--step", "main").stdout
        == "a\tb\x1b[31m\n" + "0" * 100_000 + "\nend\n"
    )
    assert "a/main | a\tb\n" in shell("logs", "spam").stdout
    assert (
        "run spam has no step 'nope'. There is: first, main"
        in shell("logs", "spam", "--step", "nope", code=2).stderr
    )


def test_a_failure_shows_the_lines_of_its_step(shell):
    task = shell.task("a", "echo this is why; exit 1")
    task["taskSpec"]["steps"].insert(
        0, {"name": "first", "image": shell.image, "script": "echo before"}
    )
    done = shell("submit", "-f", shell.file(task), code=1)
    assert "  this is why" in done.stderr
    assert "before" not in done.stderr


def test_a_failed_run_says_why_and_is_gone_on_with(shell):
    path = shell.file(
        shell.task("a", "echo x >> $(workspaces.w.path)/a; echo it was here",
                   spec={"workspaces": [{"name": "w"}]}, workspaces=[{"name": "w"}]),
        shell.task("b", "echo reason; test -e $(workspaces.w.path)/repaired", runAfter=["a"],
                   spec={"workspaces": [{"name": "w"}]}, workspaces=[{"name": "w"}]),
        pipeline={"workspaces": [{"name": "w"}]},
        workspaces=[{"name": "w", "volumeClaimTemplate": {"spec": {"accessModes": ["ReadWriteOnce"],
                     "resources": {"requests": {"storage": "1Gi"}}}}}],
    )  # fmt: skip
    done = shell("submit", "-f", path, code=1)
    assert done.stdout == "spam: Failed\n"
    assert "error: b: step main exited with code 1" in done.stderr.replace("“", "")
    assert "\n  reason\n" in done.stderr
    assert "go on with it: mlops runs retry spam" in done.stderr
    workspace = Path(shell.env["HOME"]) / ".local/state/mlops/runs/spam/workspaces/w"
    (workspace / "repaired").touch()
    assert shell("retry", "spam").stdout == "spam: Succeeded\n"
    assert (workspace / "a").read_text() == "x\n"
    assert "run spam succeeded" in shell("retry", "spam", code=1).stderr


def test_a_failure_that_is_ignored_is_no_error(shell):
    step = {
        "name": "rest",
        "image": shell.image,
        "script": "true",
        "when": [{"input": "dev", "operator": "in", "values": ["prod"]}],
    }
    task = shell.task("a", "exit 3", onError="continue")
    other = shell.task("b", "true")
    other["taskSpec"]["steps"].append(step)
    done = shell("submit", "-f", shell.file(task, other))
    assert "error:" not in done.stderr
    text = shell("show", "spam").stdout
    assert "(ignored)" in text
    assert "its when was not met" in text


@pytest.mark.parametrize("how", ["--image", "--image-map", "MLOPS_IMAGE_MAP"])
def test_a_run_is_gone_on_with_as_it_was_begun(shell, how):
    """Which images stand for others is kept with the run: its retry needs no options."""
    shell.image, there = "registry.example.com/nothing:1", shell.image
    (shell.clone / "layout").symlink_to(Path(shell.env["MLOPS_CACHE"]) / "images")
    (shell.clone / "w").mkdir()
    task = shell.task(
        "a",
        "test -e $(workspaces.w.path)/go",
        spec={"workspaces": [{"name": "w"}]},
        workspaces=[{"name": "w"}],
    )
    path = shell.file(task, pipeline={"workspaces": [{"name": "w"}]})
    target = f"oci:layout//{there}"
    (shell.clone / "map.yaml").write_text(yaml.safe_dump({shell.image: target}))
    args = {
        "--image": ["--image", f"{shell.image}={target}"],
        "--image-map": ["--image-map", "map.yaml"],
        "MLOPS_IMAGE_MAP": [],
    }[how]
    if how == "MLOPS_IMAGE_MAP":
        shell.env[how] = "map.yaml"
    shell("submit", "-f", path, "-w", "w=w", *args, code=1)
    shell.env.pop("MLOPS_IMAGE_MAP", None)
    (shell.clone / "w/go").touch()
    (shell.clone / "elsewhere").mkdir()
    shell.clone = shell.clone / "elsewhere"
    assert shell("retry", "spam").stdout == "spam: Succeeded\n"


def test_json_is_tektons_own_form(shell):
    found = shell.json("submit", "-f", two(shell))
    assert (found["apiVersion"], found["kind"]) == ("tekton.dev/v1", "PipelineRun")
    assert found["status"]["conditions"][0]["status"] == "True"
    failed = shell.json(
        "submit", "-f", shell.file(shell.task("a", "exit 3"), name="bad"), "--with-taskruns", code=1
    )
    run, task = failed["items"]
    assert run["status"]["conditions"][0]["reason"] == "Failed"
    assert task["status"]["steps"][0]["terminated"]["exitCode"] == 3


def test_files_directories_stdin_and_parameters(shell):
    (shell.clone / "tasks").mkdir()
    greet = {
        "apiVersion": "tekton.dev/v1", "kind": "Task", "metadata": {"name": "greet"},
        "spec": {"params": [{"name": "who"}], "steps": [{"name": "s", "image": shell.image, "script": "echo hello $(params.who)"}]},
    }  # fmt: skip
    (shell.clone / "tasks/greet.yml").write_text(yaml.safe_dump(greet))
    (shell.clone / "tasks/notes.txt").write_text(": [")
    run = {
        "apiVersion": "tekton.dev/v1", "kind": "TaskRun", "metadata": {"generateName": "greet-"},
        "spec": {"taskRef": {"name": "greet"}},
    }  # fmt: skip
    done = shell("submit", "-f", "tasks", "-f", "-", "-p", "who=Ada", stdin=yaml.safe_dump(run))
    name = done.stdout.split(":")[0]
    assert re.fullmatch(r"greet-[a-z0-9]{5}", name)
    assert shell("logs", name).stdout.endswith("/s | hello Ada\n")
    (row,) = shell.json("show", name)
    assert row["kind"] == "TaskRun"
    tekton = json.loads(shell("show", name, "-o", "tekton").stdout)
    assert tekton["status"]["taskSpec"]["steps"][0]["name"] == "s"


def test_a_workspace_can_be_a_directory_of_ones_own(shell):
    (shell.clone / "data").mkdir()
    task = shell.task("a", "echo made > $(workspaces.w.path)/file", spec={"workspaces": [{"name": "w"}]},
                      workspaces=[{"name": "w"}])  # fmt: skip
    path = shell.file(task, pipeline={"workspaces": [{"name": "w"}]})
    shell("submit", "-f", path, "-w", "w=data")
    assert (shell.clone / "data/file").read_text() == "made\n"
    shell("submit", "-f", path, "-w", "w=emptyDir", "--name", "other")
    assert (
        f"-w w: {path} is no directory"
        in shell("submit", "-f", path, "-w", f"w={path}", "--name", "x", code=2).stderr
    )
    assert (
        "-w w: none is not there"
        in shell("submit", "-f", path, "-w", "w=none", "--name", "x", code=2).stderr
    )


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (["-f", "none.yaml"], "cannot read none.yaml: No such file or directory"),
        (["-f", "empty"], "empty holds no .yaml"),
        (["-f", "task.yaml"], "no PipelineRun or TaskRun in it"),
        (["-f", "run.yaml", "-p", "x"], "must have the form NAME=VALUE"),
        (["-f", "run.yaml", "-p", "nope=1"], "has no parameter 'nope'"),
        (["-f", "run.yaml", "--executor", "elsewhere"], "there is no executor 'elsewhere'"),
        (["-f", "run.yaml", "--name", "Not A Name"], "cannot be a name"),
        (["-f", "wrong.yaml"], "wrong.yaml:"),
        (
            ["-f", "run.yaml", "-w", "nope=."],
            "-w nope: nothing in the run has such a workspace. It has none",
        ),
        (["-f", "run.yaml", "--runtime", "blah"], "there is no runtime 'blah'"),
        (["-f", "run.yaml", "--image", "=host"], "'=host' is no rule"),
    ],
)
def test_what_is_refused_is_refused_before_anything_runs(shell, args, complaint):
    two(shell)
    (shell.clone / "empty").mkdir()
    task = {
        "apiVersion": "tekton.dev/v1",
        "kind": "Task",
        "metadata": {"name": "t"},
        "spec": {"steps": [{"image": "i"}]},
    }
    (shell.clone / "task.yaml").write_text(yaml.safe_dump(task))
    shell.file(
        {"name": "a", "taskSpec": {"steps": [{"image": shell.image, "nosuch": 1}]}},
        path="wrong.yaml",
    )
    assert complaint in shell("submit", *args, code=2).stderr
    assert shell.json() == []


def test_a_name_that_is_taken_is_refused(shell):
    path = two(shell)
    shell("submit", "-f", path)
    assert "there is a run spam already: Succeeded" in shell("submit", "-f", path, code=2).stderr
    assert "there is a run spam already" in shell("submit", "-f", path, "--dry-run", code=2).stderr
    both = [shell.begin("submit", "-f", path, "--name", "same") for _ in range(2)]
    codes = sorted(process.wait(60) for process in both)
    assert codes[0] == 0
    assert codes[1] in (2, 3), "of two that come at once one is refused"
    shell("submit", "-f", path, "--name", "spam-2")


def test_a_dry_run_runs_nothing_and_says_what_would(shell):
    path = shell.file(
        shell.task("fetch", "true"),
        shell.task(
            "train", "true", runAfter=["fetch"], retries=2, spec={"params": [{"name": "lr"}, {"name": "size"}]},
            matrix={"params": [{"name": "lr", "value": ["1", "2", "3"]}, {"name": "size", "value": ["a", "b"]}]},
        ),
        shell.task("deploy", "true", when=[{"input": "dev", "operator": "notin", "values": ["prod", "x"]}]),
        pipeline={"finally": [shell.task("clean-up", "true")]},
    )  # fmt: skip
    assert shell("submit", "-f", path, "--dry-run").stdout.splitlines()[:6] == [
        "PipelineRun spam would run 4 tasks",
        "├─ fetch",
        "├─ train     after fetch; 6 combinations; up to 3 attempts",
        '└─ deploy    when "dev" not in [prod, x]',
        "finally",
        "└─ clean-up",
    ]
    documents = shell.json("submit", "-f", path, "--dry-run")
    assert documents[0][0]["metadata"]["name"] == "spam"
    assert shell.json() == []


def test_runs_are_removed(shell):
    for name in ("one-1", "two-2"):
        shell("submit", "-f", two(shell, name=name))
    root = Path(shell.env["HOME"]) / ".local/state/mlops/runs"
    assert (root / "one-1").stat().st_mode & 0o777 == 0o700
    assert "nothing is named" in shell("remove", code=2).stderr
    assert "--older 'long'" in shell("remove", "--older", "long", code=2).stderr
    assert shell("remove", "one", "--dry-run").stdout == "would remove one-1: Succeeded\n"
    assert shell("remove", "one").stdout == "removed one-1: Succeeded\n"
    assert not (root / "one-1").exists()
    assert shell.json("remove", "--older", "1d") == []
    (row,) = value = shell.json("remove", "--older", "0s")
    jsonschema.Draft202012Validator(closed(answers.schema("runs remove"))).validate(value)
    assert row["name"] == "two-2"
    assert list(root.iterdir()) == []
    running = shell.begin("submit", "-f", waiting(shell), "--logs")
    while "up" not in running.stderr.readline():
        assert running.poll() is None
    assert "run spam is being carried out. End it first" in shell("remove", "spam", code=1).stderr


def waiting(shell, name="spam", script="echo up; sleep 1000"):
    return shell.file(
        shell.task("a", script), name=name, pipeline={"finally": [shell.task("last", "echo last")]}
    )


def test_a_run_is_followed_and_cancelled_from_other_terminals(shell):
    running = shell.begin("submit", "-f", waiting(shell))
    end = time.monotonic() + 30
    while not shell.json() or "up" not in shell("logs", "spam").stdout:
        assert time.monotonic() < end
    following = shell.begin("logs", "spam", "-f")
    assert following.stdout.readline() == "a/main | up\n"
    assert shell("cancel", "spam", "--finally", "run").stdout in (
        "spam: CancelledRunningFinally\n", "spam: Cancelled\n",
    )  # fmt: skip
    assert following.stdout.read() == "last/main | last\n"
    assert following.wait(30) == 0
    out, err = running.communicate(timeout=30)
    assert (running.returncode, out) == (1, "spam: Cancelled\n")
    assert "go on with it: mlops runs retry spam" in err
    assert shell("cancel", "spam").stdout == "spam: Cancelled\n", "twice is no fault"


def test_a_run_whose_process_is_killed_is_known_and_gone_on_with(shell):
    script = "echo up; test -e $(workspaces.w.path)/go || sleep 1000"
    task = shell.task("a", script, spec={"workspaces": [{"name": "w"}]}, workspaces=[{"name": "w"}])
    (shell.clone / "data").mkdir()
    running = shell.begin(
        "submit", "-f", shell.file(task, pipeline={"workspaces": [{"name": "w"}]}), "-w", "w=data"
    )
    end = time.monotonic() + 30
    while not shell.json() or "up" not in shell("logs", "spam").stdout:
        assert time.monotonic() < end
    running.kill()
    running.wait()
    text = shell("show", "spam").stdout
    assert text.startswith("spam: Failed (ExecutorDied)\n")
    assert f"process {running.pid}" in text
    assert "ended in the middle" in shell("logs", "spam", "-f", code=3).stderr
    (shell.clone / "data/go").touch()
    assert shell("retry", "spam").stdout == "spam: Succeeded\n"


def test_a_detached_run_goes_on_alone(shell):
    done = shell(
        "submit",
        "-f",
        "-",
        "--detach",
        stdin=(shell.clone / waiting(shell, script="echo done")).read_text(),
    )
    assert done.stdout == "spam\n"
    assert "follow it: mlops runs logs -f spam" in done.stderr
    shell.until("show", "spam", says="spam: Succeeded")
    assert shell("logs", "spam").stdout == "a/main | done\nlast/main | last\n"


def test_a_pending_run_is_started(shell):
    path = shell.file(shell.task("a", "echo hello"), status="PipelineRunPending")
    assert shell("submit", "-f", path).stdout == "spam: Pending (PipelineRunPending)\n"
    assert "Start it: mlops runs start spam" in shell("retry", "spam", code=1).stderr
    assert shell("start", "spam").stdout == "spam: Succeeded\n"
    assert "run spam is not pending" in shell("start", "spam", code=1).stderr


def test_ctrl_c_cancels_in_order(shell):
    running = shell.begin("submit", "-f", waiting(shell), "--logs")
    while "up" not in running.stderr.readline():
        assert running.poll() is None
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=30)
    assert running.returncode == 130
    assert (
        "run spam was interrupted. Its logs: mlops runs logs spam; go on with it: mlops runs retry spam"
        in err
    )
    (row,) = shell.json("show", "spam")
    assert (row["phase"], [task["phase"] for task in row["tasks"]]) == (
        "Cancelled",
        ["Cancelled", "Skipped"],
    )


def test_jobs_bound_what_works_at_once(shell):
    tasks = [shell.task(f"t{number}", "sleep 0.1") for number in range(3)]
    done = shell("submit", "-f", shell.file(*tasks), "--jobs", "1")
    assert "t2: waits: --jobs 1: so many tasks of this run work already" in done.stderr
    shell.env["MLOPS_JOBS"] = "many"
    assert "MLOPS_JOBS must be a number" in shell("submit", "-f", "run.yaml", code=2).stderr


def test_a_live_tree_on_a_terminal(shell):
    path = shell.file(
        shell.task("first", "echo one; sleep 0.6"),
        shell.task("second", "exit 4", runAfter=["first"]),
    )
    shell.env |= {"COLUMNS": "70", "LINES": "20"}
    said, code = on_a_terminal(shell, ["runs", "submit", "-f", path], [])
    assert code == 1
    assert "▶ first" in said
    assert "\x1b[2J" not in said, "the screen is never cleared"
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", said)
    assert "1 running" in plain
    drawn = [
        line for line in re.split(r"[\r\n]+", plain) if line.startswith(("├", "└", "│", "spam  "))
    ]
    assert drawn
    assert max(map(len, drawn)) <= 70
    assert plain.rstrip().splitlines()[-1].startswith("the logs of spam: mlops runs logs spam")
    assert "spam: Failed" in plain


def test_a_dumb_terminal_gets_plain_lines(shell):
    shell.env["TERM"] = "dumb"
    said, code = on_a_terminal(shell, ["runs", "submit", "-f", two(shell)], [])
    assert code == 0
    assert "\x1b[" not in said
    assert "first: Succeeded in" in said


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("mlops runs show s", "spam"),
        ("mlops runs logs spam --task fi", "first"),
        ("mlops runs logs spam --step ma", "main"),
        ("mlops runs logs spam --task first --step ma", "main"),
        ("mlops runs logs spam --task nobody --step ma", ""),
        ("mlops runs logs nobody --task fi", ""),
        ("mlops runs submit --runtime po", "podman"),
    ],
)
def test_names_are_offered_to_the_shell(shell, typed, offered):
    shell("submit", "-f", two(shell))
    env = {
        **shell.env,
        "_MLOPS_COMPLETE": "complete_bash",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split()) - 1),
    }
    bare = shutil.which("mlops", path=str(Path(sys.executable).parent))
    assert bare
    done = subprocess.run(
        [bare], env=env, cwd=shell.clone, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == offered.split()
    assert done.stderr == ""
