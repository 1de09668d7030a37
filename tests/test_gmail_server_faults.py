"""Faults of the Gmail server, seen from a plain HTTP client."""

from __future__ import annotations

import base64
import http.client
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.gmail_server import FaultKind, GmailServer
from tests.gmail_server.samples import mail

BOX = "support@example.org"
ROOT = "/gmail/v1/users/me"


class Client:
    """One keep-alive connection with a bearer token."""

    def __init__(self, server: GmailServer, address: str = BOX) -> None:
        self.connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=10)
        self.headers = {"Authorization": f"Bearer {server.access_token(address)}"}

    def get(self, path: str) -> tuple[http.client.HTTPResponse, bytes]:
        self.connection.request("GET", ROOT + path, headers=self.headers)
        response = self.connection.getresponse()
        return response, response.read()

    def status(self, path: str) -> int:
        return self.get(path)[0].status

    def json(self, path: str) -> Any:
        return json.loads(self.get(path)[1])


@pytest.fixture
def server() -> Iterator[GmailServer]:
    with GmailServer(seed=7) as running:
        running.mailbox(BOX).add(mail())
        yield running


@pytest.fixture
def client(server: GmailServer) -> Iterator[Client]:
    made = Client(server)
    yield made
    made.connection.close()


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("rate_limit_403", (403, "rateLimitExceeded", "PERMISSION_DENIED")),
        ("user_rate_limit_403", (403, "userRateLimitExceeded", "PERMISSION_DENIED")),
        ("daily_limit_403", (403, "dailyLimitExceeded", "PERMISSION_DENIED")),
        ("rate_limit_429", (429, "rateLimitExceeded", "RESOURCE_EXHAUSTED")),
        ("concurrent_429", (429, "rateLimitExceeded", "RESOURCE_EXHAUSTED")),
        ("bad_request_400", (400, "invalidArgument", "INVALID_ARGUMENT")),
        ("suspended_400", (400, "failedPrecondition", "FAILED_PRECONDITION")),
        ("unauthenticated_401", (401, "authError", "UNAUTHENTICATED")),
        ("forbidden_403", (403, "insufficientPermissions", "PERMISSION_DENIED")),
        ("not_found_404", (404, "notFound", "NOT_FOUND")),
        ("error_500", (500, "backendError", "INTERNAL")),
        ("error_503", (503, "backendError", "UNAVAILABLE")),
    ],
)
def test_a_refusal_has_googles_shape(
    server: GmailServer, client: Client, kind: str, shape: tuple[int, str, str]
) -> None:
    status, reason, name = shape
    server.faults.add(kind, times=1)
    response, body = client.get("/profile")
    error = json.loads(body)["error"]
    assert (response.status, error["code"], error["status"]) == (status, status, name)
    assert error["errors"][0]["reason"] == reason
    assert error["errors"][0]["message"] == error["message"]
    assert client.status("/profile") == 200


def test_a_fault_strikes_only_its_method_mailbox_message_and_count(server: GmailServer, client: Client) -> None:
    message_id = server.mailbox(BOX).ids()[0]
    other = server.mailbox(BOX).add(mail())
    server.faults.add("error_500", method="messages.*", message_id=message_id, mailbox=BOX, times=2)
    server.faults.add("error_503", mailbox="other@example.org")
    get = f"/messages/{message_id}?format=minimal"
    assert client.status("/profile") == 200
    assert client.status(f"/messages/{other}?format=minimal") == 200
    assert [client.status(get) for _ in range(3)] == [500, 500, 200]


def test_shares_of_calls_are_decided_by_the_seed(client: Client, server: GmailServer) -> None:
    server.faults.add("error_503", share=0.3)
    statuses = [client.status("/profile") for _ in range(100)]
    with GmailServer(seed=7) as twin:
        twin.mailbox(BOX)
        twin.faults.add("error_503", share=0.3)
        second = Client(twin)
        assert [second.status("/profile") for _ in range(100)] == statuses
        second.connection.close()
    assert 15 < statuses.count(503) < 45


def test_a_throttle_tells_its_wait_by_header_or_inside_its_message(server: GmailServer, client: Client) -> None:
    server.faults.add("rate_limit_429", times=1, retry_after=17)
    server.faults.add("rate_limit_403", times=1, retry_time_in_message=900)
    first, _ = client.get("/profile")
    second, body = client.get("/profile")
    assert first.headers["Retry-After"] == "17"
    assert second.headers["Retry-After"] is None
    assert re.search(r"Retry after \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$", json.loads(body)["error"]["message"])


def test_a_reset_closes_the_connection_before_anything_happens(server: GmailServer, client: Client) -> None:
    server.faults.add("reset", times=1)
    with pytest.raises(ConnectionError):
        client.get("/profile")
    assert server.stats()["calls"] == {"getProfile": {"reset": 1}}


def test_a_lost_reply_closes_the_connection_after_the_effect(server: GmailServer, client: Client) -> None:
    message_id = server.mailbox(BOX).ids()[0]
    server.faults.add("lost_reply", method="messages.trash")
    client.connection.request("POST", f"{ROOT}/messages/{message_id}/trash", headers=client.headers)
    with pytest.raises(ConnectionError):
        client.connection.getresponse()
    assert server.mailbox(BOX).state()[message_id]["labels"] == ["TRASH", "UNREAD"]


def test_a_cut_body_ends_before_its_announced_length(server: GmailServer, client: Client) -> None:
    server.faults.add("cut_body", times=1)
    with pytest.raises(http.client.IncompleteRead):
        client.get(f"/messages/{server.mailbox(BOX).ids()[0]}?format=raw")


def test_truncated_json_has_a_right_length_and_no_end(server: GmailServer, client: Client) -> None:
    server.faults.add("truncated_json", times=1)
    response, body = client.get("/profile")
    assert response.status == 200
    assert int(response.headers["Content-Length"]) == len(body)
    with pytest.raises(json.JSONDecodeError):
        json.loads(body)
    assert client.json("/profile")["emailAddress"] == BOX


def test_wrong_base64_cannot_be_decoded(server: GmailServer, client: Client) -> None:
    server.faults.add("wrong_base64", times=1)
    path = f"/messages/{server.mailbox(BOX).ids()[0]}?format=raw"
    broken, whole = client.json(path)["raw"], client.json(path)["raw"]
    with pytest.raises(ValueError, match="base64"):
        base64.b64decode(broken, altchars=b"-_", validate=True)
    assert base64.urlsafe_b64decode(whole) == mail()


def test_base64_can_come_without_padding(server: GmailServer, client: Client) -> None:
    message_id = server.mailbox(BOX).add(b"Subject: x\n\n1")
    server.world.padded_base64 = False
    assert client.json(f"/messages/{message_id}?format=raw")["raw"] == "U3ViamVjdDogeAoKMQ"


def test_a_slow_answer_does_not_hold_up_others(server: GmailServer, client: Client) -> None:
    server.mailbox("other@example.org")
    server.faults.add("slow", mailbox=BOX, delay=3600)
    other = Client(server, "other@example.org")
    client.connection.request("GET", f"{ROOT}/profile", headers=client.headers)
    assert other.json("/profile")["emailAddress"] == "other@example.org"
    other.connection.close()


def test_a_slow_body_arrives_whole_in_pieces(server: GmailServer, client: Client) -> None:
    server.clock.set_speed(1000)
    server.faults.add("slow_body", bytes_per_second=8)
    assert client.json("/profile")["emailAddress"] == BOX


def test_latency_fills_the_concurrency_limit(server: GmailServer, client: Client) -> None:
    server.quota.latency = 3600
    server.quota.max_concurrent = 1
    second = Client(server)
    client.connection.request("GET", f"{ROOT}/profile", headers=client.headers)
    # The first request is in flight for an hour as soon as the server has read it; ask until then.
    statuses = iter(lambda: second.status("/history"), 429)
    assert set(statuses) <= {400}
    second.connection.close()
    assert server.stats()["peak_concurrency"] == {BOX: 1}


def test_empty_history_pages_carry_a_token_and_lose_nothing(server: GmailServer, client: Client) -> None:
    box = server.mailbox(BOX)
    cursor = box.history_id
    new = box.add(mail())
    server.faults.add("empty_history_page", times=2)
    path, seen, empty = f"/history?startHistoryId={cursor}", [], 0
    answer = client.json(path)
    while True:
        empty += "history" not in answer
        seen += [record["messages"][0]["id"] for record in answer.get("history", [])]
        if "nextPageToken" not in answer:
            break
        answer = client.json(f"{path}&pageToken={answer['nextPageToken']}")
    assert (seen, empty) == ([new], 2)


def test_duplicated_and_shuffled_history_still_holds_every_record(server: GmailServer, client: Client) -> None:
    box = server.mailbox(BOX)
    cursor = box.history_id
    new = [box.add(mail()) for _ in range(6)]
    server.faults.add("duplicated_history")
    server.faults.add("shuffled_history")
    path, seen = f"/history?startHistoryId={cursor}&maxResults=3", []
    answer = client.json(path)
    seen += answer["history"]
    while token := answer.get("nextPageToken"):
        answer = client.json(f"{path}&pageToken={token}")
        seen += answer["history"]
    ids = [record["messages"][0]["id"] for record in seen]
    assert set(ids) == set(new)
    assert len(ids) > len(new)
    assert ids != sorted(ids)


def test_history_and_page_tokens_expire_on_demand(server: GmailServer, client: Client) -> None:
    box = server.mailbox(BOX)
    cursor = box.history_id
    for _ in range(3):
        box.add(mail())
    server.faults.add("page_token_expired", times=1)
    path = f"/history?startHistoryId={cursor}&maxResults=1"
    token = client.json(path)["nextPageToken"]
    assert client.status(f"{path}&pageToken={token}") == 400
    assert client.status(f"{path}&pageToken={token}") == 200
    server.faults.add("history_expired", times=1)
    assert [client.status(path), client.status(path)] == [404, 200]


def test_an_invalid_grant_comes_from_the_token_endpoint(server: GmailServer, client: Client) -> None:
    server.faults.add(FaultKind.INVALID_GRANT, times=1)
    form = f"grant_type=refresh_token&client_id=c&refresh_token={server.tokens.refresh_token(BOX)}"
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    answers = []
    for _ in range(2):
        client.connection.request("POST", "/token", form, kind)
        response = client.connection.getresponse()
        answers.append((response.status, json.loads(response.read())))
    assert answers[0] == (
        400,
        {"error": "invalid_grant", "error_description": "Token has been expired or revoked."},
    )
    assert answers[1][0] == 200
    assert answers[1][1]["expires_in"] == 3600
