"""An API that dies at any step of a request: the client asks again with the same words, and the effect stands once."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from models.enums import OutboundKind, Provider
from pipeline.commands.mailboxes import add_mailbox
from pipeline.runtime import outgoing
from pipeline.runtime.db import Database
from pipeline.runtime.secrets import Secrets, SignedReplyTokens
from pipeline.runtime.settings import Settings
from tests import factories
from tests.faults import failing_api
from tests.faults.failpoints import API_STEPS, COMMAND_STEPS, Action, Fate, Plan, points
from tests.faults.forked import Forked, forked
from tests.ops_api.people import member, sign_in
from tests.ops_api.serving import House, fetched, house, kill
from tests.worker_process import until

pytestmark = pytest.mark.faults


@dataclass(frozen=True, slots=True)
class Wish:
    """One request, what counts its effects, and what a second equal one may be answered with."""

    path: str
    effects: str
    body: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    repeated: tuple[int, ...] = (200, 202)


class Clients:
    """APIs that fail as planned at one address, one that does not at another, and the person who asks them."""

    def __init__(self, db: Database, settings: Settings, children: Forked, org_id: UUID) -> None:
        self._children = children
        self.failing, self.healthy = _free_port(), _free_port()
        with db.begin() as connection:
            signed = sign_in(connection, Secrets.of(settings), org_id, member(connection, org_id))
        self._cookies, self._headers = signed.cookies, signed.headers

    def serve(self, plan: Plan, port: int) -> Any:
        """Start an API; return it when it listens."""
        child = self._children.follow(plan, failing_api.run, port)
        until(lambda: child.poll() is not None or _listens(port), "an API that listens")
        return child

    def post(self, wish: Wish, port: int) -> int | None:
        """Ask; return the status, or None when no answer came."""
        headers = {**self._headers, **wish.headers}
        try:
            with httpx.Client(cookies=self._cookies, headers=headers, timeout=60, trust_env=False) as client:
                return client.post(f"http://127.0.0.1:{port}{wish.path}", json=wish.body).status_code
        except httpx.TransportError:
            return None


class Desk:
    """What is asked for: each wish is about something of its own, so that its effects can be counted."""

    def __init__(self, db: Database, settings: Settings) -> None:
        self.db, self._tokens = db, SignedReplyTokens(Secrets.of(settings))
        self.house: House = house(db, "ours")
        with db.begin() as connection:
            mailbox_id = self._mailbox(connection)
            self._identity_id = factories.identity(connection, self.house.org_id, mailbox_id, "desk@acme.example")
            self._ticket_id = factories.ticket(connection, self.house.org_id)

    def wish(self, command: str) -> Wish:
        """Return a wish that runs a command."""
        makers: dict[str, Callable[[], Wish]] = {
            "command.reply": self._reply,
            "command.cancel": self._cancel,
            "command.reprocess": self._reprocess,
            "dlq.replay": self._replay,
            "dlq.discard": self._discard,
        }
        return makers[command]() if command in makers else self._sync(command.removeprefix("command."))

    def _mailbox(self, connection: Any, **columns: Any) -> UUID:
        address = f"{uuid4().hex[:12]}@acme.example"
        return add_mailbox(connection, self.house.org_id, address, Provider.GMAIL, source={})

    def _sync(self, what: str) -> Wish:
        with self.db.begin() as connection:
            mailbox_id = self._mailbox(connection)
        factories.rows(self.db, "UPDATE mailboxes SET sync_cursor = '1' WHERE id = :id", id=mailbox_id)
        state = "paused" if what == "resume" else "active"
        factories.rows(self.db, _STATE, id=mailbox_id, state=state)
        effects = {
            "pause": f"SELECT count(*) FROM mailboxes WHERE id = '{mailbox_id}' AND state = 'paused'",
            "reconcile": f"SELECT count(*) FROM reconciles WHERE mailbox_id = '{mailbox_id}'",
        }
        # A resumed mailbox has its history asked for.
        stage = {"resume": "history"}.get(what, what)
        jobs = f"SELECT count(*) FROM jobs WHERE mailbox_id = '{mailbox_id}' AND stage = '{stage}'"
        return Wish(f"/mailboxes/{mailbox_id}/sync/{what}", effects.get(what, jobs))

    def _reply(self) -> Wish:
        key = uuid4().hex
        body = {
            "send_identity_id": str(self._identity_id), "to_emails": ["bo@customer.example"], "subject": "Re: It",
            "body_text": "We come tomorrow.",
        }  # fmt: skip
        effects = f"SELECT count(*) FROM outbound WHERE request_key = '{key}'"
        return Wish(f"/tickets/{self._ticket_id}/reply", effects, body, {"Idempotency-Key": key})

    def _cancel(self) -> Wish:
        with self.db.begin() as connection:
            intent = outgoing.Intent(
                self.house.org_id, self._ticket_id, self._identity_id, OutboundKind.REPLY, ["bo@customer.example"],
                "Re: It", "We come tomorrow.", "bo",
            )  # fmt: skip
            outbound_id = outgoing.intend(connection, self._tokens, intent).outbound_id
        effects = f"""SELECT count(*) FROM events
                       WHERE kind = 'outbound.cancelled' AND data ->> 'outbound_id' = '{outbound_id}'"""
        return Wish(f"/outbound/{outbound_id}/cancel", effects, repeated=(200, 400, 409))

    def _reprocess(self) -> Wish:
        factories.rows(self.db, "DELETE FROM reprocessings")
        effects = "SELECT count(*) FROM reprocessings"
        return Wish("/ops/reprocessings", effects, {"kind": "parse"}, repeated=(200, 400, 409))

    def _replay(self) -> Wish:
        job_id = self._dead()
        effects = f"SELECT count(*) FROM dead_letters WHERE job_id = {job_id} AND resolution = 'replayed'"
        return Wish(f"/ops/jobs/{job_id}/replay", effects, {"reason": "again"}, repeated=(200, 404))

    def _discard(self) -> Wish:
        job_id = self._dead()
        effects = f"SELECT count(*) FROM dead_letters WHERE job_id = {job_id} AND resolution = 'discarded'"
        return Wish(f"/ops/jobs/{job_id}/discard", effects, {"reason": "junk"}, repeated=(200, 404))

    def _dead(self) -> int:
        org_id, mailbox_id = self.house.org_id, self.house.mailbox_id
        with self.db.begin() as connection:
            (occurrence_id,) = fetched(connection, org_id, mailbox_id, [uuid4().hex])
            return kill(connection, org_id, mailbox_id, stage="parse", key=str(occurrence_id), said="nothing in it")


_STATE = """
    UPDATE mailboxes SET state = :state, paused_until = CASE WHEN :state = 'paused' THEN now() + interval '1 hour' END
     WHERE id = :id
"""


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def children(settings: Settings, tmp_path: Path) -> Iterator[Forked]:
    """Return no processes yet; those that the test starts end with it."""
    with forked(settings, tmp_path) as found:
        yield found


@pytest.fixture
def desk(db: Database, settings: Settings) -> Desk:
    """Something to ask for."""
    return Desk(db, settings)


@pytest.fixture
def clients(settings: Settings, children: Forked, desk: Desk) -> Clients:
    """Return who asks."""
    return Clients(desk.db, settings, children, desk.house.org_id)


@pytest.mark.fault("F-57")
def test_a_request_whose_answer_died_is_asked_again_and_has_its_effect_once(desk: Desk, clients: Clients) -> None:
    clients.serve(Plan(), clients.healthy)
    for command, point in _CASES:
        wish = desk.wish(command)
        assert factories.value(desk.db, wish.effects) == 0, command
        victim = clients.serve(Plan({point: Fate(Action.KILL)}), clients.failing)
        assert clients.post(wish, clients.failing) is None or point == "api.answer.after"
        until(lambda child=victim: child.poll() is not None, f"a death at {point} of {command}")
        stands = _stands(desk, wish)
        assert stands == (1 if point.startswith("api") else 0), (command, point)
        status = clients.post(wish, clients.healthy)
        assert status in (wish.repeated if stands else (200, 202)), (command, point, status)
        assert _stands(desk, wish) == 1, (command, point)


#: Each end of each command, and the moment after its commit in which its client has not heard of it.
_CASES = [
    *((step.name, point) for step in COMMAND_STEPS for point in (*points([step]), "api.answer.before")),
    ("command.pause", "api.answer.after"),
]


def test_every_failpoint_of_commands_and_of_the_api_is_among_the_cases() -> None:
    assert {point for _, point in _CASES} == set(points((*COMMAND_STEPS, *API_STEPS)))


def _stands(desk: Desk, wish: Wish) -> int:
    return int(factories.value(desk.db, wish.effects))
