"""The commands of contract 000 as its text has them: tool, address, roles, states, bodies, and what leads where.

Written from the document and seed-behaviours 1.5, not from the product: where they differ, decision 33 says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from tests.commands.field_desk import FieldDesk
from tests.conformance import bodies
from tests.conformance.bodies import Body, moment
from tests.conformance.service import Service


@dataclass(frozen=True)
class Endpoint:
    """One command."""

    tool: str
    path: str
    roles: tuple[str, ...]
    #: Where it is tried from; None makes a ticket.
    start: str | None
    good: Callable[[FieldDesk, UUID | None], Body]
    #: The states after that of the start, one transition row each.
    to: tuple[str, ...]
    #: All states that it may be done in.
    states: frozenset[str] = frozenset()
    status: int = 200
    #: Field -> values that must be refused with 400 INVALID_REQUEST.
    wrong: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    #: Fields that must be there.
    required: tuple[str, ...] = ()

    def address(self, ticket_id: UUID | str | None) -> str:
        """Return where it is sent for a ticket."""
        return self.path.format(id=ticket_id)

    def body(self, service: Service, ticket_id: UUID | None) -> Body:
        """Return a body that is good for a ticket."""
        return self.good(service.desk, ticket_id)

    def wrong_bodies(self) -> list[tuple[str, Callable[[Body], Body], str]]:
        """Return what must be refused: its name, what it makes of a good body, and the field that is to blame."""
        found = [(f"{name} left out", _without(name), name) for name in self.required]
        found += [
            (f"{name} = {value!r}", _with(name, value), name) for name, values in self.wrong.items() for value in values
        ]
        return found


def _without(name: str) -> Callable[[Body], Body]:
    return lambda body: {key: value for key, value in body.items() if key != name}


def _with(name: str, value: Any) -> Callable[[Body], Body]:
    return lambda body: body | {name: value}


_DONE = "COMPLETED_PENDING_VERIFICATION"
ENDPOINTS = (
    Endpoint(
        "ticket.create",
        "/tickets",
        ("dispatcher", "agent"),
        None,
        bodies.place,
        ("NEW",),
        status=201,
        required=("account_id", "site_id", "summary"),
        wrong={
            "account_id": ("x", 5, None),
            "site_id": ("x", None),
            "asset_id": ("x", str(UUID(int=1))),
            "summary": ("", "  ", 5, None),
            "nte_cents": (-1, "5", 1.5, True),
            "description": (5,),
        },
    ),
    Endpoint(
        "ticket.triage",
        "/tickets/{id}/triage",
        ("dispatcher", "agent"),
        "NEW",
        bodies.triage,
        ("TRIAGED",),
        frozenset({"NEW", "NEEDS_INFO"}),
        required=("priority", "incident_type"),
        wrong={
            "priority": ("SOON", "", 1, None),
            "incident_type": (" ", 5, None),
            "nte_cents": (-1, "x"),
            "workflow_outcome": ("CLOSED", 5),
            "requires_approval": ("yes",),
            "approval_amount_delta_cents": (-1,),
        },
    ),
    Endpoint(
        "schedule.propose",
        "/tickets/{id}/schedule/propose",
        ("dispatcher", "agent"),
        "READY_TO_SCHEDULE",
        bodies.propose,
        ("SCHEDULE_PROPOSED",),
        frozenset({"READY_TO_SCHEDULE"}),
        required=("options",),
        wrong={
            "options": (
                [],
                "tomorrow",
                [{}],
                [{"start": moment(48)}],
                [{"start": moment(49), "end": moment(48)}],
                [{"start": moment(48), "end": moment(48)}],
                [{"start": "soon", "end": "later"}],
                [{"start": 1, "end": 2}],
            )
        },
    ),
    Endpoint(
        "schedule.confirm",
        "/tickets/{id}/schedule/confirm",
        ("dispatcher", "customer"),
        "SCHEDULE_PROPOSED",
        bodies.confirm,
        ("SCHEDULED",),
        frozenset({"SCHEDULE_PROPOSED"}),
        required=("start", "end"),
        wrong={"start": ("soon", 5, None), "end": ("later", 5, None, moment(1))},
    ),
    Endpoint(
        "assignment.dispatch",
        "/tickets/{id}/assignment/dispatch",
        ("dispatcher",),
        "SCHEDULED",
        bodies.dispatch,
        ("DISPATCHED",),
        frozenset({"SCHEDULED"}),
        required=("tech_id",),
        wrong={"tech_id": ("x", 5, None), "provider_id": ("x",), "dispatch_mode": ("FAST", 5)},
    ),
    Endpoint(
        "tech.check_in",
        "/tickets/{id}/tech/check-in",
        ("tech", "dispatcher"),
        "DISPATCHED",
        bodies.check_in,
        ("ON_SITE", "IN_PROGRESS"),
        frozenset({"DISPATCHED"}),
        required=("timestamp",),
        wrong={"timestamp": ("yesterday", 5, None), "location": ("here", [1, 2])},
    ),
    Endpoint(
        "tech.request_change",
        "/tickets/{id}/tech/request-change",
        ("tech",),
        "IN_PROGRESS",
        bodies.change,
        ("APPROVAL_REQUIRED",),
        frozenset({"IN_PROGRESS"}),
        required=("approval_type", "reason"),
        wrong={
            "approval_type": ("MORE", 5, None),
            "reason": (" ", 5, None),
            "amount_delta_cents": (-1, "5"),
            "evidence_refs": ("x", [5]),
        },
    ),
    Endpoint(
        "approval.decide",
        "/tickets/{id}/approval/decide",
        ("approver", "dispatcher"),
        "APPROVAL_REQUIRED",
        bodies.decide,
        ("READY_TO_SCHEDULE",),
        frozenset({"APPROVAL_REQUIRED"}),
        required=("approval_id", "decision"),
        wrong={"approval_id": ("x", 5, None), "decision": ("MAYBE", True, None), "notes": (5,)},
    ),
    Endpoint(
        "closeout.add_evidence",
        "/tickets/{id}/evidence",
        ("dispatcher", "agent", "tech"),
        "NEW",
        bodies.evidence,
        (),
        status=201,
        required=("kind", "uri"),
        wrong={
            "kind": (" ", 5, None),
            "uri": (" ", 5, "file:///etc/passwd", "s3://bucket", "no uri"),
            "metadata": ("x", [1]),
            "evidence_key": (5,),
            "checksum": (5,),
        },
    ),
    Endpoint(
        "tech.complete",
        "/tickets/{id}/tech/complete",
        ("dispatcher", "tech"),
        "IN_PROGRESS",
        bodies.complete,
        (_DONE,),
        frozenset({"IN_PROGRESS"}),
        required=("checklist_status",),
        wrong={
            "checklist_status": ("done", [True], None),
            "no_signature_reason": (5,),
            "evidence_refs": ("x", [5]),
        },
    ),
    Endpoint(
        "qa.verify",
        "/tickets/{id}/qa/verify",
        ("qa", "dispatcher"),
        _DONE,
        bodies.verify,
        ("VERIFIED",),
        frozenset({_DONE}),
        required=("timestamp", "result"),
        wrong={"timestamp": ("now", 5, None), "result": ("MAYBE", True, None), "notes": (5,)},
    ),
    Endpoint(
        "billing.generate_invoice",
        "/tickets/{id}/billing/generate-invoice",
        ("finance",),
        "VERIFIED",
        bodies.invoice,
        ("INVOICED",),
        frozenset({"VERIFIED"}),
    ),
)
#: Every state that a ticket rests in; ON_SITE is passed through.
STATES = (
    *("NEW", "NEEDS_INFO", "TRIAGED", "APPROVAL_REQUIRED", "READY_TO_SCHEDULE", "SCHEDULE_PROPOSED", "SCHEDULED"),
    *("PENDING_CUSTOMER_CONFIRMATION", "DISPATCHED", "IN_PROGRESS", "ON_HOLD", _DONE, "VERIFIED", "INVOICED"),
    *("CLOSED", "CANCELLED"),
)
