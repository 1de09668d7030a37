"""Contract 004 over HTTP: devices for pushes, and the bell: what somebody was notified of, and that they read it."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from models.enums import NotificationKind, WorkOrderState
from pipeline.adapters.clock import SystemClock
from pipeline.core.notices import RESET_VALID
from pipeline.runtime import notifying, resetting
from pipeline.runtime.access_tokens import AccessTokens
from pipeline.runtime.refreshing import Families
from pipeline.runtime.secrets import Secrets
from tests.commands.work_desk import WorkDesk
from tests.conformance.service import Service
from tests.ops_api.serving import Api, rows

_NEW = "velvet comet harbour 88"
_DEVICES, _BELL = "/api/v1/devices/register", "/api/v1/me/notifications"


class Field:
    """A running service, with technicians who have signed in as the app does."""

    def __init__(self, api: Api) -> None:
        self.api, self.desk = api, WorkDesk.of(api.db)

    def sign_in(self, name: str = "tech") -> tuple[httpx.Client, str]:
        """Return a client with a new access token, and the refresh token, as after a login."""
        secrets = Secrets.of(self.api.app.state.services.settings)
        with self.api.db.begin() as connection:
            families = Families(secrets, AccessTokens(secrets, SystemClock()))
            issued = families.begin(connection, self.desk.org_id, self.desk.person_id(name))
        headers = {"authorization": f"Bearer {issued.access_token}"}
        return self.api.client(headers=headers), issued.refresh_token

    def tell(self, kind: NotificationKind, name: str = "tech") -> UUID:
        """Notify somebody of a new order; return the notification's id."""
        order = self.desk.order(WorkOrderState.ASSIGNED, name)
        with self.api.db.begin() as connection:
            (push,) = notifying.tell(connection, order, kind, [self.desk.person_id(name)], f"x:{order.order_id}")
        return UUID(push.key)

    def live(self) -> list[str]:
        """Return whose devices get pushes, by name."""
        names = {one.person_id: name for name, one in self.desk.people.items()}
        statement = "SELECT person_id FROM devices WHERE org_id = :org AND dropped_at IS NULL ORDER BY id"
        return [names[row[0]] for row in rows(self.api.db, statement, org=self.desk.org_id)]

    def dropped(self) -> list[str]:
        """Return why devices were dropped, in the order in which they were registered."""
        statement = "SELECT dropped_because FROM devices WHERE org_id = :org AND dropped_at IS NOT NULL ORDER BY id"
        return [row[0] for row in rows(self.api.db, statement, org=self.desk.org_id)]

    def register(self, client: httpx.Client, token: str = "phone-1", platform: str = "android") -> httpx.Response:
        """Register a device, by a token that no other test has."""
        return client.post(_DEVICES, json={"platform": platform, "fcmToken": f"{self.desk.org_id}:{token}"})


@pytest.fixture
def field(service: Service) -> Field:
    """Return an organization with technicians."""
    return Field(service.api)


def error(answer: httpx.Response, status: int) -> dict[str, Any]:
    """Return the error of an answer, in contract 004's envelope."""
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()["error"]
    assert found["code"]
    assert found["message"]
    assert found["request_id"] == answer.headers["x-request-id"]
    return found


def test_a_device_is_registered_by_its_token_and_keeps_its_id(field: Field) -> None:
    tech, _ = field.sign_in()
    first = field.register(tech, platform="ANDROID")
    assert first.status_code == 201
    assert set(first.json()) == {"id"}
    assert UUID(first.json()["id"])
    assert field.register(tech).json() == first.json()
    assert field.register(tech, "phone-2", "ios").json() != first.json()
    assert field.live() == ["tech", "tech"]
    row = rows(field.api.db, "SELECT token_sealed FROM devices WHERE org_id = :org ORDER BY id", org=field.desk.org_id)[
        0
    ]
    assert b"phone-1" not in bytes(row[0])
    assert ":phone-1" not in str(rows(field.api.db, "SELECT data FROM audit_details"))
    # Their own app takes one away; nobody else does.
    other, _ = field.sign_in("other_tech")
    error(other.delete(f"/api/v1/devices/{first.json()['id']}"), 404)
    assert tech.delete(f"/api/v1/devices/{first.json()['id']}").status_code == 204
    error(tech.delete(f"/api/v1/devices/{first.json()['id']}"), 404)
    error(tech.delete("/api/v1/devices/none"), 404)
    assert field.dropped() == ["removed"]


def test_a_device_that_another_registers_changes_hands_and_ten_of_one_person_get_pushes(field: Field) -> None:
    tech, _ = field.sign_in()
    other, _ = field.sign_in("other_tech")
    field.register(tech)
    field.register(other)
    assert (field.live(), field.dropped()) == (["other_tech"], ["handed over"])
    # Of another organization, which lies behind the barrier.
    elsewhere = Field(field.api)
    stranger, _ = elsewhere.sign_in()
    assert field.register(stranger).status_code == 201
    assert (elsewhere.live(), field.dropped()) == (["tech"], ["handed over"] * 2)
    for number in range(12):
        assert field.register(tech, f"tablet-{number}").status_code == 201
    assert field.dropped() == ["handed over"] * 2 + ["too many"] * 2
    kept = rows(field.api.db, "SELECT count(*) FROM devices WHERE dropped_at IS NULL AND person_id = :id",
                id=field.desk.person_id("tech"))  # fmt: skip
    assert kept[0][0] == 10


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, {"platform", "fcmToken"}),
        ({"platform": "fridge", "fcmToken": "canary"}, {"platform"}),
        ({"platform": "ios", "fcmToken": ""}, {"fcmToken"}),
        ({"platform": "ios", "fcmToken": "canary with blanks"}, {"fcmToken"}),
        ({"platform": "ios", "fcmToken": "canary" * 1_000}, {"fcmToken"}),
        ({"platform": 7, "fcmToken": ["canary"]}, {"platform", "fcmToken"}),
    ],
)
def test_what_is_no_device_is_refused_by_its_fields(field: Field, body: object, where: set[str]) -> None:
    tech, _ = field.sign_in()
    answer = tech.post(_DEVICES, json=body)
    assert set(error(answer, 422)["fields"]) == where
    assert "canary" not in answer.text


def test_nobody_and_nothing_are_refused(field: Field) -> None:
    nobody = field.api.client()
    error(field.register(nobody), 401)
    error(nobody.get(_BELL), 401)
    error(nobody.post(f"{_BELL}/{uuid4()}/read"), 401)
    tech, _ = field.sign_in()
    error(tech.get(_BELL, params={"limit": 101}), 422)
    error(tech.get(_BELL, params={"cursor": "made-up"}), 422)
    error(tech.post(f"{_BELL}/{uuid4()}/read"), 404)
    error(tech.post(f"{_BELL}/none/read"), 404)


def test_signing_out_ends_the_pushes_of_that_device_and_of_no_other(field: Field) -> None:
    tech, token = field.sign_in()
    second, _ = field.sign_in()
    field.register(tech)
    field.register(second, "tablet")
    renewed = field.api.client().post("/api/v1/auth/refresh", json={"refreshToken": token})
    # The family goes on, and the device with it.
    assert field.live() == ["tech", "tech"]
    sign_out = {"refreshToken": renewed.json()["refreshToken"]}
    assert field.api.client().post("/api/v1/auth/logout", json=sign_out).status_code == 204
    assert (field.live(), field.dropped()) == (["tech"], ["signed out"])
    # The next who signs in on it registers it anew.
    other, _ = field.sign_in("other_tech")
    field.register(other)
    assert sorted(field.live()) == ["other_tech", "tech"]


def test_a_refresh_token_that_is_used_twice_ends_the_pushes(field: Field) -> None:
    tech, token = field.sign_in()
    field.register(tech)
    door = field.api.client()
    first = door.post("/api/v1/auth/refresh", json={"refreshToken": token}).json()
    door.post("/api/v1/auth/refresh", json={"refreshToken": first["refreshToken"]})
    # Somebody else has the first one: its successor was used already.
    assert door.post("/api/v1/auth/refresh", json={"refreshToken": token}).status_code == 401
    assert field.dropped() == ["a refresh token was used again"]


def test_a_new_password_and_being_switched_off_end_all_pushes(field: Field) -> None:
    tech, _ = field.sign_in()
    field.register(tech)
    with field.api.db.begin() as connection:
        token = resetting.make(connection, field.desk.person_id("tech"), RESET_VALID)
    answer = field.api.client().post("/api/v1/auth/reset-password", json={"token": token, "newPassword": _NEW})
    assert answer.status_code == 204
    assert field.live() == []
    other, _ = field.sign_in("other_tech")
    field.register(other)
    boss, _ = field.sign_in("admin")
    off = boss.patch(f"/people/{field.desk.person_id('other_tech')}", json={"is_active": False})
    assert off.status_code == 200, off.text
    assert (field.live(), len(field.dropped())) == ([], 2)


def test_the_bell_tells_the_newest_first_page_by_page_and_what_is_unread(field: Field) -> None:
    kinds = ("ASSIGNED", "REASSIGNED", "DUE_SOON", "OVERDUE")
    told = [field.tell(NotificationKind[kind]) for kind in kinds]
    field.tell(NotificationKind.ASSIGNED, "other_tech")
    tech, _ = field.sign_in()
    whole = tech.get(_BELL).json()
    assert set(whole) == {"items", "unread", "nextCursor"}
    assert [one["type"] for one in whole["items"]] == [f"WO_{kind}" for kind in reversed(kinds)]
    newest = whole["items"][0]
    assert set(newest) == {"id", "type", "title", "body", "at", "read", "workOrderId"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", newest["at"])
    assert (newest["id"], newest["title"], newest["read"]) == (str(told[-1]), "A work order is overdue", False)
    assert (whole["unread"], whole["nextCursor"]) == (4, None)
    pages, cursor = [], None
    while True:
        page = tech.get(_BELL, params={"limit": 3, **({"cursor": cursor} if cursor else {})}).json()
        pages.append([one["id"] for one in page["items"]])
        if (cursor := page["nextCursor"]) is None:
            break
    assert [len(one) for one in pages] == [3, 1]
    assert [one for page in pages for one in page] == [one["id"] for one in whole["items"]]
    other, _ = field.sign_in("other_tech")
    first = tech.get(_BELL, params={"limit": 1}).json()["nextCursor"]
    error(other.get(_BELL, params={"cursor": first}), 422)


def test_what_was_read_is_read_again_and_again_and_by_whom_it_was_told_alone(field: Field) -> None:
    one, two, three = (field.tell(NotificationKind.ASSIGNED) for _ in range(3))
    tech, _ = field.sign_in()
    other, _ = field.sign_in("other_tech")
    error(other.post(f"{_BELL}/{one}/read"), 404)
    for _ in range(2):
        answer = tech.post(f"{_BELL}/{one}/read")
        assert (answer.status_code, answer.content) == (204, b"")
    read = {item["id"]: item["read"] for item in tech.get(_BELL).json()["items"]}
    assert read == {str(one): True, str(two): False, str(three): False}
    # What came after the newest that was seen stays unread.
    assert tech.post(f"{_BELL}/read-all", params={"until": str(two)}).status_code == 204
    assert tech.get(_BELL).json()["unread"] == 1
    assert other.post(f"{_BELL}/read-all").status_code == 204
    assert tech.get(_BELL).json()["unread"] == 1
    assert tech.post(f"{_BELL}/read-all").status_code == 204
    assert tech.get(_BELL).json()["unread"] == 0
