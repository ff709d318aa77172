"""The PipelineRun generator: whole documents, and parameters that stay data."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops import documents
from mlops.domain.cluster import Pods
from mlops.domain.digest import Digest, ImageRef
from mlops.domain.run import Resources, RunSpec
from mlops.domain.source import Commit
from mlops.errors import ConfigError
from mlops.manifests import pipelinerun
from mlops.manifests.parameter import decode, encode

GOLDEN = Path(__file__).parent.parent / "golden"

FIRST = RunSpec(
    name="spam-1234567890ab-1",
    attempt=1,
    model="spam",
    source=Commit("1234567890abcdef1234567890abcdef12345678"),
    repository="/home/ana/spam",
    registry="oci:/home/ana/spam/.mlops/registry",
    tool=ImageRef("mlops", Digest("a" * 64)),
    environment="dev",
    gitops_path="environments",
    gitops_branch="main",
    actor="Ana <ana@example.com>",
    plan="first release of spam",
)
FULL = replace(
    FIRST,
    name="spam-1234567890ab-3",
    attempt=3,
    repository="https://git.example.com/ml/spam.git",
    registry="registry.example.com/ml",
    tool=ImageRef("registry.example.com/ml/mlops", Digest("b" * 64)),
    gitops_url="https://git.example.com/ml/deploy.git",
    gitops_branch="mlops-environments",
    baseline="sha256:" + "9f2c" * 16,
    since="abcdef1234567890abcdef1234567890abcdef12",
    rebuild=True,
    network=True,
    resources=Resources(cpu="2", memory="4Gi", gpu=1),
    train_env=(("OMP_NUM_THREADS", "1"), ("LANG", "C.UTF-8")),
    train_timeout=5400,
    plan="data/train.csv: 3f2a… → 91bc…",
)
STANDS = replace(
    FIRST,
    name="spam-1234e56-1",
    source=Commit("1234567890123456789012345678901234567890"),
    environment="",
    gitops_branch="$(rm -rf ~)",
    baseline="sha256:" + "1234" * 16,
    since="0000000000111111111122222222223333333333",
    train=False,
    pin=False,
    actor="y",
)
CLUSTER = replace(
    FULL,
    pods=Pods(
        size="40Gi",
        storage_class="fast",
        node_selector=(("pool", "gpu"),),
        tolerations=((("key", "gpu"), ("operator", "Exists"), ("effect", "NoSchedule")),),
    ),
)
PLAIN = pipelinerun.generate(FIRST)
VARIANTS = {"first": FIRST, "full": FULL, "model-stands": STANDS, "cluster": CLUSTER}


def kubernetes(text):
    """The text as a YAML 1.1 reader that is not ours has it."""
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506


@pytest.mark.parametrize("name", VARIANTS)
def test_whole_documents(name, tmp_path):
    text = pipelinerun.to_yaml(pipelinerun.generate(VARIANTS[name]))
    golden, new = GOLDEN / f"pipelinerun-{name}.yaml", tmp_path / f"{name}.yaml"
    new.write_text(text)
    assert text == golden.read_text(), f"review: diff {golden} {new}; where it is meant, copy it"


@pytest.mark.parametrize("spec", VARIANTS.values(), ids=VARIANTS)
def test_the_text_reads_back_as_the_document(spec):
    document = pipelinerun.generate(spec)
    text = pipelinerun.to_yaml(document)
    assert kubernetes(text) == document
    assert documents.load(text.encode(), "document").value == document


def params(document):
    return {param["name"]: param["value"] for param in document["spec"]["params"]}


def every(value, path=()):
    """All texts of a document, with their paths."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from every(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from every(item, (*path, index))
    else:
        yield path, value


def test_every_image_is_a_digest_in_the_end():
    document = pipelinerun.generate(FULL)
    images = {v for path, v in every(document["spec"]["pipelineSpec"]) if path[-1] == "image"}
    assert images == {"$(params.tool)", "$(params.image)"}
    assert ImageRef.parse(params(document)["tool"]) == FULL.tool
    train = task(document, "train")
    given = {param["name"]: param["value"] for param in train["params"]}
    assert given["image"] == "$(tasks.build.results.environment)"


def task(document, name):
    return next(t for t in document["spec"]["pipelineSpec"]["tasks"] if t["name"] == name)


def test_params_reach_no_script_and_no_command():
    for path, value in every(pipelinerun.generate(FULL)):
        if {"script", "command", "args"} & set(path):
            assert "$(" not in value, path


def test_each_task_gets_what_it_declares_and_declares_what_it_uses():
    document = pipelinerun.generate(FULL)
    spec = document["spec"]["pipelineSpec"]
    declared = {param["name"] for param in spec["params"]}
    assert declared == set(params(document))
    results = {
        t["name"]: {r["name"] for r in t["taskSpec"].get("results", [])} for t in spec["tasks"]
    }
    for each in spec["tasks"]:
        body = each["taskSpec"]
        own = {param["name"] for param in body["params"]}
        spaces = {space["name"] for space in body["workspaces"]}
        assert own == {param["name"] for param in each["params"]}
        assert spaces == {space["name"] for space in each["workspaces"]}
        text = json.dumps(body)
        assert set(re.findall(r"\$\(params\.([\w-]+)\)", text)) == own
        assert set(re.findall(r"\$\(workspaces\.(\w+)\.path\)", text)) == spaces
        assert set(re.findall(r"\$\(results\.(\w+)\.path\)", text)) == results[each["name"]]
    outer = json.dumps([[t.get("params"), t.get("when")] for t in spec["tasks"]])
    assert set(re.findall(r"\$\(params\.([\w-]+)\)", outer)) <= declared
    for name, result in re.findall(r"\$\(tasks\.(\w+)\.results\.(\w+)\)", json.dumps(spec)):
        assert result in results[name]


def test_training_sees_no_state_and_no_secret_place():
    sidecar = task(pipelinerun.generate(FIRST), "train")["taskSpec"]["sidecars"][0]
    assert [space["name"] for space in sidecar["workspaces"]] == ["source"]
    assert "state" not in json.dumps(sidecar)


@pytest.mark.parametrize(("network", "mark"), [(False, "none"), (True, None)])
def test_the_network_is_marked_on_training_alone(network, mark):
    document = pipelinerun.generate(replace(FIRST, network=network))
    for each in document["spec"]["pipelineSpec"]["tasks"]:
        metadata = each["taskSpec"].get("metadata", {})
        expected = mark if each["name"] == "train" else None
        for kind in ("annotations", "labels"):
            assert metadata.get(kind, {}).get(pipelinerun.NETWORK) == expected


def test_limits_stand_on_the_sidecar():
    body = task(pipelinerun.generate(FULL), "train")["taskSpec"]
    limits = {"cpu": "2", "memory": "4Gi", "nvidia.com/gpu": "1"}
    assert body["sidecars"][0]["computeResources"] == {"limits": limits}
    assert "computeResources" not in body["steps"][0]
    plain = task(pipelinerun.generate(FIRST), "train")["taskSpec"]
    assert "computeResources" not in plain["sidecars"][0]


def test_the_run_outlasts_its_training():
    long = replace(FIRST, train_timeout=36000, timeout=7200)
    document = pipelinerun.generate(long)
    assert document["spec"]["timeouts"] == {"pipeline": "10h30m"}
    assert task(document, "train")["timeout"] == "10h"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1s"), (59.6, "1m"), (3600, "1h"), (5405, "1h30m5s")]
)
def test_duration(seconds, text):
    assert pipelinerun.duration(seconds) == text


@pytest.mark.parametrize("name", ["", "Spam", "a" * 64, "-a", "a-", "a.b", "a\n"])
def test_a_name_that_kubernetes_refuses(name):
    with pytest.raises(ConfigError, match="cannot name a run"):
        pipelinerun.generate(replace(FIRST, name=name))


def test_label_values_are_valid_for_a_sha256_repository():
    labels = pipelinerun.generate(replace(FIRST, source=Commit("f" * 64)))["metadata"]["labels"]
    for value in labels.values():
        assert re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", value)


def test_the_document_names_its_own_digest():
    document = pipelinerun.generate(FIRST)
    assert params(document)["document"] == pipelinerun.document_digest(document)
    other = pipelinerun.generate(replace(FIRST, actor="Ben"))
    assert params(other)["document"] != params(document)["document"]


HOSTILE = st.one_of(
    st.text(),
    st.sampled_from(
        [
            "$(rm -rf ~)", "$(params.tool)", "$(tasks.build.results.environment)", "$$(HOME)",
            "$(context.pipelineRun.name)", "a\nb: c", "`id`", "%24(x)", "\0", "yes", "1e3", "\udc80",
        ]
    ),
)  # fmt: skip


@given(HOSTILE)
def test_encoding_comes_back_and_holds_no_reference(text):
    value = encode(text)
    assert decode(value) == text
    assert "$" not in value
    assert value.isprintable()


@settings(max_examples=30, deadline=None)
@given(branch=HOSTILE, model=HOSTILE, actor=HOSTILE, value=HOSTILE)
def test_hostile_texts_change_nothing_but_their_own_params(branch, model, actor, value):
    spec = replace(FIRST, gitops_branch=branch, model=model, actor=actor, train_env=(("A", value),))
    document = pipelinerun.generate(spec)
    assert document["spec"]["pipelineSpec"] == PLAIN["spec"]["pipelineSpec"]
    given_params = params(document)
    assert decode(given_params["gitops-branch"]) == branch
    assert decode(given_params["model"]) == model
    assert json.loads(decode(given_params["train-env"])) == {"A": value}
    assert not any("$" in value for value in given_params.values())
    assert kubernetes(pipelinerun.to_yaml(document)) == document


def test_training_s_pod_gets_no_credential():
    document = pipelinerun.generate(CLUSTER)
    accounts = {
        each["pipelineTaskName"]: each["serviceAccountName"]
        for each in document["spec"]["taskRunSpecs"]
    }
    assert accounts.pop("train") == "mlops-train"
    assert "mlops-train" not in accounts.values()
    assert (
        document["spec"]["taskRunTemplate"]["podTemplate"]["automountServiceAccountToken"] is False
    )
    body = task(document, "train")["taskSpec"]
    for each in (*body["steps"], *body["sidecars"]):
        assert "envFrom" not in each
        assert all("valueFrom" not in variable for variable in each["env"])
    assert {next(iter(set(each) - {"name"})) for each in body["volumes"]} == {"emptyDir"}


def test_secrets_are_the_tasks_that_need_them():
    named = {}
    for each in pipelinerun.generate(CLUSTER)["spec"]["pipelineSpec"]["tasks"]:
        for step in each["taskSpec"]["steps"]:
            sources = step.get("envFrom", [])
            assert all(next(iter(source.values()))["optional"] for source in sources)
            found = {source["secretRef"]["name"] for source in sources if "secretRef" in source}
            if found:
                named[each["name"]] = found
    assert named == {"data": {"mlops-dvc"}, "push": {"mlops-dvc"}, "build": {"mlops-packages"}}
