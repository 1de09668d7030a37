"""People with passwords for tests of the ways in: made in the database, hashed at next to no cost."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import text

from pipeline.runtime.db import Database
from pipeline.runtime.passwords import Cost, Passwords
from tests.ops_api import people

#: Memory in KiB, passes, lanes: the least that the library takes.
CHEAP = Cost(memory_kib=8, passes=1, lanes=1)
CHEAP_PASSWORDS = Passwords(CHEAP)
PASSWORD = "otter marble ladder 51"


def with_password(db: Database, org_id: UUID, email: str, role: str = "technician", phone: str | None = None) -> UUID:
    """Return a member who signs in with `PASSWORD`."""
    with db.begin() as connection:
        person_id = people.member(connection, org_id, role, email)
        values: dict[str, Any] = {"id": person_id, "hash": CHEAP_PASSWORDS.hashed(PASSWORD), "phone": phone}
        connection.execute(text("UPDATE people SET password_hash = :hash, phone = :phone WHERE id = :id"), values)
    return person_id


def log_in(client: httpx.Client, identifier: str, password: str = PASSWORD, **more: Any) -> httpx.Response:
    """Ask for tokens."""
    return client.post("/api/v1/auth/login", json={"identifier": identifier, "password": password, **more})


def bearer(answer: httpx.Response) -> dict[str, str]:
    """Return the header of the access token that an answer holds."""
    return {"authorization": f"Bearer {answer.json()['accessToken']}"}
