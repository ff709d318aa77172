from __future__ import annotations

import copy
import dataclasses
import re

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mlops.config.project import parse_project, schema
from mlops.documents import dump
from mlops.domain.cluster import ClusterConfig
from mlops.domain.environment import GateRule
from mlops.domain.project import (
    BuildConfig,
    GitOpsConfig,
    ModelConfig,
    Project,
    ServeConfig,
    TrainConfig,
    WorkspaceConfig,
)
from mlops.domain.run import Resources
from mlops.domain.watching import WatchConfig
from mlops.errors import ConfigError, UsageError

calm = settings(deadline=None)  # the machine may be busy

FULL = """\
apiVersion: mlops/v1
kind: Project
name: spam-filter
registry: registry.example.com:5000/ml
environments: [dev, staging, prod]
branches: [main, release/*]
tags: ["v*"]
watch: {each: commit, concurrency: cancel-superseded, runs: 3, skip: ["[no run]"]}
gitops:
  url: git@example.com:ml/deploy.git
  branch: mlops-environments
  path: deploy/environments
  mode: pull-request
  rollback: push
executor: tekton
runtime: sandbox
cluster: {context: team, namespace: ml, user: 0, repository: "https://git.example.com/ml/spam.git"}
models:
  spam:
    paths: ["src/**", "data/**", "dvc.*", "params.yaml"]
    build:
      strategy: layers
      base: python:3.12-slim
      requirements: requirements.txt
      code: [src, ./lib/]
      platforms: [linux/amd64]
      allow_sdist: [annoy]
    train:
      stages: [train]
      resources: {cpu: "2", memory: 4Gi, gpu: 1}
      timeout: 1h30m
      network: true
      env: {OMP_NUM_THREADS: "1"}
      node_selector: {pool: gpu}
      tolerations: [{key: gpu, operator: Exists, effect: NoSchedule}]
    workspace: {size: 40Gi, storageClass: fast}
    artifact: models/spam.pkl
    metrics: metrics.json
    gates:
      - {metric: accuracy, min: 0.9}
      - {metric: loss, max_regression: 2e-2, direction: down}
    serve:
      command: [python, -m, serve]
      port: 8000
    compatibility: {input-schema: 3, api: v2}
"""

SMALL = "apiVersion: mlops/v1\nkind: Project\nname: a\nmodels:\n  spam: {}\n"


def refusal(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_project(text.encode())
    return caught.value.message.splitlines()


def model(text: str) -> list[str]:
    """The errors of a model whose mapping is `text`, which starts on line 5."""
    return refusal(SMALL.replace("spam: {}", f"spam: {text}"))


def test_every_key_reaches_the_frozen_value():
    assert parse_project(FULL.encode()) == Project(
        name="spam-filter",
        registry="registry.example.com:5000/ml",
        environments=("dev", "staging", "prod"),
        branches=("main", "release/*"),
        tags=("v*",),
        watch=WatchConfig("commit", "cancel-superseded", 3, ("[no run]",)),
        gitops=GitOpsConfig(
            url="git@example.com:ml/deploy.git",
            branch="mlops-environments",
            path="deploy/environments",
            mode="pull-request",
            rollback="push",
        ),
        executor="tekton",
        runtime="sandbox",
        cluster=ClusterConfig("team", "ml", 0, "https://git.example.com/ml/spam.git"),
        models=(
            ModelConfig(
                name="spam",
                paths=("src/**", "data/**", "dvc.*", "params.yaml"),
                build=BuildConfig(
                    strategy="layers",
                    base="python:3.12-slim",
                    requirements="requirements.txt",
                    code=("src", "lib"),
                    platforms=("linux/amd64",),
                    allow_sdist=("annoy",),
                ),
                train=TrainConfig(
                    stages=("train",),
                    resources=Resources("2", "4Gi", 1),
                    timeout=5400.0,
                    network=True,
                    env=(("OMP_NUM_THREADS", "1"),),
                    node_selector=(("pool", "gpu"),),
                    tolerations=(
                        (("key", "gpu"), ("operator", "Exists"), ("effect", "NoSchedule")),
                    ),
                ),
                workspace=WorkspaceConfig("40Gi", "fast"),
                artifact="models/spam.pkl",
                metrics="metrics.json",
                gates=(
                    GateRule("accuracy", min=0.9),
                    GateRule("loss", max_regression=0.02, direction="down"),
                ),
                serve=ServeConfig(("python", "-m", "serve"), 8000),
                compatibility=(("api", "v2"), ("input-schema", "3")),
            ),
        ),
    )


def test_what_is_left_out_has_the_defaults_of_the_values():
    project = parse_project(SMALL.encode())
    assert project == Project(name="a", models=(ModelConfig(name="spam"),))
    assert hash(project) is not None


def test_the_way_of_rollbacks_follows_the_mode():
    project = parse_project((SMALL + "gitops: {mode: pull-request}\n").encode())
    assert project.gitops.rollback == "pull-request"


def test_a_command_is_a_list_or_a_line_of_shell():
    def train(command: str) -> tuple[str, ...]:
        text = SMALL.replace("spam: {}", f"spam: {{train: {{command: {command}}}}}")
        return parse_project(text.encode()).models[0].train.command

    assert train("[python, train.py]") == ("python", "train.py")
    assert train("python train.py --fast") == ("/bin/sh", "-c", "python train.py --fast")


def test_all_errors_of_a_file_are_told_at_once_in_its_order():
    text = """\
apiVersion: mlops/v2
name: on
registry: https://x/y
environments: [dev, dev]
branches: []
gitops: {url: "ext::sh", mode: pul-request}
models:
  Spam:
    build: {bse: host, base: "a b", code: src}
    train:
      env: {A: 1}
      timeout: 1:30
      stages: [a]
      command: python x
    artifact: ../x
    gates:
    - {metric: x}
    - foo
    serve: {port: 99999, zzzzzz: 1}
  ham:
    gates: [{metric: a, min: 1}]
"""
    assert refusal(text) == [
        "mlops.yaml:1: apiVersion: expected mlops/v1; found 'mlops/v2'",
        "mlops.yaml:1: kind: is missing: expected Project",
        'mlops.yaml:2: name: expected a string; YAML reads on as true: write "on"',
        "mlops.yaml:3: registry: expected a registry without a scheme, such as registry.example.com/ml; found 'https://x/y'",
        "mlops.yaml:4: environments: expected each once, found 'dev' twice",
        "mlops.yaml:5: branches: expected at least one",
        "mlops.yaml:6: gitops.url: expected the URL or path of a git repository; found 'ext::sh'",
        "mlops.yaml:6: gitops.mode: expected push or pull-request; found 'pul-request'; did you mean 'pull-request'?",
        "mlops.yaml:8: models.Spam: expected lower case letters, digits and inner hyphens, at most 40; found 'Spam'",
        "mlops.yaml:9: models.Spam.build.base: expected host, an image such as python:3.12-slim, oci:DIRECTORY[:TAG] or oci-archive:FILE; found 'a b'",
        "mlops.yaml:9: models.Spam.build.code: expected a list; found 'src'",
        "mlops.yaml:9: models.Spam.build.bse: unknown key; did you mean 'base'?",
        'mlops.yaml:11: models.Spam.train.env.A: expected a string; YAML reads 1 as a number: write "1"',
        "mlops.yaml:12: models.Spam.train.timeout: expected a duration such as 90s, 30m, 1h or 2d; found '1:30'",
        "mlops.yaml:14: models.Spam.train.command: expected stages (with DVC) or command (without), not both; found 'python x'",
        "mlops.yaml:15: models.Spam.artifact: expected a path inside the repository, without ..; found '../x'",
        "mlops.yaml:17: models.Spam.gates[0]: expected one of min, max and max_regression",
        "mlops.yaml:18: models.Spam.gates[1]: expected a mapping; found 'foo'",
        "mlops.yaml:19: models.Spam.serve.port: expected less than or equal to 65535; found 99999",
        "mlops.yaml:19: models.Spam.serve.zzzzzz: unknown key; expected one of command, port",
        "mlops.yaml:21: models.ham.gates: gates read a metrics file: name it, such as `metrics: metrics.json`",
    ]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "mlops.yaml:1: expected a mapping; found nothing"),
        ("[]", "mlops.yaml:1: expected a mapping; found a list"),
        ("text", "mlops.yaml:1: expected a mapping; found 'text'"),
        ("a: 1\n---\nb: 1\n", "mlops.yaml:3: expected one YAML document"),
        ("name: a\nname: b\n", "mlops.yaml:2: name: duplicate key, first on line 1"),
        ("[" * 100_000, "mlops.yaml:1: "),
        ("{{ name }}", "mlops.yaml:1: expected a string as key"),
    ],
)
def test_what_is_no_project_is_refused(text, error):
    assert refusal(text)[0].startswith(error)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("registry: oci:/var/x", "registry: expected a path relative to the repository's root, such as oci:.mlops/registry"),
        ("registry: '127.0.0.1:5000/ml:tag'", "registry: expected oci:DIRECTORY or HOST[:PORT][/PATH], without a tag or digest; found"),
        ("registry: '127.0.0.1:5000/ML'", "registry: expected oci:DIRECTORY or HOST[:PORT][/PATH], PATH in lower case; found"),
        ("registry: oci:../x", "registry: expected a path inside the repository, without .."),
        ("registry: oci:.git/x", "registry: expected a path outside .git"),
        ("registry: 'oci:'", "registry: expected"),
        ("registry: ghcr.io/Upper", "registry: expected oci:DIRECTORY or HOST[:PORT][/PATH], PATH in lower case"),
        ("environments: []", "environments: expected at least one"),
        ("environments: [dev, base]", "environments: expected another name than 'base'"),
        ("environments: [dev, Prod]", "environments[1]: expected lower case letters"),
        ("environments: [dev, a/b]", "environments[1]: expected lower case letters"),
        ("environments: dev", "environments: expected a list; found 'dev'"),
        ("environments: [dev, no]", 'environments[1]: expected a string; YAML reads no as false: write "no"'),
        ("tags: [-x]", "tags[0]: expected a tag"),
        ("watch: {each: branch}", "watch.each: expected"),
        ("watch: {runs: 0}", "watch.runs: expected"),
        ("watch: {skip: ['']}", "watch.skip[0]: expected"),
        ("branches: [-x]", "branches[0]: expected a branch"),
        ("branches: [a..b]", "branches[0]: expected a branch"),
        ("branches: ['a b']", "branches[0]: expected a branch"),
        ("branches: [refs/heads/x]", "branches[0]: expected a branch"),
        ("branches: ['x@{1}']", "branches[0]: expected a branch"),
        ("gitops: {branch: 'a*'}", "gitops.branch: expected the name of one branch"),
        ("gitops: {url: --upload-pack=x}", "gitops.url: expected the URL"),
        ("gitops: {url: 'https://me:secret@x/y'}", "gitops.url: expected a URL without a password"),
        ("gitops: {path: /x}", "gitops.path: expected a path relative"),
        ("gitops: {path: .}", "gitops.path: expected the path of a file or directory below"),
        ("gitops: push", "gitops: expected a mapping; found 'push'"),
        ("gitops:", "gitops: expected a mapping; found nothing: fill it in, or remove the key"),
        ("runtime: dokcer", "runtime: expected auto, sandbox, podman, docker or process; found 'dokcer'; did you mean 'docker'?"),
        ("enviroments: [a]", "enviroments: unknown key; did you mean 'environments'?"),
        ("on: 1", "on: unknown key; expected one of apiVersion, branches"),
        ("train: {timeout: 2m}", "train: unknown key; it belongs to models.NAME"),
        ("gates: []", "gates: unknown key; it belongs to models.NAME"),
        ("base: host", "base: unknown key; it belongs to models.NAME.build"),
        ("namespace: ml", "namespace: unknown key; it belongs to cluster"),
        ("url: x", "url: unknown key; it belongs to gitops"),
        ("models_: {}", "models_: unknown key; did you mean 'models'?"),
    ],
)  # fmt: skip
def test_project_errors(line, error):
    found = refusal(SMALL + line + "\n")
    assert len(found) == 1
    assert found[0].startswith(f"mlops.yaml:6: {error}")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "models.spam: expected a mapping; found nothing"),
        ("{build: {strategy: s2i}}", "models.spam.build.strategy: expected layers; found 's2i'"),
        ("{build: {platforms: []}}", "models.spam.build.platforms: expected at least one"),
        ("{build: {platforms: [windows/amd64]}}", "models.spam.build.platforms[0]: expected linux/amd64 or linux/arm64"),
        ("{build: {platforms: [linux/amd65]}}", "models.spam.build.platforms[0]: expected linux/amd64 or linux/arm64; found 'linux/amd65'"),
        ("{build: {platforms: [linux/amd64, linux/arm64]}}", "models.spam.build.platforms: expected one: images of several platforms are not supported yet"),
        ("{build: {code: [/src]}}", "models.spam.build.code[0]: expected a path relative"),
        ("{build: {code: [src, ./src]}}", "models.spam.build.code: expected each once"),
        ("{build: {code: ['C:\\x']}}", "models.spam.build.code[0]: expected a path relative"),
        ("{build: {requirements: a/../../b}}", "models.spam.build.requirements: expected a path inside"),
        ("{build: {requirements: ''}}", "models.spam.build.requirements: expected a path"),
        ("{build: {base: -x}}", "models.spam.build.base: expected host"),
        ("{build: {base: 'oci:../x'}}", "models.spam.build.base: expected the path of an OCI layout"),
        ("{build: {base: 'python:3.12@sha256:12'}}", "models.spam.build.base: expected host"),
        ("{build: {base: 3.12}}", 'models.spam.build.base: expected a string; YAML reads 3.12 as a number: write "3.12"'),
        ("{paths: []}", "models.spam.paths: expected at least one"),
        ("{path: [x]}", "models.spam.path: unknown key; did you mean 'paths'?"),
        ("{registry: x}", "models.spam.registry: unknown key; it belongs to the top level"),
        ("{train: {gpu: 1}}", "models.spam.train.gpu: unknown key; it belongs to models.NAME.train.resources"),
        ("{paths: [../x]}", "models.spam.paths[0]: expected a path inside"),
        ("{paths: [/x/**]}", "models.spam.paths[0]: expected a path relative"),
        ("{train: {timeout: 60}}", "models.spam.train.timeout: expected a string; YAML reads 60"),
        ("{train: {timeout: 0s}}", "models.spam.train.timeout: expected a duration above zero"),
        ("{train: {timeout: 1w}}", "models.spam.train.timeout: expected a duration such as"),
        ("{train: {timeout: ''}}", "models.spam.train.timeout: expected a duration such as"),
        ("{train: {timeout: '٣m'}}", "models.spam.train.timeout: expected a duration such as"),
        ("{train: {network: 'no'}}", "models.spam.train.network: expected true or false; found 'no'"),
        ("{train: {env: {b-c: x}}}", "models.spam.train.env.b-c: expected the name of an environment variable; found 'b-c'"),
        ("{train: {env: {A: yes}}}", 'models.spam.train.env.A: expected a string; YAML reads yes as true: write "yes"'),
        ("{train: {resources: {memory: 4GB}}}", "models.spam.train.resources.memory: expected a Kubernetes quantity"),
        ("{train: {resources: {cpu: yes}}}", "models.spam.train.resources.cpu: expected a string"),
        ("{train: {resources: {gpu: -1}}}", "models.spam.train.resources.gpu: expected greater than or equal to 0"),
        ("{train: {resources: {gpu: 1.5}}}", "models.spam.train.resources.gpu: expected a whole number; found 1.5"),
        ("{train: {command: []}}", "models.spam.train.command: expected at least one"),
        ("{train: {command: [a, 1]}}", "models.spam.train.command[1]: expected a string"),
        ("{train: {command: ''}}", "models.spam.train.command: expected a list; found ''"),
        ("{metrics: m.json, gates: [{metric: a}]}", "models.spam.gates[0]: expected one of min"),
        ("{metrics: m.json, gates: [{min: 1}]}", "models.spam.gates[0].metric: is missing: expected the metric"),
        ("{metrics: m.json, gates: [{metric: a, min: 2, max: 1}]}", "models.spam.gates[0]: expected min to be at most max"),
        ("{metrics: m.json, gates: [{metric: a, min: .nan}]}", "models.spam.gates[0].min: expected a finite number; found .nan"),
        ("{metrics: m.json, gates: [{metric: a, min: .inf}]}", "models.spam.gates[0].min: expected a finite number"),
        ("{metrics: m.json, gates: [{metric: a, min: yes}]}", "models.spam.gates[0].min: expected a number; found yes"),
        ("{metrics: m.json, gates: [{metric: a, max_regression: -1}]}", "models.spam.gates[0].max_regression: expected greater"),
        ("{metrics: m.json, gates: [{metric: a, max: 1, direction: dwn}]}", "models.spam.gates[0].direction: expected up or down; found 'dwn'; did you mean 'down'?"),
        ("{metrics: dir/}", "models.spam.metrics: expected the path of a file"),
        ("{compatibility: [a]}", "models.spam.compatibility: expected a mapping; found a list"),
        ("{compatibility: {A b: x}}", "models.spam.compatibility.A b: expected lower case letters"),
        ("{compatibility: {api: 1.10}}", "models.spam.compatibility.api: expected a string; YAML reads 1.10 as a number"),
        ("{compatibility: {api: no}}", "models.spam.compatibility.api: expected a string; YAML reads no as false"),
        ("{compatibility: {api: ''}}", "models.spam.compatibility.api: expected some text"),
        ("{compatibility: {api: ~}}", "models.spam.compatibility.api: expected a string; found nothing"),
        ("{serve: {port: 0}}", "models.spam.serve.port: expected greater than or equal to 1"),
        ("{serve: {port: '80'}}", "models.spam.serve.port: expected a whole number; found '80'"),
    ],
)  # fmt: skip
def test_model_errors(text, error):
    found = model(text)
    assert len(found) == 1
    assert found[0].startswith(f"mlops.yaml:5: {error}")


@pytest.mark.parametrize(
    "base",
    [
        "host", "python:3.12-slim", "ghcr.io/x/y", "localhost:5000/a/b:1", "python@sha256:" + "a" * 64,
        "oci:.mlops/bases/py:3.12", "oci:/srv/layout", "oci-archive:base.tar",
    ],
)  # fmt: skip
def test_bases(base):
    text = SMALL.replace("spam: {}", f"spam: {{build: {{base: '{base}'}}}}")
    assert parse_project(text.encode()).models[0].build.base == base


@pytest.mark.parametrize(
    ("written", "read"), [("2", "2"), ("0.5", "0.5"), ("500m", "500m"), ("1e3", "1000.0")]
)
def test_quantities_may_be_numbers(written, read):
    text = SMALL.replace("spam: {}", f"spam: {{train: {{resources: {{cpu: {written}}}}}}}")
    assert parse_project(text.encode()).models[0].train.resources.cpu == read


@pytest.mark.parametrize("name", ["a-", "-a", "a_b", "a.b", "A", "a" * 41, "", "ü"])
def test_model_names_are_labels_and_image_names(name):
    found = refusal(SMALL.replace("spam:", f'"{name}":'))
    assert "expected lower case letters" in found[0]


@pytest.mark.parametrize(
    "names", [("mlops",), ("base",), ("base-host",), ("wheels",), ("spam", "spam-env")]
)
def test_model_names_leave_our_own_images_alone(names):
    models = "".join(f"  {name}: {{}}\n" for name in names)
    found = refusal(SMALL.replace("  spam: {}\n", models))
    assert found == [
        f"mlops.yaml:4: models: expected another name than {names[-1]!r}: an image of ours is called so"
    ]


def test_two_inputs_never_share_a_lock():
    models = (
        "  a: {build: {requirements: uv.lock}}\n  b: {build: {requirements: requirements.txt}}\n"
    )
    found = refusal(SMALL.replace("  spam: {}\n", models))
    assert found == [
        "mlops.yaml:4: models: expected requirements with locks of their own: requirements.txt and uv.lock would share requirements.lock"
    ]
    shared = models.replace("uv.lock", "requirements.txt")
    assert len(parse_project(SMALL.replace("  spam: {}\n", shared).encode()).models) == 2


def test_there_is_a_model():
    assert refusal(SMALL.replace("\n  spam: {}", " {}")) == [
        "mlops.yaml:4: models: expected at least one model"
    ]


# --- the values ----------------------------------------------------------------------------------


def test_lookups_name_the_nearest():
    project = parse_project(FULL.encode())
    assert project.model("spam").name == "spam"
    with pytest.raises(UsageError, match=r"no model 'spm' .* Did you mean spam\? It has: spam"):
        project.model("spm")
    with pytest.raises(UsageError, match=r"no environment 'x' .* It has: dev, staging, prod"):
        project.environment("x")
    assert project.environment("dev") == "dev"
    assert project.after("dev") == "staging"
    assert project.after("prod") is None
    assert project.layout is None
    assert parse_project(SMALL.encode()).layout == ".mlops/registry"


@pytest.mark.parametrize(
    ("requirements", "lock"),
    [
        ("", "requirements.lock"),
        ("requirements.txt", "requirements.lock"),
        ("models/a/gpu.txt", "models/a/gpu.lock"),
        ("pyproject.toml", "requirements.lock"),
        ("sub/uv.lock", "sub/requirements.lock"),
        ("uv.txt", "requirements.lock"),
        ("requirements.in", "requirements.lock"),
        ("gpu.lock", "gpu.lock"),
        ("sub/pylock.toml", "sub/requirements.lock"),
    ],
)
def test_where_the_requirements_lock_stands(requirements, lock):
    assert BuildConfig(requirements=requirements).lock == lock


# --- the schema for editors ----------------------------------------------------------------------


def valid(document: object) -> bool:
    return jsonschema.Draft202012Validator(schema()).is_valid(document)


def test_the_schema_is_a_schema_and_takes_what_we_take():
    jsonschema.Draft202012Validator.check_schema(schema())
    assert valid(yaml.safe_load(FULL.replace("2e-2", "0.02")))
    assert valid(yaml.safe_load(SMALL))
    number = yaml.safe_load(SMALL) | {
        "models": {"a": {"train": {"resources": {"cpu": 2}, "command": "x"}}}
    }
    assert valid(number)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("kind",), "Environment"),
        (("name",), "A"),
        (("modells",), {}),
        (("models", "spam", "build", "bse"), "host"),
        (("models", "Spam"), {}),
        (("models", "spam", "gates", 0, "direction"), "left"),
        (("models", "spam", "serve", "port"), 0),
        (("models", "spam", "train", "network"), "no"),
    ],
)
def test_the_schema_refuses_what_we_refuse(path, value):
    document = yaml.safe_load(FULL)
    place = document
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    assert not valid(document)
    assert refusal(dump(document))


def objects(node: object):
    if isinstance(node, dict):
        if "properties" in node:
            yield node
        for child in node.values():
            yield from objects(child)
    elif isinstance(node, list):
        for child in node:
            yield from objects(child)


def test_every_key_of_the_schema_is_described_and_no_other_allowed():
    found = list(objects(schema()))
    assert len(found) >= 8
    for described in found:
        assert described["additionalProperties"] is False
        for name, field in described["properties"].items():
            assert field.get("description"), name


# --- anything at all -----------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
    | st.sampled_from(["on", "1h", "../x", "*", "a" * 50, "sha256:", "oci:", "-", "ü"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["metric", "min", "a", "spam"]), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def places(value: object, path: tuple[str | int, ...] = ()):
    yield path
    if isinstance(value, dict):
        for key, child in value.items():
            yield from places(child, (*path, key))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from places(child, (*path, index))


SAMPLE = yaml.safe_load(FULL)
PLACES = [path for path in places(SAMPLE) if path]


@calm
@given(st.sampled_from(PLACES), json_values)
def test_any_value_anywhere_is_taken_or_refused_with_its_place(path, value):
    document = copy.deepcopy(SAMPLE)
    place = document
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    try:
        project = parse_project(dump(document).encode())
    except ConfigError as exc:
        lines = exc.message.splitlines()
    else:
        assert dataclasses.asdict(project)
        assert hash(project) == hash(project)
        return
    for line in lines:
        assert re.match(r"mlops\.yaml:[0-9]+: [a-zA-Z]", line), line
