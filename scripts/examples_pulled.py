"""The releases of an example that was played, in a registry, and run from there by a container engine.

docker-registry runs on loopback; prod gets it as its own, and a promotion copies the releases there. podman, whose
store is empty, pulls what prod pins and runs it: what the README asks of each model must be answered as told there.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlops.demo.stage import DemoError, Stage

_SERVES = re.compile(r"^mlops image run (?P<model>\w+)@prod --port \d+ &$", re.MULTILINE)
_PATIENCE = 30.0  # seconds that a registry has to start


@dataclass(frozen=True, slots=True)
class Question:
    """A README's block that starts a server and asks it, and what it is said to answer."""

    model: str
    block: str
    expected: tuple[str, ...]

    def asked_of(self, server: str, port: int) -> str:
        """The same block, with another server on another port."""
        return _SERVES.sub(f"{server} &", self.block).replace("8080", str(port))


def questions(blocks: Sequence[tuple[str, tuple[str, ...]]]) -> list[Question]:
    """The first block for each model that asks for a prediction, from commands and their output."""
    found: dict[str, Question] = {}
    for block, expected in blocks:
        serves = _SERVES.search(block)
        if serves and "/infer" in block:
            found.setdefault(serves["model"], Question(serves["model"], block, expected))
    return list(found.values())


def pulled(stage: Stage, asked: Sequence[Question]) -> Iterator[tuple[Question, str]]:
    """Each question, and what was printed when the pulled image was asked. Raises DemoError.

    `stage` stands in a project whose staging pins the releases that the questions are for.
    """
    with registry() as host, engine() as (podman, env):
        own = Stage(stage.directory, stage.show, stage.paint, {**stage.env, **env})
        own.type("git pull -q --rebase")
        own.type(f"echo 'registry: {host}/prod' >> environments/prod/environment.yaml")
        own.type("git commit -q -a -m 'Give prod a registry' && git push -q")
        own.type("mlops resume prod")
        references = " ".join(f"{question.model}@staging" for question in asked)
        own.type(f"mlops promote {references} --to prod")
        for question in asked:
            shown = own.type(f"mlops show {question.model}@prod --output json").text
            digest = json.loads(shown)[0]["release"].partition("@")[2]
            port = free_port()
            image = f"{host}/prod/{question.model}@{digest}"
            own.type(f"podman pull --quiet --tls-verify=false {image}")
            server = f"{podman} --pull never --env PORT={port} {image}"
            yield question, own.type(question.asked_of(server, port)).text


@contextlib.contextmanager
def registry() -> Iterator[str]:
    """Debian's docker-registry with nothing in it; gives host and port."""
    with tempfile.TemporaryDirectory(prefix="registry-") as directory:
        port = free_port()
        config = Path(directory, "config.yml")
        config.write_text(
            "version: 0.1\nlog: {level: error}\n"
            f"storage: {{filesystem: {{rootdirectory: {directory}/data}}}}\n"
            f"http: {{addr: '127.0.0.1:{port}'}}\n"
        )
        argv = ["docker-registry", "serve", str(config)]
        with Path(directory, "log").open("wb") as log:
            running = subprocess.Popen(argv, stdout=log, stderr=log)
        try:
            _wait(port, running)
            yield f"127.0.0.1:{port}"
        finally:
            running.terminate()
            running.wait(timeout=30)


def _wait(port: int, running: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _PATIENCE
    while running.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        time.sleep(0.05)
    raise DemoError("docker-registry does not start")


@contextlib.contextmanager
def engine() -> Iterator[tuple[str, Mapping[str, str]]]:
    """An engine (podman) with a store of its own that goes afterwards: how to run an image on the host's network, and the
    variables that name its store."""
    with tempfile.TemporaryDirectory(prefix="podman-", ignore_cleanup_errors=True) as directory:
        settings = Path(directory, "storage.conf")
        settings.write_text(
            f'[storage]\ndriver = "overlay"\ngraphroot = "{directory}/store"\nrunroot = "{directory}/run"\n'
        )
        env = {"CONTAINERS_STORAGE_CONF": str(settings)}
        try:
            yield shlex.join(["podman", "run", "--rm", "--network", "host", *_limits()]), env
        finally:
            for argv in (["rm", "--all", "--force"], ["rmi", "--all", "--force"]):
                subprocess.run(
                    ["podman", *argv], env={**os.environ, **env}, check=False, capture_output=True
                )
            mounted = f"{directory}/store/overlay"
            subprocess.run(["umount", mounted], check=False, capture_output=True)


def _limits() -> list[str]:
    """Options that start containers where limits may not be raised, and where crun refuses the control groups."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    processes = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    known = (
        [] if processes == resource.RLIM_INFINITY else [f"--ulimit=nproc={processes}:{processes}"]
    )
    runc = ["--runtime=runc"] if shutil.which("runc") else []
    return [*runc, f"--ulimit=nofile={files}:{files}", *known]


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])
