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
_PROCESSES = 32_000  # below what kernels let a user have who may not raise it
_NOT_FOUND = 127  # podman's exit code where the command is not in the image


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
    options = ""
    with registry() as host, engine() as env:
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
            options = options or _options(image, own.env)
            server = f"podman run --rm --pull never {options} --env PORT={port} {image}"
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
def engine() -> Iterator[Mapping[str, str]]:
    """The variables that give podman a store of its own, which goes afterwards."""
    with tempfile.TemporaryDirectory(prefix="podman-", ignore_cleanup_errors=True) as directory:
        settings = Path(directory, "storage.conf")
        store = f'graphroot = "{directory}/store"\nrunroot = "{directory}/run"\n'
        settings.write_text(f'[storage]\ndriver = "overlay"\n{store}')
        env = {"CONTAINERS_STORAGE_CONF": str(settings)}
        try:
            yield env
        finally:
            for argv in (["rm", "--all", "--force"], ["rmi", "--all", "--force"]):
                _podman(*argv, env={**os.environ, **env})
            mounted = f"{directory}/store/overlay"
            subprocess.run(["umount", mounted], check=False, capture_output=True)


def _options(image: str, env: Mapping[str, str]) -> str:
    """What it takes to start a container here, on this machine's network: where limits may not be raised, and where
    crun refuses the control groups, not every option does. Raises DemoError."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limits = [f"--ulimit=nofile={files}:{files}", f"--ulimit=nproc={_PROCESSES}:{_PROCESSES}"]
    said = ""
    for options in ([], limits, ["--runtime=runc"], ["--runtime=runc", *limits]):
        argv = ["run", "--rm", "--pull", "never", "--network", "host", *options]
        done = _podman(*argv, "--entrypoint", "/no/such/program", image, env=env)
        if done.returncode == _NOT_FOUND:
            return shlex.join(["--network", "host", *options])
        said = done.stderr
    raise DemoError(f"podman starts nothing here: {said}")


def _podman(*argv: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["podman", *argv], env=env, check=False, capture_output=True, text=True)


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])
