"""The GitOps branch as a run sees it: the environment that receives releases first."""

from __future__ import annotations

from dataclasses import dataclass

from mlops.adapters.git import GitOpsBranch
from mlops.config.environment import parse_environment, parse_holds, parse_quarantine
from mlops.domain.digest import Digest
from mlops.domain.environment import EnvironmentPolicy, Hold, QuarantineEntry
from mlops.domain.release import ReleaseRecord, record_path
from mlops.domain.source import Commit
from mlops.errors import ConfigError
from mlops.manifests import kustomization
from mlops.steps.sources import Source, open_repository


@dataclass(frozen=True, slots=True)
class Target:
    """An environment at one tip. `pinned` is what it pins of the model, with its record where it
    has one."""

    policy: EnvironmentPolicy
    path: str
    kustomization: bytes
    pinned: Digest | None
    record: ReleaseRecord | None
    holds: tuple[Hold, ...]
    quarantine: tuple[QuarantineEntry, ...]


def open_branch(source: Source) -> GitOpsBranch:
    """The branch; its own repository is cloned into the state where the document names one."""
    inputs = source.inputs
    repository = source.repository
    url = inputs.text("gitops-url")
    if url:
        repository = open_repository(url, source.state.root / "gitops", fetch=True)
    return GitOpsBranch(
        repository,
        inputs.text("gitops-branch"),
        inputs.text("gitops-path"),
        repository.remote_name(),
        source.project.forge_of_gitops,
    )


def record_at(branch: GitOpsBranch, tip: Commit, model: str, digest: Digest) -> bytes | None:
    """The bytes of a release's record; None where it has none."""
    return branch.read(tip, record_path(branch.path, model, digest))


def target_at(branch: GitOpsBranch, tip: Commit | None, environment: str, model: str) -> Target:
    """The environment at a tip. Raises ConfigError where it is not there, or cannot be read."""
    path = f"{branch.path}/{environment}/kustomization.yaml"
    content = branch.read(tip, path) if tip is not None else None
    if tip is None or content is None:
        raise ConfigError(
            f"{path} is not on the branch {branch.branch}",
            hint="Run mlops init, then commit and push what it wrote",
        )
    pins = {pin.model: pin.digest for pin in kustomization.pins(content, path)}
    pinned = pins.get(model)
    record = record_at(branch, tip, model, pinned) if pinned is not None else None

    def file(name: str) -> tuple[bytes | None, str]:
        where = f"{branch.path}/{name}"
        return branch.read(tip, where), where

    policy, policy_path = file(f"{environment}/environment.yaml")
    return Target(
        policy=parse_environment(policy, environment, policy_path),
        path=path,
        kustomization=content,
        pinned=pinned,
        record=None if record is None else ReleaseRecord.parse(record, f"{model}@{pinned}"),
        holds=parse_holds(*file(f"{environment}/holds.yaml")),
        quarantine=parse_quarantine(*file("quarantine.yaml")),
    )
