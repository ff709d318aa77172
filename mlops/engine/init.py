"""`mlops init`: what a repository needs to be released by mlops, found out, shown and written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePosixPath

from mlops.config.discovery import Discovery, discover
from mlops.config.discovery.naming import slug
from mlops.config.discovery.requirements import project_name
from mlops.config.project import parse_project
from mlops.domain import giturl
from mlops.domain.project import Project
from mlops.manifests import install, scaffold
from mlops.ports import Checkout

PROJECT_FILE = "mlops.yaml"
TAGS = "+refs/tags/mlops/*:refs/tags/mlops/*"
WORKFLOW = ".github/workflows/mlops.yml"
_IGNORED = (".mlops/",)
_OTHER_FORGES = ("gitlab", "bitbucket", "dev.azure.com", "gitea", "codeberg", "forgejo")


@dataclass(frozen=True, slots=True)
class Order:
    """What the user asked for: where pins live, if not on the branch of the source."""

    gitops_branch: str = ""
    gitops_url: str = ""


@dataclass(frozen=True, slots=True)
class Templates:
    """The reference environments (path below environments/ → text), the CI workflow, what a cluster
    needs (path below tekton/install → text), and the name of the tool image in it."""

    environments: Mapping[str, str]
    workflow: str
    install: Mapping[str, str]
    tool: str


@dataclass(frozen=True, slots=True)
class Scaffold:
    """What is to be written, and what to say about it.

    `files` are new; `kept` were there and stay as they are; `ignored` are lines for .gitignore;
    `fetch` is the remote that gets the refspec for the tags of releases, empty where none does.
    """

    files: Mapping[str, str]
    kept: tuple[str, ...]
    ignored: tuple[str, ...]
    fetch: str
    assumed: tuple[str, ...]
    missing: tuple[str, ...]
    commands: tuple[str, ...]


@dataclass
class _LazyFiles(Mapping[str, str]):
    """The files of a work tree; each is read when it is first asked for."""

    tree: Checkout
    read: dict[str, str] = field(default_factory=dict)

    @cached_property
    def _paths(self) -> dict[str, None]:
        return dict.fromkeys(self.tree.files())

    def __getitem__(self, path: str) -> str:
        if path not in self._paths:
            raise KeyError(path)
        if path not in self.read:
            self.read[path] = self.tree.text(path) or ""
        return self.read[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


def plan(tree: Checkout, templates: Templates, order: Order) -> Scaffold:
    """What init would write into `tree`.

    Where mlops.yaml is there already, it decides the models, and only what is absent is added.
    Raises ConfigError where that file is wrong.
    """
    files = _LazyFiles(tree)
    name = slug(project_name(files.get("pyproject.toml", "")) or tree.root.name)
    branch = tree.branch() or "main"
    remote, url = tree.remote()
    found = discover(files, name)
    existing = tree.text(PROJECT_FILE)
    if existing is None:
        text = scaffold.project(name, branch, found.models, _gitops(order))
        assumed = (*_assumed(tree, branch, order), *found.assumed)
    else:
        text, found = existing, Discovery(())
        assumed = (f"{PROJECT_FILE} is there: what it says stays as it is",)
    # what init writes must be what mlops reads
    project = parse_project(text.encode(), PROJECT_FILE)
    wanted = {
        PROJECT_FILE: text,
        **scaffold.environments(
            templates.environments, project.name, project.names, "environments"
        ),
        **install.files(templates.install, _installation(project, url, templates.tool)),
    }
    if not _elsewhere(files, url):
        wanted[WORKFLOW] = scaffold.workflow(templates.workflow, branch)
    new = {
        path: content
        for path, content in wanted.items()
        if tree.text(path) is None and not _unlisted(tree, path)
    }
    ignored = _unignored(tree)
    return Scaffold(
        files=new,
        kept=tuple(path for path in wanted if tree.text(path) is not None),
        ignored=ignored,
        fetch=remote if remote and TAGS not in tree.fetches(remote) else "",
        assumed=assumed,
        missing=(*found.missing, *_missing(tree, files, url), *_unplaced(project, tree, wanted)),
        commands=tuple(_commands(project, new, ignored, branch, remote, order)),
    )


def write(tree: Checkout, scaffold_: Scaffold) -> tuple[str, ...]:
    """Write what is new; the paths written. A file that appeared meanwhile is left alone."""
    written = [path for path, text in scaffold_.files.items() if tree.create(path, text)]
    if scaffold_.ignored:
        tree.append(".gitignore", "".join(f"{line}\n" for line in scaffold_.ignored))
        written.append(".gitignore")
    if scaffold_.fetch:
        tree.add_fetch(scaffold_.fetch, TAGS)
    return tuple(written)


def _gitops(order: Order) -> dict[str, str]:
    found = {"url": order.gitops_url, "branch": order.gitops_branch}
    return {key: value for key, value in found.items() if value}


def _installation(project: Project, url: str, tool: str) -> install.Installation:
    """What tekton/install is about; the credentials of a remote's URL stay here."""
    named = giturl.without_login(project.cluster.repository or url)
    local = not named or named.startswith(("/", ".", "~", "file:"))
    namespace = project.cluster.namespace or project.name
    return install.Installation(
        project.name, namespace, "" if local else named, project.branches, tool
    )


def _elsewhere(files: Mapping[str, str], url: str) -> bool:
    """Whether the repository's forge is one that does not run GitHub's workflows."""
    return ".gitlab-ci.yml" in files or any(forge in url.lower() for forge in _OTHER_FORGES)


def _unlisted(tree: Checkout, path: str) -> bool:
    """Whether a file is for an overlay that stands already, without it: nothing would read it."""
    at = PurePosixPath(path)
    return at.name == "namespace.yaml" and tree.text(f"{at.parent}/kustomization.yaml") is not None


def _unignored(tree: Checkout) -> tuple[str, ...]:
    lines = (tree.text(".gitignore") or "").splitlines()
    there = {line.strip().strip("/") for line in lines}
    return tuple(line for line in _IGNORED if line.strip("/") not in there)


def _assumed(tree: Checkout, branch: str, order: Order) -> Iterator[str]:
    if tree.branch():
        yield f"releases come from {branch}, the branch that is checked out"
    else:
        yield "releases come from main: no branch is checked out"
    if order.gitops_url:
        yield f"pins and records live in {order.gitops_url}"
    elif order.gitops_branch:
        yield f"pins and records live on the branch {order.gitops_branch}"
    else:
        yield (
            f"pins and records live on {branch} too; where it is protected: "
            "mlops init --gitops-branch mlops-environments"
        )
    yield "base host: images hold this machine's Python and run on machines like it"


def _missing(tree: Checkout, files: Mapping[str, str], url: str) -> Iterator[str]:
    dvc = any(path == "dvc.yaml" or path.endswith(("/dvc.yaml", ".dvc")) for path in files)
    settings = (tree.text(".dvc/config") or "") + (tree.text(".dvc/config.local") or "")
    if dvc and tree.text(".dvc/config") is None:
        yield "no .dvc directory: the pipeline cannot run (dvc init)"
    elif dvc and "remote" not in settings:
        yield (
            "no DVC remote: data and models have no second copy, and runs refuse to start "
            "(dvc remote add --default NAME URL)"
        )
    if not url:
        yield "no git remote: releases are recorded in this clone alone (git remote add origin URL)"
    if _elsewhere(files, url):
        yield "no CI workflow for this forge: let it call `mlops watch --once` at each push"


def _unplaced(project: Project, tree: Checkout, wanted: Mapping[str, str]) -> Iterator[str]:
    """What tells runs on a cluster to go where tekton/install is for: else the kubeconfig decides."""
    if project.executor != "tekton" or project.cluster.namespace:
        return
    text = tree.text(install.KUSTOMIZATION) or wanted[install.KUSTOMIZATION]
    place = install.namespace(text.encode())
    if place:
        yield (
            f"no namespace for runs: {install.PATH} is for {place}, and the kubeconfig may name another "
            f"(write cluster: {{namespace: {place}}} into {PROJECT_FILE})"
        )


def _commands(
    project: Project,
    new: Mapping[str, str],
    ignored: tuple[str, ...],
    branch: str,
    remote: str,
    order: Order,
) -> Iterator[str]:
    """The commands that lead from here to the first release, as they are to be typed."""
    apart = bool(order.gitops_url or order.gitops_branch)
    tops = dict.fromkeys(_top(path) for path in new if not (apart and _pins(path)))
    if tops or ignored:
        names = " ".join([*tops, *([".gitignore"] if ignored else [])])
        yield f'git add {names} && git commit -m "Add mlops"'
    locks = dict.fromkeys(m.build.lock for m in project.models if m.build.requirements)
    names = " ".join(["mlops.lock", *locks])
    yield "mlops lock"
    yield f'git add {names} && git commit -m "Lock images and packages"'
    if remote:
        yield f"git push --set-upstream {remote} {branch}" if not apart else "git push"
    if order.gitops_url:
        yield f"git clone {order.gitops_url} ../deploy && mv environments ../deploy/"
        yield 'cd ../deploy && git add environments && git commit -m "Add environments" && git push'
    elif order.gitops_branch:
        yield f"git switch --orphan {order.gitops_branch} && git add environments"
        yield 'git commit -m "Add environments"'
        yield f"git push {remote} {order.gitops_branch}" if remote else f"git switch {branch}"
        if remote:
            yield f"git switch {branch}"
    yield "mlops run"


def _pins(path: str) -> bool:
    return path.startswith("environments/")


def _top(path: str) -> str:
    if path.startswith(f"{install.PATH}/"):
        return install.PATH
    return PurePosixPath(path).parts[0] if _pins(path) else path
