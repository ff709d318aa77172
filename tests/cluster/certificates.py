"""The certificates of the cluster: an authority of its own, the API's, and one for each who asks it."""

from __future__ import annotations

import datetime as dt
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.cluster.layout import API, API_SERVICE, KUBECONFIG, NODE, NODE_NAME, RUN

PKI = RUN / "pki"
_LASTS = dt.timedelta(days=3650)
_WHO = {  # file → common name, group
    "admin": ("kubernetes-admin", "system:masters"),
    "kubelet": (f"system:node:{NODE_NAME}", "system:nodes"),
    "controller-manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "proxy": ("system:kube-proxy", ""),
}
_Key = ec.EllipticCurvePrivateKey


def make() -> None:
    """Make them all, with a kubeconfig for each who asks, where they are not there."""
    if (PKI / ".whole").exists():
        return
    PKI.mkdir(parents=True, exist_ok=True)
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca = _signed(_name("mlops-cluster", ""), ca_key, _name("mlops-cluster", ""), ca_key, ca=True)
    _write("ca", ca, ca_key)
    addresses = [NODE, API_SERVICE, "127.0.0.1"]
    alternatives = x509.SubjectAlternativeName(
        [
            *(x509.IPAddress(ipaddress.ip_address(each)) for each in addresses),
            *(x509.DNSName(f"kubernetes{end}") for end in ("", ".default", ".default.svc")),
        ]
    )
    key = ec.generate_private_key(ec.SECP256R1())
    _write("api", _signed(_name("kube-apiserver", ""), key, ca.subject, ca_key, alternatives), key)
    for file, (common, group) in {**_WHO, "api-to-kubelet": ("api", "system:masters")}.items():
        key = ec.generate_private_key(ec.SECP256R1())
        _write(file, _signed(_name(common, group), key, ca.subject, ca_key), key)
    accounts = ec.generate_private_key(ec.SECP256R1())
    _write("accounts", None, accounts)
    (PKI / "accounts.pub").write_bytes(
        accounts.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    for file in _WHO:
        kubeconfig(file)
    KUBECONFIG.write_text((PKI / "admin.kubeconfig").read_text())
    KUBECONFIG.chmod(0o600)
    (PKI / ".whole").touch()


def kubeconfig(file: str, token: str = "") -> Path:
    """A kubeconfig for one of those who ask, by certificate or by token."""
    user = (
        f"token: {token}"
        if token
        else f"client-certificate: {PKI}/{file}.crt\n    client-key: {PKI}/{file}.key"
    )
    path = PKI / f"{file}.kubeconfig"
    path.touch(mode=0o600)
    path.write_text(
        f"""apiVersion: v1
kind: Config
clusters:
- name: mlops
  cluster:
    server: {API}
    certificate-authority: {PKI}/ca.crt
users:
- name: {file}
  user:
    {user}
contexts:
- name: mlops
  context: {{cluster: mlops, user: {file}}}
current-context: mlops
"""
    )
    return path


def _name(common: str, group: str) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common)]
    parts += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group)] if group else []
    return x509.Name(parts)


def _signed(
    subject: x509.Name,
    key: _Key,
    issuer: x509.Name,
    issuer_key: _Key,
    alternatives: x509.SubjectAlternativeName | None = None,
    *,
    ca: bool = False,
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    found = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + _LASTS)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if alternatives is not None:
        found = found.add_extension(alternatives, critical=False)
    return found.sign(issuer_key, hashes.SHA256())


def _write(file: str, certificate: x509.Certificate | None, key: _Key) -> None:
    if certificate is not None:
        (PKI / f"{file}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    path = PKI / f"{file}.key"
    path.touch(mode=0o600)
    path.write_bytes(private)
