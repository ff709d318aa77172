"""A GitOps branch on a real remote, pinned by automation and by people, and its history as mlops tells it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mlops.adapters.git import GitOpsBranch
from mlops.domain.history import PinRow
from mlops.domain.message import compose
from mlops.domain.project import ModelConfig, Project
from mlops.engine.publishing import Publisher
from mlops.engine.state import Environments
from mlops.manifests import kustomization
from mlops.ports import Published
from tests.fakes.estate import KUSTOMIZATION, digest, overlays, record, release

START = 1_700_000_000
LETTERS = "ABCDEFGH"
PROJECT = 'apiVersion: mlops/v1\nkind: Project\nname: demo\nmodels:\n  eggs: {paths: ["**"]}\n  spam: {paths: ["**"]}\n'


@dataclass
class Chronicle:
    """`ours` pins as our commands do, in one clone; `person` is another clone, used with git alone."""

    sandbox: object
    person: Path = field(init=False)
    gitops: GitOpsBranch = field(init=False)
    clock: int = START
    names: tuple[str, ...] = ("dev", "staging", "prod")
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.person = self.sandbox.clone("person")
        files = {path: content.decode() for path, content in overlays().items()}
        for letter in LETTERS:
            made = record(letter)
            path = f"environments/releases/spam/{made.release.digest.hex}.json"
            files[path] = json.dumps(dict(made.document))
        self.commit("begin", {"mlops.yaml": PROJECT, **files})
        self.push()
        self.gitops = self.sandbox.gitops(self.sandbox.clone("automation"))

    def kustomization(self, environment: str) -> str:
        return f"environments/{environment}/kustomization.yaml"

    # -- a person with git

    def dated(self) -> dict[str, str]:
        self.clock += 60
        stamp = f"@{self.clock} +0000"
        return {"GIT_COMMITTER_DATE": stamp, "GIT_AUTHOR_DATE": stamp}

    def git(self, *args: str, code: int = 0) -> str:
        return self.sandbox.git(self.person, *args, env=self.dated(), code=code)

    def head(self) -> str:
        return self.git("rev-parse", "HEAD")

    def commit(self, message: str, files: dict[str, str | None]) -> str:
        for path, content in files.items():
            target = self.person / path
            if content is None:
                target.unlink()
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(content)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.head()

    def edited(self, environment: str, message: str = "by hand", **names: str) -> str:
        """A pin by hand, committed and not pushed."""
        return self.commit(
            message, {self.kustomization(environment): self.with_pins(environment, **names)}
        )

    def with_pins(self, environment: str, **names: str) -> str:
        content = (self.person / self.kustomization(environment)).read_bytes()
        for model, name in names.items():
            content = kustomization.with_pin(content, model, digest(name), "k")
        return content.decode()

    def work(self, name: str) -> str:
        return self.commit(f"work on {name}", {name: name})

    def pull(self, *args: str) -> str:
        self.git("pull", "-q", *(args or ("--no-rebase", "--no-edit")))
        return self.head()

    def push(self, *args: str) -> None:
        self.git("push", "-q", *args, "origin", "HEAD:main")

    # -- automation

    def ours(
        self,
        action: str,
        environment: str = "prod",
        more: Iterable[tuple[str, str]] = (),
        **names: str,
    ) -> str:
        """A commit as our commands write it, pushed."""
        tip = self.gitops.refresh()
        path = self.kustomization(environment)
        content = self.gitops.read(tip, path) or KUSTOMIZATION
        before = {pin.model: pin.digest for pin in kustomization.pins(content, path)}
        for model, name in names.items():
            content = kustomization.with_pin(content, model, digest(name), path)
        previous = [
            ("Mlops-Previous", f"{model}@{before[model]}") for model in names if model in before
        ]
        message = compose(
            f"{action} {environment}",
            [
                ("Mlops-Action", action),
                ("Mlops-Environment", environment),
                ("Mlops-Actor", "Bob"),
                *[("Mlops-Model", str(release(name, model))) for model, name in names.items()],
                *previous,
                *more,
            ],
        )
        with self.sandbox.at(self.dated()):
            done = self.gitops.publish(tip, {path: content}, message)
        assert isinstance(done, Published)
        return done.commit.sha

    # -- what mlops tells

    def environments(
        self, gitops: GitOpsBranch | None = None, *, fetch: bool = True
    ) -> Environments:
        publisher = Publisher(
            gitops=gitops or self.gitops,
            project=Project(
                "demo", (ModelConfig("eggs"), ModelConfig("spam")), environments=self.names
            ),
            actor="Ada",
            now=lambda: datetime.fromtimestamp(self.clock, UTC) + timedelta(hours=1),
            note=self.notes.append,
        )
        return publisher.environments(fetch=fetch)

    def rows(self, environment: str = "prod", model: str | None = None) -> list[PinRow]:
        return list(self.environments().history(environment).rows(model))

    def told(self, environment: str = "prod") -> list[str]:
        """`A promote`, newest first, of spam; `eggs A promote` of another model."""
        return [_told(row) for row in self.rows(environment)]


def _told(row: PinRow) -> str:
    name = next(letter for letter in LETTERS if digest(letter) == row.digest)
    return f"{'' if row.model == 'spam' else f'{row.model} '}{name} {row.action}"
