"""`--listen` of `mlops watch`: its options, and how a listener for webhooks is wired."""

from __future__ import annotations

import contextlib
import ipaddress
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlops.cli import render
from mlops.cli.watched import WatchedProject
from mlops.engine.daemon import Daemon, Listener
from mlops.engine.relay import Relay
from mlops.errors import UsageError
from mlops.ports import Deliveries

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from mlops.adapters.intake import Encryption
    from mlops.cli.watchmetrics import WatchMetrics

JOURNAL = "deliveries.db"  # below the project's own directory of state

Listen = Annotated[
    str,
    typer.Option(
        "--listen",
        metavar="ADDR",
        help="Take webhooks at HOST:PORT, [IPv6]:PORT, PORT of this machine alone, or unix:PATH. "
        "The secret is MLOPS_WEBHOOK_SECRET, or in --secret-file.",
    ),
]
SecretFile = Annotated[
    Path | None,
    typer.Option(
        "--secret-file",
        metavar="FILE",
        help="The secret of webhooks, or two while one takes the other's place, each in a line.",
    ),
]
TlsCert = Annotated[
    Path | None,
    typer.Option("--tls-cert", metavar="FILE", help="Listen with TLS: certificate and chain, PEM."),
]
TlsKey = Annotated[
    Path | None, typer.Option("--tls-key", metavar="FILE", help="The key of --tls-cert, PEM.")
]
Proxy = Annotated[
    list[str] | None,
    typer.Option(
        "--proxy",
        metavar="CIDR",
        help="A proxy whose X-Forwarded-For is believed, in messages. May be repeated.",
    ),
]


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says of listening."""

    listen: str = ""
    secret_file: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    proxy: tuple[str, ...] = ()

    def check(self, *, once: bool) -> None:
        """Raises UsageError where they do not go together."""
        others = (self.secret_file, self.tls_cert, self.tls_key, *self.proxy)
        if not self.listen and any(others):
            raise UsageError(
                "--secret-file, --tls-cert, --tls-key and --proxy are of --listen",
                hint="Say where: --listen 127.0.0.1:8080",
            )
        if self.listen and once:
            raise UsageError("--once ends after one look, and --listen waits for the next")
        if bool(self.tls_cert) is not bool(self.tls_key):
            raise UsageError("--tls-cert and --tls-key belong together")


def counted(options: Options, told: Listener) -> WatchMetrics | None:
    """What counts for `/metrics` and tells `told`; None where there is no such page."""
    if not options.listen:
        return None
    from mlops.cli.watchmetrics import WatchMetrics  # noqa: PLC0415

    return WatchMetrics(told)


@contextlib.contextmanager
def heeded(
    state: Path,
    options: Options,
    daemon: Daemon,
    watched: Sequence[WatchedProject],
    metrics: WatchMetrics | None,
) -> Iterator[None]:
    """During the block, have the daemon look where deliveries say so. Raises as `listening` does."""
    if metrics is None:
        yield
        return
    with listening(state, options, metrics.registry) as deliveries:
        relay = Relay(
            deliveries,
            daemon.ask,
            lambda: {each.name: each.urls for each in watched},
            metrics.delivered,
            metrics.leads,
        )
        relay.start()
        try:
            yield
        finally:
            relay.stop()


@contextlib.contextmanager
def listening(state: Path, options: Options, registry: CollectorRegistry) -> Iterator[Deliveries]:
    """Listen during the block, with the journal in the directory `state`; `/metrics` shows the registry.

    Raises UsageError, ConfigError (no secret, no certificate), OutsideError (no journal).
    """
    from mlops.adapters import intake  # noqa: PLC0415
    from mlops.adapters.intake.telling import Telling  # noqa: PLC0415
    from mlops.adapters.journal import Journal  # noqa: PLC0415

    secrets = intake.WebhookSecrets(options.secret_file)
    for name in intake.VARIABLES:
        os.environ.pop(name, None)  # no program that is started from here on needs them
    encryption, proxies = _encryption(options), _networks(options.proxy)
    with contextlib.ExitStack() as stack:
        bound = intake.bound(options.listen)
        stack.callback(bound.close)
        journal = Journal(state / JOURNAL, render.warn)
        stack.callback(journal.close)
        metrics = intake.IntakeMetrics(registry, journal)
        app = intake.Application(journal, secrets, metrics, Telling(render.note), intake.Limits())
        listener = intake.Listener(
            bound,
            app,
            metrics.refuse_connection,
            encryption=encryption,
            proxies=proxies,
            say=render.fail,
        )
        listener.start()
        stack.callback(listener.stop)
        render.note(f"listening for webhooks on {listener.address}")
        if not bound.local and encryption is None:
            render.warn(
                "others on the way can read what is sent: use --tls-cert and --tls-key, or a proxy with TLS"
            )
        yield journal


def _encryption(options: Options) -> Encryption | None:
    if options.tls_cert is None or options.tls_key is None:
        return None
    from mlops.adapters.intake import Encryption  # noqa: PLC0415

    encryption = Encryption(options.tls_cert, options.tls_key)
    encryption.check()
    return encryption


def _networks(texts: Sequence[str]) -> tuple[str, ...]:
    for text in texts:
        try:
            ipaddress.ip_network(text)
        except ValueError as exc:
            raise UsageError(f"--proxy {text!r} is no address or network: {exc}") from exc
    return tuple(texts)
