"""The workshop as its clients see it: real HTTP, bearer tokens, contract 002's envelope, and the rows behind it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
import jwt
import orjson
import structlog

from pipeline.adapters.clock import SystemClock
from tests.commands.workshop_desk import WorkshopDesk
from tests.conformance.service import LIMITS
from tests.jwt_attacks import AUDIENCE, ISSUER, SECRET
from tests.ops_api.serving import Api, serving, settings_for

#: Contract 002's roles, by the names of the desk's people who have them.
SPEAKS = {
    "super_admin": "admin",
    "ops_manager": "ops_manager",
    "master": "master",
    "technician": "tech",
    "qc_inspector": "inspector",
}
TICKETS = "/api/v1/tickets/"


@dataclass
class Workshop:
    """A running service with one organization's workshop in it."""

    api: Api
    desk: WorkshopDesk
    http: httpx.Client

    def bearer(self, name: str) -> dict[str, str]:
        """Return the header with the token of a role of contract 002, or of somebody of the desk."""
        person = SPEAKS.get(name, name)
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(self.desk.person_id(person)),
            "role": name if name in SPEAKS else self.desk.people[person].role,
            "org_id": str(self.desk.org_id),
            "exp": int(SystemClock().now().timestamp()) + 600,
            "account_ids": ["*"],
            "site_ids": ["*"],
        }
        return {"authorization": f"Bearer {jwt.encode(claims, SECRET, algorithm='HS256')}"}

    def post(self, path: str, body: object = None, by: str = "super_admin", **headers: str) -> httpx.Response:
        """Send a change."""
        return self.ask("POST", path, body, by, **headers)

    def ask(
        self, method: str, path: str, body: object = None, by: str = "super_admin", **headers: str
    ) -> httpx.Response:
        """Send anything; no body where none is given."""
        sent = {**self.bearer(by), **({} if body is None else {"content-type": "application/json"}), **headers}
        return self.http.request(method, path, headers=sent, content=None if body is None else orjson.dumps(body))

    def get(self, path: str, by: str = "super_admin", **query: Any) -> httpx.Response:
        """Read."""
        return self.http.get(path, headers=self.bearer(by), params=query)

    def seen(self, order_id: UUID) -> Any:
        """Return all that must not change when something is refused."""
        order = self.desk.read(order_id)
        return order.state, order.version, order.assigned_to_id, self.desk.steps(order_id)


@contextmanager
def workshop_service(database_url: str) -> Iterator[Workshop]:
    """Serve contract 002 while the block runs; what is logged meanwhile is dropped."""
    before = structlog.get_config()
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    said = {
        "dispatch_auth_jwt_secret": SECRET,
        "dispatch_auth_jwt_issuer": ISSUER,
        "dispatch_auth_jwt_audience": AUDIENCE,
    }
    try:
        with serving(settings_for(database_url, **said), limits=LIMITS) as api:
            yield Workshop(api, WorkshopDesk.of(api.db), api.client())
    finally:
        structlog.configure(**before)


def data(answer: httpx.Response, status: int = 200) -> Any:
    """Return what an answer holds, in contract 002's envelope: {success: true, message: "OK", data}."""
    assert answer.status_code == status, answer.text
    said = answer.json()
    assert (said["success"], said["message"], set(said)) == (True, "OK", {"success", "message", "data"})
    return said["data"]


def results(answer: httpx.Response) -> dict[str, Any]:
    """Return a page: {success, message, results, total_count, page, page_count, per_page}."""
    assert answer.status_code == 200, answer.text
    said: dict[str, Any] = answer.json()
    names = {"success", "message", "results", "total_count", "page", "page_count", "per_page"}
    assert (said["success"], said["message"], set(said)) == (True, "OK", names)
    return said


def refused(answer: httpx.Response, status: int, error: str | None = None) -> str:
    """Return the words of a refusal: {success: false, message, error}."""
    assert answer.status_code == status, answer.text
    said = answer.json()
    assert (said["success"], set(said)) == (False, {"success", "message", "error"})
    assert error is None or said["error"] == error, answer.text
    return str(said["message"])
