"""Images of tests in the cluster's registry."""

from __future__ import annotations

import subprocess
from functools import cache

from tests.cluster import addresses
from tests.conformance import images


@cache
def plain() -> str:
    """An image with a shell, the usual commands and Python; its name in the cluster."""
    layout, _, name = images.plain().removeprefix("oci:").partition("//")
    return push(f"oci:{layout}:{name}", "plain:1")


def push(source: str, name: str) -> str:
    """Copy an image, named as skopeo does, into the registry; its name there."""
    target = f"{addresses.REGISTRY}/{name}"
    copy = ["skopeo", "copy", "-q", "--all", "--dest-tls-verify=false"]
    subprocess.run([*copy, source, f"docker://{target}"], check=True)
    return target
