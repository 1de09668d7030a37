"""Pushes by FCM over real HTTP: what leaves, what each answer means, tokens that are renewed and never shown."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from email.utils import format_datetime
from hashlib import sha256
from pathlib import Path
from uuid import UUID

import pytest

from models.enums import NotificationKind
from pipeline.adapters import fcm_tokens
from pipeline.adapters.clock import SystemClock
from pipeline.adapters.fcm import FcmPusher
from pipeline.core.pushing import Device, How, Push, Pushed
from pipeline.runtime.device_rows import PURPOSE
from pipeline.runtime.errors import UserError
from pipeline.runtime.secrets import Secrets
from pipeline.runtime.settings import Settings
from tests.fcm_server import UNREGISTERED, Fault, FcmServer, fcm_server

Make = Callable[..., FcmPusher]

_SECRETS = Secrets("a long secret key that only tests know")
_TOKEN = "phone-canary:APA91b"
_PUSH = Push.of(UUID(int=7), NotificationKind.ASSIGNED, UUID(int=8), "New work order", "wo_007: The brake squeals")


def device(token: str = _TOKEN, secrets: Secrets = _SECRETS) -> Device:
    hashed = sha256(token.encode()).digest()
    return Device(UUID(int=1), hashed, secrets.seal(PURPOSE, hashed.hex(), token.encode()))


@pytest.fixture
def fcm() -> Iterator[FcmServer]:
    with fcm_server() as server:
        yield server


@pytest.fixture
def pusher(fcm: FcmServer, tmp_path: Path) -> Iterator[Make]:
    """Return what makes ports to the server; changes are of the key file."""
    made: list[FcmPusher] = []

    def make(**changes: object) -> FcmPusher:
        path = fcm.write(tmp_path, **changes)
        told = {"fcm_credentials_file": path, "fcm_endpoint": fcm.endpoint}
        made.append(FcmPusher(Settings(_env_file=None, **told), _SECRETS, SystemClock()))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_push_has_the_words_and_the_ids_and_nothing_else_of_anybody(fcm: FcmServer, pusher: Make) -> None:
    heard: list[str] = []
    port = pusher()
    port._on_push = heard.append
    assert [port.push(_PUSH, device()).how for _ in range(2)] == [How.ACCEPTED] * 2
    first, second = fcm.pushed(_TOKEN)
    assert first == second | {"apns": first["apns"]}
    assert first["notification"] == {"title": "New work order", "body": "wo_007: The brake squeals"}
    name = str(UUID(int=7))
    assert first["data"] == {"notificationId": name, "type": "WO_ASSIGNED", "workOrderId": str(UUID(int=8))}
    # What takes the place of the first on the screen; no collapse_key, of which FCM keeps four for a device.
    assert first["android"]["notification"]["tag"] == first["webpush"]["notification"]["tag"] == name
    assert first["apns"]["headers"]["apns-collapse-id"] == name
    assert "collapse_key" not in first["android"]
    assert set(first) == {"token", "notification", "data", "android", "apns", "webpush"}
    # One access token for both.
    assert (fcm.given, heard) == (1, ["accepted", "accepted"])


def test_long_words_are_cut_so_that_fcm_takes_them(fcm: FcmServer, pusher: Make) -> None:
    long = Push.of(UUID(int=7), NotificationKind.RETURNED, UUID(int=8), "t" * 300, "\N{SNOWMAN}" * 5_000)
    assert pusher().push(long, device()).how is How.ACCEPTED
    (taken,) = fcm.taken
    assert len(json.dumps(taken, ensure_ascii=False).encode()) < 4_096
    assert taken["notification"]["body"].endswith("…")


_CASES = [
    (UNREGISTERED, Pushed(How.GONE, "FCM answered 404 UNREGISTERED")),
    # Another project than the devices': nobody's token is wrong.
    (Fault(404, "NOT_FOUND"), Pushed(How.REFUSED, "FCM answered 404 NOT_FOUND")),
    (Fault(400, "INVALID_ARGUMENT", wrong="message.token"), Pushed(How.GONE, "FCM answered 400 INVALID_ARGUMENT")),
    (
        Fault(400, "INVALID_ARGUMENT", message="The registration token is not a valid FCM registration token"),
        Pushed(How.GONE, "FCM answered 400 INVALID_ARGUMENT"),
    ),
    (
        Fault(400, "INVALID_ARGUMENT", wrong="message.data[0].value"),
        Pushed(How.REFUSED, "FCM answered 400 INVALID_ARGUMENT"),
    ),
    (Fault(403, "SENDER_ID_MISMATCH"), Pushed(How.REFUSED, "FCM answered 403 SENDER_ID_MISMATCH")),
    (
        Fault(429, "QUOTA_EXCEEDED", {"Retry-After": "7"}),
        Pushed(How.LATER, "FCM answered 429 QUOTA_EXCEEDED", timedelta(seconds=7)),
    ),
    (Fault(503, "UNAVAILABLE"), Pushed(How.LATER, "FCM answered 503 UNAVAILABLE", timedelta(minutes=1))),
    (
        Fault(503, "UNAVAILABLE", {"Retry-After": "999999"}),
        Pushed(How.LATER, "FCM answered 503 UNAVAILABLE", timedelta(hours=1)),
    ),
    (Fault(500, "INTERNAL"), Pushed(How.DOUBTFUL, "FCM answered 500 INTERNAL")),
    (Fault(502, raw=b"<html>phone-canary</html>"), Pushed(How.DOUBTFUL, "FCM answered 502")),
    (Fault(400, raw=b'{"error": [{"details": 7}]}'), Pushed(How.REFUSED, "FCM answered 400")),
    (
        Fault(400, raw=b'{"error": {"details": [{"errorCode": "phone-canary", "fieldViolations": 7}, 5]}}'),
        Pushed(How.REFUSED, "FCM answered 400"),
    ),
    # No word of the token: nobody's device is gone by it.
    (
        Fault(400, raw=b'{"error": {"status": "INVALID_ARGUMENT", "details": [{"fieldViolations": []}]}}'),
        Pushed(How.REFUSED, "FCM answered 400 INVALID_ARGUMENT"),
    ),
    (Fault(0), Pushed(How.DOUBTFUL, "FCM gave no answer: RemoteProtocolError")),
]


def test_every_answer_is_told_for_what_it_is_and_repeats_no_token(fcm: FcmServer, pusher: Make) -> None:
    port = pusher()
    for fault, expected in _CASES:
        fcm.faults[_TOKEN] = [fault]
        found = port.push(_PUSH, device())
        assert found == expected, fault
        assert "canary" not in repr(found)
    assert fcm.taken == []


def test_a_wait_until_a_date_is_understood(fcm: FcmServer, pusher: Make) -> None:
    at = SystemClock().now() + timedelta(seconds=90)
    fcm.faults[_TOKEN] = [Fault(503, "UNAVAILABLE", {"Retry-After": format_datetime(at, usegmt=True)})]
    found = pusher().push(_PUSH, device())
    assert timedelta(seconds=60) < found.delay < timedelta(seconds=91)


def test_an_access_token_that_is_refused_is_renewed_once(fcm: FcmServer, pusher: Make) -> None:
    port = pusher()
    assert port.push(_PUSH, device()).how is How.ACCEPTED
    fcm.forget_access_tokens()
    assert port.push(_PUSH, device()).how is How.ACCEPTED
    assert (fcm.given, fcm.asked) == (2, 3)
    # Keys of Apple's that Firebase does not have: no token of ours mends that.
    fcm.faults[_TOKEN] = [Fault(401, "THIRD_PARTY_AUTH_ERROR")]
    assert port.push(_PUSH, device()).how is How.REFUSED
    assert fcm.given == 2
    fcm.faults[_TOKEN] = [Fault(401, "UNAUTHENTICATED"), Fault(401, "UNAUTHENTICATED")]
    assert port.push(_PUSH, device()) == Pushed(How.REFUSED, "FCM answered 401 UNAUTHENTICATED")
    assert (fcm.given, fcm.asked) == (3, 6)


def test_without_an_access_token_it_is_told_why_in_our_words(fcm: FcmServer, pusher: Make) -> None:
    port = pusher()
    fcm.token_faults = [(400, {"error": "invalid_grant", "error_description": "canary"})]
    assert port.push(_PUSH, device()) == Pushed(How.REFUSED, "no access token for FCM: RefreshError")
    assert port.push(_PUSH, device()).how is How.ACCEPTED
    assert pusher(token_uri="http://127.0.0.1:9/token").push(_PUSH, device()).how is How.DOUBTFUL


def test_a_device_whose_token_does_not_open_waits_for_its_key_or_is_gone(fcm: FcmServer, pusher: Make) -> None:
    port = pusher()
    other = port.push(_PUSH, device(secrets=Secrets("another long secret key of tests")))
    assert (other.how, other.delay) == (How.LATER, timedelta(minutes=1))
    moved = Device(UUID(int=1), sha256(b"another").digest(), device().sealed)
    assert port.push(_PUSH, moved).how is How.GONE
    assert fcm.asked == 0


def test_without_a_file_there_is_no_service(tmp_path: Path) -> None:
    settings = Settings(_env_file=None)  # type: ignore[call-arg]
    port = FcmPusher(settings, _SECRETS, SystemClock())
    assert not port.is_ready
    port.close()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"type": "authorized_user"}, "no service account's key"),
        ({"project_id": None}, "names no project_id"),
        ({"token_uri": "http://evil.example/token"}, "must start with https://"),
        ({"private_key": "canary"}, "private_key"),
        ({"client_email": None}, "private_key"),
    ],
)
def test_a_file_that_is_no_key_is_told_in_words_without_what_stands_in_it(
    fcm: FcmServer, tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    with pytest.raises(UserError, match=said) as caught:
        fcm_tokens.load(fcm.write(tmp_path, **changes))
    assert "canary" not in str(caught.value)


def test_a_file_that_was_mended_is_read_without_a_restart(fcm: FcmServer, pusher: Make, tmp_path: Path) -> None:
    port = pusher()
    (tmp_path / "fcm.json").write_text("{")
    found = port.push(_PUSH, device())
    assert found.how is How.REFUSED
    assert "cannot be read as JSON" in found.said
    fcm.write(tmp_path)
    assert port.push(_PUSH, device()).how is How.ACCEPTED
