"""What the local executor takes, and what it refuses before anything runs."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops.domain.digest import ImageRef
from mlops.domain.run import Resources, RunSpec
from mlops.domain.source import Commit
from mlops.errors import ConfigError
from mlops.manifests import pipelinerun
from mlops.tekton import checking, fields, graph, quantities, runs, substitution
from mlops.tekton.fields import Support
from mlops.tekton.place import Place

IMAGE = "image@sha256:" + "0" * 64


def task(name, **fields):
    step = {"image": IMAGE, "script": "true", **fields.pop("step", {})}
    return {"name": name, "taskSpec": {"steps": [step], **fields.pop("spec", {})}, **fields}


def doc(*tasks, pipeline=None, **spec):
    return {
        "apiVersion": "tekton.dev/v1",
        "kind": "PipelineRun",
        "metadata": {"name": "run-1"},
        "spec": {"pipelineSpec": {"tasks": list(tasks), **(pipeline or {})}, **spec},
    }


def read(document):
    run = runs.of_document(document)
    return run, graph.order(run)


def refused(document):
    with pytest.raises(ConfigError) as caught:
        read(document)
    return str(caught.value)


def test_a_field_outside_the_table_is_refused_by_its_full_path():
    document = doc(task("a"), task("b"), task("c", colour="red"))
    assert refused(document) == "spec.pipelineSpec.tasks[2].colour: there is no such field"


@pytest.mark.parametrize(
    ("where", "value", "path"),
    [
        (("spec",), {"managedBy": "someone.example.com"}, "spec.managedBy"),
        (
            ("spec", "pipelineSpec", "tasks", 0),
            {"pipelineSpec": {"tasks": []}},
            "spec.pipelineSpec.tasks[0].pipelineSpec",
        ),
        (
            ("spec", "pipelineSpec", "tasks", 0, "taskSpec", "steps", 0),
            {"env": [{"name": "A", "valueFrom": {"resourceFieldRef": {}}}]},
            "spec.pipelineSpec.tasks[0].taskSpec.steps[0].env[0].valueFrom.resourceFieldRef",
        ),
        (
            ("spec", "pipelineSpec", "tasks", 0, "taskSpec"),
            {"volumes": [{"name": "v", "hostPath": {"path": "/etc"}}]},
            "spec.pipelineSpec.tasks[0].taskSpec.volumes[0].hostPath",
        ),
    ],
)
def test_each_field_that_is_not_carried_out_is_named(where, value, path):
    document = doc(task("a"))
    node = document
    for key in where:
        node = node[key]
    node.update(value)
    assert refused(document).startswith(f"{path}: not carried out here: ")


def test_our_own_pipeline_is_accepted():
    spec = RunSpec(
        name="spam-0123456789ab-1",
        attempt=1,
        model="spam",
        source=Commit("a" * 40),
        repository="/somewhere",
        registry="oci:/somewhere",
        tool=ImageRef.parse(IMAGE),
        environment="dev",
        gitops_path="environments",
        gitops_branch="main",
        resources=Resources(cpu="2", memory="4Gi"),
    )
    run, waits = read(pipelinerun.generate(spec))
    train = next(task for task in run.tasks if task.name == "train")
    assert not train.spec.network
    assert train.spec.sidecars[0].limits.memory == 4 << 30
    assert "build" in waits["train"]
    assert train.spec.sidecars[0].limits.cpu == 2
    assert run.notes == ()


def test_every_refusal_of_the_tables_refuses():
    refused_fields = [row for row in fields.rows() if row[2].support is Support.REFUSED]
    assert refused_fields
    for part, name, _ in refused_fields:
        with pytest.raises(ConfigError, match=f"{name}: not carried out here: ."):
            checking.check({name: "x"}, part, Place())


def test_every_part_of_the_tables_is_reached_and_known():
    named = {entry.part for _, _, entry in fields.rows() if entry.part}
    assert named <= fields.PARTS.keys()
    assert set(fields.PARTS) - named == {
        "ConfigMap",
        "PersistentVolumeClaim",
        "Pipeline",
        "PipelineRun",
        "Secret",
        "ServiceAccount",
        "StepAction",
        "Task",
        "TaskRun",
    }


def test_fields_without_effect_are_reported_once_each():
    document = doc(
        task("a", step={"imagePullPolicy": "Always"}),
        task("b", step={"imagePullPolicy": "Never"}),
        taskRunTemplate={"serviceAccountName": "robot"},
    )
    run, _ = read(document)
    first = "spec.pipelineSpec.tasks[0].taskSpec.steps[0].imagePullPolicy"
    assert run.notes == (
        f"{first}: without effect on one machine: an image is fetched once for each digest (2 times)",
        "there is no ServiceAccount robot among the files: its Secrets reach no step",
    )


REFUSALS = {
    "spec.pipelineSpec.tasks: is missing": doc(),
    "tasks[1].name: 'a' is there twice": doc(task("a"), task("a")),
    "tasks[0].runAfter[0]: there is no task 'lost'": doc(task("a", runAfter=["lost"])),
    "these tasks wait for each other: a → b → a": doc(
        task("a", runAfter=["b"]), task("b", runAfter=["a"])
    ),
    "spec.params: nothing is given for the parameter 'p'": doc(
        task("a"), pipeline={"params": [{"name": "p"}]}
    ),
    "spec.params: 'p' must be of type array": doc(
        task("a"),
        pipeline={"params": [{"name": "p", "type": "array"}]},
        params=[{"name": "p", "value": "x"}],
    ),
    "spec.params: 'p' lacks k": doc(
        task("a"),
        pipeline={"params": [{"name": "p", "properties": {"k": {"type": "string"}}}]},
        params=[{"name": "p", "value": {}}],
    ),
    "tasks[0].params: nothing is given for the parameter 'q'": doc(
        task("a", spec={"params": [{"name": "q"}]})
    ),
    "script: $(params.nobody): there is no such parameter": doc(
        task("a", step={"script": "$(params.nobody)"})
    ),
    "$(params.p.z): refers to nothing: there is no such key": doc(
        task(
            "a",
            spec={
                "params": [
                    {
                        "name": "p",
                        "default": {"k": "v"},
                        "properties": {"k": {"type": "string"}},
                    }
                ]
            },
            step={"script": "$(params.p.z)"},
        )
    ),
    "task a declares no result 'r'": doc(
        task("a"), task("b", params=[{"name": "x", "value": "$(tasks.a.results.r)"}])
    ),
    "there is no task 'z'": doc(
        task("b", when=[{"input": "$(tasks.z.results.r)", "operator": "in", "values": ["x"]}])
    ),
    "only a finally task can ask how others ended": doc(
        task("a"), task("b", params=[{"name": "x", "value": "$(tasks.a.status)"}])
    ),
    "cannot be used inside a task's spec": doc(
        task("b", step={"script": "$(tasks.status)"}),
    ),
    "tasks[0].workspaces: nothing is given for the workspace 'w'": doc(
        task("a", spec={"workspaces": [{"name": "w"}]})
    ),
    "spec.workspaces: nothing is given for 'w'": doc(
        task("a"), pipeline={"workspaces": [{"name": "w"}]}
    ),
    "the pipeline has no workspace 'v'": doc(
        task(
            "a", spec={"workspaces": [{"name": "w"}]}, workspaces=[{"name": "w", "workspace": "v"}]
        )
    ),
    "the task has no workspace 'v'": doc(task("a", step={"workspaces": [{"name": "v"}]})),
    "spec.workspaces[0]: has no source": doc(task("a"), workspaces=[{"name": "w"}]),
    "script: cannot stand beside command": doc(task("a", step={"command": ["x"]})),
    "there is no volume 'v'": doc(
        task("a", step={"volumeMounts": [{"name": "v", "mountPath": "/v"}]})
    ),
    "mountPath: '../v' is no absolute path": doc(
        task("a", step={"volumeMounts": [{"name": "v", "mountPath": "../v"}]})
    ),
    "taskSpec.steps: is missing": doc({"name": "a", "taskSpec": {"steps": []}}),
    "tasks[0]: has neither taskRef nor taskSpec": doc({"name": "a"}),
    "steps[1].name: the step 's' is there twice": doc(
        {"name": "a", "taskSpec": {"steps": [{"name": "s", "image": IMAGE}] * 2}}
    ),
    "onError: must be continue or stopAndFail": doc(task("a", step={"onError": "shrug"})),
    "operator: must be in or notin": doc(task("a", when=[{"input": "x", "operator": "=="}])),
    "tasks[0].name: '../x' cannot be the name of a pipeline task": doc(task("../x")),
    "retries: must be a whole number": doc(task("a", retries=True)),
    "timeout: must be a duration": doc(task("a", timeout="soon")),
    "tasks and finally together": doc(
        task("a"), timeouts={"pipeline": "1m", "tasks": "50s", "finally": "20s"}
    ),
    "limits.memory: must be a quantity": doc(
        task("a", step={"computeResources": {"limits": {"memory": "much"}}})
    ),
    "annotations.dev.mlops/network: must be none": doc(
        task("a", spec={"metadata": {"annotations": {"dev.mlops/network": "some"}}})
    ),
    "script: must be a string": doc(task("a", step={"script": 5})),
    "spec.pipelineSpec.tasks: must be a list": doc() | {"spec": {"pipelineSpec": {"tasks": {}}}},
    "spec: must be a map": {**doc(), "spec": "x"},
    "spec.pipelineSpec: there is no such field": {**doc(task("a")), "kind": "TaskRun"},
    "metadata.name: '..' cannot be a name": {**doc(task("a")), "metadata": {"name": ".."}},
}


@pytest.mark.parametrize("message", REFUSALS)
def test_refused_before_anything_runs(message):
    assert message in refused(REFUSALS[message])


def test_runafter_and_results_make_the_order():
    document = doc(
        task("c", runAfter=["a"], params=[{"name": "x", "value": ["$(tasks.b.results.r)"]}]),
        task("a"),
        task(
            "b",
            spec={"results": [{"name": "r"}]},
            when=[{"input": "x", "operator": "in", "values": ["x"]}],
        ),
    )
    assert read(document)[1] == {"c": ("a", "b"), "a": (), "b": ()}


def test_reading_a_document_leaves_it_alone():
    document = doc(task("a", spec={"stepTemplate": {"env": [{"name": "A", "value": "1"}]}}))
    before = copy.deepcopy(document)
    read(document)
    assert document == before


def test_a_step_lies_over_the_template():
    document = doc(
        task(
            "a",
            spec={
                "stepTemplate": {
                    "image": "other@sha256:" + "1" * 64,
                    "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                    "args": ["x"],
                    "computeResources": {"limits": {"memory": "1Mi"}},
                }
            },
            step={"env": [{"name": "B", "value": "3"}]},
        )
    )
    step = read(document)[0].tasks[0].spec.steps[0]
    env = [(each.name, each.value) for each in step.env]
    assert (step.image, env, step.args, step.limits.memory) == (
        IMAGE,
        [("A", "1"), ("B", "3")],
        ("x",),
        1 << 20,
    )


# references


SCOPE = {
    ("params", "s"): "text",
    ("params", "a.b"): "dotted",
    ("params", "list"): ("x", "y"),
    ("params", "o"): {"k": "v"},
    ("tasks", "t", "results", "r"): "$(params.s)",
    ("tasks", "t", "results", "o"): {"k": "w"},
}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("$(params.s)", "text"),
        ("-$(params['s'])-$(params[\"s\"])-", "-text-text-"),
        ('$(params["a.b"])', "dotted"),
        ("$(params.list[1])", "y"),
        ("$(params.o.k)", "v"),
        ("$(tasks.t.results.o.k)", "w"),
        ("$(tasks.t.results.r)", "$(params.s)"),  # what a value brings in is data
        (
            "$(date) $(params) $(results --x) $((1 + 1))",
            "$(date) $(params) $(results --x) $((1 + 1))",
        ),
        ("$$(params.s)", "$text"),
    ],
)
def test_references_in_text(template, expected):
    assert substitution.text(template, SCOPE) == expected


def test_an_array_alone_becomes_its_items():
    found = substitution.items(["a", "$(params.list[*])", "$(params.s)!"], SCOPE)
    assert found == ("a", "x", "y", "text!")


def test_a_value_alone_keeps_its_type():
    assert substitution.value("$(params.o[*])", SCOPE) == {"k": "v"}
    assert substitution.value(("$(params.list[*])", "z"), SCOPE) == ("x", "y", "z")
    assert substitution.value({"k": "$(params.s)"}, SCOPE) == {"k": "text"}


@pytest.mark.parametrize("template", ["a $(params.list)", "$(params.o)x"])
def test_an_array_inside_text_is_refused(template):
    with pytest.raises(substitution.SubstitutionError, match="is no string"):
        substitution.text(template, SCOPE)


@pytest.mark.parametrize("template", ["$(params.list[2])", "$(params.o.z)", "$(tasks.x.results.r)"])
def test_what_has_no_value_is_said(template):
    with pytest.raises(substitution.UnresolvedError):
        substitution.text(template, SCOPE)


@given(st.text())
def test_text_without_references_stays(text):
    if not any(substitution.references(text)):
        assert substitution.text(text, {}) == text


@given(st.text(alphabet="$()paramstsk.x[]'\"*0", max_size=40), st.text())
def test_a_value_comes_out_as_it_went_in(around, value):
    scope = {("params", "x"): value}
    if not any(substitution.references(around)) and not around.endswith("$"):
        found = substitution.text(f"{around} $(params.x)", scope)
        assert found == f"{around} {value}"


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("$(A)-$(B)", "1-$(B)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$A $( $(A", "$A $( $(A"),
        ("a$$b", "a$b"),
    ],
)
def test_variables_as_the_kubelet_reads_them(template, expected):
    assert substitution.expand(template, {"A": "1"}) == expected


# durations and quantities


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", 0), ("90s", 90), ("1h30m", 5400), ("1.5s", 1.5), ("300ms", 0.3), ("1h0m0s", 3600)],
)
def test_durations(text, expected):
    assert quantities.seconds(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "5", "1d", "-1s", "1h 2m", "h"])
def test_no_durations(text):
    with pytest.raises(ValueError, match="no duration"):
        quantities.seconds(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", 1),
        ("1k", 1000),
        ("4Gi", 4 << 30),
        ("1.5Mi", 3 << 19),
        ("1e3", 1000),
        ("1E", 10**18),
        ("500m", 0),
    ],
)
def test_quantities(text, expected):
    assert quantities.size(text) == expected


@pytest.mark.parametrize("text", ["", "-1", "1Zi", "lots", "1 Gi", "1e999"])
def test_no_quantities(text):
    with pytest.raises(ValueError, match="no quantity"):
        quantities.size(text)
