"""What an audit tried against the sandbox and the run's directory."""

from __future__ import annotations

import itertools
import stat

import yaml

from mlops.cli import runs_files
from mlops.domain.run import Phase
from mlops.tekton import bundle, runs, status

CLAIM = [{"name": "w", "volumeClaimTemplate": {"spec": {}}}]
TWICE = [{"name": "whole", "workspace": "w"}, {"name": "part", "workspace": "w", "subPath": "sub"}]


def test_a_step_cannot_lead_the_next_one_out_of_a_workspace(world, doc):
    """The first step lays a link to the host in the place of the second's sub path."""
    outside = world.path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("hidden")
    lay = f"mv $(workspaces.whole.path)/sub $(workspaces.whole.path)/old; ln -s {outside} $(workspaces.whole.path)/sub"
    use = "cat $(workspaces.part.path)/secret; touch $(workspaces.part.path)/written"
    steps = [
        {"name": name, "image": str(world.shell), "script": script, "onError": "continue"}
        for name, script in (("lay", lay), ("use", use))
    ]
    spec = {"workspaces": [{"name": "whole"}, {"name": "part"}], "steps": steps}
    task = {"name": "a", "workspaces": TWICE, "taskSpec": spec}
    world.run(doc(task, pipeline={"workspaces": [{"name": "w"}]}, workspaces=CLAIM))
    assert "hidden" not in world.observer.said("a")
    assert not (outside / "written").exists()


def test_a_step_and_a_sidecar_may_have_one_name(world, doc):
    sidecar = {"name": "main", "image": str(world.shell), "script": "echo beside; sleep 100"}
    result = world.run(doc(world.task("a", "echo here", spec={"sidecars": [sidecar]})))
    assert result.phase is Phase.SUCCEEDED, result.tasks[0].message


def test_other_users_of_the_machine_see_no_secret_of_a_run(world, doc):
    """While it runs, nothing that holds a Secret is open to others all the way from the runs' root."""
    seen: list[str] = []
    open_to_others: list[str] = []
    run = world.path / "runs/run-1"

    def look(task, step, line):
        for path in run.rglob("key"):
            seen.append(str(path))
            way = [path, *itertools.takewhile(lambda each: each != world.path, path.parents)]
            if all(each.stat().st_mode & (stat.S_IROTH | stat.S_IXOTH) for each in way):
                open_to_others.append(str(path))

    world.observer.log = look
    volume = {"volumes": [{"name": "v", "secret": {"secretName": "k"}}]}
    mounted = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    task = world.task("a", "echo up", spec=volume, step=mounted)
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "k"},
        "stringData": {"key": "x"},
    }
    result = submitted(world, doc(task), secret)
    assert result.phase is Phase.SUCCEEDED
    assert seen
    assert open_to_others == []


def submitted(world, *given):
    """Carry out the run among some documents."""
    found = bundle.read([("files.yaml", yaml.safe_dump_all(given).encode())])
    return world.executor.submit(runs.program(found, found.runs[0]), world.observer)


def test_a_secret_stands_nowhere_but_in_its_own_file(world, doc):
    """After a run that failed: it may be gone on with, so its Secrets are kept, for this user only."""
    variable = {"name": "K", "valueFrom": {"secretKeyRef": {"name": "k", "key": "key"}}}
    volume = {"volumes": [{"name": "v", "secret": {"secretName": "k"}}]}
    step = {"env": [variable], "volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "k"},
        "stringData": {"key": "hunter2"},
    }
    script = 'test ${#K} = 7 && test "$(cat /v/key)" = "$K" && exit 9'
    result = submitted(world, doc(world.task("a", script, spec=volume, step=step)), secret)
    assert result.tasks[0].steps[0].exit_code == 9
    run = world.path / "runs/run-1"
    holding = [
        path for path in run.rglob("*") if path.is_file() and b"hunter2" in path.read_bytes()
    ]
    assert holding == [run / "secrets.yaml"]
    assert stat.S_IMODE(holding[0].stat().st_mode) == 0o600
    told = status.of_runs([(world.executor.documents("run-1"), result)], with_taskruns=True)
    assert "hunter2" not in str(told)


def test_a_directory_that_was_given_has_a_name_that_no_document_can_guess(world, doc, tmp_path):
    spec = {"workspaces": [{"name": "w"}]}
    task = world.task("a", "true", spec=spec, **spec)
    run = doc(task, pipeline=spec, workspaces=[{"name": "w", "emptyDir": {}}])
    names = set()
    for _ in range(20):
        _, made = runs_files.with_workspaces(run, {"w": str(tmp_path)}, world.path / "claims")
        names |= {each["metadata"]["name"] for each in made}
    assert len(names) == 20
    assert all(len(name) >= len("directory-") + 24 for name in names)
