"""What one person may ask of work orders in a minute: a queue of a hundred actions is not one request."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

from deploy.local.lock import Endpoints
from tests.airplane.office import office
from tests.conftest import fresh_database

_PATH = "/api/v1/me/actions"


def test_every_ten_actions_of_a_queue_count_as_a_request_and_none_is_done_beyond_the_limit(
    servers: Endpoints, tmp_path: Path
) -> None:
    def read() -> dict[str, str]:
        return {"clientId": str(uuid4()), "action": "read_notification", "notificationId": str(uuid4())}

    with fresh_database(servers) as url, office(url, tmp_path.as_uri(), write_per_minute=5) as place:
        tech = place.people["tech"]
        first = tech.post(_PATH, json={"actions": [read() for _ in range(31)]})
        assert (first.status_code, len(first.json()["results"])) == (200, 31)
        second = tech.post(_PATH, json={"actions": [read() for _ in range(11)]})
        assert second.status_code == 429, second.text
        assert int(second.headers["retry-after"]) > 0
