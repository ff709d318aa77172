"""`mlops init`: makes a repository ready for its first release."""

from __future__ import annotations

from typing import Annotated

import typer

from mlops import __version__, resources
from mlops.adapters.checkout import Checkout
from mlops.cli import init_hook, options, render
from mlops.config import toolimage
from mlops.engine.init import Order, Scaffold, Templates, plan, write
from mlops.errors import UsageError

_BranchOption = Annotated[
    str,
    typer.Option(
        "--gitops-branch", metavar="BRANCH", help="Keep pins and records on a branch of their own."
    ),
]
_UrlOption = Annotated[
    str,
    typer.Option(
        "--gitops-url", metavar="URL", help="Keep pins and records in a repository of their own."
    ),
]
_TOOL = f"ghcr.io/mlops-gitops/mlops:{__version__}"  # where this installation names no image


_HookOption = Annotated[
    bool,
    typer.Option(
        "--hook",
        help="Instead: let each push to the bare repository here (or --repo) start mlops watch --once.",
    ),
]


def init(
    *,
    hook: _HookOption = False,
    gitops_branch: _BranchOption = "",
    gitops_url: _UrlOption = "",
    repo: options.Repo = options.HERE,
    yes: options.Yes = False,
    dry_run: options.DryRun = False,
    output: options.Out = options.Output.TEXT,
    verbose: options.Verbose = False,
) -> int:
    """Write mlops.yaml, environments/, tekton/install/, a CI workflow and a .gitignore line into this repository.

    Model, dependencies and pipeline are found out from its files. Nothing that is there is
    changed, and nothing is committed; the next commands are printed.
    """
    if hook:
        return init_hook.install(repo, dry_run=dry_run, output=output)
    tree = Checkout(repo)
    found = plan(tree, _templates(), Order(gitops_branch, gitops_url))
    _explain(found)
    if dry_run or not yes:
        _changes(found, "would be added")
    if dry_run:
        _diff(found)
        return 0
    if _wanting(found) and not render.ask(f"Write {_wanting(found)}?", yes=yes):
        raise UsageError("nothing was written", hint="Repeat with --yes to write these files")
    written = write(tree, found)
    _changes(found, "added")
    value = [
        {
            "written": list(written),
            "kept": list(found.kept),
            "fetch": found.fetch,
            "assumed": list(found.assumed),
            "missing": list(found.missing),
            "next": list(found.commands),
        }
    ]
    render.answer(value, output, lambda: _print(found))
    return 0


def _templates() -> Templates:
    published = toolimage.packaged()
    tool = f"{published.repository}@{published.digest}" if published is not None else _TOOL
    return Templates(
        _texts("environments"),
        resources.path("workflow.yml").read_text(encoding="utf-8"),
        _texts("tekton/install"),
        tool,
    )


def _texts(name: str) -> dict[str, str]:
    """The YAML files below a packaged directory: path → text."""
    root = resources.path(name)
    return {
        str(path.relative_to(root)): path.read_text(encoding="utf-8")
        for path in sorted(root.rglob("*.yaml"))
    }


def _explain(found: Scaffold) -> None:
    for text in found.assumed:
        render.note(f"assumed: {render.safe(text)}")
    for text in found.missing:
        render.note(f"missing: {render.safe(text)}")
    for path in found.kept:
        render.note(f"kept: {render.safe(path)} is there already")
    for path in found.files:
        render.note(f"new: {render.safe(path)}")


def _wanting(found: Scaffold) -> str:
    """What is still to be written, in words; empty where all is there."""
    count = len(found.files) + bool(found.ignored)
    if count:
        return f"{count} file{'' if count == 1 else 's'}"
    return "git's settings" if found.fetch else ""


def _changes(found: Scaffold, added: str) -> None:
    """What comes into files that are there; `added` is the verb in its tense."""
    if found.ignored:
        render.note(f"{added} to .gitignore: {' '.join(found.ignored)}")
    if found.fetch:
        render.note(
            f"{added} to git's settings: git fetch {render.safe(found.fetch)} brings the tags of "
            "releases too (without them dvc gc would take their data for unused)"
        )


def _diff(found: Scaffold) -> None:
    for path, text in found.files.items():
        render.line(f"--- /dev/null\n+++ b/{render.safe(path)}")
        for line in text.splitlines():
            render.line(f"+{line}")
    for line in found.ignored:
        render.line(f"--- a/.gitignore\n+++ b/.gitignore\n+{line}")


def _print(found: Scaffold) -> None:
    render.note("Next:")
    for command in found.commands:
        render.line(command)
