from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import pytest

from mlops.config.environment import parse_environment, parse_holds, parse_quarantine, schema
from mlops.documents import load
from mlops.domain.digest import Digest
from mlops.domain.environment import EnvironmentPolicy, GateRule, Hold, QuarantineEntry
from mlops.errors import ConfigError

A, B = Digest("a" * 64), Digest("b" * 64)
ORIGIN = "environments/staging/environment.yaml"
HEAD = "apiVersion: mlops/v1\nkind: Environment\n"


def environment(text: str, *environments: str) -> EnvironmentPolicy:
    return parse_environment((HEAD + text).encode(), "staging", ORIGIN, environments)


def refused(call, *arguments) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        call(*arguments)
    return caught.value.message.splitlines()


def test_every_key_of_a_policy():
    text = "from: dev\nauto: true\nsoak: 30m\ngates: [{metric: f1, min: 1}]\nrequire: [sandbox]\n"
    assert environment(text, "dev", "staging") == EnvironmentPolicy(
        "staging", ("dev",), True, 1800.0, (GateRule("f1", min=1.0),), ("sandbox",)
    )


def test_an_absent_file_and_an_empty_policy_are_the_defaults():
    assert parse_environment(None, "staging", ORIGIN) == EnvironmentPolicy("staging")
    assert environment("soak: 0s\n") == EnvironmentPolicy("staging")


def test_the_example_of_the_interface():
    text = (
        "{apiVersion: mlops/v1, kind: Environment, from: dev,\n"
        "auto: false, soak: 30m, gates: [], require: []}"
    )
    found = parse_environment(text.encode(), "staging", ORIGIN, ("dev", "staging"))
    assert found == EnvironmentPolicy("staging", ("dev",), soak=1800.0)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("fron: dev", "fron: unknown key; did you mean 'from'?"),
        ("auto: 'yes'", "auto: expected true or false; found 'yes'"),
        ("soak: 30", "soak: expected a string; YAML reads 30 as a number"),
        ("soak: 30 minutes", "soak: expected a duration such as"),
        ("gates: [{metric: a}]", "gates[0]: expected one of min, max and max_regression"),
        ("gates: {metric: a}", "gates: expected a list; found a mapping"),
        ("require: [a, a]", "require: expected each once"),
        ("from: prod", "from: expected one of dev; found 'prod'"),
        ("from: staging", "from: expected one of dev; found 'staging'"),
        ("from: other", "from: expected one of dev; found 'other'"),
    ],
)
def test_policy_errors(text, error):
    found = refused(environment, text, "dev", "staging", "prod")
    assert len(found) == 1
    assert found[0].startswith(f"{ORIGIN}:3: {error}")


def test_the_first_environment_comes_from_nowhere():
    found = refused(
        parse_environment, (HEAD + "from: prod\n").encode(), "dev", ORIGIN, ("dev", "prod")
    )
    assert found == [f"{ORIGIN}:3: from: expected nothing: this is the first; found 'prod'"]


def test_another_kind_of_file_is_refused():
    found = refused(parse_environment, b"kind: Kustomization\n", "dev", "e.yaml")
    assert found == [
        "e.yaml:1: apiVersion: is missing: expected mlops/v1",
        "e.yaml:1: kind: expected Environment; found 'Kustomization'",
    ]


def test_the_schema():
    validator = jsonschema.Draft202012Validator(schema())
    validator.check_schema(schema())
    head = {"apiVersion": "mlops/v1", "kind": "Environment"}
    assert validator.is_valid(head | {"from": "dev", "soak": "30m"})
    assert not validator.is_valid(head | {"fron": "dev"})
    assert all(field["description"] for field in schema()["properties"].values())


# --- holds and quarantine ------------------------------------------------------------------------

HOLDS = f"""\
holds:
- model: spam
  digest: {A}
  since: 2019-07-16T14:00:00+02:00
  until: "2019-07-17T00:00:00.5Z"
  actor: ana
  reason: wrong labels
  incident: INC-7
  avoid: [{A}, {B}]
- {{model: "*", since: 2019-07-16t12:00:00z, actor: '', reason: ''}}
"""


def test_holds():
    assert parse_holds(HOLDS.encode()) == (
        Hold(
            "spam",
            datetime(2019, 7, 16, 12, tzinfo=UTC),
            "ana",
            "wrong labels",
            A,
            datetime(2019, 7, 17, 0, 0, 0, 500_000, tzinfo=UTC),
            "INC-7",
            (A, B),
        ),
        Hold("*", datetime(2019, 7, 16, 12, tzinfo=UTC), "", ""),
    )


@pytest.mark.parametrize("content", [None, b"", b"# none\n", b"{}", b"holds: []", b"---\n"])
def test_no_holds(content):
    assert parse_holds(content) == ()


def test_quarantine():
    text = (
        f"quarantine:\n- model: spam\n  digest: {A}\n  artifact: d41d8cd9\n  source: 1a2b3c4\n"
        "  since: 2019-07-16T12:00:00Z\n  actor: ana\n  reason: leaks\n"
    )
    assert parse_quarantine(text.encode()) == (
        QuarantineEntry(
            "spam", A, datetime(2019, 7, 16, 12, tzinfo=UTC), "ana", "leaks", "d41d8cd9", "1a2b3c4"
        ),
    )
    assert parse_quarantine(None) == ()


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        (str(A), "sha256:abc", "holds.yaml:3: holds[0].digest: expected a digest"),
        (
            "since: 2019-07-16T14",
            "sinse: 2019-07-16T14",
            "holds.yaml:2: holds[0].since: is missing",
        ),
        (
            "model: spam",
            "model: spam*",
            "holds.yaml:2: holds[0].model: expected the name of a model",
        ),
        ("14:00:00+02:00", "14:00:00", "holds.yaml:4: holds[0].since: expected a time in RFC 3339"),
        (
            "2019-07-16T14",
            "2019-13-16T14",
            "holds.yaml:4: holds[0].since: expected a time in RFC 3339",
        ),
        (
            "2019-07-16T14:00:00+02:00",
            "2019-07-16",
            "holds.yaml:4: holds[0].since: expected a time",
        ),
        (
            "2019-07-17T",
            "2019-07-15T",
            "holds.yaml:2: holds[0]: expected until to be later than since",
        ),
        (
            "reason: wrong labels",
            "reason: 7",
            "holds.yaml:7: holds[0].reason: expected a string; YAML",
        ),
        ("avoid: [sha", "avoid: [sho", "holds.yaml:9: holds[0].avoid[0]: expected a digest"),
        ("holds:", "hold:", "holds.yaml:1: hold: unknown key; did you mean 'holds'?"),
        (  # before the first day, once it is in UTC
            "2019-07-16T14:00:00+02:00",
            "0001-01-01T00:00:00+02:00",
            "holds.yaml:4: holds[0].since: expected a time in RFC 3339",
        ),
    ],
)
def test_hold_errors(old, new, error):
    assert old in HOLDS
    assert refused(parse_holds, HOLDS.replace(old, new, 1).encode())[0].startswith(error)


def test_the_reference_shows_every_key():
    page = (Path(__file__).parents[2] / "docs/reference/files.md").read_text()
    shown = page.partition("## environment.yaml")[2].split("```")[1].removeprefix("yaml\n")
    assert parse_environment(shown.encode(), "prod", "files.md").registry
    assert load(shown.encode(), "files.md").value.keys() == schema()["properties"].keys()
