"""Contract 004 as its clients see it: real HTTP, tokens from its own login, and work orders behind it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import text

from tests.commands.work_desk import WorkDesk
from tests.ops_api.password_world import CHEAP_PASSWORDS, PASSWORD, bearer, log_in
from tests.ops_api.serving import Api


@dataclass
class Technicians:
    """One organization of a running service, with people who sign in as the app does."""

    api: Api
    desk: WorkDesk
    http: httpx.Client
    _bearers: dict[str, dict[str, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, api: Api) -> Technicians:
        """Build one."""
        desk = WorkDesk.of(api.db)
        with api.db.begin() as connection:
            connection.execute(
                text("UPDATE people SET password_hash = :hash WHERE id = ANY(:ids)"),
                {"hash": CHEAP_PASSWORDS.hashed(PASSWORD), "ids": [one.person_id for one in desk.people.values()]},
            )
        return cls(api, desk, api.client())

    def bearer(self, name: str) -> dict[str, str]:
        """Return the header of somebody who is signed in."""
        if name not in self._bearers:
            self._bearers[name] = bearer(log_in(self.http, self.desk.people[name].email))
        return self._bearers[name]

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        by: str = "tech",
        version: int | str | None = None,
        key: str | None = None,
        **headers: str,
    ) -> httpx.Response:
        """Send a request of somebody; a body of None is none."""
        sent = {**self.bearer(by), **headers}
        sent |= {} if version is None else {"if-match": str(version)}
        sent |= {} if key is None else {"idempotency-key": key}
        options: dict[str, Any] = {} if body is None else {"json": body}
        return self.http.request(method, f"/api/v1{path}", headers=sent, **options)

    def move(self, order_id: UUID | str, word: str, body: object = None, **more: Any) -> httpx.Response:
        """Ask for a change of an order."""
        return self.ask("PATCH", f"/work-orders/{order_id}/{word}", body, **more)


def error(answer: httpx.Response, status: int, code: str | None = None) -> dict[str, Any]:
    """Return the error of an answer, in contract 004's envelope."""
    assert answer.status_code == status, answer.text
    said: dict[str, Any] = answer.json()
    assert set(said) == {"error"}, answer.text
    found: dict[str, Any] = said["error"]
    assert found["message"]
    assert found["request_id"] == answer.headers["x-request-id"]
    assert code is None or found["code"] == code, answer.text
    return found
