"""How people and other tools write a kustomization: the same images in many hands."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

Images = Sequence[dict[str, Any]]

HEAD = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
OLD = "sha256:" + "0" * 64  # a digest that only comments speak of


def plain(images: Images) -> bytes:
    return f"# by a person\n{HEAD}resources:\n  - ../base\n{_block(images)}".encode()


def quoted(images: Images) -> bytes:
    """Quoted digests, a comment beside each entry, one of them with a digest in it."""
    lines = ["images:" if images else "images: []"]
    for entry in images:
        first, *rest = entry.items()
        lines.append(f"- {first[0]}: '{first[1]}'   # ours; was {OLD}")
        lines += [f'  {key}: "{value}"  # {key}' for key, value in rest]
    return (HEAD + "\n".join(lines) + "\nlabels: []  # none\n").encode()


def flow_entries(images: Images) -> bytes:
    lines = ["images:" if images else "images: []"]
    lines += [f"  - {{ {_pairs(entry)} }} # {place}" for place, entry in enumerate(images)]
    return (HEAD + "\n".join(lines) + "\nresources: [../base]\n").encode()


def flow_line(images: Images) -> bytes:
    entries = ", ".join(f"{{{_pairs(entry)}}}" for entry in images)
    return f"{HEAD}images: [{entries}] # all of them\nresources: [../base]\n".encode()


def flow_lines(images: Images) -> bytes:
    entries = ",\n".join(f"  {{{_pairs(entry)}}}" for entry in images)
    body = f"[\n{entries}\n]" if images else "[]"
    return f"{HEAD}resources: [../base]\nimages: {body}\n".encode()


def windows(images: Images) -> bytes:
    return f"# two\n{HEAD}\n{_block(images, 4)}resources: [../base]\n".replace(
        "\n", "\r\n"
    ).encode()


def as_json(images: Images) -> bytes:
    value = {"kind": "Kustomization", "images": [dict(entry) for entry in images], "resources": []}
    return json.dumps(value, indent=2).encode()


def unfinished(images: Images) -> bytes:
    """A document start, a byte order mark, and no line break at the end."""
    return f"\ufeff---\n{HEAD}{_block(images)}# the end: {OLD}".encode()


def anchored(images: Images) -> bytes:
    return f"{HEAD}commonLabels: &l {{a: b}}\n{_block(images)}commonAnnotations: *l\n".encode()


STYLES: tuple[Callable[[Images], bytes], ...] = (
    plain,
    quoted,
    flow_entries,
    flow_line,
    flow_lines,
    windows,
    as_json,
    unfinished,
    anchored,
)

BROKEN = (
    b"",
    b"- a\n- list\n",
    b"images: [\n",
    b"images: {{ .Values.images }}\n",
    b"\x00\xff\xfe",
    b"kind: Kustomization\n\timages: []\n",
    b"<<<<<<< HEAD\nkind: Kustomization\n=======\n",
    f"images:\n- name: spam\n  digest: {OLD}\n- name: spam\n  digest: {OLD}\n".encode(),
)


def _block(images: Images, indent: int = 0) -> str:
    if not images:
        return "images: []\n"
    lines = ["images:"]
    for entry in images:
        mark = " " * indent + "- "
        for key, value in entry.items():
            lines.append(f"{mark}{key}: {value}")
            mark = " " * (indent + 2)
    return "\n".join(lines) + "\n"


def _pairs(entry: dict[str, Any]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in entry.items())
