"""`python health.py`: is the server of this container ready? It exits 0 where it is, else 1 with the reason.

The health check of the image, run by its own Python: a base need not have curl. It stands alone, with the
standard library only, so that it runs isolated (-I), whatever the project has on its path.
"""

from __future__ import annotations

import http.client
import os
import sys
from collections.abc import Mapping

PORT = 8080
READY = "/v2/health/ready"
_WITHIN = 8.0  # seconds: less than the engine waits, so that the reason is heard
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 (what stands for it)


class SettingError(Exception):
    """A variable of the environment that is not what it must be; the text says which."""


def number(env: Mapping[str, str], names: tuple[str, ...], default: int) -> int:
    """The first of the variables that is set. Raises SettingError where it is no positive number."""
    for name in names:
        text = env.get(name, "")
        # Kubernetes sets MLOPS_PORT=tcp://… where a Service is named mlops
        if text and "://" not in text:
            if not (text.isascii() and text.isdigit() and int(text) > 0):
                raise SettingError(f"{name} is {text!r}: a positive number is wanted")
            return int(text)
    return default


def port(env: Mapping[str, str]) -> int:
    """Where the server listens. Raises SettingError."""
    return number(env, ("MLOPS_PORT", "PORT"), PORT)


def complaint(env: Mapping[str, str]) -> str:
    """Why the server is not ready; empty where it is."""
    try:
        host = env.get("MLOPS_HOST", "")
        asked = http.client.HTTPConnection(_ANY.get(host, host), port(env), timeout=_WITHIN)
        try:
            asked.request("GET", READY)
            status = asked.getresponse().status
        finally:
            asked.close()
    except (SettingError, OSError, http.client.HTTPException) as exc:
        return f"{type(exc).__name__}: {exc}"
    return "" if status == http.client.OK else f"{READY} answers {status}"


def main(env: Mapping[str, str] = os.environ) -> int:
    """0 or 1, which is all that engines understand of a health check."""
    said = complaint(env)
    print(said or "ready", flush=True)  # noqa: T201 (engines keep it beside the verdict)
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
