"""Contract 004 as its app sees it: somebody's own access token, and reading with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx

from pipeline.adapters.clock import SystemClock
from pipeline.runtime.access_tokens import AccessTokens
from pipeline.runtime.refreshing import Families
from pipeline.runtime.secrets import Secrets
from tests.commands.work_desk import WorkDesk
from tests.conformance.service import Service


@dataclass
class Phones:
    """The people of a desk with a phone each; a token is a login's."""

    service: Service
    desk: WorkDesk
    _headers: dict[str, dict[str, str]]

    @classmethod
    def of(cls, service: Service) -> Phones:
        """Give out phones at a new desk."""
        return cls(service, WorkDesk.of(service.api.db), {})

    def bearer(self, name: str) -> dict[str, str]:
        """Return the header with somebody's access token."""
        if name not in self._headers:
            secrets = Secrets.of(self.service.api.app.state.services.settings)
            families = Families(secrets, AccessTokens(secrets, SystemClock()))
            with self.desk.db.begin() as connection:
                issued = families.begin(connection, self.desk.org_id, self.desk.person_id(name))
            self._headers[name] = {"authorization": f"Bearer {issued.access_token}"}
        return self._headers[name]

    def get(self, path: str, by: str = "tech", **query: Any) -> httpx.Response:
        """Read."""
        return self.service.http.get(f"/api/v1{path}", headers=self.bearer(by), params=query)

    def read(self, path: str, by: str = "tech", **query: Any) -> Any:
        """Read what must be there."""
        answer = self.get(path, by, **query)
        assert answer.status_code == 200, answer.text
        return answer.json()


def refused(answer: httpx.Response, status: int, code: str | None = None) -> dict[str, Any]:
    """Return the error of an answer, in contract 004's envelope: {error: {code, message, fields?, request_id}}."""
    assert answer.status_code == status, answer.text
    said = answer.json()
    assert set(said) == {"error"}
    found: dict[str, Any] = said["error"]
    assert {"code", "message", "request_id"} <= set(found) <= {"code", "message", "request_id", "fields"}
    assert found["request_id"] == answer.headers["x-request-id"]
    assert code is None or found["code"] == code, answer.text
    return found
