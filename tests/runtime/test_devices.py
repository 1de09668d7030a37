"""Devices for pushes: one live row for a token and ten for a person, however many register; gone with their session."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

from models.enums import Platform
from pipeline.runtime import device_rows, erasing, past_logins, sessions
from pipeline.runtime.db import Database
from pipeline.runtime.secrets import Secrets
from tests import factories
from tests.ops_api import people

_SECRETS = Secrets("a long secret key that only tests know")


class Crowd:
    """An organization with some people."""

    def __init__(self, db: Database, count: int = 2) -> None:
        self.db = db
        with db.begin() as connection:
            self.org_id = factories.organization(connection)
            self.people = [
                people.member(connection, self.org_id, "technician", f"t{number}@example.org")
                for number in range(count)
            ]

    def begin(self, person_id: UUID, instead_of: UUID | None = None, org_id: UUID | None = None) -> UUID:
        """Begin a session; return its id."""
        with self.db.begin() as connection:
            return sessions.begin(connection, org_id or self.org_id, person_id, instead_of=instead_of).session_id

    def register(self, person_id: UUID, token: str, session_id: UUID | None = None) -> UUID:
        """Register a device."""
        with self.db.begin() as connection:
            return device_rows.register(
                connection, _SECRETS, org_id=self.org_id, person_id=person_id, session_id=session_id,
                platform=Platform.WEB, token=token,
            )  # fmt: skip

    def live(self) -> list[tuple[UUID, UUID | None]]:
        """Return person and session of each live device, in the order of registration."""
        found = factories.rows(
            self.db, "SELECT person_id, session_id FROM devices WHERE dropped_at IS NULL ORDER BY id"
        )
        return [(row.person_id, row.session_id) for row in found]


@pytest.fixture
def crowd(db: Database) -> Crowd:
    return Crowd(db)


def test_however_many_register_at_once_a_token_is_one_persons_and_a_person_has_ten_devices(crowd: Crowd) -> None:
    one, other = crowd.people
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: crowd.register(crowd.people[number % 2], "shared"), range(8)))
        list(pool.map(lambda number: crowd.register(one, f"phone-{number}"), range(14)))
    found = [person_id for person_id, _ in crowd.live()]
    assert found.count(one) == 10
    assert found.count(other) <= 1
    assert factories.value(crowd.db, "SELECT count(*) FROM devices WHERE token_sha256 = sha256('shared')"
                                     " AND dropped_at IS NULL") <= 1  # fmt: skip


def test_a_token_is_sealed_anew_when_it_is_registered_again(crowd: Crowd) -> None:
    device_id = crowd.register(crowd.people[0], "phone")
    before = bytes(factories.value(crowd.db, "SELECT token_sealed FROM devices"))
    assert crowd.register(crowd.people[0], "phone") == device_id
    row = factories.rows(crowd.db, "SELECT token_sha256, token_sealed FROM devices")[0]
    assert bytes(row.token_sealed) != before
    assert device_rows.opened(_SECRETS, row.token_sha256, row.token_sealed) == "phone"


def test_a_session_that_takes_the_place_of_another_takes_its_devices_and_nobody_elses(crowd: Crowd) -> None:
    ann, ben = crowd.people
    first = crowd.begin(ann)
    crowd.register(ann, "phone", first)
    second = crowd.begin(ann, instead_of=first)
    assert crowd.live() == [(ann, second)]
    # Ben signs in where Ann was: his session is not hers.
    crowd.begin(ben, instead_of=second)
    assert crowd.live() == []
    with crowd.db.begin() as connection:
        elsewhere = factories.organization(connection)
    third = crowd.begin(ann)
    crowd.register(ann, "phone", third)
    crowd.begin(ann, instead_of=third, org_id=elsewhere)
    assert crowd.live() == []


def test_devices_end_with_their_session_and_all_of_a_person_but_the_session_that_stays(crowd: Crowd) -> None:
    ann, ben = crowd.people
    one, two = crowd.begin(ann), crowd.begin(ann)
    for token, session_id in (("a", one), ("b", two), ("c", None)):
        crowd.register(ann, token, session_id)
    crowd.register(ben, "d", None)
    with crowd.db.begin() as connection:
        sessions.end(connection, one, "signed out")
        sessions.end(connection, one, "again")
    assert crowd.live() == [(ann, two), (ann, None), (ben, None)]
    with crowd.db.begin() as connection:
        sessions.end_all(connection, [ann], "rights changed", but=two)
    assert crowd.live() == [(ann, two), (ben, None)]
    assert factories.value(crowd.db, "SELECT count(*) FROM devices WHERE dropped_at IS NOT NULL AND token_sealed <> ''"
                           ) == 0  # fmt: skip


def test_what_is_old_is_forgotten_and_a_session_that_expired_leaves_no_device(crowd: Crowd) -> None:
    ann, ben = crowd.people
    crowd.register(ann, "old", crowd.begin(ann))
    crowd.register(ben, "new", crowd.begin(ben))
    factories.rows(
        crowd.db,
        "UPDATE sessions SET expires_at = now() - interval '31 days' WHERE person_id = :id RETURNING 1",
        id=ann,
    )
    with crowd.db.begin() as connection:
        # The session alone: its device is kept for a month, without its token.
        assert past_logins.forget(connection) == 1
    assert [person_id for person_id, _ in crowd.live()] == [ben]
    factories.rows(crowd.db, "UPDATE devices SET dropped_at = now() - interval '31 days' WHERE dropped_at IS NOT NULL"
                             " RETURNING 1")  # fmt: skip
    with crowd.db.begin() as connection:
        assert past_logins.forget(connection) == 1
    assert factories.value(crowd.db, "SELECT count(*) FROM devices") == 1


def test_who_is_forgotten_has_neither_devices_nor_notifications(crowd: Crowd) -> None:
    ann = crowd.people[0]
    crowd.register(ann, "phone")
    factories.rows(
        crowd.db,
        "WITH ordered AS (INSERT INTO work_orders (org_id, due_at) VALUES (:org, now()) RETURNING id)"
        " INSERT INTO notifications (org_id, person_id, kind, order_id, title, body, reference)"
        " SELECT :org, :person, 'WO_ASSIGNED', id, 't', 'b', 'r' FROM ordered RETURNING 1",
        org=crowd.org_id, person=ann,
    )  # fmt: skip
    factories.rows(crowd.db, "UPDATE memberships SET is_active = false WHERE person_id = :id RETURNING 1", id=ann)
    with crowd.db.begin() as connection:
        erasing.erase_requests(connection, crowd.org_id, "t0@example.org")
    assert factories.value(crowd.db, "SELECT count(*) FROM devices") == 0
    assert factories.value(crowd.db, "SELECT count(*) FROM notifications") == 0
