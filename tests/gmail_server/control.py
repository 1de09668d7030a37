"""`/_control/`: what a test can do with a server, for other processes and languages."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import asdict, fields
from datetime import datetime
from urllib.parse import unquote

import orjson

from tests.gmail_server import mbox
from tests.gmail_server.call import query_of
from tests.gmail_server.errors import ApiError, invalid, not_found
from tests.gmail_server.http11 import Answer, Request
from tests.gmail_server.quota import QuotaProfile, QuotaSettings
from tests.gmail_server.state import Mailbox
from tests.gmail_server.world import World

Json = dict[str, object]


class Control:
    """Answers control requests; 200 with a JSON object, 400 for bad input, 404 for an unknown path or id."""

    def __init__(self, world: World) -> None:
        self._world = world
        tokens = world.tokens
        self._plain: dict[tuple[str, str], Callable[[], Json]] = {
            ("GET", "health"): lambda: {"status": "ok", "url": world.url},
            ("GET", "stats"): world.statistics,
            ("DELETE", "stats"): lambda: _done(world.reset_statistics),
            ("GET", "faults"): lambda: {"faults": world.faults.listed()},
            ("DELETE", "faults"): lambda: _done(world.faults.clear),
            ("GET", "quota"): lambda: asdict(world.quota.settings),
            ("GET", "clock"): lambda: {"now": world.clock.now(), "speed": world.clock.speed},
            ("POST", "page_tokens/expire"): lambda: _done(world.page_tokens.expire),
            ("POST", "oauth/expire"): lambda: _done(tokens.expire),
            ("GET", "credentials/service_account"): lambda: {**tokens.service_account(world.token_uri)},
            ("GET", "mailboxes"): lambda: {"mailboxes": [_summary(mailbox) for mailbox in world.mailboxes.values()]},
        }
        self._with_body: dict[tuple[str, str], Callable[[Request], Json]] = {
            ("POST", "faults"): self._add_fault,
            ("POST", "quota"): self._set_quota,
            ("POST", "clock"): self._set_clock,
            ("POST", "settings"): self._set_settings,
            ("POST", "oauth/revoke"): lambda request: _done(tokens.revoke, _address(request)),
            ("POST", "oauth/restore"): lambda request: _done(tokens.restore, _address(request)),
            ("POST", "oauth/token"): lambda request: {"access_token": tokens.issue(_address(request))},
            ("GET", "credentials/authorized_user"): self._authorized_user,
        }

    def answer(self, request: Request) -> Answer:
        """The answer to a request under `/_control/`."""
        steps = [unquote(step) for step in request.path.removeprefix("/_control/").rstrip("/").split("/")]
        with self._world.lock:
            try:
                return Answer(200, orjson.dumps(self._result(request, steps)))
            except ApiError:
                raise
            except (ValueError, TypeError, KeyError) as error:
                raise invalid(f"{type(error).__name__}: {error}") from error

    def _result(self, request: Request, steps: list[str]) -> Json:
        key = (request.method, "/".join(steps))
        if key in self._plain:
            return self._plain[key]()
        if key in self._with_body:
            return self._with_body[key](request)
        if steps[0] == "faults" and len(steps) == 2 and request.method == "DELETE":
            return _done(self._world.faults.remove, int(steps[1]))
        if steps[0] == "mailboxes" and len(steps) >= 2:
            return self._mailbox_result(request, steps[1], steps[2:])
        raise not_found("Not Found")

    def _mailbox_result(self, request: Request, address: str, steps: list[str]) -> Json:
        if request.method == "GET" and address.lower() not in self._world.mailboxes:
            raise not_found(f"No mailbox {address}")
        key = (request.method, "/".join(steps))
        if key in _MAILBOX_VIEWS:
            return _MAILBOX_VIEWS[key](self._world.mailbox(address))
        if key in _MAILBOX_CHANGES:
            return _MAILBOX_CHANGES[key](request, self._world.mailbox(address))
        if len(steps) == 3 and steps[0] == "messages" and request.method == "POST":
            return _change_message(request, self._world.mailbox(address), steps[1], steps[2])
        raise not_found("Not Found")

    def _add_fault(self, request: Request) -> Json:
        wanted = _json(request)
        kind = str(wanted.pop("kind"))
        return {"number": self._world.faults.add(kind, **wanted)}  # type: ignore[arg-type]

    def _set_quota(self, request: Request) -> Json:
        settings, wanted = self._world.quota.settings, _json(request)
        if unknown := set(wanted) - {field.name for field in fields(QuotaSettings)}:
            raise invalid(f"Unknown quota settings: {sorted(unknown)}")
        if "profile" in wanted:
            wanted["profile"] = QuotaProfile(str(wanted["profile"]))
        for name, value in wanted.items():
            setattr(settings, name, value)
        return asdict(settings)

    def _set_clock(self, request: Request) -> Json:
        clock, wanted = self._world.clock, _json(request)
        if "speed" in wanted:
            clock.set_speed(float(str(wanted["speed"])))
        clock.advance(float(str(wanted.get("advance", 0))))
        return {"now": clock.now(), "speed": clock.speed}

    def _set_settings(self, request: Request) -> Json:
        world, wanted = self._world, _json(request)
        if unknown := set(wanted) - {"padded_base64", "require_auth", "token_lifetime", "page_token_lifetime"}:
            raise invalid(f"Unknown settings: {sorted(unknown)}")
        world.padded_base64 = bool(wanted.get("padded_base64", world.padded_base64))
        world.require_auth = bool(wanted.get("require_auth", world.require_auth))
        world.tokens.lifetime = int(str(wanted.get("token_lifetime", world.tokens.lifetime)))
        if "page_token_lifetime" in wanted:
            value = wanted["page_token_lifetime"]
            world.page_tokens.lifetime = None if value is None else float(str(value))
        return {
            "padded_base64": world.padded_base64,
            "require_auth": world.require_auth,
            "token_lifetime": world.tokens.lifetime,
            "page_token_lifetime": world.page_tokens.lifetime,
        }

    def _authorized_user(self, request: Request) -> Json:
        address = query_of(request.query).get("address", [""])[-1]
        if not address:
            raise invalid("address is required")
        self._world.mailbox(address)
        return {**self._world.tokens.authorized_user(address, self._world.token_uri)}


def _done(action: Callable[..., None], *arguments: object) -> Json:
    action(*arguments)
    return {}


def _json(request: Request) -> Json:
    value = orjson.loads(request.body or b"{}")
    if not isinstance(value, dict):
        raise invalid("a JSON object is needed")
    return value


def _address(request: Request) -> str:
    return str(_json(request)["address"])


def _labels(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(label, str) for label in value):
        raise invalid("labels has to be a list of strings")
    return tuple(value)


def _summary(mailbox: Mailbox) -> Json:
    return {
        "address": mailbox.address,
        "messages": len(mailbox.messages),
        "threads": len(mailbox.threads),
        "history_id": mailbox.history.current,
        "history_floor": mailbox.history.floor,
        "watched": mailbox.watched,
    }


def _add_messages(request: Request, mailbox: Mailbox) -> Json:
    """`{"messages": [{"raw": base64, "labels"?, "at"?: ISO or epoch seconds, "thread_id"?}]}`."""
    wanted = _json(request)["messages"]
    if not isinstance(wanted, list):
        raise invalid("messages has to be a list")
    ready = [
        (
            base64.b64decode(item["raw"].translate(str.maketrans("-_", "+/"))),
            _labels(item.get("labels", ["INBOX", "UNREAD"])),
            _moment(item.get("at")),
            item.get("thread_id"),
        )
        for item in wanted
    ]
    return {"ids": [mailbox.add(*arguments) for arguments in ready]}


def _moment(value: object) -> float | None:
    if isinstance(value, str):
        return datetime.fromisoformat(value).timestamp()
    return None if value is None else float(str(value))


def _add_mbox(request: Request, mailbox: Mailbox) -> Json:
    labels = query_of(request.query).get("labels")
    return {"ids": mbox.load(mailbox, request.body, labels or ("INBOX", "UNREAD"))}


def _expire_history(request: Request, mailbox: Mailbox) -> Json:
    before = _json(request).get("before")
    return {"history_floor": mailbox.expire_history(None if before is None else int(str(before)))}


def _change_message(request: Request, mailbox: Mailbox, message_id: str, action: str) -> Json:
    body = _json(request)
    if action == "delete":
        mailbox.delete(message_id)
        return {}
    if action == "modify":
        mailbox.modify(message_id, _labels(body.get("add", [])), _labels(body.get("remove", [])))
    elif action == "trash":
        mailbox.trash(message_id)
    elif action == "untrash":
        mailbox.untrash(message_id)
    elif action == "rethread":
        mailbox.rethread(message_id, str(body["thread_id"]))
    else:
        raise not_found("Not Found")
    message = mailbox.get(message_id)
    return {"id": message.id, "labels": message.labels, "thread_id": message.thread_id}


_MAILBOX_VIEWS: dict[tuple[str, str], Callable[[Mailbox], Json]] = {
    ("PUT", ""): _summary,
    ("GET", ""): _summary,
    ("GET", "state"): lambda mailbox: {**mailbox.state()},
    ("GET", "ids"): lambda mailbox: {"ids": mailbox.ids()},
}
_MAILBOX_CHANGES: dict[tuple[str, str], Callable[[Request, Mailbox], Json]] = {
    ("POST", "messages"): _add_messages,
    ("POST", "mbox"): _add_mbox,
    ("POST", "labels"): lambda request, mailbox: {"id": mailbox.create_label(str(_json(request)["name"]))},
    ("POST", "expire_history"): _expire_history,
}
