"""Connections to addresses that users choose: where they may lead, and that the address judged is the one reached."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.adapters.guarded_http import AddressRefused, Guard, fetch, guarded_client, is_safe_url
from pipeline.core.public_addresses import every_private, judged, networks, odd_name
from pipeline.runtime.settings import Settings
from tests.oidc_server.server import Provider, providing

_PUBLIC = "93.184.216.34"
#: Each is the way to this machine, to a private network, or to a cloud's metadata.
_CLOSED = (
    "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1",
    "169.254.169.254", "192.0.0.192", "192.0.2.1", "198.18.0.1", "198.51.100.7", "203.0.113.9", "224.0.0.1",
    "239.255.255.255", "240.0.0.1", "255.255.255.255", "::", "::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254",
    "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::",
    "2002:a00:1::1", "2001::1", "2001:db8::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "3fff::1",
)  # fmt: skip
#: What some resolvers read as 127.0.0.1, and one for whom `localhost` is spelt out.
_ODD = (
    "2130706433", "0x7f000001", "0x7f.0.0.1", "017700000001", "0177.0.0.1", "127.1", "127.0.1", "127.0.0.1.", "0",
    "0x", "1.2.3.4.5", "example.0x1",
)  # fmt: skip


def _answers(*addresses: str) -> Any:
    """Return a resolver that gives these addresses, one list after the other when it is asked again."""

    def resolve(host: str, port: int) -> Sequence[tuple[Any, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    return resolve


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with providing() as running:
        yield running


@pytest.mark.parametrize("address", _CLOSED)
def test_no_connection_is_made_inside(address: str) -> None:
    dialled: list[object] = []

    def dial(place: object, _: object) -> Any:
        dialled.append(place)

    guard = Guard(resolve=_answers(address), dial=dial)
    for host in ("mail.example.org", address if ":" not in address else f"[{address}]"):
        with pytest.raises(AddressRefused):
            guard.connect(host, 993)
    assert dialled == []


@pytest.mark.parametrize("host", _ODD)
def test_an_address_in_an_unusual_spelling_is_no_name(host: str) -> None:
    assert odd_name(host) is not None
    with pytest.raises(AddressRefused):
        Guard(every_private()).addresses(host, 80)


@pytest.mark.parametrize("host", ["", "a b", "a/b", "user@host", "a\r\nb", "a%00b", "x" * 300, "a\x00b"])
def test_what_is_no_name_is_not_looked_up(host: str) -> None:
    with pytest.raises(AddressRefused):
        Guard(every_private(), resolve=_answers(_PUBLIC)).addresses(host, 80)


@pytest.mark.parametrize("address", [_PUBLIC, "2606:2800:220:1:248:1893:25c8:1946", "64:ff9b::5db8:d822"])
def test_the_internet_is_open(address: str) -> None:
    assert [str(one) for one in Guard(resolve=_answers(address)).addresses("mail.example.org", 993)] == [address]


def test_one_closed_address_among_open_ones_closes_the_name() -> None:
    with pytest.raises(AddressRefused):
        Guard(resolve=_answers(_PUBLIC, "127.0.0.1")).addresses("mail.example.org", 993)


def test_a_name_that_answers_differently_the_second_time_is_reached_where_it_was_judged() -> None:
    """DNS rebinding: the first answer is public, every later one leads inside."""
    answers = iter([_PUBLIC, "127.0.0.1", "169.254.169.254"])
    asked, dialled = [], []

    def resolve(host: str, port: int) -> Sequence[tuple[Any, ...]]:
        asked.append(host)
        return _answers(next(answers))(host, port)  # type: ignore[no-any-return]

    def dial(place: tuple[str, int], timeout: float | None) -> socket.socket:
        dialled.append(place)
        raise ConnectionRefusedError("nobody listens")

    guard = Guard(resolve=resolve, dial=dial)
    with pytest.raises(ConnectionRefusedError):
        guard.connect("rebind.example", 993)
    assert (asked, dialled) == (["rebind.example"], [(_PUBLIC, 993)])
    with pytest.raises(AddressRefused):
        guard.connect("rebind.example", 993)


def test_an_http_connection_goes_to_the_address_that_was_judged(provider: Provider) -> None:
    """The name means nothing to this machine's resolver: only the guard's answer can have led there."""
    asked = []

    def resolve(host: str, port: int) -> Sequence[tuple[Any, ...]]:
        asked.append(host)
        return _answers("127.0.0.1" if len(asked) == 1 else "169.254.169.254")(host, port)  # type: ignore[no-any-return]

    with guarded_client(Guard(every_private(), resolve=resolve)) as client:
        url = f"http://idp.invalid:{provider.port}/jwks"
        assert b"key-1" in fetch(client, url)
        assert asked == ["idp.invalid"]
        with pytest.raises(AddressRefused):
            fetch(client, url)


def test_http_to_an_address_inside_is_refused(provider: Provider) -> None:
    with guarded_client(Guard()) as client, pytest.raises(AddressRefused):
        client.get(provider.jwks_url)
    assert provider.asked["/jwks"] <= 1


@pytest.mark.parametrize(
    "elsewhere",
    ["http://localhost:{port}/jwks", "http://127.0.0.1:1/jwks", "https://127.0.0.1:{port}/jwks", "file:///etc"],
)
def test_a_redirect_to_another_place_is_not_followed(elsewhere: str, provider: Provider) -> None:
    provider.faults["/jwks"], provider.elsewhere = "elsewhere", elsewhere.format(port=provider.port)
    before = sum(provider.asked.values())
    try:
        with guarded_client(Guard(every_private())) as client, pytest.raises((AddressRefused, httpx.HTTPError)):
            fetch(client, provider.jwks_url)
    finally:
        provider.faults.clear()
    assert sum(provider.asked.values()) == before + 1


def test_another_port_of_the_same_host_is_another_place() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.port == 8443
        return httpx.Response(302, headers={"location": "https://keys.example/jwks"})

    with httpx.Client(transport=httpx.MockTransport(answer)) as client, pytest.raises(AddressRefused):
        fetch(client, "https://keys.example:8443/jwks")


def test_a_chain_of_redirects_ends(provider: Provider) -> None:
    provider.faults["/jwks"], provider.elsewhere = "elsewhere", "/jwks"
    before = provider.asked["/jwks"]
    try:
        with guarded_client(Guard(every_private())) as client, pytest.raises(httpx.TooManyRedirects):
            fetch(client, provider.jwks_url)
    finally:
        provider.faults.clear()
    assert provider.asked["/jwks"] - before == 4


@pytest.mark.parametrize("fault", ["large", "gzip", "hang", "down"])
def test_an_answer_is_bounded_in_size_and_time(fault: str, provider: Provider) -> None:
    provider.faults["/jwks"] = fault
    try:
        with guarded_client(Guard(every_private()), seconds=0.3) as client, pytest.raises(httpx.HTTPError):
            fetch(client, provider.jwks_url)
    finally:
        provider.faults.clear()


def test_a_server_that_sends_a_byte_now_and_then_is_left_when_the_time_is_over() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        guarded_client(Guard(every_private()), seconds=0.4) as client,
    ):
        server.settimeout(10)
        ended = threading.Event()

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                while not ended.wait(0.05):
                    try:
                        connection.sendall(b"x")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            with pytest.raises(httpx.TimeoutException):
                client.get(f"http://127.0.0.1:{server.getsockname()[1]}/")
        finally:
            ended.set()
            thread.join()


@pytest.mark.parametrize(
    ("environment", "said", "is_open"),
    [
        ("development", None, True),
        ("production", None, False),
        ("production", "true", True),
        ("development", "false", False),
        ("production", "127.0.0.0/8, 10.2.0.0/16", True),
        ("production", "10.2.0.0/16", False),
    ],
)
def test_the_settings_say_which_private_networks_are_open(environment: str, said: str | None, is_open: bool) -> None:
    settings = Settings(_env_file=None, environment=environment, allow_private_addresses=said)  # type: ignore[call-arg, arg-type]
    guard = Guard.of(settings)
    if is_open:
        assert [str(one) for one in guard.addresses("127.0.0.1", 143)] == ["127.0.0.1"]
    else:
        with pytest.raises(AddressRefused, match="FIELDPOST_ALLOW_PRIVATE_ADDRESSES"):
            guard.addresses("127.0.0.1", 143)


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "0.0.0.0", "224.0.0.1", "fd00:ec2::254", "fe80::1", "168.63.129.16"]
)
def test_no_setting_opens_what_is_no_server(address: str) -> None:
    with pytest.raises(AddressRefused):
        Guard([*every_private(), *networks("0.0.0.0/0, ::/0")], resolve=_answers(address)).addresses("x.example", 80)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_alike_in_each_form_that_carries_it(address: Any) -> None:
    for carrier in ("::ffff:0:0", "64:ff9b::"):
        carried = ipaddress.IPv6Address(int(ipaddress.IPv6Address(carrier)) | int(address))
        assert (judged(carried) is None) == (judged(address) is None)
    # What the standard library knows to be no public address is never open.
    assert judged(address) is not None or (address.is_global and not address.is_multicast)


@pytest.mark.parametrize(
    ("url", "in_development", "in_production"),
    [
        ("https://idp.example/jwks", True, True),
        ("http://127.0.0.1:8000/jwks", True, False),
        ("http://idp.example/jwks", False, False),
        ("https://user:password@idp.example/jwks", False, False),
        ("ftp://idp.example", False, False),
        ("file:///etc/passwd", False, False),
        ("https://", False, False),
        ("https://idp.example:99999/", False, False),
    ],
)
def test_keys_and_secrets_go_over_tls_only(url: str, in_development: bool, in_production: bool) -> None:
    assert is_safe_url(url, is_production=False) is in_development
    assert is_safe_url(url, is_production=True) is in_production
