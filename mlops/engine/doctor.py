"""`mlops doctor`: what is missing or misconfigured here, and the command that mends it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mlops.engine.init import TAGS
from mlops.errors import ForgeError
from mlops.ports import Checkout
from mlops.ports.forge import Forge

_RENOVATE = re.compile(r"(?:^|/)(?:renovate\.json5?|\.renovaterc(?:\.json5?)?)$")
_WRITERS = {
    "ImageUpdateAutomation": "Flux's image automation",
    "argocd-image-updater.argoproj.io": "Argo CD Image Updater",
}
_BUNDLED = (".dvc/config", ".dvc/config.local")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `needed` says that mlops does not work here without it;
    `remedy` is the command, or the sentence, that mends it."""

    subject: str
    fine: bool
    needed: bool
    said: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Machine:
    """What this machine has: the version of git (empty: none), why the sandbox does not work
    (empty: it does) with what to do, and the name of what renders overlays (empty: nothing)."""

    git: str
    sandbox: tuple[str, ...]
    sandbox_remedy: str
    renderer: str


@dataclass(frozen=True, slots=True)
class Setup:
    """What is configured: the faults of the configuration (empty: none), whether it could be read,
    the registry, whether pins live on the branch of the source, git's user, whether the clone is shallow, and how
    many decisions stand in this clone alone, as the remote refused them."""

    faults: tuple[str, ...]
    registry: str
    same_branch: bool
    identity: str
    shallow: bool
    refused: int = 0


def machine(found: Machine) -> Iterator[Finding]:
    """What programs are here."""
    yield Finding(
        "git",
        bool(found.git),
        True,
        found.git or "git is not installed",
        "" if found.git else "apt-get install git",
    )
    works = not found.sandbox
    yield Finding(
        "sandbox",
        works,
        False,
        "steps run in a sandbox"
        if works
        else f"no sandbox: {'; '.join(found.sandbox)}. Steps run as plain processes",
        "" if works else found.sandbox_remedy,
    )
    yield Finding(
        "kustomize",
        bool(found.renderer),
        False,
        f"overlays are rendered by {found.renderer}"
        if found.renderer
        else "neither kustomize 5 nor kubectl 1.27: rollback cannot check that an overlay renders",
        "" if found.renderer else "install kustomize 5 or kubectl 1.27 or newer",
    )


def project(tree: Checkout, setup: Setup | None) -> Iterator[Finding]:
    """What the project in `tree` has; `setup` is None where it has no mlops.yaml."""
    if setup is None:
        yield Finding("mlops.yaml", False, True, "no mlops.yaml here", "mlops init --yes")
        return
    yield from _configuration(tree, setup)
    yield from _remotes(tree, setup)
    yield from _data(tree)
    yield from _writers(tree)


def access(forge: Forge) -> Finding:
    """What the token may do on a forge, as far as the forge tells."""
    where = f"{forge.place.kind} at {forge.place.host}, {forge.place.repository}"
    try:
        found = forge.access()
    except ForgeError as exc:
        return Finding("forge", False, False, exc.message, exc.hint)
    who = f"as {found.login}" if found.login else "with a token that is nobody's"
    if found.writes is False:
        remedy = "give the token the rights that docs/how-to/forges.md lists"
        return Finding("forge", False, False, f"{where}: {who}, who may not write there", remedy)
    return Finding("forge", True, False, f"{where}: {who}")


def _configuration(tree: Checkout, setup: Setup) -> Iterator[Finding]:
    for fault in setup.faults:
        lock = fault.startswith("mlops.lock: not there")
        remedy = "mlops lock" if lock else "mlops config check"
        yield Finding("configuration", False, True, fault, remedy)
    if not setup.faults:
        yield Finding(
            "configuration", True, True, "mlops.yaml, locks and environments are in order"
        )
    ignored = {line.strip().strip("/") for line in (tree.text(".gitignore") or "").splitlines()}
    if ".mlops" not in ignored:
        yield Finding(
            ".gitignore",
            False,
            False,
            ".mlops/ is not ignored: runs and images count as uncommitted files",
            "echo .mlops/ >> .gitignore",
        )
    yield Finding(
        "identity",
        bool(setup.identity),
        False,
        f"commits are by {setup.identity}" if setup.identity else "git does not know your name",
        "" if setup.identity else 'git config user.name "Your Name"',
    )
    if setup.registry.startswith("oci:"):
        yield Finding(
            "registry",
            True,
            False,
            f"images stay on this machine, in {setup.registry.removeprefix('oci:')}",
        )


def _remotes(tree: Checkout, setup: Setup) -> Iterator[Finding]:
    name, url = tree.remote()
    if not name:
        yield Finding(
            "git remote",
            False,
            False,
            "no git remote: releases and claims are recorded in this clone alone",
            "git remote add origin URL",
        )
        return
    yield Finding("git remote", True, False, f"{name} is {url}")
    fetched = TAGS in tree.fetches(name)
    yield Finding(
        "release tags",
        fetched,
        False,
        f"git fetch {name} brings the tags of releases"
        if fetched
        else "git fetch leaves out the tags of releases: dvc gc here would remove their data",
        "" if fetched else f"git config --add remote.{name}.fetch '{TAGS}'",
    )
    if setup.shallow:
        yield Finding(
            "history",
            False,
            False,
            "this clone is shallow: what was pinned earlier is not known here",
            "git fetch --unshallow",
        )
    if setup.refused:
        yield Finding(
            "claims",
            False,
            False,
            f"{name} did not take refs below refs/mlops/runs/: {setup.refused} of its decisions stand in this clone "
            "alone, and another clone may run the same again",
            "allow this user to push refs/mlops/* there; then: mlops watch --once",
        )
    if setup.same_branch:
        yield Finding(
            "GitOps branch",
            True,
            False,
            "pins are pushed to the branch of the source; where that is protected: set gitops.branch",
        )


def _data(tree: Checkout) -> Iterator[Finding]:
    files = tree.files()
    used = any(path == "dvc.yaml" or path.endswith(("/dvc.yaml", ".dvc")) for path in files)
    if not used:
        return
    if tree.text(".dvc/config") is None:
        yield Finding("DVC", False, True, "no .dvc directory: the pipeline cannot run", "dvc init")
        return
    settings = "".join(tree.text(path) or "" for path in _BUNDLED)
    there = re.search(r"^\s*\[['\"]?remote", settings, re.MULTILINE) is not None
    yield Finding(
        "DVC remote",
        there,
        True,
        "data has a remote" if there else "no DVC remote: runs refuse to start",
        "" if there else "dvc remote add --default NAME URL",
    )


def _writers(tree: Checkout) -> Iterator[Finding]:
    """Other programs that move pins; none of them reads a hold."""
    for path in tree.files():
        found = "Renovate" if _RENOVATE.search(path) else ""
        if path.endswith((".yaml", ".yml")) and not found:
            text = tree.text(path) or ""
            found = next((name for mark, name in _WRITERS.items() if mark in text), "")
        if found:
            yield Finding(
                "other writers",
                False,
                False,
                f"{path}: {found} may move pins, and reads no holds",
                "keep it away from environments/",
            )
