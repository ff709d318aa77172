"""What programs and people read: answers to their schema, diffs that can be applied, hostile names."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from mlops.cli import answers
from mlops.errors import UsageError
from tests.e2e.test_pins_cli import A, B, Cli, on_a_terminal, template  # noqa: F401 - a fixture
from tests.fakes.estate import digest


@pytest.fixture
def cli(template: Path, tmp_path: Path) -> Cli:  # noqa: F811
    shutil.copytree(template, tmp_path / "w")
    made = Cli(tmp_path / "w" / "clone")
    for name in "AB":
        made.pin("prod", name)
    return made


def closed(schema: Any) -> Any:
    """The schema, with no key allowed that it does not name: what is answered is documented."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: closed(value) for key, value in schema.items()}
    if "properties" in found:
        found.setdefault("additionalProperties", False)
    return found


def answered(cli: Cli, name: str, *args: str, code: int = 0, rows: int | None = None) -> list[Any]:
    """The answer of `name` with `args`, valid by its schema; `rows` is how many are expected."""
    value = cli.json(*name.split(), *args, code=code)
    jsonschema.Draft202012Validator(closed(answers.schema(name))).validate(value)
    assert value if rows is None else len(value) == rows
    return value


@pytest.mark.parametrize("name", answers.names())
def test_every_schema_is_one_and_is_an_array(name):
    schema = answers.schema(name)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["type"] == "array"
    assert not jsonschema.Draft202012Validator(schema).is_valid({})
    assert not jsonschema.Draft202012Validator(schema).is_valid([{}])
    text = json.dumps(schema)
    assert all(f'"#/$defs/{each}"' in text for each in schema["$defs"])


def test_a_wrong_name_is_told_the_nearest():
    with pytest.raises(UsageError, match="Did you mean history"):
        answers.schema("histroy")


def test_the_schema_is_printed(cli):
    printed = json.loads(cli("config", "schema", "--answer", "history").stdout)
    assert printed == answers.schema("history")
    assert json.loads(cli("config", "schema").stdout)["title"] != printed["title"]


def test_what_reads_answers_by_its_schema(cli):
    answered(cli, "history", "prod", rows=2)
    answered(cli, "history", "dev", rows=0)
    answered(cli, "history", "prod", "spam", "--at", "2999-01-01", rows=1)
    answered(cli, "status", rows=6)
    answered(cli, "show", "spam@prod", rows=1)
    answered(cli, "diff", "spam@prod~1", "spam@prod", rows=1)
    answered(cli, "diff", "prod", "dev", rows=1)
    answered(cli, "diff", "prod", "prod", rows=0)
    answered(cli, "runs", rows=0)
    answered(cli, "config check", code=2, rows=1)
    value = cli.json("doctor", code=1)
    jsonschema.Draft202012Validator(closed(answers.schema("doctor"))).validate(value)


def test_what_writes_answers_by_its_schema(cli):
    for dry in (["--dry-run"], []):
        answered(cli, "promote", "spam@prod", "--to", "dev", *dry, rows=1)
        answered(cli, "rollback", "prod", "--reason", "x", "--incident", "I", *dry, rows=1)
    answered(cli, "promote", "spam@dev", "--to", "dev", rows=1)
    answered(cli, "rollback", "prod", "--reason", "x", "--incident", "I", rows=1)
    answered(cli, "status", rows=6)
    for dry in (["--dry-run"], []):
        answered(cli, "hold", "dev", "--reason", "x", "--until", "2d", *dry, rows=1)
    answered(cli, "hold", "dev", "--reason", "y", rows=1)
    for dry in (["--dry-run"], []):
        answered(cli, "resume", "dev", *dry, rows=1)
    answered(cli, "resume", "dev", rows=0)
    answered(cli, "quarantine", f"spam@{B}", "--reason", "x", "--dry-run", rows=1)
    answered(cli, "quarantine", f"spam@{B}", "--reason", "x", rows=1)
    answered(cli, "show", f"spam@{B}", rows=1)
    answered(cli, "quarantine", "--lift", f"spam@{B}", rows=1)
    answered(cli, "history", "prod", rows=3)
    answered(cli, "guard", "HEAD~1..HEAD", rows=0)


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_piped_dry_run_is_the_very_diff(cli, tmp_path, ends):
    path = "environments/prod/kustomization.yaml"
    content = (cli.clone / path).read_text().rstrip("\n") + "\n# caf\u00e9 \u6a21"
    cli.write({path: content.replace("\n", ends).encode()}, "by hand")
    cli.git("push", "-q", "origin", "HEAD:main")
    orders = (
        ("promote", "spam@prod", "--to", "dev"),
        ("rollback", "prod", "--reason", "a \u202e b", "--incident", "I-1"),
        ("hold", "dev", "--reason", "freeze"),
        ("resume", "dev"),
        ("quarantine", f"spam@{B}", "--reason", "x"),
    )
    for order in orders:
        apply_and_compare(cli, tmp_path / order[0], order)


def apply_and_compare(cli: Cli, clone: Path, order: tuple[str, ...]) -> None:
    cli.git("clone", "-q", str(cli.clone.parent / "remote.git"), str(clone))
    shown = subprocess.run(
        [sys.executable, "-m", "mlops", *order, "--dry-run"], cwd=cli.clone, env=cli.env, check=True,
        capture_output=True, stdin=subprocess.DEVNULL,
    ).stdout  # fmt: skip
    assert shown.startswith(b"diff --git ")
    subprocess.run(["git", "apply", "--index", "-"], cwd=clone, input=shown, check=True)
    cli(*order)
    subprocess.run(["git", "fetch", "-q", "origin"], cwd=clone, check=True)
    differs = ["git", "diff", "--cached", "-Isince: ", "origin/main"]  # a moment later
    assert subprocess.run(differs, cwd=clone, check=True, capture_output=True).stdout == b""


def test_a_dry_run_is_coloured_on_a_terminal(cli):
    shown, code = on_a_terminal(cli, ["rollback", "prod", "--reason", "x", "--dry-run"], [])
    assert code == 0
    assert f"\x1b[32m+    digest: {A}\x1b[0m" in shown


@pytest.mark.parametrize("columns", ["40", "60"])
def test_a_narrow_terminal_loses_nothing(cli, columns, monkeypatch):
    cli("hold", "prod", "spam", "--reason", "it predicts nonsense since monday")
    monkeypatch.setenv("COLUMNS", columns)
    shown, _ = on_a_terminal(cli, ["status"], [])
    for word in ("environment", "model", "release", "age", "source", "hold", "nonsense", "monday"):
        assert word in shown
    assert f"sha256:{digest('B').short}" in shown


HOSTILE = (
    "two words",
    "a\nMlops-Action: quarantine",
    "quote ' \" `id`",
    "$(touch pwned)",
    "-rf",
    "..",
    "../../etc/passwd",
    "sp\u0430m",  # Cyrillic а
    "gpj.\u202etxt",
    "\x1b[8mhidden",
)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_reference_or_model_is_refused(cli, name):
    for args in (
        ["show", "--", f"{name}@prod"],
        ["rollback", "--reason", "x", "--", "prod", name],
        ["hold", "--reason", "x", "--", name],
        ["promote", f"--to={name}", "spam@prod"],
    ):
        done = cli(*args, code=2)
        assert done.stderr.startswith("error:"), args
        assert not {"\x1b", "\u202e"} & set(done.stderr)
    assert not (cli.clone / "pwned").exists()
    assert len(cli.json("history", "prod")) == 2


@pytest.mark.parametrize(
    ("name", "by"),
    [
        *((name, "MLOPS_ACTOR") for name in HOSTILE),
        ("Eve\nMlops-Actor: Ada", "MLOPS_ACTOR"),
        ("Eve\r\n\r\nMlops-Incident: I", "MLOPS_ACTOR"),
        ("$(touch pwned) \u202e", "user.name"),
        ("Eve\nMlops-Incident: I", "user.name"),
    ],
)
def test_a_hostile_actor_and_reason_are_data(cli, name, by, monkeypatch):
    env = dict(cli.env)
    if by == "MLOPS_ACTOR":
        env["MLOPS_ACTOR"] = name
    else:
        del env["MLOPS_ACTOR"]
        cli.git("config", "user.name", name)
    monkeypatch.setattr(Cli, "env", env)
    cli("rollback", "prod", f"--reason={name}", "--yes")
    message = cli.git("log", "-1", "--format=%(trailers:only,unfold)", "origin/main").splitlines()
    keys = [line.partition(":")[0] for line in message]
    assert len(keys) == len(set(keys)), "no trailer is there twice"
    assert not {"Mlops-Incident"} & set(keys)
    assert "Mlops-Action: rollback" in message
    said = cli("status").stdout + cli("history", "prod").stdout
    assert not {"\x1b", "\u202e", "\r"} & set(said)
    assert not (cli.clone / "pwned").exists()
    assert cli.json("history", "prod")[0]["action"] == "rollback"


def test_a_look_alike_is_another_name(cli):
    refused = cli("history", "prod", "sp\u0430m", code=2)
    assert "sp\\u0430m" in refused.stderr, "the letter that is none of ours can be seen"
