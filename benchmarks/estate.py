"""A synthetic GitOps repository, made by `git fast-import`: many commits, few of them pins.

Run by the other benchmarks; alone: python benchmarks/estate.py DIRECTORY [COMMITS]
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ENVIRONMENTS = ("dev", "test", "staging", "canary", "prod")
START = 1_500_000_000  # seconds since 1970 of the first commit
STEP = 600  # seconds from one commit to the next


@dataclass(frozen=True)
class Size:
    """How much is made: `pins` pin commits among `commits`, and so many `releases` recorded."""

    commits: int = 100_000
    pins: int = 5_000
    releases: int = 5_000
    models: int = 300

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"model-{number:03d}" for number in range(self.models))


def digest(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def build(directory: Path, size: Size) -> Path:
    """A bare repository at `directory`; each release walks through all environments."""
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", directory], check=True)
    with subprocess.Popen(
        ["git", "fast-import", "--quiet", "--done"], cwd=directory, stdin=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        for part in _stream(size):
            process.stdin.write(part)
        process.stdin.write(b"done\n")
    assert process.returncode == 0
    return directory


def _stream(size: Size) -> Iterator[bytes]:
    pins = {name: {model: digest(f"{model} 0") for model in size.names} for name in ENVIRONMENTS}
    files = {
        "mlops.yaml": _project(size),
        **{f"environments/{name}/kustomization.yaml": _overlay(pins[name]) for name in pins},
        **{f"environments/{name}/environment.yaml": _policy(name) for name in pins},
        **dict(_record(model, digest(f"{model} 0"), 0) for model in size.names),
    }
    yield _commit(0, "begin", files)
    every = max(1, size.commits // (size.pins + 1))
    walked, recorded = 0, size.models
    for number in range(1, size.commits):
        if number % every == 0 and walked < size.pins:
            release, place = divmod(walked, len(ENVIRONMENTS))
            walked += 1
            model, name = size.names[release % size.models], ENVIRONMENTS[place]
            new, old = digest(f"{model} {release + 1}"), pins[name][model]
            pins[name][model] = new
            changed = {f"environments/{name}/kustomization.yaml": _overlay(pins[name])}
            if place == 0:
                changed |= [_record(model, new, number)]
                recorded += 1
            yield _commit(number, _pinning(name, model, new, old, number), changed)
        elif number % every == every // 2 and recorded < size.releases:
            model = size.names[recorded % size.models]
            recorded += 1
            kept = _record(model, digest(f"{model} alone {number}"), number)
            yield _commit(number, f"Release {model}", dict([kept]))
        else:
            content = f"print({number})\n".encode()
            yield _commit(
                number, f"Work on part {number % 97}", {f"src/part{number % 97}.py": content}
            )


def _pinning(name: str, model: str, new: str, old: str, number: int) -> str:
    action = "run" if name == ENVIRONMENTS[0] else "promote"
    return (
        f"Promote {model} to {name}\n\n"
        f"Mlops-Action: {action}\nMlops-Environment: {name}\nMlops-Actor: Ada\n"
        f"Mlops-Model: {model}@{new}\nMlops-Previous: {model}@{old}\nMlops-Run: {model}-{number}\n"
    )


def _commit(number: int, message: str, files: dict[str, bytes]) -> bytes:
    text = message.encode()
    who = f"Ada <ada@example.com> {START + number * STEP} +0000"
    head = f"commit refs/heads/main\nauthor {who}\ncommitter {who}\ndata {len(text)}\n".encode()
    body = b"".join(
        f"M 100644 inline {path}\ndata {len(content)}\n".encode() + content + b"\n"
        for path, content in files.items()
    )
    return head + text + b"\n" + body + b"\n"


def _overlay(pins: dict[str, str]) -> bytes:
    lines = ["apiVersion: kustomize.config.k8s.io/v1beta1", "kind: Kustomization", "images:"]
    for model, pinned in pins.items():
        lines += [f"  - name: {model}", f"    digest: {pinned}"]
    return ("\n".join(lines) + "\n").encode()


def _policy(name: str) -> bytes:
    place = ENVIRONMENTS.index(name)
    before = f"from: {ENVIRONMENTS[place - 1]}\n" if place else ""
    return f"apiVersion: mlops/v1\nkind: Environment\n{before}".encode()


def _project(size: Size) -> bytes:
    head = "apiVersion: mlops/v1\nkind: Project\nname: estate\n"
    listed = f"environments: [{', '.join(ENVIRONMENTS)}]\nmodels:\n"
    return (head + listed + "".join(f"  {model}: {{}}\n" for model in size.names)).encode()


def _record(model: str, pinned: str, number: int) -> tuple[str, bytes]:
    sha = hashlib.sha256(f"{number}".encode()).hexdigest()[:40]
    document = {
        "schema": "mlops/release/v1",
        "release": f"{model}@{pinned}",
        "model": model,
        "source": {"repository": "estate", "commit": sha, "url": ""},
        "metrics": {"accuracy": 0.9},
        "run": {"name": f"{model}-{number}"},
    }
    path = f"environments/releases/{model}/{pinned.removeprefix('sha256:')}.json"
    return path, json.dumps(document, indent=2, sort_keys=True).encode() + b"\n"


if __name__ == "__main__":
    asked = int(sys.argv[2]) if len(sys.argv) > 2 else Size.commits
    share = asked / Size.commits
    build(Path(sys.argv[1]), Size(asked, int(Size.pins * share), int(Size.releases * share)))
