"""From a request under `/gmail/v1/users/` to its answer: route, token, faults, quota, method."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from urllib.parse import unquote

from tests.gmail_server import methods_read as read
from tests.gmail_server import methods_write as write
from tests.gmail_server.call import Call, Method, query_of
from tests.gmail_server.delivery import raise_refusal, refuses_unheard, shaped
from tests.gmail_server.errors import ApiError, failed_precondition, not_found
from tests.gmail_server.faults import Fault, FaultKind, Target
from tests.gmail_server.http11 import Answer, Ending, Request
from tests.gmail_server.world import World

PREFIX = "/gmail/v1/users/"
UPLOAD_PREFIX = "/upload" + PREFIX

# Verb and path after the user (`*` is an id) -> method name as in quotas, faults and counts, and what runs.
ROUTES: dict[tuple[str, str], tuple[str, Method]] = {
    ("GET", "profile"): ("getProfile", read.get_profile),
    ("GET", "history"): ("history.list", read.list_history),
    ("GET", "labels"): ("labels.list", read.list_labels),
    ("GET", "labels/*"): ("labels.get", read.get_label),
    ("POST", "labels"): ("labels.create", write.create_label),
    ("GET", "messages"): ("messages.list", read.list_messages),
    ("GET", "messages/*"): ("messages.get", read.get_message),
    ("GET", "messages/*/attachments/*"): ("messages.attachments.get", read.get_attachment),
    ("POST", "messages"): ("messages.insert", write.insert),
    ("POST", "messages/import"): ("messages.import", write.import_message),
    ("POST", "messages/send"): ("messages.send", write.send),
    ("POST", "messages/batchModify"): ("messages.batchModify", write.batch_modify),
    ("POST", "messages/batchDelete"): ("messages.batchDelete", write.batch_delete),
    ("POST", "messages/*/modify"): ("messages.modify", write.modify),
    ("POST", "messages/*/trash"): ("messages.trash", write.trash),
    ("POST", "messages/*/untrash"): ("messages.untrash", write.untrash),
    ("DELETE", "messages/*"): ("messages.delete", write.delete),
    ("GET", "settings/sendAs"): ("settings.sendAs.list", read.list_send_as),
    ("POST", "watch"): ("watch", write.watch),
    ("POST", "stop"): ("stop", write.stop),
}
_UPLOADS = {"messages.insert", "messages.import", "messages.send"}
_NO_EFFECTS: frozenset[FaultKind] = frozenset()


@dataclass(frozen=True, slots=True)
class Route:
    """A path understood: the method, the user it names, the ids in it."""

    name: str
    run: Method
    user: str
    ids: tuple[str, ...]
    upload: bool


def route_of(request: Request) -> Route:
    """The route of a request, or ApiError 404."""
    path, upload = request.path, request.path.startswith(UPLOAD_PREFIX)
    user, *steps = path[len(UPLOAD_PREFIX if upload else PREFIX) :].split("/")
    found = ROUTES.get((request.method, "/".join(steps)))
    ids: tuple[str, ...] = ()
    if found is None and len(steps) > 1:
        pattern = [step if number % 2 == 0 else "*" for number, step in enumerate(steps)]
        found = ROUTES.get((request.method, "/".join(pattern)))
        ids = tuple(unquote(step) for step in steps[1::2])
    if found is None or (upload and found[0] not in _UPLOADS):
        raise not_found("Not Found")
    return Route(found[0], found[1], unquote(user), ids, upload)


class Api:
    """Answers calls; used directly for single requests and by the batch endpoint for each part."""

    def __init__(self, world: World) -> None:
        self._world = world

    def answer(self, request: Request, *, in_batch: bool = False) -> Answer:
        """The answer to one call, faults and counts included."""
        world = self._world
        with world.lock:
            address, name = "", "unknown"
            faults: list[Fault] = []
            try:
                route = route_of(request)
                name = route.name
                address = self._address(route, request)
                world.stats.arrived(address)
                query = query_of(request.query)
                message_id = route.ids[0] if route.ids else None
                faults = world.faults.pick(Target(name, address, message_id, "pageToken" in query, in_batch))
                if refuses_unheard(faults):
                    world.stats.record(name, address, "reset", 0, 0)
                    return Answer(500, ending=Ending.RESET)
                return self._admitted(route, address, query, request, faults)
            except ApiError as error:
                return self._refused(name, address, 0, error, faults)

    def _address(self, route: Route, request: Request) -> str:
        """The mailbox meant: `me` is whoever the token stands for, an address has to be the token's."""
        header = request.headers.get("authorization", "")
        if not header and not self._world.require_auth and route.user != "me":
            return route.user.lower()
        address = self._world.tokens.address_of(header)
        if route.user not in {"me", address} and route.user.lower() != address:
            raise ApiError(403, "forbidden", f"Delegation denied for {address}")
        return address

    def _admitted(
        self, route: Route, address: str, query: dict[str, list[str]], request: Request, faults: list[Fault]
    ) -> Answer:
        """Charge the call and let it in, or raise what refuses it."""
        world = self._world
        raise_refusal(faults, world.clock)
        mailbox = world.mailboxes.get(address)
        if mailbox is None:
            raise failed_precondition()
        units = world.quota.charge(address, route.name)
        world.gate.enter(address, world.quota.settings.max_concurrent)
        kinds = frozenset(fault.kind for fault in faults) if faults else _NO_EFFECTS
        call = Call(world, mailbox, route.ids, query, request, route.upload, kinds)
        try:
            return self._performed(route, call, units, faults)
        except ApiError as error:
            world.gate.leave(address)
            return self._refused(route.name, address, units, error, faults)
        except BaseException:
            world.gate.leave(address)
            raise

    def _performed(self, route: Route, call: Call, units: int, faults: list[Fault]) -> Answer:
        world, address = self._world, call.mailbox.address
        body = route.run(call)
        status = 200 if body else 204
        world.quota.charge_bytes(address, len(body))
        world.stats.record(route.name, address, str(status), units, len(body))
        answer = Answer(status, body, release=partial(world.gate.leave, address))
        latency = world.quota.settings.latency
        return shaped(answer, faults, world.clock, latency) if faults or latency else answer

    def _refused(self, name: str, address: str, units: int, error: ApiError, faults: list[Fault]) -> Answer:
        world = self._world
        world.stats.told_to_wait(address, error)
        world.stats.record(name, address, str(error.code), units, 0)
        return shaped(Answer(error.code, error.body(), headers=error.headers), faults, world.clock)
