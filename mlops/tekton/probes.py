"""Reads when a sidecar is ready."""

from __future__ import annotations

from typing import Any

from mlops.tekton.parts import Faults, Raw
from mlops.tekton.place import Place
from mlops.tekton.pod import (
    Probe,
)


def probes(raw: Raw, at: Place, faults: Faults) -> tuple[Probe, ...]:
    found = (
        _probe(raw[key], at / key, faults)
        for key in ("startupProbe", "readinessProbe")
        if raw.get(key) is not None
    )
    return tuple(each for each in found if each is not None)


def _probe(raw: Raw, at: Place, faults: Faults) -> Probe | None:
    given = [key for key in ("exec", "httpGet", "tcpSocket") if raw.get(key) is not None]
    if len(given) != 1:
        faults.add(at, "needs one of exec, httpGet and tcpSocket")
        return None
    what = raw[given[0]]
    port = 0
    if given[0] != "exec":
        port = _port(what.get("port"), at / given[0] / "port", faults)
    elif not what.get("command"):
        faults.add(at / "exec" / "command", "is missing")

    def count(key: str, default: int) -> int:
        value = raw.get(key)
        return default if value is None else int(value)

    return Probe(
        at,
        command=tuple(what.get("command") or ()),
        port=port,
        http=given[0] == "httpGet",
        scheme=str(what.get("scheme") or "http").lower(),
        host=what.get("host") or "",
        path=what.get("path") or "/",
        delay=count("initialDelaySeconds", 0),
        period=max(1, count("periodSeconds", 10)),
        timeout=max(1, count("timeoutSeconds", 1)),
        failures=max(1, count("failureThreshold", 3)),
        successes=max(1, count("successThreshold", 1)),
    )


def _port(value: Any, at: Place, faults: Faults) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 65536:
        faults.add(at, f"must be a number between 1 and 65535, not {value!r}")
        return 1
    return value
