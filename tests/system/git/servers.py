"""Git servers on loopback: OpenSSH's own, and git's http-backend behind Python's http server."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or "/usr/sbin/sshd"


@dataclass(frozen=True)
class SshServer:
    """A running sshd; `config` is for `ssh -F`, with the right key and host key."""

    port: int
    directory: Path
    config: Path

    def url(self, repository: Path) -> str:
        return f"ssh://server{repository}"

    def configured(self, name: str, **options: str) -> Path:
        """A file for `ssh -F` that differs from the right one in `options`."""
        right = {
            "HostName": "127.0.0.1",
            "Port": str(self.port),
            "IdentityFile": str(self.directory / "key"),
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": str(self.directory / "known"),
            "GlobalKnownHostsFile": "/dev/null",
        }
        path = self.directory / name
        lines = [f"  {key} {value}\n" for key, value in (right | options).items()]
        path.write_text("Host server\n" + "".join(lines))
        return path


@contextlib.contextmanager
def sshd(directory: Path) -> Iterator[SshServer]:
    """OpenSSH on a free port of loopback, with keys of its own, until the block ends."""
    directory.mkdir()
    for name in ("host", "key", "stranger", "other-host"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)]
        subprocess.run(command, check=True)
    port = _free()
    public = (directory / "host.pub").read_text().split()[:2]
    (directory / "known").write_text(f"[127.0.0.1]:{port} {' '.join(public)}\n")
    settings = {
        "ListenAddress": "127.0.0.1",
        "Port": port,
        "HostKey": directory / "host",
        "AuthorizedKeysFile": directory / "key.pub",
        "PidFile": "none",
        "StrictModes": "no",
        "UsePAM": "no",
        "PasswordAuthentication": "yes",
        "PermitRootLogin": "yes",
    }
    lines = "".join(f"{key} {value}\n" for key, value in settings.items())
    (directory / "sshd_config").write_text(lines)
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where it parts its privileges
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [_SSHD, "-D", "-e", "-f", str(directory / "sshd_config")], stderr=log
        )
        try:
            _listening(port, process)
            server = SshServer(port, directory, directory / "config")
            server.configured("config")
            yield server
        finally:
            process.terminate()
            process.wait()


def _free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as trial:
        return int(trial.getsockname()[1])


def _listening(port: int, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", port), 5) as found,
        ):
            found.settimeout(30)
            if found.recv(4):
                return
    raise AssertionError(f"sshd ended with {process.returncode}")


@dataclass
class HttpServer:
    """A running http server over the repositories of `root`; `asked` is what it was asked.

    `answer` (status, body), where set, is what every request gets.
    """

    root: Path
    port: int = 0
    scheme: str = "http"
    login: str = ""  # user:password, where one is needed
    host: str = "127.0.0.1"
    asked: list[tuple[str, str]] = field(default_factory=list)  # path, Authorization
    answer: tuple[int, str] | None = None

    def url(self, repository: Path, login: str = "") -> str:
        before = f"{login}@" if login else ""
        return (
            f"{self.scheme}://{before}{self.host}:{self.port}/{repository.relative_to(self.root)}"
        )


@contextlib.contextmanager
def http(
    root: Path, login: str = "", certificate: Path | None = None, host: str = "127.0.0.1"
) -> Iterator[HttpServer]:
    """Git over http on a free port of `host`; with a `certificate` (and its key) over https."""
    state = HttpServer(root, scheme="https" if certificate else "http", login=login, host=host)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._serve(b"")

        def do_POST(self) -> None:
            self._serve(self.rfile.read(int(self.headers.get("Content-Length", "0"))))

        def _serve(self, body: bytes) -> None:
            given = self.headers.get("Authorization", "")
            state.asked.append((self.path, given))
            wanted = "Basic " + base64.b64encode(state.login.encode()).decode()
            if state.login and given != wanted:
                self._send(401, b"", [("WWW-Authenticate", 'Basic realm="git"')])
            elif state.answer is not None:
                status, text = state.answer
                self._send(status, text.encode(), [("Content-Type", "text/plain; charset=utf-8")])
            else:
                self._git(body)

        def _git(self, body: bytes) -> None:
            path, _, query = self.path.partition("?")
            variables = {
                "GIT_PROJECT_ROOT": str(root),
                "GIT_HTTP_EXPORT_ALL": "1",
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "REQUEST_METHOD": self.command,
                "REMOTE_USER": "ada",
                "REMOTE_ADDR": "127.0.0.1",
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(len(body)),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            }
            done = subprocess.run(
                ["git", "http-backend"],
                input=body,
                env=os.environ | variables,
                capture_output=True,
                check=True,
            )
            head, _, content = done.stdout.partition(b"\r\n\r\n")
            headers = [line.split(": ", 1) for line in head.decode().split("\r\n")]
            status = next((int(value.split()[0]) for key, value in headers if key == "Status"), 200)
            self._send(status, content, [(key, value) for key, value in headers if key != "Status"])

        def _send(self, status: int, content: bytes, headers: list[tuple[str, str]]) -> None:
            self.send_response(status)
            for key, value in headers:
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer((host, 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        # no handshake while accepting: one that fails must not end the server
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        server.handle_error = lambda *_: None
    state.port = server.server_port
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def self_signed(directory: Path, name: str = "server", host: str = "IP:127.0.0.1") -> Path:
    """A certificate that nobody else signed, for `host`; its key lies beside."""
    path = directory / f"{name}.pem"
    command = (
        f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN={name}"
        f" -addext subjectAltName={host} -keyout {path.with_suffix('.key')} -out {path}"
    )
    subprocess.run(command.split(), check=True, capture_output=True)
    return path
