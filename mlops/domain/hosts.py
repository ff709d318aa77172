"""Hosts as they stand in URLs and names of images: which of them is this machine."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def loopback(host: str) -> bool:
    """Whether a host (without a port) is this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def hostname(host: str) -> str:
    """`host[:port]` without the port and without brackets."""
    return urlsplit(f"//{host}").hostname or ""
