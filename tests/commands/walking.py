"""A random walk over the commands of field work: wishes of mixed people, sensible and senseless, and what must hold."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

from pydantic import BaseModel, ValidationError

from models.enums import DispatchPriority, HoldReason, QaResult, TicketStatus
from models.lifecycle import MOVES
from pipeline import executor
from pipeline.command import Ask, Command, Refused
from pipeline.commands import rates
from pipeline.commands.billing_arguments import RateWish
from pipeline.commands.desk import CHANGE_TAGS, UPDATE
from pipeline.core.evidence import SIGNATURE_KEY
from pipeline.core.principals import Principal
from pipeline.table import COMMANDS
from tests.commands import schedules
from tests.commands.field_desk import INCIDENT, FieldDesk, told
from tests.commands.site_steps import CHECKLIST, DOOR_KEYS, now

_JUNK: tuple[Any, ...] = (
    None,
    "",
    " ",
    "x" * 3000,
    -1,
    10**12,
    1.5,
    [],
    {},
    "1999-01-01",
    True,
    "\x00",
    "DROP",
    uuid4(),
)
#: Those that make something of their own, and those that are parts of others.
_LEFT_OUT = {"plan.make", "plan.apply", "plan.book", "rates.set", "rates.remove", "schedule.link"}
Draw = Callable[["Walk", Any], Mapping[str, Any]]


def _window(walk: Walk) -> dict[str, Any]:
    found = schedules.ahead(walk.rng.choice((1, 24, 48, 72, 500)), timedelta(minutes=walk.rng.choice((30, 60, 120))))
    return {"start": found.starts_at, "end": found.ends_at}


def _offered(walk: Walk, ticket: Any) -> dict[str, Any]:
    windows = schedules.offered(walk.desk, ticket.id)
    if not windows or walk.rng.random() < 0.1:
        return _window(walk)
    found = walk.rng.choice(windows)
    return {"start": found.starts_at, "end": found.ends_at}


def _tech(walk: Walk) -> Any:
    return walk.desk.people[walk.rng.choice(("tech", "other_tech", "tech", "other_tech", "qa"))].person_id


def _pending(walk: Walk, ticket: Any) -> Any:
    found = walk.desk.rows("SELECT id FROM approvals WHERE ticket_id = :id ORDER BY id DESC LIMIT 1", id=ticket.id)
    return found[0][0] if found else uuid4()


def _open_hold(walk: Walk, ticket: Any) -> str:
    found = walk.desk.rows("SELECT id FROM schedule_holds WHERE ticket_id = :id ORDER BY id DESC LIMIT 1", id=ticket.id)
    return str(found[0][0]) if found else str(uuid4())


def _piece(walk: Walk, ticket: Any) -> Any:
    statement = "SELECT id FROM evidence_items WHERE ticket_id = :id ORDER BY random() LIMIT 1"
    found = walk.desk.rows(statement, id=ticket.id)
    return found[0][0] if found else uuid4()


def _evidence(walk: Walk, ticket: Any) -> dict[str, Any]:
    statement = "SELECT evidence_key FROM evidence_items WHERE ticket_id = :id AND withdrawn_at IS NULL"
    there = {key for (key,) in walk.desk.rows(statement, id=ticket.id)}
    key = next((key for key in DOOR_KEYS if key not in there), None)
    if walk.rng.random() < 0.2:
        key = walk.rng.choice((*DOOR_KEYS, SIGNATURE_KEY, None))
    return {"kind": "PHOTO", "evidence_key": key, "uri": f"s3://bucket/{key}-{walk.rng.randrange(5)}.jpg"}


def _triage(walk: Walk, _ticket: Any) -> dict[str, Any]:
    outcome = walk.rng.choice((None, "TRIAGED", "READY_TO_SCHEDULE", "READY_TO_SCHEDULE", "APPROVAL_REQUIRED"))
    return {
        "priority": walk.rng.choice(list(DispatchPriority)),
        "incident_type": walk.rng.choice((INCIDENT, INCIDENT, INCIDENT, "OTHER_V1")),
        "workflow_outcome": outcome,
        "nte_cents": walk.rng.choice((None, 0, 1, 10_000)),
        "approval_amount_delta_cents": walk.rng.choice((None, 0, 5_000)),
    }


def _intake(walk: Walk, _ticket: Any) -> Mapping[str, Any]:
    said = told(walk.desk, summary=f"matter {walk.rng.randrange(30)}", identity_confidence=walk.rng.choice((50, 90)))
    return said.model_dump()


def _dispatch(walk: Walk, ticket: Any) -> dict[str, Any]:
    mode = "EMERGENCY_BYPASS" if ticket.dispatch_state == "TRIAGED" else "STANDARD"
    return {
        "tech_id": _tech(walk),
        "dispatch_mode": mode,
        "rationale": walk.rng.choice((None, "the door stands open")),
        "override_reason": walk.rng.choice((None, "somebody must go at once", "somebody must go at once")),
    }


_WHY = {"reason": "because it is so"}
DRAWS: dict[str, Draw] = {
    "ticket.create": lambda walk, _: {
        "account_id": walk.desk.account_id,
        "site_id": walk.desk.site_id,
        "summary": f"door {walk.rng.randrange(1000)}",
        "nte_cents": walk.rng.choice((0, 0, 100)),
    },
    "ticket.blind_intake": _intake,
    "ticket.triage": _triage,
    "ticket.classify": lambda walk, _: {"incident_type": walk.rng.choice((INCIDENT, "OTHER_V1")), **_WHY},
    "ticket.request_info": lambda *_: {"question": "which door?"},
    "ticket.cancel": lambda *_: _WHY,
    "ticket.reopen": lambda *_: _WHY,
    "ticket.close": lambda *_: _WHY,
    "schedule.propose": lambda walk, _: {"options": [_window(walk) for _ in range(walk.rng.randint(1, 3))]},
    "schedule.confirm": _offered,
    "schedule.move": lambda walk, _: _window(walk),
    "schedule.withdraw": lambda *_: _WHY,
    "schedule.hold": lambda walk, _: {
        "hold_reason": walk.rng.choice(list(HoldReason)),
        "confirmation_window": _window(walk),
    },
    "schedule.release": lambda walk, ticket: {"customer_confirmation_log": _open_hold(walk, ticket)},
    "schedule.rollback": lambda *_: _WHY,
    "assignment.recommend": lambda *_: {},
    "assignment.dispatch": _dispatch,
    "assignment.reassign": lambda walk, _: {"tech_id": _tech(walk), "override_reason": "nobody else is near", **_WHY},
    "assignment.unassign": lambda *_: _WHY,
    "tech.check_in": lambda walk, _: {"timestamp": now() + timedelta(minutes=walk.rng.choice((-1, -1, -1, 60)))},
    "tech.hold": lambda *_: _WHY,
    "tech.resume": lambda *_: {},
    "tech.start_rework": lambda *_: {},
    "visit.return": lambda *_: _WHY,
    "tech.request_change": lambda walk, _: {
        "approval_type": walk.rng.choice(("NTE_INCREASE", "PROPOSAL")),
        "amount_delta_cents": walk.rng.choice((None, 100)),
        **_WHY,
    },
    "approval.decide": lambda walk, ticket: {
        "approval_id": _pending(walk, ticket),
        "decision": walk.rng.choice(("APPROVED", "APPROVED", "DENIED")),
        "denied_to": walk.rng.choice((None, None, "IN_PROGRESS")),
    },
    "closeout.add_evidence": _evidence,
    "evidence.withdraw": lambda walk, ticket: {"evidence_id": _piece(walk, ticket), **_WHY},
    "evidence.waive": lambda *_: {"sha256": "ab" * 32, **_WHY},
    "tech.complete": lambda walk, _: {
        "checklist_status": CHECKLIST if walk.rng.random() < 0.9 else {"work_performed": "true"},
        "no_signature_reason": walk.rng.choice((None, "nobody was there")),
    },
    "closeout.candidate": lambda *_: {"checklist_status": CHECKLIST, "no_signature_reason": "nobody was there"},
    "qa.verify": lambda walk, _: {
        "timestamp": now() - timedelta(seconds=1),
        "result": walk.rng.choice((QaResult.PASS, QaResult.PASS, QaResult.FAIL)),
        "notes": walk.rng.choice((None, "the latch is loose")),
    },
    "billing.generate_invoice": lambda walk, _: {"write_off": walk.rng.random() < 0.5, **_WHY},
    "billing.request_increase": lambda *_: {},
    "parts.add": lambda walk, _: {"name": "hinge", "quantity": walk.rng.choice(("1", "2.5")), "unit_price_cents": 700},
    "parts.remove": lambda *_: {"part_id": uuid4(), **_WHY},
    "time.tell": lambda walk, _: {
        "kind": "travel",
        "began_at": now() - timedelta(minutes=walk.rng.randint(61, 2000)),
        "ended_at": now() - timedelta(minutes=walk.rng.randint(1, 60)),
    },
    "time.remove": lambda *_: {"time_id": uuid4(), **_WHY},
    UPDATE.name: lambda walk, _: {"status": walk.rng.choice(list(TicketStatus)).value},
    CHANGE_TAGS.name: lambda *_: {"add": ["seen"]},
}
#: They lead back: taken now and then, or no walk would come to an end.
_BACK = {
    *("ticket.cancel", "ticket.request_info", "visit.return", "schedule.withdraw", "schedule.hold"),
    *("assignment.unassign", "tech.hold", "tech.request_change", "ticket.reopen"),
}
#: What a person of a role does, mostly; anybody may try anything.
_HANDS = {
    "tech": ("tech", "other_tech", "dispatcher"),
    "approval": ("approver", "dispatcher"),
    "billing": ("finance",),
    "qa": ("qa", "other_dispatcher"),
    "evidence": ("tech", "dispatcher"),
    "closeout": ("tech", "dispatcher"),
    "parts": ("tech", "dispatcher"),
    "visit": ("tech", "dispatcher"),
}


def walked() -> list[str]:
    """Return the commands that the walk must know how to ask for."""
    field_work = {name for name, one in COMMANDS.items() if one.target.kind == "ticket" and one.needs_key}
    return sorted(field_work - _LEFT_OUT)


@dataclass
class Walk:
    """One organization's tickets, and what was done to them so far."""

    desk: FieldDesk
    rng: random.Random
    tickets: list[UUID] = field(default_factory=list)
    #: Audit rows that must be there by now, whoever they are about.
    audited: int = 0
    done: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    replayed: int = 0
    last: tuple[Command[Any, Any], Ask[Any]] | None = None

    def __post_init__(self) -> None:
        self.desk.run(rates.PUT_RATE, RateWish(currency="USD", labor_hour_cents=8_000), by="finance")
        self.audited += 1

    def step(self) -> None:
        """Ask for one thing, and look at what became of it."""
        if self.last is not None and self.rng.random() < 0.04:
            self._again(*self.last)
            return
        ticket = self._ticket()
        command = self._command(ticket)
        arguments = self._arguments(command, ticket)
        if arguments is None:
            self.refused["malformed"] += 1
            return
        ask = self.desk.ask(arguments, by=self._who(command), target=None if ticket is None else str(ticket.id))
        if self.rng.random() < 0.05 and ticket is not None:
            ask = replace(ask, version=self.rng.choice((ticket.version, ticket.version - 1)))
        self._do(command, ask, ticket)

    def _do(self, command: Command[Any, Any], ask: Ask[Any], ticket: Any) -> None:
        try:
            answer = executor.run(self.desk.db.begin, command, ask)
        except Refused as refused:
            self.refused[refused.refusal.code] += 1
            self.audited += 1
            if ticket is not None:
                assert self._row(ticket.id) == ticket, f"{command.name} was refused and changed the ticket"
            self._look(command, None)
            return
        self.done[command.name] += 1
        self.audited += 1
        self.last = (command, ask)
        if command.beginnings:
            self.tickets.append(UUID(answer.body["id"]))
            ticket_id = self.tickets[-1]
        else:
            ticket_id = ticket.id
            self._followed(command, ticket, self._row(ticket_id))
        self._look(command, ticket_id)

    def _again(self, command: Command[Any, Any], ask: Ask[Any]) -> None:
        """Ask for the same once more: the same answer, and nothing else."""
        assert executor.run(self.desk.db.begin, command, ask).is_replayed
        self.replayed += 1
        self._look(command, None)

    def _followed(self, command: Command[Any, Any], before: Any, after: Any) -> None:
        assert after.version >= before.version
        if before.dispatch_state != after.dispatch_state:
            assert command.may_reach(before.dispatch_state, after.dispatch_state), command.name
            assert after.version == before.version + 1

    def _look(self, command: Command[Any, Any], ticket_id: UUID | None) -> None:
        found = self.desk.one("SELECT number FROM audit_heads WHERE org_id = :org", org=self.desk.org_id)
        assert found.number == self.audited, f"{command.name}: {found.number} audit rows, not {self.audited}"
        if ticket_id is not None:
            check_ticket(self.desk, ticket_id)

    def _ticket(self) -> Any:
        if not self.tickets or self.rng.random() < 0.03:
            return None
        # Few at a time: they get further.
        return self._row(self.rng.choice(self.tickets[-6:]))

    def _row(self, ticket_id: UUID) -> Any:
        return self.desk.one("SELECT id, dispatch_state, status, version FROM tickets WHERE id = :id", id=ticket_id)

    def _command(self, ticket: Any) -> Command[Any, Any]:
        if ticket is None:
            return COMMANDS[self.rng.choice(("ticket.create", "ticket.blind_intake"))]
        names = [name for name in DRAWS if not COMMANDS[name].beginnings]
        if ticket.dispatch_state == "IN_PROGRESS" and self.rng.random() < 0.6:
            return COMMANDS[self.rng.choice(("closeout.add_evidence", "closeout.add_evidence", "tech.complete"))]
        if self.rng.random() < 0.8:
            possible = [name for name in names if ticket.dispatch_state in _from(name)]
            leading = [name for name in possible if name in MOVES and (name not in _BACK or self.rng.random() < 0.1)]
            names = [*leading * 3, *(name for name in possible if name not in MOVES)] or names
        return COMMANDS[self.rng.choice(names)]

    def _who(self, command: Command[Any, Any]) -> Principal:
        hands = _HANDS.get(command.name.partition(".")[0], ("dispatcher", "agent"))
        name = self.rng.choice(hands) if self.rng.random() < 0.85 else self.rng.choice(sorted(self.desk.people))
        return self.desk.people[name]

    def _arguments(self, command: Command[Any, Any], ticket: Any) -> BaseModel | None:
        values = dict(DRAWS[command.name](self, ticket))
        if self.rng.random() < 0.06 and command.arguments.model_fields:
            values[self.rng.choice(sorted(command.arguments.model_fields))] = self.rng.choice(_JUNK)
        try:
            return command.arguments(**values)
        except ValidationError:
            return None


def _from(name: str) -> frozenset[str]:
    states = COMMANDS[name].from_states
    return frozenset() if states is None else states


_FACTS = """
    SELECT t.dispatch_state AS state, d.assigned_tech_id,
           (SELECT count(*) FROM approvals WHERE ticket_id = t.id AND state = 'PENDING') AS pending,
           (SELECT count(*) FROM assignments WHERE ticket_id = t.id AND ended_at IS NULL) AS going,
           (SELECT max(technician_id::text) FROM assignments WHERE ticket_id = t.id AND ended_at IS NULL) AS sent,
           (SELECT count(*) FROM visits WHERE ticket_id = t.id AND state IN ('booked', 'under_way')) AS visits,
           (SELECT count(*) FROM schedule_holds WHERE ticket_id = t.id AND state = 'open') AS holds,
           (SELECT count(*) FROM time_entries WHERE ticket_id = t.id AND ended_at IS NULL) AS times,
           (SELECT count(*) FROM invoices WHERE ticket_id = t.id) AS invoices,
           (SELECT count(*) FROM completions WHERE ticket_id = t.id) AS completions
      FROM tickets t LEFT JOIN dispatches d ON d.ticket_id = t.id WHERE t.id = :id
"""
_WITH_TECHNICIAN = {"DISPATCHED", "IN_PROGRESS", "ON_HOLD"}
_WITHOUT = {"NEW", "NEEDS_INFO", "TRIAGED", "READY_TO_SCHEDULE", "SCHEDULE_PROPOSED", "SCHEDULED", "CANCELLED"}
_PROVED = {"COMPLETED_PENDING_VERIFICATION", "VERIFIED", "INVOICED"}


def check_ticket(desk: FieldDesk, ticket_id: UUID) -> None:
    """Look that everything about a ticket fits its state, and that its transitions connect and end in it."""
    found = desk.one(_FACTS, id=ticket_id)
    state = found.state
    assert (found.pending == 1) == (state == "APPROVAL_REQUIRED"), found
    assert (found.holds == 1) == (state == "PENDING_CUSTOMER_CONFIRMATION"), found
    assert found.going <= 1, found
    if state in _WITH_TECHNICIAN:
        assert (found.going, found.sent) == (1, str(found.assigned_tech_id)), found
    if state in _WITHOUT:
        assert (found.going, found.assigned_tech_id) == (0, None), found
    if state in {"CLOSED", "CANCELLED", "INVOICED", "VERIFIED"}:
        assert (found.visits, found.times) == (0, 0), found
    if state in {"SCHEDULED", "DISPATCHED"}:
        assert found.visits == 1, found
    assert found.times <= 1, found
    assert found.invoices == 1 if state == "INVOICED" else found.invoices == 0 or state == "CLOSED", found
    assert state not in _PROVED or found.completions > 0, found
    moves = desk.moves(ticket_id)
    assert moves[0][0] is None
    assert all(one[1] == other[0] for one, other in pairwise(moves)), moves
    assert moves[-1][1] == state, (moves, state)
