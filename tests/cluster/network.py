"""The network of the cluster: a namespace without a way out, a bridge in it, and a cable to this machine."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.cluster.layout import (
    BRIDGE,
    CABLE,
    CABLE_IN,
    CABLE_NET,
    HOST,
    NAMESPACE,
    NODE,
    PODS,
    SERVICES,
)

_PLACE = Path("/run/netns") / NAMESPACE


def up() -> None:
    """Make it, where it is not there."""
    if _PLACE.exists():
        return
    out, inner = CABLE
    _ip("netns", "add", NAMESPACE)
    _ip("link", "add", out, "type", "veth", "peer", "name", inner, "netns", NAMESPACE)
    _ip("addr", "add", f"{HOST}/30", "dev", out)
    _ip("link", "set", out, "up")
    _inside("ip", "link", "set", "lo", "up")
    _inside("ip", "addr", "add", f"{CABLE_IN}/30", "dev", inner)
    _inside("ip", "link", "set", inner, "up")
    _inside("ip", "link", "add", BRIDGE, "type", "bridge")
    _inside("ip", "addr", "add", f"{NODE}/24", "dev", BRIDGE)
    _inside("ip", "link", "set", BRIDGE, "up")
    _inside("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
    _ip("route", "add", PODS, "via", CABLE_IN)
    _ip("route", "add", SERVICES, "via", CABLE_IN)


def down() -> None:
    """Remove it with everything in it."""
    subprocess.run(["ip", "link", "del", CABLE[0]], check=False, capture_output=True)
    if _PLACE.exists():
        _ip("netns", "del", NAMESPACE)


def plugins() -> dict[str, object]:
    """The CNI configuration list: pods on the bridge, with ways to services and this machine alone."""
    gateway = {"gw": NODE}
    return {
        "cniVersion": "1.0.0",
        "name": NAMESPACE,
        "plugins": [
            {
                "type": "bridge",
                "bridge": BRIDGE,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": PODS, "rangeStart": "10.244.91.10"}]],
                    "routes": [{"dst": SERVICES, **gateway}, {"dst": CABLE_NET, **gateway}],
                },
            },
        ],
    }


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def _inside(*argv: str) -> None:
    subprocess.run(["nsenter", f"--net={_PLACE}", *argv], check=True)
