"""Images of tests in the cluster's registry."""

from __future__ import annotations

from functools import cache

from tests.cluster import registry
from tests.cluster.layout import REGISTRY
from tests.conformance import images


@cache
def plain() -> str:
    """An image with a shell, the usual commands and Python; its name in the cluster."""
    layout, _, name = images.plain().removeprefix("oci:").partition("//")
    registry.push(f"oci:{layout}:{name}", "plain:1")
    return f"{REGISTRY}/plain:1"
