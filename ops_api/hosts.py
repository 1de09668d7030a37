"""Which machine a host name means, as far as the name alone tells."""

from __future__ import annotations

from pipeline.core.public_addresses import as_address


def is_loopback(host: str) -> bool:
    """Say whether a host name or address means this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = as_address(host)
    return address is not None and address.is_loopback


def is_unforgeable(host: str) -> bool:
    """Say whether a Host could not be another site's name pointed at this machine (DNS rebinding)."""
    return is_loopback(host) or as_address(host) is not None
