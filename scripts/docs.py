"""Writes the generated pages of docs/reference from the commands themselves; `--check` compares.

python scripts/docs.py [--check]
"""

from __future__ import annotations

import difflib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

# before typer is imported: what it prints must not depend on this terminal
os.environ.update(COLUMNS="100", NO_COLOR="1", TERM="dumb")

from typer.testing import CliRunner

from mlops.cli import app as cli
from mlops.config.project import schema
from mlops.tekton import fields
from mlops.tekton.fields import Support

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"
NOTE = "<!-- Written by `make docs`: change the source, not this page. -->\n"


def main() -> int:
    """Write the pages, or with `--check` print how they differ and return 1."""
    pages = {"cli.md": commands(), "mlops-yaml.md": settings(), "tekton-fields.md": tekton_fields()}
    stale = 0
    for name, text in pages.items():
        path = REFERENCE / name
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        if "--check" not in sys.argv:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        elif old != text:
            stale = 1
            lines = difflib.unified_diff(
                old.splitlines(),
                text.splitlines(),
                f"docs/reference/{name}",
                "the commands",
                lineterm="",
            )
            print("\n".join(lines))
    if stale:
        print("docs/reference is not what the commands say. Run: make docs", file=sys.stderr)
    return stale


# --- Tekton's fields ------------------------------------------------------------------------------

_INTRODUCTIONS = {
    Support.HONOURED: "These mean here what they mean on a cluster.",
    Support.WITHOUT_EFFECT: (
        "These may stand in a document and change nothing on one machine. "
        "Each run reports those that its documents use."
    ),
    Support.REFUSED: "A document that uses one of these is refused, with its path, before the first step runs.",
}


def tekton_fields() -> str:
    """tekton-fields.md: what becomes of each field, in three tables."""
    parts = [
        "# Fields of Tekton documents on one machine\n",
        NOTE,
        (
            "`mlops runs submit` and `mlops run` carry out Tekton's v1 documents: PipelineRun, TaskRun, Pipeline, "
            "Task, and StepAction (v1beta1), with ConfigMaps, Secrets and PersistentVolumeClaims from the same files. "
            "A field that stands in none of these tables is refused as unknown. How the meaning is held against "
            "Tekton's own: [conformance](conformance.md).\n"
        ),
    ]
    for support, introduction in _INTRODUCTIONS.items():
        parts.append(
            f"## {support.value.capitalize()}\n\n{introduction}\n\n{_field_table(support)}\n"
        )
    return "\n".join(parts)


def _field_table(support: Support) -> str:
    lines = ["| part | field | holds | note |", "| --- | --- | --- | --- |"]
    for part, name, entry in fields.rows():
        if entry.support is support:
            lines.append(f"| {part} | `{name}` | {_holds(entry)} | {entry.why} |")
    return "\n".join(lines)


def _holds(entry: fields.Field) -> str:
    if entry.part:
        return f"{'list of ' if entry.many else 'map of ' if entry.each else ''}{entry.part}"
    return "" if entry.kind is fields.Kind.ANY else entry.kind.value


# --- the command line ------------------------------------------------------------------------------


def commands() -> str:
    """cli.md: every command's help, as it is printed."""
    parts = [
        "# Command line\n",
        NOTE,
        (
            "Everywhere: stdout is the answer, stderr the story; [exit codes](exit-codes.md) are API; "
            "`--output json` keeps its keys.\n"
        ),
        _block(()),
    ]
    for name in cli.COMMANDS:
        if name in cli.HIDDEN:
            continue
        parts += [f"## mlops {name}\n", _block((name,))]
        parts += [f"### mlops {name} {sub}\n\n{_block((name, sub))}" for sub in _subcommands(name)]
    return "\n".join(parts)


def _subcommands(name: str) -> list[str]:
    found = cli.build(name)
    for group in found.registered_groups:
        if group.name == name and group.typer_instance is not None:
            listed = group.typer_instance.registered_commands
            return [
                str(c.name or getattr(c.callback, "__name__", "")) for c in listed if not c.hidden
            ]
    return []


def _block(words: tuple[str, ...]) -> str:
    app = cli.build(words[0] if words else None)
    done = CliRunner().invoke(app, [*words, "--help"], prog_name="mlops", terminal_width=100)
    if done.exit_code != 0:
        raise SystemExit(f"mlops {' '.join(words)} --help exited {done.exit_code}: {done.output}")
    text = "\n".join(line.rstrip() for line in done.output.strip().splitlines())
    return f"```text\n{text}\n```\n"


# --- mlops.yaml ------------------------------------------------------------------------------------


def settings() -> str:
    """mlops-yaml.md: every key with its type, default and meaning, from the schema."""
    document = schema()
    rows = "\n".join(_rows(document, document, ""))
    return (
        f"# mlops.yaml\n\n{NOTE}\n"
        "Unknown keys, wrong types and dangling references are refused with file, line and key: "
        "`mlops config check`. The JSON schema for editors: `mlops config schema`.\n\n"
        f"| key | type | default | meaning |\n| --- | --- | --- | --- |\n{rows}\n"
    )


def _rows(root: Mapping[str, Any], node: Mapping[str, Any], prefix: str) -> Iterator[str]:
    required = node.get("required", [])
    for key, value in node.get("properties", {}).items():
        found = _resolved(root, value)
        default = "required" if key in required else _default(value, found)
        meaning = value.get("description") or found.get("description", "")
        name = f"{prefix}{key}"
        yield f"| `{name}` | {_type(root, found)} | {default} | {meaning.replace('|', '/')} |"
        yield from _inner(root, found, name)


def _inner(root: Mapping[str, Any], found: Mapping[str, Any], name: str) -> Iterator[str]:
    if "properties" in found:
        yield from _rows(root, found, f"{name}.")
    items = _resolved(root, found.get("items", {}))
    if "properties" in items:
        yield from _rows(root, items, f"{name}[].")
    named = [*found.get("patternProperties", {}).values(), found.get("additionalProperties")]
    for value in named:
        values = _resolved(root, value) if isinstance(value, Mapping) else {}
        if "properties" in values:
            yield from _rows(root, values, f"{name}.NAME.")


def _resolved(root: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" in node:
        found: Mapping[str, Any] = root["$defs"][node["$ref"].rpartition("/")[2]]
        return found
    options = [o for o in node.get("anyOf", []) if o.get("type") != "null"]
    return {**node, **options[0]} if len(options) == 1 else node


def _type(root: Mapping[str, Any], node: Mapping[str, Any]) -> str:
    if "const" in node:
        return f"`{node['const']}`"
    if "enum" in node:
        return " or ".join(f"`{value}`" for value in node["enum"])
    if "anyOf" in node:
        return " or ".join(dict.fromkeys(_type(root, _resolved(root, o)) for o in node["anyOf"]))
    if node.get("type") == "array":
        return f"list of {_type(root, _resolved(root, node.get('items', {})))}"
    return {"object": "mapping"}.get(str(node.get("type")), str(node.get("type", "any")))


def _default(value: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    default = value.get("default", found.get("default"))
    if default in (None, "", [], {}) or isinstance(default, Mapping):
        return ""
    return f"`{json.dumps(default, ensure_ascii=False)}`"


if __name__ == "__main__":
    sys.exit(main())
