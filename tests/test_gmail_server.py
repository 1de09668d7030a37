"""The Gmail server as Google's own client sees it."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.auth.exceptions import RefreshError
from google.oauth2 import service_account
from googleapiclient.errors import HttpError
from googleapiclient.http import MediaIoBaseUpload

from tests.gmail_server import GmailServer
from tests.gmail_server.google_client import batch, connected, user
from tests.gmail_server.samples import mail

BOX = "support@example.org"


@pytest.fixture
def server() -> Iterator[GmailServer]:
    with GmailServer() as running:
        running.mailbox(BOX)
        yield running


@pytest.fixture
def gmail(server: GmailServer) -> Iterator[Any]:
    with connected(server, user(server, BOX)) as service:
        yield service.users()


def refusal(call: Any) -> tuple[int, str]:
    """Status and Google's reason of a call that must fail."""
    with pytest.raises(HttpError) as caught:
        call.execute()
    return caught.value.status_code, caught.value.error_details[0]["reason"]


def all_pages(method: Any, next_page: Any, field: str) -> list[Any]:
    """The items of every page of a list call, empty pages included."""
    items, call = [], method
    while call is not None:
        answer = call.execute()
        items += answer.get(field, [])
        call = next_page(call, answer)
    return items


def test_a_profile_counts_messages_and_threads(server: GmailServer, gmail: Any) -> None:
    box = server.mailbox(BOX)
    box.add(mail(message_id="<1@x>"))
    box.add(mail("Re: Pump 7 leaks", message_id="<2@x>", in_reply_to="<1@x>"))
    assert gmail.getProfile(userId="me").execute() == {
        "emailAddress": BOX,
        "messagesTotal": 2,
        "threadsTotal": 1,
        "historyId": str(box.history_id),
    }


def test_listing_gives_every_id_once_newest_first_over_pages(server: GmailServer, gmail: Any) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    ids = [server.mailbox(BOX).add(mail(), at=start + timedelta(minutes=n)) for n in range(230)]
    messages = gmail.messages()
    first = messages.list(userId="me").execute()
    listed = all_pages(messages.list(userId="me"), messages.list_next, "messages")
    assert len(first["messages"]) == 100
    assert first["resultSizeEstimate"] == 230
    assert [item["id"] for item in listed] == ids[::-1]


def test_mail_that_arrives_between_pages_moves_no_page(server: GmailServer, gmail: Any) -> None:
    box = server.mailbox(BOX)
    ids = [box.add(mail()) for _ in range(6)]
    first = gmail.messages().list(userId="me", maxResults=3).execute()
    box.add(mail())
    box.delete(first["messages"][-1]["id"])
    second = gmail.messages().list(userId="me", maxResults=3, pageToken=first["nextPageToken"]).execute()
    assert [item["id"] for item in first["messages"] + second["messages"]] == ids[::-1]


def test_raw_gives_back_the_very_bytes(server: GmailServer, gmail: Any) -> None:
    raw = b"Subject: odd\r\nX: \xff\xfe\r\n\r\nbody without charset \xe9\n"
    message_id = server.mailbox(BOX).add(raw, labels=("INBOX",), at=datetime(2026, 3, 1, tzinfo=UTC))
    answer = gmail.messages().get(userId="me", id=message_id, format="raw").execute()
    assert base64.urlsafe_b64decode(answer["raw"]) == raw
    assert answer["sizeEstimate"] == len(raw)
    assert answer["internalDate"] == "1772323200000"
    assert answer["labelIds"] == ["INBOX"]
    assert answer["historyId"] == str(server.mailbox(BOX).history_id)
    assert len(message_id) == 16


def test_metadata_gives_the_headers_asked_for_decoded(server: GmailServer, gmail: Any) -> None:
    message_id = server.mailbox(BOX).add(mail("Café pump", message_id="<1@x>"))
    answer = gmail.messages().get(userId="me", id=message_id, format="metadata", metadataHeaders=["Subject"]).execute()
    assert answer["payload"]["headers"] == [{"name": "Subject", "value": "Café pump"}]
    assert answer["snippet"] == "The pump in hall 3 leaks &amp; drips."
    assert "raw" not in answer


def test_full_gives_a_part_tree_and_attachments_are_fetched_apart(server: GmailServer, gmail: Any) -> None:
    photo = bytes(range(256)) * 4
    message_id = server.mailbox(BOX).add(mail(attachment=photo))
    payload = gmail.messages().get(userId="me", id=message_id).execute()["payload"]
    text, image = payload["parts"]
    assert payload["mimeType"] == "multipart/mixed"
    assert base64.urlsafe_b64decode(text["body"]["data"]) == b"The pump in hall 3 leaks & drips.\n"
    assert (image["filename"], image["body"]["size"]) == ("pump.jpg", len(photo))
    attachment_id = image["body"]["attachmentId"]
    got = gmail.messages().attachments().get(userId="me", messageId=message_id, id=attachment_id).execute()
    assert base64.urlsafe_b64decode(got["data"]) == photo


def test_a_message_that_is_gone_is_not_found(server: GmailServer, gmail: Any) -> None:
    message_id = server.mailbox(BOX).add(mail())
    server.mailbox(BOX).delete(message_id)
    assert refusal(gmail.messages().get(userId="me", id=message_id)) == (404, "notFound")


def test_history_tells_every_change_since_a_cursor(server: GmailServer, gmail: Any) -> None:
    box = server.mailbox(BOX)
    kept = box.add(mail(), labels=("INBOX",))
    cursor = str(box.history_id)
    new = box.add(mail())
    box.modify(kept, add=("STARRED",), remove=("INBOX",))
    box.delete(new)
    answer = gmail.history().list(userId="me", startHistoryId=cursor).execute()
    fields = [next(key for key in record if key not in {"id", "messages"}) for record in answer["history"]]
    assert fields == ["messagesAdded", "labelsAdded", "labelsRemoved", "messagesDeleted"]
    assert answer["history"][0]["messagesAdded"][0]["message"]["id"] == new
    assert answer["history"][1]["labelsAdded"][0]["labelIds"] == ["STARRED"]
    assert answer["historyId"] == str(box.history_id)
    ids = [int(record["id"]) for record in answer["history"]]
    assert ids == sorted(set(ids))
    assert "history" not in gmail.history().list(userId="me", startHistoryId=answer["historyId"]).execute()


def test_history_is_paged_and_filtered_by_type_and_label(server: GmailServer, gmail: Any) -> None:
    box = server.mailbox(BOX)
    cursor = str(box.history_id)
    ids = [box.add(mail(), labels=("INBOX",) if n % 2 else ("SPAM",)) for n in range(7)]
    box.modify(ids[0], add=("STARRED",))
    history = gmail.history()
    call = history.list(userId="me", startHistoryId=cursor, maxResults=2, historyTypes=["messageAdded"])
    added = all_pages(call, history.list_next, "history")
    inbox = all_pages(history.list(userId="me", startHistoryId=cursor, labelId="INBOX"), history.list_next, "history")
    assert [record["messages"][0]["id"] for record in added] == ids
    assert [record["messages"][0]["id"] for record in inbox] == ids[1::2]


def test_history_ids_that_are_not_known_are_not_found(server: GmailServer, gmail: Any) -> None:
    box = server.mailbox(BOX)
    old = box.history_id
    box.add(mail())
    box.expire_history()
    for start in (str(old), "1", "999999999999", "garbage"):
        assert refusal(gmail.history().list(userId="me", startHistoryId=start)) == (404, "notFound")
    assert gmail.history().list(userId="me", startHistoryId=str(box.history_id)).execute()["historyId"]


def test_labels_are_listed_changed_and_counted(server: GmailServer, gmail: Any) -> None:
    box = server.mailbox(BOX)
    message_id = box.add(mail())
    label = gmail.labels().create(userId="me", body={"name": "Pumps"}).execute()["id"]
    changes = {"addLabelIds": [label], "removeLabelIds": ["UNREAD"]}
    answer = gmail.messages().modify(userId="me", id=message_id, body=changes).execute()
    assert answer["labelIds"] == ["INBOX", label]
    counted = gmail.labels().get(userId="me", id=label).execute()
    assert (counted["name"], counted["messagesTotal"], counted["messagesUnread"]) == ("Pumps", 1, 0)
    assert {"INBOX", label} <= {item["id"] for item in gmail.labels().list(userId="me").execute()["labels"]}
    wrong = gmail.messages().modify(userId="me", id=message_id, body={"addLabelIds": ["Nowhere"]})
    assert refusal(wrong) == (400, "invalidArgument")


def test_trash_hides_untrash_brings_back_delete_removes(server: GmailServer, gmail: Any) -> None:
    message_id = server.mailbox(BOX).add(mail())
    messages = gmail.messages()
    messages.trash(userId="me", id=message_id).execute()
    assert "messages" not in messages.list(userId="me").execute()
    assert len(messages.list(userId="me", includeSpamTrash=True).execute()["messages"]) == 1
    messages.untrash(userId="me", id=message_id).execute()
    assert len(messages.list(userId="me", labelIds=["INBOX"]).execute()["messages"]) == 1
    messages.delete(userId="me", id=message_id).execute()
    assert server.mailbox(BOX).ids() == []


def test_insert_import_and_send_store_mail(server: GmailServer, gmail: Any) -> None:
    raw = mail(message_id="<1@x>")
    encoded = {"raw": base64.urlsafe_b64encode(raw).decode()}
    inserted = gmail.messages().insert(userId="me", body=encoded, internalDateSource="dateHeader").execute()
    upload = MediaIoBaseUpload(io.BytesIO(raw), mimetype="message/rfc822")
    importing = gmail.messages().import_(userId="me", media_body=upload)
    # The library uploads by https whatever the api_endpoint says.
    importing.uri = importing.uri.replace("https://", "http://")
    imported = importing.execute()
    sent = gmail.messages().send(userId="me", body=encoded | {"threadId": inserted["threadId"]}).execute()
    state = server.mailbox(BOX).state()
    assert {row["sha256"] for row in state.values()} == {hashlib.sha256(raw).hexdigest()}
    assert [item.get("labelIds") for item in (inserted, imported, sent)] == [None, ["INBOX", "UNREAD"], ["SENT"]]
    assert len({row["thread_id"] for row in state.values()}) == 1
    got = gmail.messages().get(userId="me", id=inserted["id"], format="minimal").execute()
    assert got["internalDate"] == "1767607200000"
    assert refusal(gmail.messages().insert(userId="me", body={"raw": "!"})) == (400, "invalidArgument")


def test_watch_renews_one_topic_and_refuses_another(server: GmailServer, gmail: Any) -> None:
    topic = {"topicName": "projects/p/topics/a"}
    answer = gmail.watch(userId="me", body=topic).execute()
    remaining = int(answer["expiration"]) / 1000 - server.clock.now()
    assert answer["historyId"] == str(server.mailbox(BOX).history_id)
    assert timedelta(days=6.9) < timedelta(seconds=remaining) <= timedelta(days=7)
    assert gmail.watch(userId="me", body=topic).execute()["expiration"] >= answer["expiration"]
    other = gmail.watch(userId="me", body={"topicName": "projects/p/topics/b"})
    assert refusal(other) == (400, "badRequest")
    gmail.stop(userId="me").execute()
    assert other.execute()["historyId"]


def test_every_part_of_a_batch_has_its_own_answer(server: GmailServer, gmail: Any) -> None:
    ids = [server.mailbox(BOX).add(mail(f"number {n}")) for n in range(3)]
    server.faults.add("rate_limit_429", message_id=ids[1])
    answers: dict[str, tuple[Any, Exception | None]] = {}
    # A batch that has to fetch a token itself leaves the library's socket for it open.
    gmail.getProfile(userId="me").execute()
    calls = batch(server, lambda number, answer, error: answers.update({number: (answer, error)}))
    for message_id in [*ids, "00000000000000ff"]:
        calls.add(gmail.messages().get(userId="me", id=message_id, format="raw"), request_id=message_id)
    calls.execute()
    assert [answers[message_id][0]["id"] for message_id in (ids[0], ids[2])] == [ids[0], ids[2]]
    failed = [answers[key][1] for key in (ids[1], "00000000000000ff")]
    assert [error.status_code for error in failed if isinstance(error, HttpError)] == [429, 404]


def test_a_batch_runs_into_the_concurrency_limit(server: GmailServer, gmail: Any) -> None:
    server.quota.max_concurrent = 4
    ids = [server.mailbox(BOX).add(mail()) for _ in range(10)]
    errors: list[Exception | None] = []
    gmail.getProfile(userId="me").execute()
    calls = batch(server, lambda *answer: errors.append(answer[2]))
    for message_id in ids:
        calls.add(gmail.messages().get(userId="me", id=message_id, format="minimal"))
    calls.execute()
    refused = [error for error in errors if isinstance(error, HttpError)]
    assert len(refused) == 6
    assert {error.reason for error in refused} == {"Too many concurrent requests for user."}
    assert server.stats()["peak_concurrency"] == {BOX: 4}
    assert gmail.messages().get(userId="me", id=ids[0], format="minimal").execute()["id"] == ids[0]


def test_an_expired_access_token_is_renewed_by_the_client(server: GmailServer, gmail: Any) -> None:
    gmail.getProfile(userId="me").execute()
    server.tokens.expire()
    assert gmail.getProfile(userId="me").execute()["emailAddress"] == BOX
    assert server.stats()["calls"] == {"getProfile": {"200": 2, "401": 1}, "token": {"200": 2}}


def test_revoked_consent_is_an_invalid_grant_until_restored(server: GmailServer, gmail: Any) -> None:
    gmail.getProfile(userId="me").execute()
    server.tokens.revoke(BOX)
    with pytest.raises(RefreshError, match="invalid_grant"):
        gmail.getProfile(userId="me").execute()
    server.tokens.restore(BOX)
    assert gmail.getProfile(userId="me").execute()["emailAddress"] == BOX


def test_a_service_account_acts_for_any_mailbox_here_and_no_other(server: GmailServer, tmp_path: Path) -> None:
    path = server.service_account_file(tmp_path / "key.json")
    scopes = ["https://www.googleapis.com/auth/gmail.readonly"]
    account = service_account.Credentials.from_service_account_file(path, scopes=scopes)  # type: ignore[no-untyped-call]
    with connected(server, account.with_subject(BOX)) as service:
        assert service.users().getProfile(userId="me").execute()["emailAddress"] == BOX
        assert refusal(service.users().getProfile(userId="other@example.org")) == (403, "forbidden")
    nobody = connected(server, account.with_subject("nobody@example.org"))
    with nobody as service, pytest.raises(RefreshError, match="invalid_grant"):
        service.users().getProfile(userId="me").execute()


def test_page_tokens_expire_and_belong_to_their_question(server: GmailServer, gmail: Any) -> None:
    for _ in range(3):
        server.mailbox(BOX).add(mail())
    token = gmail.messages().list(userId="me", maxResults=1).execute()["nextPageToken"]
    call = gmail.messages().list(userId="me", maxResults=1, pageToken=token)
    assert call.execute()["messages"]
    assert refusal(gmail.messages().list(userId="me", q="in:inbox", pageToken=token)) == (400, "invalidArgument")
    server.page_tokens.expire()
    assert refusal(call) == (400, "invalidArgument")


def test_quota_refuses_above_the_minute_and_opens_with_the_next(server: GmailServer, gmail: Any) -> None:
    server.quota.enforce = True
    server.quota.units_per_user_minute = 45
    server.quota.retry_after_header = True
    server.clock.advance(60 - server.clock.now() % 60)
    message_id = server.mailbox(BOX).add(mail())
    call = gmail.messages().get(userId="me", id=message_id, format="minimal")
    call.execute()
    call.execute()
    with pytest.raises(HttpError) as caught:
        call.execute()
    assert caught.value.status_code == 403
    assert caught.value.error_details[0] == {
        "message": caught.value.reason,
        "domain": "usageLimits",
        "reason": "rateLimitExceeded",
    }
    assert 1 <= int(caught.value.resp["retry-after"]) <= 60
    refusal(call)
    assert server.stats()["calls_during_wait"] == {BOX: 1}
    server.clock.advance(60)
    assert call.execute()["id"] == message_id
    assert server.stats()["peak_units_per_minute"] == {BOX: 40}
    assert server.stats()["units"] == {"messages.get": 60, "token": 0}
