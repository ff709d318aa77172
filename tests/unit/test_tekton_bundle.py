"""Files with several documents: what is found in them, and what strangers may put there."""

import base64
import copy
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops import documents
from mlops.errors import ConfigError, MlopsError, UsageError
from mlops.tekton import bundle, runs
from mlops.tekton.pod import ConfigFiles

FILE = """\
apiVersion: tekton.dev/v1
kind: Task
metadata: {name: greet}
spec:
  params:
  - name: whom
  - {name: loud, type: array, default: []}
  results: [{name: said}]
  workspaces: [{name: notes, optional: true}]
  steps:
  - name: say
    ref: {name: say}
    params: [{name: text, value: "Hello $(params.whom)"}]
  - {name: after, image: busybox, script: "true"}
---
apiVersion: tekton.dev/v1beta1
kind: StepAction
metadata: {name: say}
spec:
  image: busybox
  params: [{name: text}]
  env: [{name: TEXT, value: $(params.text)}]
  script: echo "$TEXT"
---
apiVersion: v1
kind: Secret
metadata: {name: token}
stringData: {password: hidden}
data: {user: dXNlcg==}
---
apiVersion: tekton.dev/v1
kind: Pipeline
metadata: {name: hello}
spec:
  params: [{name: whom, default: you}]
  tasks:
  - name: greet
    taskRef: {name: greet}
    params: [{name: whom, value: $(params.whom)}]
---
apiVersion: tekton.dev/v1
kind: PipelineRun
metadata: {generateName: hello-}
spec:
  pipelineRef: {name: hello}
"""


def read(text=FILE, **more):
    held = bundle.read([("run.yaml", text.encode())])
    return runs.program(held, held.runs[0], **more)


def refused(text):
    with pytest.raises(ConfigError) as caught:
        read(text)
    return str(caught.value)


def test_what_a_run_names_is_found_among_the_files():
    run = read()
    assert run.name.startswith("hello-")
    assert len(run.name) == len("hello-") + 5
    (task,) = run.tasks
    assert (task.task_name, task.embedded, run.pipeline_name) == ("greet", False, "hello")
    say, after = task.spec.steps
    assert (say.name, say.action.name, say.script) == ("say", "say", 'echo "$TEXT"')
    assert (after.name, after.action) == ("after", None)
    assert run.configs["Secret", "token"].data == {"password": b"hidden", "user": b"user"}
    assert run.documents[0]["kind"] == "PipelineRun"
    assert run.documents[0]["metadata"] == {"name": run.name}


def test_two_runs_of_one_document_have_two_names():
    held = bundle.read([("run.yaml", FILE.encode())])
    assert len({runs.program(held, held.runs[0]).name for _ in range(20)}) == 20


def test_parameters_of_the_command_line_prevail():
    assert read(params={"whom": "me"}).given == {"whom": "me"}
    with pytest.raises(UsageError, match="no parameter 'who'"):
        read(params={"who": "me"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('["a", "b"]', ("a", "b")),
        ("[]", ()),
        ("[0.1, true]", ("0.1", "true")),
        ("a", None),
        ('{"a": "b"}', None),
    ],
)
def test_arrays_of_the_command_line_are_json(text, expected):
    file = FILE.replace(
        "[{name: whom, default: you}]", "[{name: whom, default: you}, {name: many, type: array}]"
    )
    if expected is None:
        with pytest.raises(UsageError, match="--param many"):
            read(file, params={"many": text})
    else:
        assert read(file, params={"many": text}).given["many"] == expected


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("taskRef: {name: greet}", "taskRef: {name: great}", "run.yaml:38: spec.tasks[0].taskRef.name: there is no Task 'great' in the files"),
        ("pipelineRef: {name: hello}", "pipelineRef: {name: hallo}", "there is no Pipeline 'hallo'"),
        ("ref: {name: say}", "ref: {name: sing}", "there is no StepAction 'sing'"),
        ("metadata: {name: say}", "metadata: {name: greet}", "there is no StepAction 'say'"),
        ("kind: Secret", "kind: Deployment", "'Deployment' is not carried out here"),
        ("kind: Secret", "kind: [Secret]", "['Secret'] is not carried out here"),
        ("tekton.dev/v1beta1", "tekton.dev/v1", "must be tekton.dev/v1beta1 for a StepAction"),
        ("dXNlcg==", "not base64!", "data.user: is not base64"),
        ("stringData: {password: hidden}", "stringData: {../up: x}", "'../up' cannot be a key"),
        ("params: [{name: text}]", "params: [{name: other}]", "there is no such parameter"),
        ('script: echo "$TEXT"', "script: echo $(params.text)", "a StepAction's script cannot use parameters"),
        ('script: echo "$TEXT"', 'script: "echo \\0"', "found the control character U+0000"),
        ("{generateName: hello-}", "{generateName: Hello_}", "cannot be a name"),
        ("{generateName: hello-}", "{}", "'' cannot be a name"),
        ("kind: StepAction", "kind: StepAction\nspec2: {}", "spec2: there is no such field"),
        ("steps:", "Steps:", "Steps: there is no such field. Is steps meant?"),
    ],
)  # fmt: skip
def test_refused_with_file_and_line(old, new, message):
    assert old in FILE
    found = refused(FILE.replace(old, new))
    assert message in found
    assert found.startswith("run.yaml:")


def test_everything_that_is_wrong_is_said_at_once():
    found = refused(
        FILE.replace("image: busybox,", "")
        .replace("results: [", "result: [")
        .replace("ref: {name: say}", "ref: {}")
    )
    assert [line.split(": ")[1] for line in found.splitlines()] == ["spec.result"]
    found = refused(FILE.replace("image: busybox, ", "").replace("ref: {name: say}", "ref: {}"))
    assert "spec.steps[0].ref.name: is missing" in found
    assert "spec.steps[1].image: is missing" in found


def test_embedded_specs_are_read_without_regard_to_case_as_tekton_does():
    task = {"Steps": [{"Image": "busybox", "workingdir": "/w", "SCRIPT": "true"}]}
    document = {
        "apiVersion": "tekton.dev/v1",
        "kind": "TaskRun",
        "metadata": {"name": "t"},
        "spec": {"taskSpec": task},
    }
    before = copy.deepcopy(document)
    (step,) = runs.of_document(document).tasks[0].spec.steps
    assert (step.image, step.working_dir, step.script) == ("busybox", "/w", "true")
    assert document == before


def test_a_list_holds_documents_and_what_only_a_cluster_has_is_noted():
    text = """\
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: LimitRange, metadata: {name: small}}
- {apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {key: value}}
- apiVersion: tekton.dev/v1
  kind: TaskRun
  metadata: {name: t}
  spec:
    taskSpec:
      volumes: [{name: v, configMap: {name: settings, items: [{key: key, path: a/b}]}}]
      steps: [{image: busybox, script: "true", volumeMounts: [{name: v, mountPath: /v}]}]
"""
    run = read(text)
    (volume,) = run.tasks[0].spec.volumes
    assert isinstance(volume.source, ConfigFiles)
    assert volume.source.items == (("key", "a/b", None),)
    assert run.notes[0].endswith("LimitRange: without effect on one machine")
    assert "'settings' has no key 'lost'" in refused(text.replace("{key: key", "{key: lost"))
    assert "there is no ConfigMap 'other'" in refused(
        text.replace("{name: settings, items", "{name: other, items")
    )


def test_a_configmap_is_no_larger_than_kubernetes_lets_it_be():
    text = "x" * (1 << 20)
    document = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s"},
        "data": {"k": base64.b64encode(text.encode() + b"y").decode()},
    }
    with pytest.raises(ConfigError, match="over 1 MiB"):
        bundle.of(document)


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        [
            "$(params.whom)",
            "$(tasks.greet.results.said)",
            "$(params.",
            "$(tasks.status)",
            "../..",
            "-1s",
            "a" * 300,
        ]
    ),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(value, path=()):
    yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from places(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from places(item, (*path, index))


WHOLE = [each.value for each in documents.load_all(FILE.encode(), "run.yaml")]
PLACES = [path for path in places(WHOLE) if path]


@settings(max_examples=400, deadline=None, derandomize="MLOPS_TEST_SEED" not in os.environ)
@given(st.lists(st.tuples(st.sampled_from(PLACES), VALUES), min_size=1, max_size=3))
def test_whatever_stands_anywhere_is_carried_out_or_refused_never_a_traceback(changes):
    document = copy.deepcopy(WHOLE)
    for path, value in changes:
        node = document
        try:
            for part in path[:-1]:
                node = node[part]
            node[path[-1]] = copy.deepcopy(value)
        except (KeyError, IndexError, TypeError):
            continue
    try:
        held = bundle.of(*document)
        for run in held.runs:
            runs.program(held, run)
    except MlopsError:
        return
