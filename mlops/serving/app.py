"""The server's routes."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from .metrics import CONTENT_TYPE, Metrics
from .model import Model
from .protocol import RequestError, parse

MOST_BYTES = 16 << 20  # of a request's body

Handler = Callable[[Request], Awaitable[Response]]


class Server:
    """Answers for one model."""

    def __init__(
        self, model: Model, name: str, release: str, *, most_bytes: int = MOST_BYTES
    ) -> None:
        self._model = model
        self._name = name
        self._release = release
        self._most_bytes = most_bytes
        self._metrics = Metrics(name, release, model)

    def app(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=self._routes(),
            exception_handlers={HTTPException: _refused, Exception: _failed},
        )

    def _routes(self) -> Sequence[Route]:
        model = "/v2/models/{model}"
        return (
            Route("/healthz", self._healthy),
            Route("/v2/health/live", self._live),
            Route("/v2/health/ready", self._ready),
            Route("/v2", self._about),
            Route(model, self._about_model),
            Route(f"{model}/ready", self._model_ready),
            Route(f"{model}/infer", self._infer, methods=["POST"]),
            Route("/metrics", self._exposition),
        )

    async def _healthy(self, _request: Request) -> Response:
        return JSONResponse({"status": "ok", "model": self._name, "release": self._release})

    async def _live(self, _request: Request) -> Response:
        return JSONResponse({"live": True})

    async def _ready(self, _request: Request) -> Response:
        return JSONResponse({"ready": True})  # the model is loaded before the port is opened

    async def _about(self, _request: Request) -> Response:
        return JSONResponse({"name": "mlops", "version": "2", "extensions": []})

    async def _about_model(self, request: Request) -> Response:
        self._check_name(request)
        outputs = [
            {"name": name, "datatype": "FP64", "shape": [-1]} for name in self._model.outputs()
        ]
        return JSONResponse(
            {
                "name": self._name,
                "versions": [self._release],
                "platform": self._model.platform,
                "inputs": [],
                "outputs": outputs,
            }
        )

    async def _model_ready(self, request: Request) -> Response:
        self._check_name(request)
        return JSONResponse({"name": self._name, "ready": True})

    async def _exposition(self, _request: Request) -> Response:
        return Response(self._metrics.exposition(), media_type=CONTENT_TYPE)

    async def _infer(self, request: Request) -> Response:
        self._check_name(request)
        started = time.perf_counter()
        try:
            question = parse(await self._body(request))
            tensors = await run_in_threadpool(self._model.infer, question)
        except RequestError as exc:
            self._metrics.failures.inc()
            raise HTTPException(400, str(exc)) from exc
        except Exception:
            self._metrics.failures.inc()
            raise
        self._metrics.count(tensors)
        self._metrics.seconds.observe(time.perf_counter() - started)
        answer = {
            "model_name": self._name,
            "model_version": self._release,
            "outputs": [tensor.document() for tensor in tensors],
        }
        return JSONResponse(answer | ({"id": question.id} if question.id else {}))

    async def _body(self, request: Request) -> bytes:
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > self._most_bytes:
                raise HTTPException(413, f"the body is over {self._most_bytes} bytes")
        return bytes(body)

    def _check_name(self, request: Request) -> None:
        name = request.path_params["model"]
        if name != self._name:
            raise HTTPException(404, f"no model {name!r} here: this server has {self._name!r}")


async def _refused(_request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    return JSONResponse({"error": exc.detail}, exc.status_code, exc.headers)


async def _failed(_request: Request, _exc: Exception) -> Response:
    return JSONResponse({"error": "the model failed; the server's log has the reason"}, 500)
