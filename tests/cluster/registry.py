"""The cluster's registry, and the images that Tekton and the kubelet need: a program each, and nothing else."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path

from mlops.adapters.layout import OciLayout
from mlops.build.image import Image, load, put
from mlops.build.layers import LayerKind, put_layer
from mlops.build.tar import File
from tests.cluster import processes
from tests.cluster.layout import REGISTRY, RUN, MissingError
from tests.conformance import images as host_images

_NAME = "registry"
# image → program, what it is started with; nop waits for a signal, as pause does
_IMAGES = {
    "entrypoint": ("entrypoint", ()),
    "nop": ("nop", ()),
    "workingdirinit": ("workingdirinit", ()),
    "sidecarlogresults": ("sidecarlogresults", ()),
    "pause": ("nop", ("tekton_run_indefinitely",)),
}


def reference(name: str) -> str:
    """An image of those, as the cluster names it."""
    return f"{REGISTRY}/{name}:1"


def up() -> None:
    """Start the registry, and wait until it answers."""
    program = shutil.which("docker-registry")
    if program is None:
        raise MissingError("the registry is not here: apt-get install docker-registry")
    (RUN / "registry.yml").write_text(
        f"""version: 0.1
log: {{level: warn}}
storage:
  filesystem: {{rootdirectory: {RUN}/registry}}
  delete: {{enabled: true}}
http: {{addr: "{REGISTRY}"}}
"""
    )
    processes.start(_NAME, [program, "serve", f"{RUN}/registry.yml"])
    until = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(f"http://{REGISTRY}/v2/", timeout=5):
                return
        except OSError as exc:
            if not processes.running(_NAME) or time.monotonic() > until:
                raise RuntimeError(f"no registry:\n{processes.last_words(_NAME)}") from exc
            time.sleep(0.05)


def images(programs: Path) -> None:
    """Push the images, where they are not there."""
    done = RUN / "images-of"
    if done.exists() and done.read_text() == programs.name:
        return
    layout = RUN / "layout"
    store = OciLayout(layout)
    for name, (program, arguments) in _IMAGES.items():
        tree = {f"ko-app/{program}": File(programs / program, executable=True)}
        image = Image(
            "linux/amd64",
            (put_layer(store, LayerKind.BASE, tree),),
            entrypoint=(f"/ko-app/{program}", *arguments),
            user="65532",
        )
        put(store, image, name, "1")
        push(f"oci:{layout}:{name}:1", f"{name}:1")
    _shell()
    done.write_text(programs.name)


def _shell() -> None:
    """What Tekton lays scripts down with: this machine's shell, as nobody in particular."""
    layout, _, name = host_images.plain().removeprefix("oci:").partition("//")
    store = OciLayout(Path(layout))
    repository, _, tag = name.partition(":")
    digest = store.resolve(repository, tag)
    if digest is None:
        raise RuntimeError(f"{layout} lacks {name}, which was just made")
    put(store, dataclasses.replace(load(store, digest), user="65532"), repository, "shell")
    push(f"oci:{layout}:{repository}:shell", "shell:1")


def push(source: str, name: str) -> None:
    """Copy an image, named as skopeo does, into the registry."""
    skopeo = shutil.which("skopeo")
    if skopeo is None:
        raise MissingError("skopeo is not here: apt-get install skopeo")
    subprocess.run(
        [
            skopeo,
            "copy",
            "-q",
            "--all",
            "--dest-tls-verify=false",
            source,
            f"docker://{REGISTRY}/{name}",
        ],
        check=True,
    )
