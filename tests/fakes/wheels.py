"""Wheels and sdists made by hand, and a package index on loopback that may ask for a password."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import ssl
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

LINK, PROGRAM, PLAIN = 0o120777, 0o100755, 0o100644


def wheel(
    directory: Path,
    name: str,
    files: Mapping[str, str | tuple[str, int]],
    *,
    version: str = "1.0",
    tag: str = "py3-none-any",
    requires: tuple[str, ...] = (),
    scripts: str = "",
) -> str:
    """Write a wheel; its line in a requirements lock. A file is its text, or text and mode."""
    stem = name.replace("-", "_")
    info = f"{stem}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {need}\n" for need in requires)
    whole: dict[str, str | tuple[str, int]] = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    if scripts:
        whole[f"{info}/entry_points.txt"] = scripts
    path = directory / f"{stem}-{version}-{tag}.whl"
    record = ""
    with zipfile.ZipFile(path, "w") as archive:
        for place, given in whole.items():
            text, mode = given if isinstance(given, tuple) else (given, PLAIN)
            _write(archive, place, text.encode(), mode)
            code = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
            record += f"{place},sha256={code.rstrip(b'=').decode()},{len(text.encode())}\n"
        _write(archive, f"{info}/RECORD", f"{record}{info}/RECORD,,\n".encode(), PLAIN)
    return line(name, version, path)


def _write(archive: zipfile.ZipFile, place: str, content: bytes, mode: int) -> None:
    entry = zipfile.ZipInfo(place, (2020, 1, 1, 0, 0, 0))
    entry.external_attr = mode << 16
    entry.create_system = 3
    archive.writestr(entry, content)


def sdist(
    directory: Path,
    name: str,
    files: Mapping[str, str],
    version: str = "1.0",
    *,
    static: bool = True,
) -> str:
    """Write an sdist; its line in a requirements lock. Not `static`: only a build tells its metadata."""
    stem = f"{name.replace('-', '_')}-{version}"
    path = directory / f"{stem}.tar.gz"
    kind = "2.2" if static else "1.0"
    whole = {**files, "PKG-INFO": f"Metadata-Version: {kind}\nName: {name}\nVersion: {version}\n"}
    with tarfile.open(path, "w:gz") as archive:
        for place, text in whole.items():
            entry = tarfile.TarInfo(f"{stem}/{place}")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return line(name, version, path)


def line(name: str, version: str, path: Path) -> str:
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


class _Index(BaseHTTPRequestHandler):
    directory: Path
    password: str  # user and password as `user:secret`; empty: everybody
    yanked: Mapping[str, str]  # file name → reason
    refused: list[str]

    def do_GET(self) -> None:
        wanted = "Basic " + base64.b64encode(self.password.encode()).decode()
        if self.password and self.headers.get("Authorization") != wanted:
            self.refused.append(self.path)
            return self._answer(401, b"who are you?", {"WWW-Authenticate": 'Basic realm="index"'})
        parts = [part for part in unquote(self.path).split("/") if part]
        if parts[:1] == ["simple"] and len(parts) == 2:
            return self._answer(200, self._page(parts[1]).encode(), {"Content-Type": "text/html"})
        path = self.directory / parts[-1] if parts else self.directory
        if not path.is_file():
            return self._answer(404, b"not here", {})
        return self._answer(200, path.read_bytes(), {})

    def do_HEAD(self) -> None:
        self.do_GET()

    def _page(self, name: str) -> str:
        found = ""
        for path in sorted(self.directory.iterdir()):
            stem = path.name.split("-")[0].replace("_", "-").lower()
            if stem == name:
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                reason = self.yanked.get(path.name)
                mark = "" if reason is None else f' data-yanked="{html.escape(reason)}"'
                found += f'<a href="/files/{path.name}#sha256={digest}"{mark}>{path.name}</a>\n'
        return f"<!DOCTYPE html><html><body>\n{found}</body></html>"

    def _answer(self, code: int, content: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(code)
        for key, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_args: object) -> None:
        """Say nothing."""


@contextmanager
def index(
    directory: Path,
    password: str = "",
    yanked: Mapping[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
) -> Iterator[tuple[str, list[str]]]:
    """Serve a directory of distributions as a simple index (PEP 503): `HOST:PORT/simple/`, and what was
    refused so far."""
    refused: list[str] = []
    members = {
        "directory": directory,
        "password": password,
        "yanked": yanked or {},
        "refused": refused,
    }
    server = ThreadingHTTPServer((host, 0), type("Index", (_Index,), members))
    if tls is not None:  # no handshake while accepting: one that fails must not end the server
        server.socket = tls.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        server.handle_error = lambda *_: None
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"{host}:{server.server_port}/simple/", refused
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
