"""Documents that go to a cluster as their files have them."""

from __future__ import annotations

import pytest

from mlops.errors import ConfigError, UsageError
from mlops.tekton import asked

RUN = """
apiVersion: tekton.dev/v1
kind: PipelineRun
metadata: {name: r}
spec:
  pipelineRef: {resolver: git, params: [{name: url, value: u}]}
  params: [{name: a, value: one}]
"""


def _read(text: str, **more):
    return asked.read([("f.yaml", text.encode())], **{"params": {}, **more})


def test_what_one_machine_cannot_do_goes_as_it_stands() -> None:
    (found,) = _read(RUN)

    assert found.run["spec"]["pipelineRef"] == {
        "resolver": "git",
        "params": [{"name": "url", "value": "u"}],
    }
    assert found.name == "r"


def test_what_stands_beside_goes_along_and_lists_are_taken_apart() -> None:
    inner = "{apiVersion: example.dev/v1, kind: Thing, metadata: {name: t}}"
    (found,) = _read(f"{RUN}---\napiVersion: v1\nkind: List\nitems: [{inner}]\n")

    assert [each["kind"] for each in found.documents] == ["PipelineRun", "Thing"]


def test_parameters_lie_over_those_of_the_run() -> None:
    (found,) = _read(
        RUN, params={"a": "two", "b": '["x", "y"]', "c": '{"k": "v"}', "d": "[not json"}
    )

    assert found.run["spec"]["params"] == [
        {"name": "a", "value": "two"},
        {"name": "b", "value": ["x", "y"]},
        {"name": "c", "value": {"k": "v"}},
        {"name": "d", "value": "[not json"},
    ]


def test_a_name_is_made_or_given() -> None:
    generated = RUN.replace("{name: r}", "{generateName: run-}")

    assert _read(generated)[0].name.startswith("run-")
    assert len(_read(generated)[0].name) == 9
    assert _read(generated, name="mine")[0].run["metadata"] == {"name": "mine"}


def test_images_are_led_elsewhere_wherever_a_step_stands() -> None:
    text = """
kind: TaskRun
metadata: {name: r}
spec:
  taskSpec:
    stepTemplate: {image: a}
    steps: [{image: a}, {image: $(params.x)}]
    sidecars: [{image: b}]
    results: [{name: image, value: a}]
---
kind: StepAction
metadata: {name: s}
spec: {image: a}
---
kind: ConfigMap
metadata: {name: c}
data: {image: a}
"""
    (found,) = _read(text, image=lambda name: name if "$(" in name else f"here/{name}")

    spec = found.run["spec"]["taskSpec"]
    assert [each["image"] for each in spec["steps"]] == ["here/a", "$(params.x)"]
    assert spec["sidecars"][0]["image"] == "here/b"
    assert spec["stepTemplate"]["image"] == "here/a"
    assert found.others[0]["spec"]["image"] == "here/a"
    assert found.others[1]["data"] == {"image": "a"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("kind: PipelineRun\nspec: {}\n", "f.yaml:1: metadata: is missing"),
        ("just text\n", "f.yaml:1.*no Kubernetes document"),
        (
            "kind: PipelineRun\nmetadata: {name: A_B}\n",
            "f.yaml:2: metadata.name: 'A_B' cannot be a name",
        ),
        ("kind: [x]\nmetadata: {name: a}\n", "no Kubernetes document"),
    ],
)
def test_what_is_no_document_is_refused_with_its_place(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        _read(text)


def test_files_without_a_run_are_refused() -> None:
    with pytest.raises(UsageError, match=r"f\.yaml: no PipelineRun or TaskRun"):
        _read("kind: Task\nmetadata: {name: t}\n")


def test_one_name_names_one_run() -> None:
    with pytest.raises(UsageError, match="names one run, and there are 2"):
        _read(f"{RUN}---{RUN}", name="x")
