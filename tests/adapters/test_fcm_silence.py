"""A push service that hangs: it is left alone for a while, so that live mail keeps its threads; and where it may be."""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from models.enums import NotificationKind
from pipeline.adapters.fcm import FcmPusher
from pipeline.core.pushing import Device, How, Push
from pipeline.runtime.device_rows import PURPOSE
from pipeline.runtime.errors import UserError
from pipeline.runtime.secrets import Secrets
from pipeline.runtime.settings import Settings
from tests.ops_api.serving import FakeClock

_SECRETS = Secrets("a long secret key that only tests know")
_PUSH = Push.of(UUID(int=7), NotificationKind.ASSIGNED, UUID(int=8), "New work order", "wo_007: The brake squeals")


class _Tokens:
    def take(self, refused: str | None = None) -> tuple[str, str]:
        return "project", "access"


class _Service:
    """Answers after `takes`, or hangs until the client gives up."""

    def __init__(self, clock: FakeClock, takes: timedelta) -> None:
        self.clock, self.takes, self.asked, self.hangs = clock, takes, 0, True

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        self.clock.wait(self.takes)
        if self.hangs:
            raise httpx.ReadTimeout("hangs", request=request)
        return httpx.Response(200, json={})


def _device() -> Device:
    hashed = sha256(b"phone").digest()
    return Device(UUID(int=1), hashed, _SECRETS.seal(PURPOSE, hashed.hex(), b"phone"))


def _port(clock: FakeClock, service: _Service) -> FcmPusher:
    port = FcmPusher(Settings(_env_file=None), _SECRETS, clock)  # type: ignore[call-arg]
    port._tokens = _Tokens()  # type: ignore[assignment]
    port._http = httpx.Client(transport=httpx.MockTransport(service))
    return port


def test_a_service_that_hangs_is_asked_once_a_minute_and_costs_nobody_an_attempt_meanwhile() -> None:
    clock = FakeClock()
    service = _Service(clock, timedelta(seconds=10))
    port = _port(clock, service)
    told = [port.push(_PUSH, _device()) for _ in range(20)]
    assert [one.how for one in told] == [How.DOUBTFUL, *[How.LATER] * 19]
    assert (service.asked, told[-1].delay) == (1, timedelta(minutes=1))
    service.hangs, service.takes = False, timedelta(seconds=1)
    clock.wait(timedelta(minutes=1))
    assert [port.push(_PUSH, _device()).how for _ in range(2)] == [How.ACCEPTED] * 2
    port.close()


def test_one_that_gives_up_at_once_is_asked_for_every_device() -> None:
    clock = FakeClock()
    service = _Service(clock, timedelta(milliseconds=50))
    port = _port(clock, service)
    assert [port.push(_PUSH, _device()).how for _ in range(3)] == [How.DOUBTFUL] * 3
    assert service.asked == 3
    port.close()


@pytest.mark.parametrize("endpoint", ["http://push.example", "https://user:word@push.example", "http://10.0.0.7:80"])
def test_access_tokens_are_sent_in_plain_text_to_this_machine_alone(endpoint: str, tmp_path: Path) -> None:
    settings = Settings(_env_file=None, fcm_endpoint=endpoint)  # type: ignore[call-arg]
    with pytest.raises(UserError, match="FIELDPOST_FCM_ENDPOINT"):
        FcmPusher(settings, _SECRETS, FakeClock())
