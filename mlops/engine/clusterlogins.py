"""Whether the tasks of runs get the logins and settings that they need on a cluster.

Tekton gives a Secret to the tasks whose service account lists it, and git's to those servers alone that its
annotations `tekton.dev/git-…` name. Of Secrets no value is known here: type, annotations and name are.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mlops.domain import giturl
from mlops.domain.clusterstate import ClusterState, Kept
from mlops.engine.doctor import Finding

SETTINGS = "mlops-settings"
SECRETS = ("mlops-git", "mlops-git-push", "mlops-registry")
OWN = "cluster.repository"  # the key of the project's own repository
_SSH = "GIT_SSH_COMMAND"
_BASIC = "kubernetes.io/basic-auth"
_DOCKER = ("kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg", _BASIC)
_LOGIN = f"--type={_BASIC} --from-file=username=FILE --from-file=password=FILE"
_ASKS = (False, None, True)
_ENTER = "kubectl create secret generic"


@dataclass(frozen=True, slots=True)
class Place:
    """A git server or registry that tasks use: its URL, whether it asks who one is (None: not known), the key
    of mlops.yaml that says where it is, and a sentence on what may let it answer where it did not."""

    url: str
    login: bool | None
    key: str = ""
    unheard: str = ""


@dataclass(frozen=True, slots=True)
class Setting:
    """A variable that pods lack unless the ConfigMap has it. `value` is part of what it must hold, empty where
    any will do; `why` it is needed; `needed`: for certain."""

    name: str
    value: str
    why: str
    needed: bool


@dataclass(frozen=True, slots=True)
class Logins:
    """What tasks ask: where they read, where they push, where images are."""

    read: tuple[Place, ...] = ()
    push: tuple[Place, ...] = ()
    registry: Place | None = None
    settings: tuple[Setting, ...] = ()


@dataclass(frozen=True, slots=True)
class _Use:
    """A Secret: whose, what is without it, for where, and what `kubectl create secret` takes."""

    name: str
    accounts: tuple[str, ...]
    without: str
    place: Place
    command: str


def findings(found: ClusterState, wanted: Logins, apply: str, *, runs: bool) -> Iterator[Finding]:
    """What there is to say of the Secrets of git and registry, and of the settings; `apply` is what makes the
    accounts as they should be."""
    secrets = found.secrets
    if secrets is not None:
        for use in _uses(wanted):
            yield _of(use, secrets.get(use.name), found, apply, runs=runs)
    if found.settings is None:
        if wanted.settings:
            said = f"you may not see the ConfigMap {SETTINGS}"
            yield Finding("settings", False, False, said, "ask whoever runs the cluster")
        return
    yield from _settings(wanted.settings, found.settings, found.namespace, runs=runs)


def _uses(wanted: Logins) -> Iterator[_Use]:
    for places, name, account, without in (
        (wanted.read, "mlops-git", "mlops-fetch", "runs read the project without a login"),
        (wanted.push, "mlops-git-push", "mlops-propose", "runs push pins without a login"),
    ):
        for server in dict.fromkeys(giturl.server(place.url) for place in places):
            ours = [place for place in places if giturl.server(place.url) == server]
            asking = max(ours, key=lambda place: _ASKS.index(place.login))
            yield _Use(name, (account,), without, asking, _LOGIN)
    if wanted.registry is not None:
        accounts = ("mlops-build", "mlops-propose")
        command = f"--type={_DOCKER[0]} --from-file=.dockerconfigjson=FILE"
        without = "runs push images without a login"
        yield _Use("mlops-registry", accounts, without, wanted.registry, command)


def _of(use: _Use, kept: Kept | None, found: ClusterState, apply: str, *, runs: bool) -> Finding:
    url = use.place.url
    git = use.name != "mlops-registry"
    if git and giturl.by_ssh(url):
        return _by_ssh(use, kept, found, runs=runs)
    if use.place.login is False:
        return Finding("secrets", True, False, f"{url} asks for no login ({use.name})")
    needed = runs and use.place.login is True
    if kept is None:
        asks = (
            f"and {url} asks for one"
            if use.place.login
            else f"and whether {url} asks for one cannot be known from here"
        )
        said = f"no {use.name}: {use.without}, {asks}"
        others = _others(use, found)
        if others:
            said += f"; unless {', '.join(others)} holds it, which an account of these tasks lists"
        if use.place.login is None and use.place.unheard:
            said += f". {use.place.unheard}"
        return Finding("secrets", False, needed and not others, said, _create(use, found.namespace))
    types = (_BASIC,) if git else _DOCKER
    if kept.type not in types:
        said = f"{use.name} is of the type {kept.type}, which gives no login for {url}"
        return Finding(
            *("secrets", False, needed, said),
            f"kubectl delete secret {use.name} -n {found.namespace} && {_create(use, found.namespace)}",
        )
    if git and not any(giturl.covers(each, url) for each in kept.servers):
        told = f": it is for {', '.join(kept.servers)}" if kept.servers else ""
        said = f"{use.name} has no annotation tekton.dev/git-… for {url}, so that tasks have no login there{told}"
        return Finding("secrets", False, needed, said, _annotate(use, found.namespace, kept))
    lacking = [
        name
        for name in use.accounts
        if found.accounts is not None and use.name not in found.accounts.get(name, (use.name,))
    ]
    if lacking:
        said = f"{use.name} is there, and the account {', '.join(lacking)} does not list it: its tasks do not get it"
        return Finding("secrets", False, needed, said, apply)
    return Finding("secrets", True, False, f"{use.name} is for {url}")


def _others(use: _Use, found: ClusterState) -> list[str]:
    """Secrets of another name, which somebody gave to the accounts: not the cluster, as OpenShift does."""
    listed = {
        each
        for name in use.accounts
        for each in (found.accounts or {}).get(name, ())
        if not each.startswith((f"{name}-dockercfg-", f"{name}-token-"))
    }
    return sorted(listed - set(SECRETS))


def _by_ssh(use: _Use, kept: Kept | None, found: ClusterState, *, runs: bool) -> Finding:
    """Of ssh, which looks for keys where /etc/passwd says, and Tekton puts them where HOME does."""
    url = use.place.url
    keyed = kept is not None and kept.type == "kubernetes.io/ssh-auth" and bool(kept.servers)
    if keyed and _SSH in (found.settings or {}):
        return Finding("secrets", True, False, f"{use.name} has a key for {url}")
    said = f"{url} asks for a key, and ssh finds none in pods ({use.name})"
    https = giturl.by_https(url)
    watched = " and tekton/install/watch.yaml" if use.place.key == OWN else ""
    remedy = f"name its https URL in mlops.yaml ({use.place.key}: {https}){watched}, and "
    place = Place(https, None)
    command = _create(_Use(use.name, use.accounts, use.without, place, _LOGIN), found.namespace)
    return Finding("secrets", False, runs, said, remedy + command)


def _create(use: _Use, namespace: str) -> str:
    made = f"{_ENTER} {use.name} -n {namespace} {use.command}"
    if use.name == "mlops-registry":
        return made
    return f"{made} && {_annotate(use, namespace, None)}"


def _annotate(use: _Use, namespace: str, kept: Kept | None) -> str:
    number = len(kept.servers) if kept is not None else 0
    annotation = shlex.quote(f"tekton.dev/git-{number}={giturl.server(use.place.url)}")
    return f"kubectl annotate secret {use.name} -n {namespace} {annotation}"


def _settings(
    wanted: Sequence[Setting], there: Mapping[str, str], namespace: str, *, runs: bool
) -> Iterator[Finding]:
    """What pods are told, each for itself, and what they lack, together: one command writes all of it."""
    lacking = []
    for each in wanted:
        if each.name in there and each.value in _parts(there[each.name], each.value):
            yield Finding("settings", True, False, f"{SETTINGS} tells pods of {each.name}")
        else:
            lacking.append(each)
    if not lacking:
        return
    why, names = ", ".join(each.why for each in lacking), ", ".join(each.name for each in lacking)
    said = f"{why}, and the ConfigMap {SETTINGS} does not tell pods so ({names})"
    needed = runs and any(each.needed for each in lacking)
    yield Finding("settings", False, needed, said, _written(lacking, there, namespace))


def _written(lacking: Sequence[Setting], there: Mapping[str, str], namespace: str) -> str:
    """The command that writes what is lacking: one, since what is created a second time is refused."""
    values = {each.name: _value(each, there.get(each.name, "")) for each in lacking}
    if there:
        patch = shlex.quote(json.dumps({"data": values}, separators=(",", ":")))
        return f"kubectl patch configmap {SETTINGS} -n {namespace} --type merge -p {patch}"
    literals = (shlex.quote(f"--from-literal={name}={value}") for name, value in values.items())
    return f"kubectl create configmap {SETTINGS} -n {namespace} {' '.join(literals)}"


def _value(wanted: Setting, there: str) -> str:
    """What a variable is to hold: what it does already, and what is lacking."""
    kept = there.split(",") if wanted.value else ()
    return ",".join(dict.fromkeys([*filter(None, kept), wanted.value or "VALUE"]))


def _parts(text: str, value: str) -> Sequence[str]:
    return [each.strip() for each in text.split(",")] if value else [value]
