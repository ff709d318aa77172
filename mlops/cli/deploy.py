"""`mlops deploy`: bring an environment's overlay to the cluster."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

import typer

from mlops.adapters.kustomize import Kustomize
from mlops.cli import completion, opening, options, pins, render, wiring, wiring_cluster
from mlops.config.fields import seconds
from mlops.domain.cluster import Access
from mlops.engine.deploy import Answer, Deploying, DeployOrder
from mlops.errors import GitError, UsageError

Context = Annotated[
    str,
    typer.Option(
        "--context",
        metavar="CONTEXT",
        help="The context of the kubeconfig; default: as mlops.yaml says, else its current one.",
        show_default=False,
        autocompletion=completion.contexts,
    ),
]


def deploy(
    environment: pins.Environment,
    *,
    timeout: Annotated[
        str, typer.Option(metavar="TIME", help="How long rollouts may take; 0s: do not wait.")
    ] = "5m",
    force: Annotated[
        bool, typer.Option("--force", help="Take over fields that somebody else manages.")
    ] = False,
    create_namespace: Annotated[
        bool, typer.Option("--create-namespace", help="Make namespaces that are not there.")
    ] = False,
    context: Context = "",
    namespace: Annotated[
        str,
        typer.Option(
            "--namespace",
            "-n",
            metavar="NAMESPACE",
            help="For what the overlay gives no namespace, and only that; default: the context's, else default.",
            show_default=False,
        ),
    ] = "",
    dry_run: options.DryRun = False,
    repo: options.Repo = options.HERE,
    output: options.Out = options.Output.TEXT,
    verbose: options.Verbose = False,
) -> int:
    """Apply what an environment pins to the cluster, remove what it no longer has, wait for rollouts.

    For those without Argo CD or Flux. A dry run asks the cluster what would change, and shows it.
    Examples:  mlops deploy dev    mlops deploy prod --dry-run    mlops deploy prod --timeout 15m
    """
    try:
        patience = seconds(timeout)
    except ValueError as exc:
        raise UsageError(f"--timeout {timeout!r}: {exc}") from exc
    opened = opening.open_project(repo)
    opened.project.environment(environment)
    config = opened.project.cluster
    access = Access(context or config.context, namespace)
    waits = wiring_cluster.QUESTION if dry_run else wiring_cluster.LASTING
    deploying = Deploying(
        lambda: pins.environments(opened),
        wiring_cluster.deployer(access, waits),
        Kustomize(),
        opened.now,
        render.note,
    )
    order = DeployOrder(
        environment,
        opened.actor,
        patience,
        force=force,
        create_namespaces=create_namespace,
        dry_run=dry_run,
    )
    answer = deploying.deploy(order)
    render.answer(
        [_json(answer, dry_run=dry_run)],
        output,
        lambda: _print(answer, dry_run=dry_run, awaited=bool(patience)),
    )
    if environment == opened.project.environments[0]:
        _tell_of_runs(opened, environment)
    for late in answer.late:
        render.fail(late)
    return int(bool(answer.late))


def _tell_of_runs(opened: wiring.Opened, environment: str) -> None:
    """Say which runs have yet to pin what they make: it is not among what was deployed."""
    try:
        for run in opened.under_way():
            render.note(
                f"run {run} goes on: what it releases is deployed by mlops deploy {environment} once it is over"
            )
    except GitError as exc:
        render.note(f"whether a run goes on is not known: {exc.message}")


def _json(answer: Answer, *, dry_run: bool) -> dict[str, Any]:
    return {
        "environment": answer.environment,
        "commit": answer.commit.sha,
        "releases": [str(each) for each in answer.releases],
        "objects": [
            {
                "apiVersion": each.object.version,
                "kind": each.object.kind,
                "namespace": each.object.namespace or None,
                "name": each.object.name,
                "change": each.change,
                "diff": each.diff if dry_run else None,
            }
            for each in answer.objects
        ],
        "late": list(answer.late),
    }


def _print(answer: Answer, *, dry_run: bool, awaited: bool) -> None:
    changed = [each for each in answer.objects if each.change != "unchanged"]
    for each in changed:
        if dry_run and each.diff:
            render.diff(each.diff)
        elif not dry_run or each.change == "kept":
            render.line(f"{each.change}: {each.object}")
    name, commit = answer.environment, answer.commit.short
    if dry_run:
        counted = Counter(each.change for each in answer.objects)
        told = ", ".join(f"{counted[each]} {each}" for each in sorted(counted))
        render.note(f"nothing was written; deploying {name} at {commit} would give: {told}")
        return
    if not changed:
        render.note(f"{name} was as it is at {commit}: nothing changed")
    for release in answer.releases:
        render.line(f"{name} {'runs' if awaited and not answer.late else 'pins'} {release}")
