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
from mlops.tekton import fields, parse, quantities, substitution, validate
from mlops.tekton.fields import Support

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
    run = parse.pipeline_run(document)
    return run, validate.validate(run)


def refused(document):
    with pytest.raises(ConfigError) as caught:
        read(document)
    return str(caught.value)


def test_a_field_outside_the_table_is_refused_by_its_full_path():
    document = doc(task("a"), task("b"), task("c", matrix={"params": []}))
    assert refused(document) == (
        "spec.pipelineSpec.tasks[2].matrix: not supported by the local executor yet"
    )


@pytest.mark.parametrize(
    ("where", "value", "path"),
    [
        (("spec",), {"colour": "red"}, "spec.colour"),
        (("metadata",), {"generateName": "x-"}, "metadata.generateName"),
        (
            ("spec", "pipelineSpec", "tasks", 0),
            {"taskRef": {"name": "x"}},
            "spec.pipelineSpec.tasks[0].taskRef",
        ),
        (
            ("spec", "pipelineSpec", "tasks", 0, "taskSpec", "steps", 0),
            {"env": [{"name": "A", "valueFrom": {}}]},
            "spec.pipelineSpec.tasks[0].taskSpec.steps[0].env[0].valueFrom",
        ),
        (
            ("spec", "pipelineSpec", "tasks", 0, "taskSpec", "steps", 0),
            {"computeResources": {"limits": {"nvidia.com/gpu": "1"}}},
            "spec.pipelineSpec.tasks[0].taskSpec.steps[0].computeResources.limits.nvidia.com/gpu",
        ),
        (
            ("spec", "pipelineSpec", "tasks", 0, "taskSpec"),
            {"volumes": [{"name": "v", "secret": {"secretName": "s"}}]},
            "spec.pipelineSpec.tasks[0].taskSpec.volumes[0].secret",
        ),
    ],
)
def test_each_unsupported_field_is_named(where, value, path):
    document = doc(task("a"))
    node = document
    for key in where:
        node = node[key]
    node.update(value)
    assert refused(document).startswith(f"{path}: not supported")


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
    assert train.spec.sidecars[0].memory == 4 << 30
    assert "build" in waits["train"]
    (note,) = run.notes
    assert note.endswith("limits.cpu: without effect on one machine")


def test_every_refusal_of_the_table_refuses():
    for path, entry in fields.FIELDS.items():
        if entry.support is not Support.REFUSED:
            continue
        value = {}
        for part in reversed(path.replace("[]", ".[]").split(".")):
            value = [value] if part == "[]" else {part.replace("*", "x"): value}
        with pytest.raises(ConfigError, match="not supported"):
            fields.check(value)


def test_fields_without_effect_are_reported():
    document = doc(
        task("a", step={"computeResources": {"limits": {"cpu": "2", "memory": "1Gi"}}}),
        taskRunTemplate={"serviceAccountName": "robot"},
    )
    run, _ = read(document)
    first = "spec.pipelineSpec.tasks[0].taskSpec.steps[0]"
    assert run.notes == (
        f"{first}.computeResources.limits.cpu: without effect on one machine",
        "spec.taskRunTemplate.serviceAccountName: without effect on one machine",
    )
    assert run.tasks[0].spec.steps[0].memory == 1 << 30


REFUSALS = {
    "spec.pipelineSpec.tasks: there is none": doc(),
    "spec.pipelineSpec.tasks: 'a' is there twice": doc(task("a"), task("a")),
    "tasks[0].runAfter[0]: there is no task 'lost'": doc(task("a", runAfter=["lost"])),
    "these wait for each other: a → b": doc(task("a", runAfter=["b"]), task("b", runAfter=["a"])),
    "spec.params: nothing is given for 'p'": doc(task("a"), pipeline={"params": [{"name": "p"}]}),
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
    "tasks[0].params: nothing is given for 'q'": doc(task("a", spec={"params": [{"name": "q"}]})),
    "script: $(params.nobody) refers to nothing": doc(
        task("a", step={"script": "$(params.nobody)"})
    ),
    "$(params.p.z) refers to nothing": doc(
        task(
            "a",
            spec={"params": [{"name": "p", "default": {"k": "v"}}]},
            step={"script": "$(params.p.z)"},
        )
    ),
    "task a declares no result 'r'": doc(
        task("a"), task("b", params=[{"name": "x", "value": "$(tasks.a.results.r)"}])
    ),
    "there is no task 'z'": doc(
        task("b", when=[{"input": "$(tasks.z.results.r)", "operator": "in", "values": []}])
    ),
    "$(tasks.a.status) refers to nothing": doc(
        task("a"), task("b", params=[{"name": "x", "value": "$(tasks.a.status)"}])
    ),
    "cannot be used inside a taskSpec": doc(
        task("a", spec={"results": [{"name": "r"}]}),
        task("b", step={"script": "$(tasks.a.results.r)"}),
    ),
    "tasks[0].workspaces: nothing is given for 'w'": doc(
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
    "this container does not list workspace 'w'": doc(
        task(
            "a",
            spec={
                "workspaces": [{"name": "w"}],
                "sidecars": [{"name": "s", "image": IMAGE, "script": "ls $(workspaces.w.path)"}],
            },
            step={"workspaces": [{"name": "w"}]},
            workspaces=[{"name": "w"}],
        ),
        pipeline={"workspaces": [{"name": "w"}]},
        workspaces=[{"name": "w", "emptyDir": {}}],
    ),
    "spec.workspaces[0]: needs either": doc(task("a"), workspaces=[{"name": "w"}]),
    "has both script and command": doc(task("a", step={"command": ["x"]})),
    "there is no volume 'v'": doc(
        task("a", step={"volumeMounts": [{"name": "v", "mountPath": "/v"}]})
    ),
    "mountPath: '../v' is no absolute path": doc(
        task("a", step={"volumeMounts": [{"name": "v", "mountPath": "../v"}]})
    ),
    "taskSpec.steps: there is none": doc({"name": "a", "taskSpec": {"steps": []}}),
    "taskSpec: is missing": doc({"name": "a"}),
    "steps: 's' is there twice": doc(
        {"name": "a", "taskSpec": {"steps": [{"name": "s", "image": IMAGE}] * 2}}
    ),
    "onError: must be continue or stopAndFail": doc(task("a", step={"onError": "shrug"})),
    "operator: must be in or notin": doc(task("a", when=[{"input": "x", "operator": "=="}])),
    "tasks[0].name: '../x' is no name": doc(task("../x")),
    "retries: must be a whole number": doc(task("a", retries=True)),
    "timeout: 'soon' is no duration": doc(task("a", timeout="soon")),
    "tasks and finally together": doc(
        task("a"), timeouts={"pipeline": "1m", "tasks": "50s", "finally": "20s"}
    ),
    "limits.memory: 'much' is no quantity": doc(
        task("a", step={"computeResources": {"limits": {"memory": "much"}}})
    ),
    "annotations.dev.mlops/network: must be none": doc(
        task("a", spec={"metadata": {"annotations": {"dev.mlops/network": "some"}}})
    ),
    "script: must be a string": doc(task("a", step={"script": 5})),
    "spec.pipelineSpec.tasks: must be a list": doc() | {"spec": {"pipelineSpec": {"tasks": {}}}},
    "spec: must be a map": {**doc(), "spec": "x"},
    "kind: must be PipelineRun": {**doc(task("a")), "kind": "TaskRun"},
    "metadata.name: '..' is no name": {**doc(task("a")), "metadata": {"name": ".."}},
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
    assert (step.image, step.env, step.args, step.memory) == (
        IMAGE,
        (("A", "1"), ("B", "3")),
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
    assert substitution.text(template, SCOPE, "here") == expected


def test_an_array_alone_becomes_its_items():
    found = substitution.items(["a", "$(params.list[*])", "$(params.s)!"], SCOPE, "args")
    assert found == ("a", "x", "y", "text!")


def test_a_value_alone_keeps_its_type():
    assert substitution.value("$(params.o[*])", SCOPE, "v") == {"k": "v"}
    assert substitution.value(("$(params.list[*])", "z"), SCOPE, "v") == ("x", "y", "z")
    assert substitution.value({"k": "$(params.s)"}, SCOPE, "v") == {"k": "text"}


@pytest.mark.parametrize("template", ["a $(params.list)", "$(params.o)x"])
def test_an_array_inside_text_is_refused(template):
    with pytest.raises(ConfigError, match="is no string"):
        substitution.text(template, SCOPE, "here")


@pytest.mark.parametrize("template", ["$(params.list[2])", "$(params.o.z)", "$(tasks.x.results.r)"])
def test_what_has_no_value_is_said(template):
    with pytest.raises(substitution.UnresolvedError):
        substitution.text(template, SCOPE, "here")


@given(st.text())
def test_text_without_references_stays(text):
    if not any(substitution.references(text)):
        assert substitution.text(text, {}, "here") == text


@given(st.text(alphabet="$()paramstsk.x[]'\"*0", max_size=40), st.text())
def test_a_value_comes_out_as_it_went_in(around, value):
    scope = {("params", "x"): value}
    if not any(substitution.references(around)) and not around.endswith("$"):
        found = substitution.text(f"{around} $(params.x)", scope, "here")
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
    assert quantities.seconds(text, "t") == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "5", "1d", "-1s", "1h 2m", "h"])
def test_no_durations(text):
    with pytest.raises(ConfigError, match="no duration"):
        quantities.seconds(text, "t")


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
    assert quantities.size(text, "q") == expected


@pytest.mark.parametrize("text", ["", "-1", "1Zi", "lots", "1 Gi", "1e999"])
def test_no_quantities(text):
    with pytest.raises(ConfigError, match="no quantity"):
        quantities.size(text, "q")
