"""Addresses of mailboxes that somebody gave: no reader, sender or renewal of a token goes inside in production."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any
from uuid import uuid4

import httplib2
import orjson
import pytest

from models.enums import Provider as MailProvider
from pipeline.adapters import imap_credentials
from pipeline.adapters.clock import SystemClock
from pipeline.adapters.guarded_google import GuardedHttp, guard_for
from pipeline.adapters.guarded_http import AddressRefused, Guard
from pipeline.adapters.imap_credentials import OAuthLogin
from pipeline.adapters.sending import open_sender
from pipeline.adapters.wiring import CREDENTIALS, open_source, unsealed
from pipeline.core.handing_over import HandOver
from pipeline.core.public_addresses import every_private
from pipeline.ports import MailboxRef
from pipeline.runtime.errors import FieldpostError, Forbidden
from pipeline.runtime.secrets import Secrets
from pipeline.runtime.settings import Settings
from tests.adapters.sent_mail import FROM, outgoing
from tests.oidc_server.server import Provider, providing

_HOST = "127.0.0.1"
_PASSWORD = {"type": "imap_password", "password": "secret"}
_SECRETS = Secrets("a long secret key that only tests know")
_PRODUCTION = Settings(_env_file=None, environment="production")  # type: ignore[call-arg]
_SOME_PORT = 9


@pytest.fixture
def trap() -> Iterator[socket.socket]:
    """A port on which nobody may knock."""
    with socket.create_server((_HOST, 0)) as listener:
        listener.setblocking(False)
        yield listener
        with pytest.raises(BlockingIOError):
            listener.accept()


def _port(trap: socket.socket) -> int:
    return int(trap.getsockname()[1])


def _mailbox(provider: MailProvider, source: dict[str, Any], credentials: dict[str, Any]) -> MailboxRef:
    sealed = _SECRETS.seal(CREDENTIALS, FROM, orjson.dumps(credentials))
    return MailboxRef(uuid4(), FROM, provider, source, sealed)


def _gmail(token_uri: str) -> dict[str, Any]:
    user = {"type": "authorized_user", "refresh_token": "r", "client_id": "c", "client_secret": "s"}
    return user | {"token_uri": token_uri}


def _imap(port: int, security: str = "none") -> dict[str, Any]:
    return {
        "host": _HOST,
        "port": port,
        "security": security,
        "smtp": {"host": _HOST, "port": port, "security": security},
    }


@pytest.mark.parametrize("security", ["none", "tls"])
def test_no_imap_server_inside_is_read(security: str, trap: socket.socket) -> None:
    mailbox = _mailbox(MailProvider.IMAP, _imap(_port(trap), security), _PASSWORD)
    with closing(open_source(mailbox, _PRODUCTION, _SECRETS)) as source, pytest.raises(Forbidden, match="is private"):
        source.profile()


@pytest.mark.parametrize("security", ["none", "tls", "starttls"])
def test_no_mail_is_given_to_an_smtp_server_inside(security: str, trap: socket.socket) -> None:
    mailbox = _mailbox(MailProvider.IMAP, _imap(_port(trap), security), _PASSWORD)
    with closing(open_sender(mailbox, _PRODUCTION, lambda ref: unsealed(_SECRETS, ref))) as sender:
        handed = sender.send(outgoing(SystemClock().now()))
    assert (handed.how, "is private" in handed.said) == (HandOver.LATER, True)


def test_no_gmail_endpoint_inside_is_asked(trap: socket.socket) -> None:
    place = f"http://{_HOST}:{_port(trap)}"
    mailbox = _mailbox(MailProvider.GMAIL, {"endpoint": place}, _gmail(f"{place}/token"))
    with closing(open_source(mailbox, _PRODUCTION, _SECRETS)) as source, pytest.raises(Forbidden, match="is private"):
        source.profile()
    with closing(open_sender(mailbox, _PRODUCTION, lambda ref: unsealed(_SECRETS, ref))) as sender:
        assert sender.send(outgoing(SystemClock().now())).how is HandOver.LATER


def test_no_token_address_inside_is_asked_for_a_token(trap: socket.socket) -> None:
    credentials = {"type": "imap_oauth", "refresh_token": "r", "client_id": "c", "client_secret": "s"}
    place = f"http://{_HOST}:{_port(trap)}/token"
    login = imap_credentials.load(credentials | {"token_uri": place}, Guard.of(_PRODUCTION))
    assert isinstance(login, OAuthLogin)
    with pytest.raises(AddressRefused):
        login.token()


def test_the_library_of_google_reaches_the_address_that_was_judged_and_follows_no_redirect() -> None:
    def resolve(host: str, port: int) -> Sequence[tuple[Any, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (_HOST, port))]

    with providing() as provider:
        http = GuardedHttp(Guard(every_private(), resolve=resolve), 5)
        with closing(http):
            answer, _ = http.request(f"http://mail.invalid:{provider.port}/jwks")
            assert answer.status == 200
            provider.faults["/jwks"], provider.elsewhere = "elsewhere", f"http://{_HOST}:{_SOME_PORT}/"
            answer, _ = http.request(f"http://mail.invalid:{provider.port}/jwks")
            assert answer.status == 302


def test_a_server_is_proved_by_its_name_within_tls() -> None:
    """A server that speaks no TLS gets a hello, and no request: the connection ends there."""
    with providing() as provider:
        with closing(GuardedHttp(Guard(every_private()), 5)) as http, pytest.raises((OSError, httplib2.HttpLib2Error)):
            http.request(f"https://{_HOST}:{provider.port}/jwks")
        assert provider.asked == {}


def test_googles_own_addresses_are_reached_as_before() -> None:
    assert guard_for(_PRODUCTION, None, _gmail("https://oauth2.googleapis.com/token")) is None
    assert guard_for(_PRODUCTION, "https://gmail.example", _gmail("https://oauth2.googleapis.com/token")) is not None
    assert guard_for(_PRODUCTION, None, _gmail("https://tokens.example/token")) is not None


def test_in_development_this_machine_may_be_asked(provider_here: Provider) -> None:
    place = f"http://{_HOST}:{provider_here.port}"
    settings = Settings(_env_file=None)  # type: ignore[call-arg]
    mailbox = _mailbox(MailProvider.GMAIL, {"endpoint": place}, _gmail(f"{place}/token"))
    with closing(open_source(mailbox, settings, _SECRETS)) as source, pytest.raises(FieldpostError):
        source.profile()
    assert provider_here.asked["/token"] > 0


@pytest.fixture
def provider_here() -> Iterator[Provider]:
    with providing() as running:
        yield running
