"""`python -m mlops_serving`: serve the model of this image.

Environment: `MLOPS_PORT` or `PORT`, `MLOPS_HOST`, `MLOPS_RELEASE` (what predictions are labelled
with), `MLOPS_SOURCE`, `MLOPS_MODEL_FILE` (in place of /opt/mlops/model.json), `MLOPS_MAX_BYTES`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import uvicorn

from .app import MOST_BYTES, Server
from .health import SettingError, number, port
from .model import ModelError, load, read_note

_NOTE = "/opt/mlops/model.json"


def release_of(env: Mapping[str, str], model: str) -> str:
    """The release label: as the deployment names it, else by the source that the image knows."""
    return env.get("MLOPS_RELEASE") or f"{model}@source-{env.get('MLOPS_SOURCE', 'unknown')[:12]}"


def main(env: Mapping[str, str] = os.environ) -> int:
    """Serve until ended; 1 where the model cannot be loaded."""
    try:
        note = read_note(Path(env.get("MLOPS_MODEL_FILE", _NOTE)))
        listening = port(env)
        most = number(env, ("MLOPS_MAX_BYTES",), MOST_BYTES)
        model = load(note.artifact)
    except (ModelError, SettingError) as exc:
        print(f"error: {exc}", file=sys.stderr, flush=True)  # noqa: T201
        return 1
    server = Server(model, note.model, release_of(env, note.model), most_bytes=most)
    host = env.get("MLOPS_HOST", "0.0.0.0")  # noqa: S104 (in a container of its own)
    uvicorn.run(server.app(), host=host, port=listening, access_log=False, server_header=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
