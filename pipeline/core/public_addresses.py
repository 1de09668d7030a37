"""Which network addresses a connection may go to, when somebody else than the operator chose where it goes."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Nobody's own network: machines of this host and of private networks (RFC 1122, 1918, 4193, 4291). An operator may
#: open these, or some of them.
_PRIVATE = tuple(
    ipaddress.ip_network(one)
    for one in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7")
)
#: Never a mail server or an identity provider: this network and any address, carriers' own, link-local with the
#: clouds' metadata, protocol assignments, examples, benchmarks, multicast and reserved (IANA's IPv4 registry).
_NEVER = tuple(
    ipaddress.ip_network(one)
    for one in (
        *("0.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24"),
        *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        # Azure's own server of its machines' secrets: a public address that only they reach.
        "168.63.129.16/32",
        # Of IPv6 only 2000::/3 is given out; in it stand Teredo and other protocols, examples, and 6to4. Amazon's
        # metadata is the one address below that lies in a private range.
        *("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "fd00:ec2::254/128"),
    )
)
_GLOBAL = ipaddress.ip_network("2000::/3")
#: An IPv4 address is written in the last 32 bits of these (RFC 4291, 6052).
_CARRIERS = (ipaddress.ip_network("::ffff:0:0/96"), ipaddress.ip_network("64:ff9b::/96"))
_NUMBER = re.compile(r"(0[xX][0-9a-fA-F]*|[0-9]+)")
_NO_NAME = re.compile(r"[\s/\\@?#%\[\]\x00-\x1f\x7f]")


def networks(said: str) -> tuple[Network, ...]:
    """Return the networks of a list such as `10.1.0.0/16, 192.168.7.20`. Raises `ValueError` for what is none."""
    return tuple(ipaddress.ip_network(one.strip()) for one in said.split(",") if one.strip())


def every_private() -> tuple[Network, ...]:
    """Return the networks that an operator may open."""
    return _PRIVATE


def judged(address: Address, opened: Iterable[Network] = ()) -> str | None:
    """Return why no connection may go to an address, None when it may.

    `opened` are private networks that may be reached; what is never a server's address stays closed.
    """
    inner = _carried(address)
    found = address if inner is None else inner
    if getattr(found, "scope_id", None) or any(_within(found, network) for network in _NEVER):
        return "it is link-local, multicast, reserved, or serves metadata"
    if any(_within(found, network) for network in _PRIVATE):
        return None if any(_within(found, network) for network in opened) else "it is private"
    if found.version == 6 and not _within(found, _GLOBAL):
        return "it is no address of the internet"
    return None


def odd_name(host: str) -> str | None:
    """Return why a host is not asked for: no name, or a number that some resolvers read as an address (127.1, 0x7f).

    An address is only known by its usual spelling, as browsers and people read it.
    """
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not bare or len(bare) > 253:
        return "it is no name"
    if as_address(bare) is not None:
        return None
    if _NO_NAME.search(bare):
        return "it is no name"
    if _NUMBER.fullmatch(bare.rstrip(".").rpartition(".")[2]):
        return "it is an address in an unusual spelling"
    return None


def as_address(host: str) -> Address | None:
    """Return the address that a host is, None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _carried(address: Address) -> Address | None:
    if address.version == 6 and any(address in network for network in _CARRIERS):
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return None


def _within(address: Address, network: Network) -> bool:
    return address.version == network.version and address in network
