"""What is answered: an ASGI application without routes by pattern, for there are five paths.

202 is said once a delivery is on the disk, and not before. Who is not let in hears 401 and no more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from mlops.adapters.intake.metrics import CONTENT_TYPE, NOBODY, IntakeMetrics
from mlops.adapters.intake.reading import Body, SlowError, discard, read_body
from mlops.adapters.intake.secrets import WebhookSecrets
from mlops.adapters.intake.telling import Telling
from mlops.adapters.journal import Journal, Kept
from mlops.domain.delivery import Delivery
from mlops.errors import JournalError
from mlops.policy import webhooks
from mlops.policy.webhooks import Fault, Ignored, Refused

_READ = ("GET", "HEAD")
_LATER = {"retry-after": "10"}
_CLOSE = {"connection": "close"}
_ASK = {"www-authenticate": "Signature"}
_ABOUT = "mlops watch listens here for webhooks: POST / delivers one.\n"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may be: bytes of its body, seconds for the body to arrive, seconds for the disk."""

    body: int = 1 << 20
    arrival: float = 10.0
    disk: float = 8.0  # forges wait ten


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, and for the counters what became of which provider's delivery."""

    response: Response
    outcome: str
    provider: str = NOBODY


class Application:
    """The ASGI application of a listener."""

    def __init__(
        self,
        journal: Journal,
        secrets: WebhookSecrets,
        metrics: IntakeMetrics,
        telling: Telling,
        limits: Limits,
    ) -> None:
        self._journal = journal
        self._secrets = secrets
        self._metrics = metrics
        self._telling = telling
        self._limits = limits
        self._pages: dict[str, Callable[[], Awaitable[Response]]] = {
            "/": self._about,
            "/healthz": self._healthy,
            "/readyz": self._ready,
            "/metrics": self._exposition,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; whatever goes wrong in us is a 500, said here and not to whoever asked."""
        try:
            response = await self._respond(scope, receive)
        except Exception as exc:  # noqa: BLE001 - a bug in us must not end the listener
            self._telling.tell("bug", f"the listener failed: {type(exc).__name__}: {exc}")
            self._metrics.delivered(NOBODY, "error", 0)
            response = _json(500, "error", _CLOSE)
        await response(scope, receive, send)

    async def _respond(self, scope: Scope, receive: Receive) -> Response:
        path, method = scope["path"], scope["method"]
        if path == "/" and method == "POST":
            began = time.perf_counter()
            answer = await self._deliver(scope, receive)
            self._metrics.delivered(answer.provider, answer.outcome, time.perf_counter() - began)
            return answer.response
        await discard(receive, self._limits.arrival)
        page = self._pages.get(path)
        if page is None:
            return _json(404, "not found")
        if method not in _READ:
            allowed = "GET, HEAD, POST" if path == "/" else "GET, HEAD"
            return _json(405, "method not allowed", {"allow": allowed})
        return await page()

    async def _deliver(self, scope: Scope, receive: Receive) -> Answer:
        secrets = self._secrets.current()
        raw = scope["headers"]
        headers = webhooks.headers_of(raw)
        try:
            body = await read_body(raw, receive, self._limits.body, self._limits.arrival)
        except SlowError:
            return Answer(_json(408, "too slow", _CLOSE), "slow")
        if isinstance(body, Body):
            return Answer(_json(body.status, body.reason, _CLOSE), body.reason.replace(" ", "_"))
        if not secrets:
            self._telling.tell("secret", f"no delivery is taken: {self._secrets.trouble}")
            return Answer(_json(503, "not ready", _LATER), "no_secret")
        verified = (
            headers
            if isinstance(headers, Refused)
            else webhooks.verify(headers, body, secrets, time.time())
        )
        if isinstance(verified, Refused):
            return self._refuse(verified, scope)
        said = webhooks.read(verified, body, datetime.now(UTC))
        match said:
            case Refused():
                return self._refuse(said, scope, verified.provider)
            case Ignored():
                status, word = (200, "pong") if said.ping else (202, "ignored")
                return Answer(_json(status, word), word, verified.provider)
            case Delivery():
                return await self._keep(said)

    def _refuse(self, refused: Refused, scope: Scope, provider: str = NOBODY) -> Answer:
        client = scope.get("client")
        self._telling.tell(
            refused.fault,
            f"refused a delivery from {client[0] if client else 'a local socket'}: {refused.reason}",
        )
        status, more = (401, _ASK) if refused.fault is Fault.UNAUTHENTICATED else (400, {})
        return Answer(_json(status, refused.fault, more), refused.fault, provider)

    async def _keep(self, delivery: Delivery) -> Answer:
        try:
            async with asyncio.timeout(self._limits.disk):
                kept = await asyncio.wrap_future(self._journal.add(delivery))
        except (JournalError, TimeoutError) as exc:
            reason = str(exc) or f"the disk took over {self._limits.disk:g} s"
            self._telling.tell("journal", f"a delivery was not taken: {reason}")
            return Answer(_json(503, "not ready", _LATER), "journal_error", delivery.provider)
        match kept:
            case Kept.NEW:
                response = _json(202, "accepted")
            case Kept.DUPLICATE:
                response = _json(202, "duplicate")
            case Kept.CONFLICT:
                response = _json(409, "this id was delivered with another body")
            case Kept.FULL:
                response = _json(503, "too many deliveries wait", _LATER)
        return Answer(response, kept, delivery.provider)

    async def _about(self) -> Response:
        return Response(_ABOUT, media_type="text/plain")

    async def _healthy(self) -> Response:
        return _json(200, "ok")

    async def _ready(self) -> Response:
        if not self._secrets.current() or self._journal.trouble:
            return _json(503, "not ready", _LATER)
        return _json(200, "ready")

    async def _exposition(self) -> Response:
        loop = asyncio.get_running_loop()  # counting what waits asks the disk
        text = await loop.run_in_executor(None, self._metrics.exposition)
        return Response(text, media_type=CONTENT_TYPE)


def _json(status: int, word: str, headers: dict[str, Any] | None = None) -> Response:
    return JSONResponse({"status": word}, status, headers)
