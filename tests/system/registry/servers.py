"""Real registries on loopback, and images pushed to them by hand."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from mlops.domain.digest import Digest

USER, PASSWORD = "ada", "s3cret"
# bcrypt of the password above, as `htpasswd -B` writes it
HTPASSWD = f"{USER}:$2y$05$1um1VEfHFrCN/LlKlTJpK.Nlkr0kHKK0.37EizL4oLJjKDfbSzoe.\n"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


@dataclass
class Running:
    """A registry that runs; pushes with the credentials that it asks for."""

    host: str
    headers: dict[str, str]

    def blob(self, repository: str, content: bytes) -> Digest:
        base = f"http://{self.host}/v2/{repository}/blobs/uploads/"
        place = httpx.post(base, headers=self.headers).raise_for_status().headers["Location"]
        digest = Digest.of(content)
        url = httpx.URL(place).copy_merge_params({"digest": str(digest)})
        httpx.put(url, content=content, headers=self.headers).raise_for_status()
        return digest

    def manifest(self, repository: str, document: dict, tag: str, kind: str = MANIFEST) -> Digest:
        content = json.dumps(document).encode()
        url = f"http://{self.host}/v2/{repository}/manifests/{tag}"
        headers = {**self.headers, "Content-Type": kind}
        httpx.put(url, content=content, headers=headers).raise_for_status()
        return Digest.of(content)

    def image(self, repository: str, tag: str, *layers: bytes) -> Digest:
        """An image of these layers, which are no archives: nobody unpacks them."""
        config = json.dumps({"architecture": "amd64", "os": "linux"}).encode()
        described = [
            {"mediaType": kind, "digest": str(self.blob(repository, content)), "size": len(content)}
            for kind, content in [
                ("application/vnd.oci.image.config.v1+json", config),
                *(("application/vnd.oci.image.layer.v1.tar+gzip", layer) for layer in layers),
            ]
        ]
        document = {"schemaVersion": 2, "mediaType": MANIFEST}
        return self.manifest(
            repository, {**document, "config": described[0], "layers": described[1:]}, tag
        )

    def remove_blob(self, repository: str, digest: Digest) -> None:
        url = f"http://{self.host}/v2/{repository}/blobs/{digest}"
        httpx.delete(url, headers=self.headers).raise_for_status()


def _free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return trial.getsockname()[1]


def start(
    directory: Path, htpasswd: str = "", tls: str = "", *, readonly: bool = False
) -> Iterator[Running]:
    """A registry with its files in `directory`; `tls` are lines of its configuration below `tls:`."""
    port = _free_port()
    auth = ""
    headers = {}
    if htpasswd:
        (directory / "htpasswd").write_text(htpasswd)
        auth = f"auth:\n  htpasswd:\n    realm: test\n    path: {directory / 'htpasswd'}\n"
        pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        headers = {"Authorization": f"Basic {pair}"}
    config = directory / "config.yml"
    config.write_text(
        "version: 0.1\nlog:\n  level: error\n"
        f"storage:\n  filesystem:\n    rootdirectory: {directory / 'data'}\n  delete:\n    enabled: true\n"
        f"  maintenance:\n    readonly:\n      enabled: {str(readonly).lower()}\n"
        f"http:\n  addr: 127.0.0.1:{port}\n{tls}{auth}"
    )
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(config)], stdout=log, stderr=log, cwd=directory
        )
    try:
        host = f"127.0.0.1:{port}"
        _wait(port, process, directory / "log")
        yield Running(host, headers)
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait(port: int, process: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail(f"the registry does not answer: {log.read_text()}")
