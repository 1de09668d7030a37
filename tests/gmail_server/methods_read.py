"""Methods that read: profile, messages, history, labels."""

from __future__ import annotations

import base64

import orjson

from tests.gmail_server import mail_text, search
from tests.gmail_server.call import Call
from tests.gmail_server.errors import invalid, not_found
from tests.gmail_server.faults import FaultKind
from tests.gmail_server.history import Change, Record
from tests.gmail_server.state import SYSTEM_LABELS, Mailbox, Message

_OVERLAP = 2


def get_profile(call: Call) -> bytes:
    """`users.getProfile`."""
    mailbox = call.mailbox
    return orjson.dumps(
        {
            "emailAddress": mailbox.address,
            "messagesTotal": len(mailbox.messages),
            "threadsTotal": len(mailbox.threads),
            "historyId": str(mailbox.history.current),
        }
    )


def list_messages(call: Call) -> bytes:
    """`users.messages.list`: ids newest first; a page token keeps its place while mail comes and goes."""
    mailbox, labels, text = call.mailbox, call.texts("labelIds"), call.text("q")
    hidden, limit = call.flag("includeSpamTrash"), call.page_size()
    question = f"messages {mailbox.address} {labels} {text} {hidden}"
    below: tuple[int, str] | None = None
    if token := call.text("pageToken"):
        internal_ms, message_id = call.world.page_tokens.read(question, token)
        below = (int(str(internal_ms)), str(message_id))
    query = search.query_of(mailbox, text, labels, hidden)
    found, more = search.page(mailbox, query, below, limit)
    # Like Gmail's, the estimate is one: exact only for a last page.
    estimate = len(mailbox.messages) if more and not query.tests else len(found) + more
    answer: dict[str, object] = {"resultSizeEstimate": estimate}
    if found:
        answer["messages"] = [{"id": message.id, "threadId": message.thread_id} for message in found]
    if more:
        last = found[-1]
        answer["nextPageToken"] = call.world.page_tokens.make(question, [last.internal_ms, last.id])
    return orjson.dumps(answer)


def get_message(call: Call) -> bytes:
    """`users.messages.get` as raw, full (the default), metadata or minimal."""
    message = call.mailbox.get(call.ids[0])
    kind = call.text("format", "full").lower()
    if kind == "raw":
        return b"".join((message.raw_head(), _raw_value(call, message), b'"}'))
    answer = message.fields()
    if kind == "full":
        answer["payload"] = mail_text.payload_tree(message.raw)
    elif kind == "metadata":
        answer["payload"] = _metadata(message, call.texts("metadataHeaders"))
    elif kind != "minimal":
        raise invalid(f"Invalid value at 'format', \"{kind}\"")
    return orjson.dumps(answer)


def get_attachment(call: Call) -> bytes:
    """`users.messages.attachments.get`."""
    message = call.mailbox.get(call.ids[0])
    content = mail_text.attachment(message.raw, call.ids[1].removeprefix("ANGjdJ"))
    if content is None:
        raise not_found("Invalid attachment token")
    data = base64.urlsafe_b64encode(content).decode("ascii")
    return orjson.dumps({"size": len(content), "data": data})


def list_history(call: Call) -> bytes:
    """`users.history.list`: changes after `startHistoryId`, oldest first; 404 when that id is not known."""
    mailbox, start = call.mailbox, _start_history_id(call)
    types, label, limit = _change_types(call), call.text("labelId") or None, call.page_size()
    question = f"history {mailbox.address} {start} {sorted(types)} {label}"
    cursor, again = start, 0
    if token := call.text("pageToken"):
        cursor, again = (int(str(part)) for part in call.world.page_tokens.read(question, token))
    answer: dict[str, object] = {"historyId": str(mailbox.history.current)}
    if FaultKind.EMPTY_HISTORY_PAGE in call.effects:
        answer["nextPageToken"] = call.world.page_tokens.make(question, [cursor, again])
        return orjson.dumps(answer)
    records = mailbox.history.after(cursor, mailbox.history.current, types, label)
    served, more = records[:limit], len(records) > limit
    repeated = mailbox.history.after(start, cursor, types, label)[-again:] if again else []
    shown = _shown(call, repeated + served)
    if shown:
        answer["history"] = [record.as_json() for record in shown]
    if more:
        overlap = _OVERLAP if FaultKind.DUPLICATED_HISTORY in call.effects else 0
        answer["nextPageToken"] = call.world.page_tokens.make(question, [served[-1].history_id, overlap])
    return orjson.dumps(answer)


def list_labels(call: Call) -> bytes:
    """`users.labels.list`."""
    ids = [*SYSTEM_LABELS, *call.mailbox.label_names]
    return orjson.dumps({"labels": [label_fields(call.mailbox, label) for label in ids]})


def get_label(call: Call) -> bytes:
    """`users.labels.get`, with its counts."""
    mailbox, label = call.mailbox, call.ids[0]
    if label not in SYSTEM_LABELS and label not in mailbox.label_names:
        raise not_found()
    messages = [message for message in mailbox.messages.values() if label in message.labels]
    unread = [message for message in messages if "UNREAD" in message.labels]
    counts = {
        "messagesTotal": len(messages),
        "messagesUnread": len(unread),
        "threadsTotal": len({message.thread_id for message in messages}),
        "threadsUnread": len({message.thread_id for message in unread}),
    }
    return orjson.dumps(label_fields(mailbox, label) | counts)


def list_send_as(call: Call) -> bytes:
    """`users.settings.sendAs.list`: the mailbox's own address, and those of `Mailbox.send_as` with their status."""
    own: dict[str, object] = {"sendAsEmail": call.mailbox.address, "isPrimary": True, "isDefault": True}
    others = [
        {"sendAsEmail": address, "isPrimary": False, "verificationStatus": status}
        for address, status in call.mailbox.send_as.items()
    ]
    return orjson.dumps({"sendAs": [own, *others]})


def label_fields(mailbox: Mailbox, label: str) -> dict[str, object]:
    """id, name and type of a label; a user label has its visibility too."""
    if label in SYSTEM_LABELS:
        return {"id": label, "name": label, "type": "system"}
    shown: dict[str, object] = {"messageListVisibility": "show", "labelListVisibility": "labelShow"}
    return shown | {"id": label, "name": mailbox.label_names[label], "type": "user"}


def _raw_value(call: Call, message: Message) -> bytes:
    value = message.base64url if call.world.padded_base64 else message.base64url.rstrip(b"=")
    return b"*!*" + value[3:] if FaultKind.WRONG_BASE64 in call.effects else value


def _metadata(message: Message, wanted: list[str]) -> dict[str, object]:
    names = {name.lower() for name in wanted}
    headers = mail_text.headers_of(message.raw)
    kind = mail_text.first(headers, "Content-Type").partition(";")[0].strip().lower()
    shown = [
        {"name": name, "value": mail_text.decoded(value)}
        for name, value in headers
        if not names or name.lower() in names
    ]
    return {"mimeType": kind or "text/plain", "headers": shown}


def _start_history_id(call: Call) -> int:
    text = call.text("startHistoryId")
    if not text:
        raise invalid("Missing startHistoryId")
    if not (text.isascii() and text.isdigit()) or not call.mailbox.history.knows(int(text)):
        raise not_found()
    return int(text)


def _change_types(call: Call) -> frozenset[Change]:
    try:
        return frozenset(Change(value) for value in call.texts("historyTypes"))
    except ValueError as error:
        raise invalid(f"Invalid value at 'history_types': {error}") from error


def _shown(call: Call, records: list[Record]) -> list[Record]:
    if FaultKind.DUPLICATED_HISTORY in call.effects:
        records = records + records[-_OVERLAP:]
    if FaultKind.SHUFFLED_HISTORY in call.effects:
        records = records[::-1]
    return records
