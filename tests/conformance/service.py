"""The dispatch service as its clients see it: real HTTP, bearer tokens of contract 000, and the rows behind it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import httpx
import jwt
import orjson
import structlog

from ops_api.limits import Limits
from pipeline.adapters.clock import SystemClock
from pipeline.commands import endings, rates
from pipeline.commands.billing_arguments import RateWish
from tests.commands.field_desk import FieldDesk
from tests.factories import rows
from tests.jwt_attacks import AUDIENCE, ISSUER, SECRET
from tests.ops_api.serving import Api, serving, settings_for

#: Contract 000's roles (seed-behaviours, 1.2).
ROLES = ("dispatcher", "agent", "customer", "tech", "qa", "approver", "finance")
_MANY = 1_000_000
LIMITS = Limits(
    auth_per_minute=_MANY,
    read_per_minute=_MANY,
    write_per_minute=_MANY,
    search_per_minute=_MANY,
    download_per_minute=_MANY,
    stray_per_minute=_MANY,
)
#: No step leads here and stays.
_ENDS = {
    "CANCELLED": ("NEW", endings.CANCEL, endings.Ending(reason="for a test")),
    "CLOSED": ("VERIFIED", endings.CLOSE, endings.Closing(reason="for a test")),
}


@dataclass
class Service:
    """A running service with one organization in it, and a ticket in each state that refusals leave as it is."""

    api: Api
    desk: FieldDesk
    http: httpx.Client
    _standing: dict[str, UUID] = field(default_factory=dict)

    def claims(self, name: str, **changes: Any) -> dict[str, Any]:
        """Return what somebody's token says; a change to None leaves a claim out."""
        said = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(self.desk.people[name].person_id),
            "role": name.removeprefix("other_"),
            "org_id": str(self.desk.org_id),
            "exp": int(SystemClock().now().timestamp()) + 600,
            "account_ids": [str(self.desk.account_id)],
            "site_ids": [str(self.desk.site_id)],
        }
        return {claim: value for claim, value in (said | changes).items() if value is not None}

    def bearer(self, name: str, **changes: Any) -> dict[str, str]:
        """Return the header with somebody's token (HS256)."""
        return {"authorization": f"Bearer {jwt.encode(self.claims(name, **changes), SECRET, algorithm='HS256')}"}

    def post(
        self,
        path: str,
        body: object,
        by: str = "dispatcher",
        *,
        key: str | None = "",
        headers: dict[str, str] | None = None,
        **claims: Any,
    ) -> httpx.Response:
        """Send a command, with a new key unless one is given or None says that there is none."""
        keys = {} if key is None else {"idempotency-key": key or str(uuid4())}
        sent = {"content-type": "application/json", **self.bearer(by, **claims), **keys, **(headers or {})}
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        return self.http.post(path, headers=sent, content=content)

    def get(self, path: str, by: str = "dispatcher", *, headers: dict[str, str] | None = None, **claims: Any) -> Any:
        """Read."""
        return self.http.get(path, headers={**self.bearer(by, **claims), **(headers or {})})

    def at(self, state: str) -> UUID:
        """Return a new ticket in a state."""
        if state not in _ENDS:
            return self.desk.at(state)
        before, command, asked = _ENDS[state]
        ticket_id = self.desk.at(before)
        self.desk.run(command, asked, ticket_id)
        return ticket_id

    def standing(self, state: str) -> UUID:
        """Return the ticket that stands in a state; whoever asks leaves it there."""
        if state not in self._standing:
            self._standing[state] = self.at(state)
        return self._standing[state]

    def done(self, ticket_id: UUID) -> list[Any]:
        """Return the audit rows of what was done to a ticket, in order."""
        statement = "SELECT * FROM audit_events WHERE target_id = :id AND outcome = 'done' ORDER BY number"
        return rows(self.api.db, statement, id=str(ticket_id))

    def seen(self, ticket_id: UUID) -> Any:
        """Return all that must not change when a command is refused."""
        row = self.desk.row(ticket_id)
        return row.dispatch_state, row.version, len(self.done(ticket_id)), self.desk.moves(ticket_id)

    def tickets(self) -> int:
        """Return how many tickets there are."""
        return int(self.desk.rows("SELECT count(*) FROM tickets WHERE org_id = :org")[0][0])


@contextmanager
def dispatch_service(database_url: str, **settings: Any) -> Iterator[Service]:
    """Serve contract 000 while the block runs; what is logged meanwhile is dropped."""
    before = structlog.get_config()
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    said = {
        "dispatch_auth_jwt_secret": SECRET,
        "dispatch_auth_jwt_issuer": ISSUER,
        "dispatch_auth_jwt_audience": AUDIENCE,
        **settings,
    }
    try:
        with serving(settings_for(database_url, **said), limits=LIMITS) as api:
            desk = FieldDesk.of(api.db)
            desk.run(rates.PUT_RATE, RateWish(currency="USD", labor_hour_cents=8_000), by="finance")
            yield Service(api, desk, api.client())
    finally:
        structlog.configure(**before)


def error(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Return the error of an answer, in contract 000's envelope: {error: {code, message, request_id, ...}}."""
    assert answer.status_code == status, answer.text
    said = answer.json()
    found: dict[str, Any] = said["error"]
    assert found["code"] == code, answer.text
    assert found["message"]
    assert found["request_id"] == answer.headers["x-request-id"]
    return found
