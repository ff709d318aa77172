"""What a cluster lacks of what runs need, and the command that mends it: `mlops doctor` of a cluster."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from mlops.domain.clusterstate import ClusterState, Questions, Right, Watching
from mlops.engine import clusterlogins
from mlops.engine.clusterlogins import SETTINGS, Logins
from mlops.engine.doctor import Finding
from mlops.manifests import install

_RESTRICTED = "pod-security.kubernetes.io/enforce"
_OLDEST = (1, 0)  # Tekton whose v1 API has all that runs use
_RUNS, _TASKS = "pipelineruns.tekton.dev", "taskruns.tekton.dev"
WATCHER = "mlops-watch"
_ENDED = "exit code"  # a container that began, and has said something
_FOLLOWS = (
    *(Right(verb, _RUNS) for verb in ("create", "get", "list", "watch", "patch")),
    *(Right(verb, _TASKS) for verb in ("get", "list", "watch")),
    Right("get", "pods/log"),
)
# what none of the accounts of tasks may do: these say of what kind a right too many is
_HARMFUL = (Right("get", "secrets"), Right("create", "pods"), Right("create", _RUNS))
_OF_WATCHER = "mlops-watch-git"
# Secrets of git and registries: clusterlogins. name → what is without it, and what comes after
# `kubectl create secret` and the name
_SECRETS = {
    "mlops-dvc": ("runs reach the DVC remote without credentials", "--from-env-file=FILE"),
    "mlops-packages": ("builds reach package indexes without a login", "--from-env-file=FILE"),
    _OF_WATCHER: (
        "mlops watch reads and claims without a login",
        "--from-file=config=FILE --from-file=login=FILE",
    ),
}


_NONE = Logins()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a project needs of its cluster: whether it runs there (else it only deploys), the accounts of
    tasks, the storage classes that models name ("": the default), the locked tool image, the namespace that
    tekton/install is for (empty: it is not there), and what tasks ask."""

    runs: bool
    accounts: tuple[str, ...]
    classes: tuple[str, ...]
    tool: str
    installs: str = ""
    logins: Logins = _NONE


def questions(wanted: Wanted) -> Questions:
    """What to ask a cluster."""
    accounts = dict.fromkeys(wanted.accounts, _HARMFUL) | {WATCHER: _FOLLOWS}
    return Questions(accounts, _FOLLOWS, (*clusterlogins.SECRETS, *_SECRETS), SETTINGS)


def findings(found: ClusterState, wanted: Wanted) -> Iterator[Finding]:
    """What there is to say of a cluster that answered."""
    yield Finding("cluster", True, True, f"{found.server} answers: Kubernetes {found.version}")
    yield _tekton(found, wanted)
    yield from _flags(found, wanted)
    yield from _namespace(found, wanted)
    if found.labels == {}:
        return
    yield _own(found, wanted)
    yield from _accounts(found, wanted)
    yield from _secrets(found, wanted)
    apply = install.remedy(found.namespace, wanted.installs)
    yield from clusterlogins.findings(found, wanted.logins, apply, runs=wanted.runs)
    yield from _classes(found, wanted)
    yield from _watcher(found, wanted)


def _unseen(subject: str, what: str) -> Finding:
    return Finding(subject, False, False, f"you may not see {what}", "ask whoever runs the cluster")


def _tekton(found: ClusterState, wanted: Wanted) -> Finding:
    if found.tekton == "":
        return Finding(
            *("Tekton", False, wanted.runs, "the cluster has no Tekton Pipelines (v1 API)"),
            "install it: https://tekton.dev/docs/installation/pipelines/",
        )
    if found.tekton is None:
        return Finding(
            "Tekton", True, wanted.runs, "Tekton Pipelines is there; its version is hidden"
        )
    match = re.match(r"v?(\d+)\.(\d+)", found.tekton)
    old = match is not None and (int(match[1]), int(match[2])) < _OLDEST
    if old:
        return Finding(
            *("Tekton", False, wanted.runs, f"Tekton Pipelines {found.tekton} is too old"),
            "install 1.0 or newer: https://tekton.dev/docs/installation/pipelines/",
        )
    return Finding("Tekton", True, wanted.runs, f"Tekton Pipelines {found.tekton}")


def _flags(found: ClusterState, wanted: Wanted) -> Iterator[Finding]:
    if not wanted.runs or found.tekton == "":
        return
    if found.flags is None:
        yield _unseen("Tekton's flags", "the ConfigMap feature-flags of tekton-pipelines")
        return
    restricted = (found.labels or {}).get(_RESTRICTED) == "restricted"
    if found.flags.get("set-security-context") != "true":
        yield Finding(
            *("Tekton's flags", False, restricted),
            "set-security-context is off: the pods of a restricted namespace are refused",
            _patch("set-security-context", "true"),
        )
    if found.flags.get("coschedule") == "disabled":
        yield Finding(
            *("Tekton's flags", False, False),
            "coschedule is disabled: on several nodes the tasks of a run cannot share their volume",
            _patch("coschedule", "workspaces"),
        )
    if found.flags.get("disable-affinity-assistant") == "true" and "coschedule" not in found.flags:
        yield Finding(
            *("Tekton's flags", False, False),
            "the affinity assistant is off: on several nodes the tasks of a run cannot share their volume",
            _patch("disable-affinity-assistant", "false"),
        )


def _patch(flag: str, value: str) -> str:
    data = f'{{"data":{{"{flag}":"{value}"}}}}'
    return f"kubectl patch configmap feature-flags -n tekton-pipelines --type merge -p '{data}'"


def _namespace(found: ClusterState, wanted: Wanted) -> Iterator[Finding]:
    if found.labels is None:
        yield _unseen("namespace", f"the labels of the namespace {found.namespace}")
        return
    if not found.labels:
        said = f"the cluster has no namespace {found.namespace}"
        remedy = install.remedy(found.namespace, wanted.installs)
        yield Finding("namespace", False, wanted.runs, said, remedy)
        return
    level = found.labels.get(_RESTRICTED, "")
    if level == "restricted":
        said = f"{found.namespace} enforces restricted Pod Security"
        yield Finding("namespace", True, wanted.runs, said)
        return
    yield Finding(
        *("namespace", False, False),
        f"{found.namespace} enforces {level or 'no'} Pod Security: training could have privileges",
        f"kubectl label --overwrite namespace {found.namespace} {_RESTRICTED}=restricted",
    )


def _own(found: ClusterState, wanted: Wanted) -> Finding:
    lacking = [right for right in _FOLLOWS if right not in found.own]
    if not lacking:
        return Finding(
            "rights", True, wanted.runs, f"you may make and follow runs in {found.namespace}"
        )
    binding = (
        f"kubectl create rolebinding mlops-NAME -n {found.namespace} --role={WATCHER} --user=NAME"
    )
    return Finding(
        *("rights", False, wanted.runs),
        f"you may not {_told(lacking)} in {found.namespace}",
        binding,
    )


def _told(rights: Iterable[Right]) -> str:
    """`create, get pipelineruns.tekton.dev; get pods/log`."""
    verbs: dict[str, list[str]] = {}
    for right in rights:
        verbs.setdefault(right.kind, []).append(right.verb)
    return "; ".join(f"{', '.join(some)} {kind}" for kind, some in verbs.items())


def _accounts(found: ClusterState, wanted: Wanted) -> Iterator[Finding]:
    if not wanted.runs:
        return
    if found.accounts is None:
        yield _unseen("accounts", f"the service accounts of {found.namespace}")
        return
    apply = install.remedy(found.namespace, wanted.installs)
    absent = [name for name in wanted.accounts if name not in found.accounts]
    if absent:
        said = f"not there: {', '.join(absent)}"
        yield Finding("accounts", False, True, said, apply)
    for name in wanted.accounts:
        held = found.rights.get(name) or frozenset()
        too_many = [right for right in _HARMFUL if right in held]
        if too_many:
            yield Finding(
                *(
                    "accounts",
                    False,
                    False,
                    f"{name} may {_told(too_many)}, and needs no right at all",
                ),
                f"kubectl get rolebindings,clusterrolebindings -A -o wide | grep -e {name} -e serviceaccounts",
            )
    watching = found.rights.get(WATCHER)
    if WATCHER in found.accounts and watching is not None:
        lacking = [right for right in _FOLLOWS if right not in watching]
        if lacking:
            said = f"{WATCHER} may not {_told(lacking)}"
            yield Finding("accounts", False, False, said, apply)
    if not absent:
        yield Finding(
            "accounts", True, True, f"each task has its own: {', '.join(wanted.accounts)}"
        )


def _secrets(found: ClusterState, wanted: Wanted) -> Iterator[Finding]:
    if found.secrets is None:
        yield _unseen("secrets", f"which Secrets {found.namespace} has")
        return
    there = [name for name in _SECRETS if name in found.secrets]
    if there:
        yield Finding("secrets", True, False, f"there: {', '.join(there)}")
    for name, (without, rest) in _SECRETS.items():
        if name not in found.secrets:
            command = f"kubectl create secret generic {name} -n {found.namespace} {rest}"
            needed = name == _OF_WATCHER and _watched(found, wanted)
            yield Finding("secrets", False, needed, f"no {name}: {without}", command)


def _watched(found: ClusterState, wanted: Wanted) -> bool:
    """Whether the watcher is to run, and the project's repository lets nobody in whom it does not know."""
    running = found.watcher is not None and found.watcher.asked > 0
    return running and wanted.runs and any(each.login for each in wanted.logins.read[:1])


def _classes(found: ClusterState, wanted: Wanted) -> Iterator[Finding]:
    if not wanted.runs:
        return
    if found.classes is None:
        yield _unseen("storage", "the storage classes")
        return
    for name in dict.fromkeys(wanted.classes):
        yield _class(found.classes, name)


def _class(classes: Mapping[str, bool], name: str) -> Finding:
    known = ", ".join(classes) or "none"
    if name:
        said = f"the storage class {name} of workspace.storageClass"
        if name in classes:
            return Finding("storage", True, True, f"{said} is there")
        remedy = "name another in mlops.yaml: kubectl get storageclass"
        return Finding("storage", False, True, f"{said} is not there; there is: {known}", remedy)
    usual = [each for each, default in classes.items() if default]
    if usual:
        return Finding("storage", True, True, f"runs keep their files on {usual[0]}")
    annotation = "storageclass.kubernetes.io/is-default-class=true"
    return Finding(
        *("storage", False, True),
        f"no storage class is the default: volumes of runs never bind; there is: {known}",
        f"name one in mlops.yaml, workspace.storageClass; or kubectl annotate storageclass NAME {annotation}",
    )


def _watcher(found: ClusterState, wanted: Wanted) -> Iterator[Finding]:
    seen = found.watcher
    if seen is None:
        return
    running = _running(seen, found.namespace, wanted)
    if not running.fine:
        yield running
    if wanted.tool and seen.image != wanted.tool:
        yield Finding(
            *("mlops watch", False, False, f"runs {seen.image}; mlops.lock has {wanted.tool}"),
            f"write that one into tekton/install/kustomization.yaml, and {install.APPLY}",
        )
    elif running.fine:
        yield running


def _running(seen: Watching, namespace: str, wanted: Wanted) -> Finding:
    """Whether the watcher's pod is there."""
    if not seen.asked:
        return Finding(
            *("mlops watch", False, False, "has 0 replicas: no push begins a run"),
            f"kubectl scale deployment {WATCHER} -n {namespace} --replicas=1, and so in tekton/install/watch.yaml",
        )
    counted = f"{seen.available} of {seen.asked} replicas available"
    if seen.available >= seen.asked:
        return Finding("mlops watch", True, False, f"runs {seen.image}, {counted}")
    look = (
        f"kubectl logs -n {namespace} deployment/{WATCHER} --all-containers --tail=20"
        if _ENDED in seen.trouble
        else f"kubectl describe deployments,pods -n {namespace} -l app.kubernetes.io/name={WATCHER}"
    )
    why = seen.trouble.removeprefix(f"{seen.available} of {seen.asked} ready").removeprefix(": ")
    none = "" if seen.available else ", no push begins a run"
    said = f"{counted}{none}: {why or 'nothing says why yet'}"
    return Finding("mlops watch", False, wanted.runs, said, look)
