"""Queues of actions that were taken without a network: executed in order, each as if it had been asked for alone."""

from __future__ import annotations

import re
import traceback
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Annotated, Any

from fastapi import Depends, Request
from pydantic import ValidationError
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.responses import Response

from ops_api.access import Access
from ops_api.access_rows import ROWS
from ops_api.answers import CODES, Refusal, database_problem, describe_for_log
from ops_api.audited import Trail
from ops_api.commands import body_of, refusal_of
from ops_api.dependencies import Provided, Services, SignedIn
from ops_api.offline_answers import Malformed, Queue, Result, fields_of
from ops_api.origins import origin_of
from ops_api.queue_door import QUEUES
from ops_api.rate_limits import count_principal
from ops_api.shapes import Problem
from pipeline import executor
from pipeline.command import Ask, Command, Effect, Refused
from pipeline.commands import devices, work_orders
from pipeline.core.canonical_json import canonical, sha256_of
from pipeline.core.offline import MOST_BYTES, Course, Deed, Held, Queued, Why
from pipeline.core.principals import Principal
from pipeline.core.written import read_id
from pipeline.executor import Answer
from pipeline.runtime.idempotency import Key
from pipeline.runtime.logs import get_logger

_STATUS = MappingProxyType({Why.TWICE: 409, Why.UNKNOWN: 422, Why.DEPENDS: 424, Why.UNVERSIONED: 428})
_NOT_TRIED = "this was not tried; send the queue again: what was done is answered as before"
_FAILED = "this failed here; the log has more under the request's id"
#: So many actions are counted as one request.
_COUNTED_AS_ONE = 10
#: The command of each deed.
_COMMANDS: Mapping[Deed, Command[Any, Any]] = MappingProxyType(
    {Deed.START: work_orders.START, Deed.DONE: work_orders.DONE, Deed.RETURN: work_orders.RETURN}
)
_READ = "notification.read"
#: The address that takes each deed alone, by what the audit trail calls it.
_ALONE = MappingProxyType({row.action: row for row in ROWS if row.action})
_PARAMETER = re.compile(r"{(\w+)}")


class Batch:
    """One queue under way, of one person and in one thread; no transaction is open between two actions."""

    def __init__(self, request: Request, services: Services, principal: Principal) -> None:
        self._request, self._services, self._principal = request, services, principal
        self._begin = partial(services.begin, principal)
        self._ends_at = services.queues.ends_at()
        #: The database does not answer.
        self._is_down = False

    def play(self, actions: Sequence[Queued | Malformed]) -> Response:
        """Execute actions in order and answer each; what one is refused for is its own answer and stops no other."""
        # What is done and what is refused is recorded action by action.
        self._request.state.trail.is_written = True
        course = Course()
        results = [self._answer(course, action) for action in actions]
        self._services.queues.note(one.outcome for one in results)
        return Response(canonical({"results": [one.said() for one in results]}), media_type="application/json")

    def _answer(self, course: Course, action: Queued | Malformed) -> Result:
        if isinstance(action, Malformed):
            return self._no(action.client_id, Refusal(422, "the action cannot be read", fields=action.fields))
        result = self._result(course, action)
        course.end(action, is_done=result.is_done, version=result.version)
        return result

    def _result(self, course: Course, action: Queued) -> Result:
        if self._is_down or self._services.queues.is_over(self._ends_at):
            return self._no(action.name, Refusal(503, _NOT_TRIED, code="NOT_TRIED"))
        judged = course.judge(action)
        if isinstance(judged, Held):
            return self._held(action, judged)
        return self._tried(action, judged.version)

    def _tried(self, action: Queued, version: int | None) -> Result:
        """Do an action; whatever it raises is its answer."""
        try:
            if action.deed is Deed.READ_NOTIFICATION:
                return self._read(action)
            return _done(action, self._execute(action, version))
        except Refused as refused:
            return self._refused(action, refusal_of(refused))
        except Refusal as refusal:
            return self._refused(action, refusal)
        except ValidationError as error:
            fields = {f"body.{name}": said for name, said in fields_of(error).items()}
            return self._refused(action, Refusal(422, "the action's body is invalid", fields=fields))
        except (DBAPIError, PoolTimeout) as error:
            return self._failed_below(action, error)
        except Exception as error:  # noqa: BLE001 - as at the edge: the phone gets words, and the other actions go on
            trace = "".join(traceback.format_tb(error.__traceback__))[-4_000:]
            get_logger().error("request.failed", error=describe_for_log(error), trace=trace)
            return self._no(action.name, Refusal(500, _FAILED))

    def _execute(self, action: Queued, version: int | None) -> Answer:
        command = _COMMANDS[action.deed]
        ask = Ask(
            principal=self._principal,
            arguments=command.arguments.model_validate(dict(action.body)),
            target=action.target,
            version=version,
            key=self._key(action),
            **origin_of(self._request),
        )
        with self._begin() as connection:
            return executor.execute(connection, _told_later(command, action), ask)

    def _read(self, action: Queued) -> Result:
        """Note that a notification was read; again changes nothing, so it needs no key."""
        notification_id = read_id(action.target)
        if not self._principal.may(_row(action).permission):
            raise Refusal(403, "this is not for your role")
        with self._begin() as connection:
            if notification_id is None or not devices.read(connection, self._principal, notification_id):
                raise Refusal(404, "you have no such notification")
            self._trail(action).done(connection)
        return Result(action.name, 204)

    def _key(self, action: Queued) -> Key:
        """Return the key that the action has at its own address: sent there before, its answer comes again."""
        who, row = self._principal, _row(action)
        path = _PARAMETER.sub(lambda _: action.target, row.path)
        return Key(who.org_id, who.actor_id, row.method, path, str(action.client_id), sha256_of(dict(action.body)))

    def _held(self, action: Queued, held: Held) -> Result:
        """Answer what is not tried. What depends on something else is recorded with that."""
        refusal = Refusal(_STATUS[held.why], held.said, code=held.why.value)
        if held.why is Why.DEPENDS:
            return self._no(action.name, refusal)
        return self._refused(action, refusal)

    def _refused(self, action: Queued, refusal: Refusal) -> Result:
        """Record a refusal as its own address would, and answer it."""
        self._trail(action).refused(self._begin, refusal)
        return self._no(action.name, refusal)

    def _trail(self, action: Queued) -> Trail:
        row = _row(action)
        ids = dict.fromkeys(_PARAMETER.findall(row.path), action.target)
        return Trail(self._request, row, self._services.trails, ids)

    def _failed_below(self, action: Queued, error: Exception) -> Result:
        """Answer what the database could not do; when it does not answer at all, nothing more is tried."""
        status, said, _ = database_problem(error)
        self._is_down = status == 503
        return self._no(action.name, Refusal(status, said))

    def _no(self, client_id: str | None, refusal: Refusal) -> Result:
        code = refusal.code or CODES.get(refusal.status_code, "error")
        problem = Problem(
            refusal.status_code,
            refusal.detail,
            code,
            self._request.state.request_id,
            refusal.fields,
            refusal.details,
        )
        return Result(client_id, refusal.status_code, problem=problem)


def _row(action: Queued) -> Access:
    command = _COMMANDS.get(action.deed)
    return _ALONE[_READ if command is None else command.name]


def _done(action: Queued, answer: Answer) -> Result:
    return Result(action.name, answer.status, answer.body, is_replayed=answer.is_replayed, version=answer.version)


def _told_later(command: Command[Any, Any], action: Queued) -> Command[Any, Any]:
    """Return the command with what the audit trail and the order's step are told besides: when it was really done."""
    said = {"client_id": str(action.client_id), "queued_at": action.queued_at and action.queued_at.isoformat()}

    def effect(connection: Connection, ask: Ask[Any], subject: Any) -> Effect:
        found = command.effect(connection, ask, subject)
        return replace(found, details={**found.details, "offline": said})

    return replace(command, effect=effect)


async def batch(
    request: Request, body: Annotated[bytes, Depends(body_of)], queue: Queue, services: Provided, session: SignedIn
) -> AsyncIterator[Batch]:
    """Give a queue its turn. Refuses with 413 what is larger than `MOST_BYTES`, and with 429 who sends too many."""
    if len(body) > MOST_BYTES:
        raise Refusal(413, f"a queue has at most {MOST_BYTES} bytes; send it in parts")
    # The first was counted with the request.
    for _ in range(_COUNTED_AS_ONE, len(queue.actions), _COUNTED_AS_ONE):
        await count_principal(request, services.limiter, request.state.access, session)
    yield Batch(request, services, session)


Batching = Annotated[Batch, Depends(batch, scope="function", max_concurrency=QUEUES)]
