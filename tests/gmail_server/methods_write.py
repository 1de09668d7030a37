"""Methods that change a mailbox: labels, trash, deletion, new mail, watches."""

from __future__ import annotations

import base64
import re
from datetime import timedelta
from email import message_from_bytes
from email.message import Message as MimePart

import orjson

from tests.gmail_server.call import Call
from tests.gmail_server.errors import ApiError, invalid
from tests.gmail_server.methods_read import label_fields
from tests.gmail_server.state import Message

MAX_MESSAGE = 36_700_160
_WATCH_LIFE_MS = int(timedelta(days=7).total_seconds() * 1000)
_TOPIC = re.compile(r"projects/[^/]+/topics/[^/]+")


def modify(call: Call) -> bytes:
    """`users.messages.modify`."""
    body = call.json()
    add, remove = call.strings(body, "addLabelIds"), call.strings(body, "removeLabelIds")
    if not add and not remove:
        raise invalid("No label add or removes specified")
    return _brief(call.mailbox.modify(call.ids[0], add, remove))


def batch_modify(call: Call) -> bytes:
    """`users.messages.batchModify`; ids that are gone are passed over, as Gmail does."""
    body = call.json()
    for message_id in _ids(call, body):
        if message_id in call.mailbox.messages:
            add, remove = call.strings(body, "addLabelIds"), call.strings(body, "removeLabelIds")
            call.mailbox.modify(message_id, add, remove)
    return b""


def batch_delete(call: Call) -> bytes:
    """`users.messages.batchDelete`; no guarantee that the ids exist."""
    for message_id in _ids(call, call.json()):
        if message_id in call.mailbox.messages:
            call.mailbox.delete(message_id)
    return b""


def trash(call: Call) -> bytes:
    """`users.messages.trash`."""
    return _brief(call.mailbox.trash(call.ids[0]))


def untrash(call: Call) -> bytes:
    """`users.messages.untrash`."""
    return _brief(call.mailbox.untrash(call.ids[0]))


def delete(call: Call) -> bytes:
    """`users.messages.delete`: answers 204 without a body."""
    call.mailbox.delete(call.ids[0])
    return b""


def insert(call: Call) -> bytes:
    """`users.messages.insert`: dated now unless `internalDateSource=dateHeader`."""
    return _store(call, (), call.text("internalDateSource", "receivedTime"))


def import_message(call: Call) -> bytes:
    """`users.messages.import`: dated by its Date header unless `internalDateSource=receivedTime`."""
    return _store(call, ("INBOX", "UNREAD"), call.text("internalDateSource", "dateHeader"))


def send(call: Call) -> bytes:
    """`users.messages.send`: kept under SENT; nothing leaves the server."""
    return _store(call, ("SENT",), "receivedTime", fixed_labels=True)


def create_label(call: Call) -> bytes:
    """`users.labels.create`."""
    name = call.json().get("name")
    if not isinstance(name, str) or not name:
        raise invalid("Invalid label name")
    return orjson.dumps(label_fields(call.mailbox, call.mailbox.create_label(name)))


def watch(call: Call) -> bytes:
    """`users.watch`: one topic per mailbox; the same topic renews for seven days."""
    topic, now = call.json().get("topicName"), call.world.clock.now_ms()
    if not isinstance(topic, str) or not _TOPIC.fullmatch(topic):
        raise invalid("Invalid topicName does not match projects/<project>/topics/*")
    current = call.mailbox.watched
    if current is not None and current[0] != topic and current[1] > now:
        text = "Only one user push notification client allowed per developer (call /stop then try again)"
        raise ApiError(400, "badRequest", text)
    call.mailbox.watched = (topic, now + _WATCH_LIFE_MS)
    return orjson.dumps({"historyId": str(call.mailbox.history.current), "expiration": str(call.mailbox.watched[1])})


def stop(call: Call) -> bytes:
    """`users.stop`: answers 204 without a body."""
    call.mailbox.watched = None
    return b""


def _ids(call: Call, body: dict[str, object]) -> tuple[str, ...]:
    ids = call.strings(body, "ids")
    if not ids or len(ids) > 1000:
        raise invalid("ids must name 1 to 1000 messages")
    return ids


def _store(call: Call, labels: tuple[str, ...], date_source: str, *, fixed_labels: bool = False) -> bytes:
    fields, raw = _uploaded(call) if call.upload else (call.json(), b"")
    if not call.upload:
        raw = _raw_field(fields)
    if not raw:
        raise ApiError(400, "invalidArgument", "'raw' RFC822 payload message string or uploading message required")
    if len(raw) > MAX_MESSAGE:
        raise ApiError(413, "uploadTooLarge", "Message larger than 36700160 bytes")
    chosen = labels if fixed_labels else call.strings(fields, "labelIds") or labels
    thread = fields.get("threadId")
    thread_id = thread if isinstance(thread, str) else None
    message_id = call.mailbox.add(raw, chosen, None, thread_id, dated_by_header=date_source == "dateHeader")
    return _brief(call.mailbox.get(message_id))


def _raw_field(fields: dict[str, object]) -> bytes:
    value = fields.get("raw", "")
    try:
        text = str(value)
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError as error:
        raise invalid("Invalid value at 'raw' (TYPE_BYTES), Base64 decoding failed") from error


def _uploaded(call: Call) -> tuple[dict[str, object], bytes]:
    """The mail of an upload (`uploadType` media or multipart) and the JSON sent with it."""
    kind = call.text("uploadType")
    if kind == "media":
        return {}, call.request.body
    if kind != "multipart":
        raise invalid("uploadType must be media or multipart")
    content_type = call.request.headers.get("content-type", "").encode("latin-1")
    whole = message_from_bytes(b"Content-Type: " + content_type + b"\r\n\r\n" + call.request.body)
    parts = whole.get_payload()
    if not isinstance(parts, list) or len(parts) != 2:
        raise invalid("A multipart upload has two parts")
    first, second = parts
    assert isinstance(first, MimePart)
    assert isinstance(second, MimePart)
    head, mail = first.get_payload(decode=True), second.get_payload(decode=True)
    try:
        fields = orjson.loads(head) if isinstance(head, bytes) and head.strip() else {}
    except orjson.JSONDecodeError as error:
        raise ApiError(400, "parseError", "Parse Error") from error
    return fields if isinstance(fields, dict) else {}, mail if isinstance(mail, bytes) else b""


def _brief(message: Message) -> bytes:
    return orjson.dumps(message.brief())
