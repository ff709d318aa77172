"""The listener: uvicorn in a thread of its own, so that signals stay with the thread that watches."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from mlops.adapters.intake.connection import Connection
from mlops.adapters.intake.sockets import Bound
from mlops.errors import ConfigError, OutsideError

CONNECTIONS = 256
_IDLE = 30  # seconds that a connection may rest between two requests
_DRAIN = 5  # seconds for requests that are under way when it ends
_HANDSHAKE = 10.0  # seconds for TLS to be agreed upon
_STARTING = 30.0


@dataclass(frozen=True, slots=True)
class Encryption:
    """The files of a certificate (with its chain) and its key, in PEM."""

    certificate: Path
    key: Path

    def check(self) -> None:
        """Raises ConfigError where they cannot be read, or do not belong together."""
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
                self.certificate, self.key
            )
        except (OSError, ssl.SSLError) as exc:
            raise ConfigError(
                f"{self.certificate} and {self.key} are no certificate and its key: "
                f"{exc.strerror or exc}"
            ) from exc


class _Loop(asyncio.SelectorEventLoop):
    """A loop whose servers do not wait a minute for a client that never agrees upon TLS."""

    async def create_server(self, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("ssl"):
            kwargs.setdefault("ssl_handshake_timeout", _HANDSHAKE)
        return await super().create_server(*args, **kwargs)


class Listener:
    """Serves an application on a socket, from `start` to `stop`."""

    def __init__(
        self,
        bound: Bound,
        app: ASGIApp,
        turned_away: Callable[[str], None],
        *,
        encryption: Encryption | None = None,
        proxies: Sequence[str] = (),
        connections: int = CONNECTIONS,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`proxies` are addresses or networks whose X-Forwarded-For is believed; `say` hears where it ends unasked."""
        self._say = say
        self._bound = bound
        self._failure: BaseException | None = None
        config = uvicorn.Config(
            app,
            http=partial(Connection, most=connections, turned_away=turned_away),  # type: ignore[arg-type]
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="critical",  # what strangers cause is counted, not written
            access_log=False,
            server_header=False,
            proxy_headers=bool(proxies),
            forwarded_allow_ips=list(proxies) or None,
            timeout_keep_alive=_IDLE,
            timeout_graceful_shutdown=_DRAIN,
            ssl_certfile=encryption.certificate if encryption else None,
            ssl_keyfile=encryption.key if encryption else None,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="listener", daemon=True)
        self.address = f"{'https' if encryption else 'http'}://{bound.name}"

    def start(self) -> None:
        """Serve; returns once requests are answered. Raises OutsideError where that cannot be."""
        self._thread.start()
        waited = threading.Event()
        for _ in range(int(_STARTING / 0.01)):
            if self._server.started or self._failure is not None:
                break
            waited.wait(0.01)
        if self._failure is not None or not self._server.started:
            raise OutsideError(f"cannot listen on {self._bound.name}: {self._failure}")

    def stop(self) -> None:
        """Answer what is under way, take nothing new, and end."""
        self._server.should_exit = True
        self._thread.join(_DRAIN + 5)

    def _serve(self) -> None:
        try:
            with asyncio.Runner(loop_factory=_Loop) as runner:
                runner.run(self._server.serve(sockets=[self._bound.socket]))
        except BaseException as exc:  # noqa: BLE001 - the thread's end is told here or by `start`
            self._failure = exc
            if self._server.started:
                self._say(f"nobody listens for webhooks any more: {type(exc).__name__}: {exc}")
