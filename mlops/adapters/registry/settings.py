"""How a registry's host is spoken to: with which TLS, or without.

TLS by default; without it to this machine itself, to the hosts in `MLOPS_REGISTRY_HTTP`, and where
containers' registries.conf(5) says `insecure` and the host speaks no TLS. Certificates are found
where docker and podman look for them: `certs.d/HOST[:PORT]` with `*.crt` (authorities), `*.cert` and
`*.key` (who we are).
"""

from __future__ import annotations

import os
import ssl
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mlops.adapters import pods
from mlops.adapters.barehttpx import httpx
from mlops.domain.hosts import hostname, loopback
from mlops.errors import RegistryError

PLAIN = "MLOPS_REGISTRY_HTTP"  # hosts with their ports, parted by commas
_LARGEST = 1 << 20  # bytes of a registries.conf
_MOST_FILES = 64


@dataclass(frozen=True, slots=True)
class HostSettings:
    """`tls` is False for plain HTTP; `insecure`: its certificate proves nothing, and it may speak
    plain HTTP instead. `authorities`, `certificates` (with their keys) are files."""

    tls: bool = True
    insecure: bool = False
    authorities: tuple[Path, ...] = ()
    certificates: tuple[tuple[Path, Path], ...] = ()

    def context(self) -> ssl.SSLContext:
        """What TLS checks. Raises RegistryError where a certificate cannot be read."""
        if not (self.insecure or self.authorities or self.certificates):
            return _usual()
        context = httpx.create_ssl_context(verify=not self.insecure)
        try:
            for path in self.authorities:
                context.load_verify_locations(path)
            for certificate, key in self.certificates:
                context.load_cert_chain(certificate, key)
        except (OSError, ssl.SSLError) as exc:
            files = [*self.authorities, *(each for pair in self.certificates for each in pair)]
            raise RegistryError(
                f"a certificate cannot be read: {exc}",
                hint=f"Mend what lies in {files[0].parent}",
            ) from exc
        return context


def find(host: str, environment: Mapping[str, str] | None = None) -> HostSettings:
    """The settings of `host[:port]`. Raises RegistryError where they cannot be read."""
    env = os.environ if environment is None else environment
    authorities, certificates = _certificates(host, env)
    if authorities or certificates:
        return HostSettings(True, _insecure(host, env), authorities, certificates)
    plain = [each.strip() for each in env.get(PLAIN, "").split(",")]
    if loopback(hostname(host)) or host in plain:
        return HostSettings(tls=False)
    return HostSettings(True, _insecure(host, env))


def plain_advice(host: str) -> str:
    """What to do where a host speaks no TLS, and is asked by it."""
    if pods.inside():
        return (
            f"If it speaks plain HTTP, put {PLAIN}={host} into the ConfigMap mlops-settings of this namespace,"
            f" with what {PLAIN} has there already: {pods.GUIDE}"
        )
    return f"If it speaks plain HTTP, say so: export {PLAIN}={host}"


@cache
def _usual() -> ssl.SSLContext:
    """Whom TLS trusts, read once: that takes longer than most answers."""
    return httpx.create_ssl_context()


def _certificates(
    host: str, env: Mapping[str, str]
) -> tuple[tuple[Path, ...], tuple[tuple[Path, Path], ...]]:
    """Of the first directory that there is for the host (docker's and containers-certs.d(5))."""
    home = Path(env.get("HOME") or "/")
    config = Path(env.get("XDG_CONFIG_HOME") or home / ".config")
    for place in (
        config / "containers",
        config / "docker",
        home / ".docker",
        Path("/etc/containers"),
        Path("/etc/docker"),
    ):
        directory = place / "certs.d" / host
        if directory.is_dir():
            files = sorted(directory.iterdir())[:_MOST_FILES]
            pairs = [(each, each.with_suffix(".key")) for each in files if each.suffix == ".cert"]
            lacking = next((key for _, key in pairs if not key.is_file()), None)
            if lacking is not None:
                raise RegistryError(f"{lacking} is missing, the key of the certificate beside it")
            return tuple(each for each in files if each.suffix == ".crt"), tuple(pairs)
    return (), ()


def _insecure(host: str, env: Mapping[str, str]) -> bool:
    """Whether the closest entry of registries.conf for the host says so."""
    found = (-1, False)
    for path in _configurations(env):
        for entry in _entries(path):
            prefix = entry.get("prefix") or entry.get("location")
            if isinstance(prefix, str) and _fits(prefix, host) and len(prefix) >= found[0]:
                found = (len(prefix), entry.get("insecure") is True)
    return found[1]


def _fits(prefix: str, host: str) -> bool:
    named = prefix.partition("/")[0]
    if named.startswith("*."):
        return hostname(host).endswith(named[1:])
    return named == host


def _configurations(env: Mapping[str, str]) -> Iterator[Path]:
    """The file, and those beside it in registries.conf.d, which count after it."""
    home = Path(env.get("HOME") or "/")
    own = Path(env.get("XDG_CONFIG_HOME") or home / ".config") / "containers"
    named = env.get("CONTAINERS_REGISTRIES_CONF")
    files = [Path(named)] if named else [own / "registries.conf"]
    directories = [own / "registries.conf.d"]
    if not named and not files[0].is_file():
        files = [Path("/etc/containers/registries.conf")]
    if not directories[0].is_dir():
        directories = [Path("/etc/containers/registries.conf.d")]
    yield from files
    for directory in directories:
        if directory.is_dir():
            yield from sorted(directory.glob("*.conf"))[:_MOST_FILES]


def _entries(path: Path) -> list[dict[str, Any]]:
    try:
        with path.open("rb") as file:
            found = tomllib.loads(file.read(_LARGEST).decode())
    except OSError:
        return []
    except (ValueError, RecursionError) as exc:
        raise RegistryError(
            f"{path} is no TOML: {exc}", hint="Mend it: registries.conf(5)"
        ) from exc
    entries = found.get("registry")
    return (
        [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    )
