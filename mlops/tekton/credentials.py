"""The Secrets of a service account as the files that git, ssh and docker read, below a home directory.

Tekton: docs/auth.md. A Secret says by its type what it is, and by annotations (`tekton.dev/git-0`,
`tekton.dev/docker-0`) what for: a host, or one repository of it. What is for a host stands before what is
for a repository, so that the latter is tried first.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from mlops.errors import ConfigError
from mlops.tekton.document import PipelineRun
from mlops.tekton.pod import Config

DEFAULT = "default"

_BASIC, _SSH = "kubernetes.io/basic-auth", "kubernetes.io/ssh-auth"
_DOCKER = {
    "kubernetes.io/dockerconfigjson": ".dockerconfigjson",
    "kubernetes.io/dockercfg": ".dockercfg",
}
_PLACE = re.compile(
    r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::(?P<port>[0-9]{1,5}))?/?(?P<path>[A-Za-z0-9._~%+/-]*)\Z"
)


def of(run: PipelineRun, account: str) -> dict[str, bytes]:
    """The files of a service account of the run, empty: the one that is there by default. A Secret
    that is not there is left out."""
    named = [("Secret", name) for name in run.accounts.get(account or DEFAULT, ())]
    return files((key[1], run.configs[key]) for key in named if key in run.configs)


def files(secrets: Iterable[tuple[str, Config]]) -> dict[str, bytes]:
    """Path below the home directory → content, of named Secrets; what are no credentials is left out.

    Raises ConfigError where one lacks a key that its type promises, or an annotation is no host or URL.
    """
    found = _Home()
    for name, secret in secrets:
        if secret.type == _BASIC:
            _basic(name, secret, found)
        elif secret.type == _SSH:
            _ssh(name, secret, found)
        elif secret.type in _DOCKER:
            found.docker |= _docker(name, secret)
    return found.files()


@dataclass(slots=True)
class _Home:
    """Lines of the files, those for a host (first) and those for a repository."""

    git: tuple[list[str], list[str]] = field(default_factory=lambda: ([], []))
    stored: tuple[list[str], list[str]] = field(default_factory=lambda: ([], []))
    hosts: tuple[list[str], list[str]] = field(default_factory=lambda: ([], []))
    instead: list[str] = field(default_factory=list)
    keys: dict[str, bytes] = field(default_factory=dict)
    known: list[bytes] = field(default_factory=list)
    docker: dict[str, object] = field(default_factory=dict)

    def files(self) -> dict[str, bytes]:
        made: dict[str, bytes] = {}
        stored, hosts, git = (a + b for a, b in (self.stored, self.hosts, self.git))
        if stored:
            git.insert(0, "[credential]\n\thelper = store\n")
            made[".git-credentials"] = ("\n".join(stored) + "\n").encode()
        if git or self.instead:
            made[".gitconfig"] = "".join(git + self.instead).encode()
        for name, key in self.keys.items():
            made[f".ssh/id_{name}"] = key
        if hosts:
            made[".ssh/config"] = "".join(hosts).encode()
        if self.known:
            made[".ssh/known_hosts"] = b"\n".join(self.known)
        if self.docker:
            made[".docker/config.json"] = json.dumps({"auths": self.docker}).encode()
        return made


def _annotated(secret: Config, prefix: str) -> list[str]:
    return [value for key, value in sorted(secret.annotations.items()) if key.startswith(prefix)]


def _key(name: str, secret: Config, key: str) -> bytes:
    if key not in secret.data:
        raise ConfigError(f"the Secret {name!r} of type {secret.type} has no key {key!r}")
    return secret.data[key]


def _basic(name: str, secret: Config, home: _Home) -> None:
    user = _key(name, secret, "username").decode(errors="replace")
    password = _key(name, secret, "password").decode(errors="replace")
    for url in _annotated(secret, "tekton.dev/git-"):
        scheme, _, place = url.partition("://")
        found = _PLACE.match(place)
        if scheme not in {"http", "https"} or found is None:
            raise ConfigError(
                f"the Secret {name!r}: {url!r} is no URL that git can have a password for"
            )
        account = f"{quote(user, safe='')}:{quote(password, safe='')}@"
        home.stored[bool(found["path"])].append(f"{scheme}://{account}{place}")
        told = user.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "")
        whole = "\tuseHttpPath = true\n" if found["path"] else ""
        home.git[bool(found["path"])].append(
            f'[credential "{url}"]\n\tusername = "{told}"\n{whole}'
        )
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    for url in _annotated(secret, "tekton.dev/docker-"):
        home.docker[url] = {"username": user, "password": password, "auth": auth}


def _ssh(name: str, secret: Config, home: _Home) -> None:
    urls = _annotated(secret, "tekton.dev/git-")
    for url in urls:
        found = _PLACE.match(url)
        if found is None:
            raise ConfigError(
                f"the Secret {name!r}: {url!r} is no host that ssh could have a key for"
            )
        host, port, path = found["host"], found["port"] or "22", found["path"]
        alias = f"{host}--{path.replace('/', '--')}" if path else host
        home.hosts[bool(path)].append(
            f"Host {alias}\n    HostName {host}\n    Port {port}\n    IdentityFile /tekton/creds/.ssh/id_{name}\n"
        )
        if path:
            there = host if port == "22" else f"{host}:{port}"
            home.instead += [
                f'[url "git@{alias}:{path}.git"]\n\tinsteadOf = git@{host}:{path}.git\n',
                f'[url "ssh://{alias}/{path}.git"]\n\tinsteadOf = ssh://{there}/{path}.git\n',
            ]
    if urls:
        home.keys[name] = _key(name, secret, "ssh-privatekey")
        if "known_hosts" in secret.data:
            home.known.append(secret.data["known_hosts"])


def _docker(name: str, secret: Config) -> Mapping[str, object]:
    content = _key(name, secret, _DOCKER[secret.type])
    try:
        value = json.loads(content)
        found = value["auths"] if secret.type.endswith("json") else value
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise ConfigError(f"the Secret {name!r} holds no logins of docker") from exc
    if not isinstance(found, dict):
        raise ConfigError(f"the Secret {name!r} holds no logins of docker")
    return found
