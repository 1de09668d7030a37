"""Which machine a host name means, as far as the name alone tells."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Say whether a host name or address means this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _address(host)
    return address is not None and address.is_loopback


def is_unforgeable(host: str) -> bool:
    """Say whether a Host could not be another site's name pointed at this machine (DNS rebinding)."""
    return is_loopback(host) or _address(host) is not None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
