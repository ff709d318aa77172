"""The cluster's own authority, the certificates that its parts show each other, and their kubeconfigs."""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_AGE = dt.timedelta(days=365)


def private(path: Path, content: bytes) -> None:
    """Write what nobody but us may read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _name(common: str, group: str = "") -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common)]
    if group:
        parts.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, group))
    return x509.Name(parts)


@dataclass(frozen=True, slots=True)
class Pair:
    """Where a certificate and its key lie, in PEM."""

    certificate: Path
    key: Path


class Authority:
    """Makes certificates in a directory; its own is ca.crt."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("mlops-test-cluster")
        signed = (
            self._builder(self._name, self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.pair = Pair(directory / "ca.crt", directory / "ca.key")
        self.pair.certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        private(self.pair.key, _pem(self._key))

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey
    ) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + _AGE)
        )

    def issue(self, file: str, common: str, group: str = "", hosts: Sequence[str] = ()) -> Pair:
        """A certificate for `common` of `group`; with hosts, one that a server shows too."""
        key = ec.generate_private_key(ec.SECP256R1())
        uses = [ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = self._builder(_name(common, group), key.public_key())
        if hosts:
            uses.append(ExtendedKeyUsageOID.SERVER_AUTH)
            names = x509.SubjectAlternativeName([_host(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        pair = Pair(self.directory / f"{file}.crt", self.directory / f"{file}.key")
        made = builder.sign(self._key, hashes.SHA256())
        pair.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        private(pair.key, _pem(key))
        return pair

    def kubeconfig(self, path: Path, pair: Pair, server: str) -> Path:
        """A kubeconfig that stands alone, for whoever holds the pair."""
        cluster = {"server": server, "certificate-authority-data": _encoded(self.pair.certificate)}
        user = {
            "client-certificate-data": _encoded(pair.certificate),
            "client-key-data": _encoded(pair.key),
        }
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": "test", "user": user}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "current-context": "test",
        }
        private(path, yaml.safe_dump(document).encode())
        return path


def service_account_key(directory: Path) -> Path:
    """The key that signs the tokens of service accounts."""
    path = directory / "service-accounts.key"
    private(path, _pem(rsa.generate_private_key(65537, 2048)))
    return path


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
