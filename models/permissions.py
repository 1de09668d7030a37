"""What may be done, and the roles of all five contracts that are built in: code, name, aliases and permissions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Permission(StrEnum):
    """One thing that somebody may do. A role has some of them as rows (`models.identity.role_permissions`)."""

    OWN_SESSION = "session.own"
    MAILBOXES_READ = "mailboxes.read"
    MAILBOXES_SYNC = "mailboxes.sync"
    OPS_READ = "ops.read"
    TICKETS_READ = "tickets.read"
    TICKETS_CHANGE = "tickets.change"  #: status, priority, assignment, tags
    TICKETS_NOTE = "tickets.note"
    TICKETS_REGROUP = "tickets.regroup"
    TICKETS_REPLY = "tickets.reply"
    VIEWS_CHANGE = "views.change"
    QUEUES_READ = "queues.read"
    QUEUES_CHANGE = "queues.change"
    ROUTING_READ = "routing.read"
    ROUTING_CHANGE = "routing.change"
    SLA_READ = "sla.read"
    SLA_CHANGE = "sla.change"
    DUTY_READ = "duty.read"  #: shifts and leave
    DUTY_CHANGE = "duty.change"
    PEOPLE_READ = "people.read"
    PEOPLE_CHANGE = "people.change"  #: people, memberships, roles, accounts and sites
    TOKENS_CHANGE = "tokens.change"
    AUDIT_READ = "audit.read"
    ERASE = "people.erase"
    REPROCESS = "messages.reprocess"
    DEAD_LETTERS_READ = "dead_letters.read"
    DEAD_LETTERS_RESOLVE = "dead_letters.resolve"
    QUARANTINE_READ = "quarantine.read"
    QUARANTINE_RELEASE = "quarantine.release"
    # The tools of contract 000, by its own names.
    TICKET_CREATE = "ticket.create"
    TICKET_TRIAGE = "ticket.triage"
    SCHEDULE_PROPOSE = "schedule.propose"
    SCHEDULE_CONFIRM = "schedule.confirm"
    ASSIGNMENT_DISPATCH = "assignment.dispatch"
    TECH_CHECK_IN = "tech.check_in"
    TECH_REQUEST_CHANGE = "tech.request_change"
    APPROVAL_DECIDE = "approval.decide"
    ADD_EVIDENCE = "closeout.add_evidence"
    READ_EVIDENCE = "closeout.read_evidence"
    TECH_COMPLETE = "tech.complete"
    QA_VERIFY = "qa.verify"
    GENERATE_INVOICE = "billing.generate_invoice"
    # What the lifecycle needs besides.
    TICKET_CANCEL = "ticket.cancel"
    TICKET_CLOSE = "ticket.close"
    TICKET_REOPEN = "ticket.reopen"
    SCHEDULE_HOLD = "schedule.hold"
    ASSIGNMENT_RECOMMEND = "assignment.recommend"
    CLOSEOUT_CANDIDATE = "closeout.candidate"
    DISPATCH_READ = "dispatch.read"  #: the dispatcher's queue, alerts, technicians' calendars
    PLANS_CHANGE = "plans.change"
    TECHNICIANS_CHANGE = "technicians.change"
    TEMPLATES_CHANGE = "templates.change"
    INVOICES_READ = "invoices.read"
    RATES_CHANGE = "rates.change"
    # The workshop of contract 002.
    WORKSHOP_READ = "workshop.read"
    WORKSHOP_CREATE = "workshop.create"
    WORKSHOP_ASSIGN = "workshop.assign"
    WORKSHOP_WORK = "workshop.work"
    WORKSHOP_QC = "workshop.qc"
    WORKSHOP_METRICS = "workshop.metrics"
    WORKSHOP_REVIEW = "workshop.review"
    WORKSHOP_CANCEL = "workshop.cancel"
    INVENTORY_CHANGE = "inventory.change"
    RULES_READ = "rules.read"
    RULES_CHANGE = "rules.change"
    ATTENDANCE_CHANGE = "attendance.change"
    XP_READ = "xp.read"  #: of others
    XP_CHANGE = "xp.change"
    LEVELS_CHANGE = "levels.change"
    # Cases of contract 003.
    CASES_READ = "cases.read"
    CASES_TRIAGE = "cases.triage"
    CASES_DISPATCH = "cases.dispatch"
    CASES_VERIFY = "cases.verify"
    CASES_OVERRIDE = "cases.override"  #: dispatch although a verification is open
    ASSETS_CHANGE = "assets.change"  #: the registry, and the patterns of its tags
    TRIAGE_POLICY_READ = "triage.policy_read"
    TRIAGE_POLICY_CHANGE = "triage.policy_change"
    # Work orders of contract 004.
    WORK_ORDERS_READ = "work_orders.read"
    WORK_ORDERS_WORK = "work_orders.work"
    WORK_ORDERS_CREATE = "work_orders.create"
    WORK_ORDERS_ASSIGN = "work_orders.assign"
    WORK_ORDERS_OUTSOURCE = "work_orders.outsource"
    WORK_ORDERS_COMPLETE_OUTSOURCED = "work_orders.complete_outsourced"
    WORK_ORDERS_CANCEL = "work_orders.cancel"


@dataclass(frozen=True, slots=True)
class BuiltIn:
    """A role as it is seeded; the rows in the database are what is in force."""

    code: str
    name: str
    permissions: frozenset[Permission]
    aliases: tuple[str, ...] = ()


_P = Permission
_DESK = (_P.OWN_SESSION, _P.TICKETS_READ, _P.QUEUES_READ, _P.DEAD_LETTERS_READ)
_DISPATCHING = (
    *(_P.TICKET_CREATE, _P.TICKET_TRIAGE, _P.SCHEDULE_PROPOSE, _P.ADD_EVIDENCE, _P.READ_EVIDENCE),
    *(_P.CASES_READ, _P.CASES_TRIAGE, _P.ASSIGNMENT_RECOMMEND, _P.CLOSEOUT_CANDIDATE, _P.DISPATCH_READ),
)
_WORKSHOP_LEAD = (_P.OWN_SESSION, _P.WORKSHOP_READ, _P.WORK_ORDERS_READ, _P.TICKETS_READ, _P.DUTY_READ)


def _role(
    code: str, name: str, *permissions: Permission | Sequence[Permission], aliases: tuple[str, ...] = ()
) -> BuiltIn:
    flat = [one for some in permissions for one in ([some] if isinstance(some, Permission) else some)]
    return BuiltIn(code, name, frozenset(flat), aliases)


#: Contract 001 (admin, agent, viewer), 000 (dispatcher to finance; its tech is 004's TECH and 002's technician),
#: 002 (master to qc_inspector) and 004 (the leads and the store manager). `agent` is 001's and 000's in one.
BUILT_IN: tuple[BuiltIn, ...] = (
    _role("admin", "Administrator", tuple(Permission), aliases=("super_admin", "dispatcher_admin")),
    _role(
        "agent",
        "Agent",
        *(_DESK, _DISPATCHING, _P.TICKETS_CHANGE, _P.TICKETS_NOTE, _P.TICKETS_REGROUP, _P.TICKETS_REPLY),
        *(_P.VIEWS_CHANGE, _P.QUARANTINE_READ, _P.ROUTING_READ, _P.SLA_READ, _P.DUTY_READ),
        aliases=("assistant", "bot"),
    ),
    _role("viewer", "Viewer", _DESK),
    _role(
        "dispatcher",
        "Dispatcher",
        *(_DESK, _DISPATCHING, _P.TICKETS_CHANGE, _P.TICKETS_NOTE, _P.TICKETS_REPLY, _P.VIEWS_CHANGE, _P.SLA_READ),
        *(_P.SCHEDULE_CONFIRM, _P.ASSIGNMENT_DISPATCH, _P.TECH_CHECK_IN, _P.APPROVAL_DECIDE, _P.TECH_COMPLETE),
        *(_P.QA_VERIFY, _P.CASES_DISPATCH, _P.CASES_VERIFY, _P.WORK_ORDERS_READ, _P.DUTY_READ, _P.SCHEDULE_HOLD),
        *(_P.TICKET_CANCEL, _P.TICKET_CLOSE, _P.TICKET_REOPEN, _P.PLANS_CHANGE, _P.INVOICES_READ),
        *(_P.CASES_OVERRIDE, _P.TRIAGE_POLICY_READ),
    ),
    _role("customer", "Customer", _P.OWN_SESSION, _P.TICKETS_READ, _P.SCHEDULE_CONFIRM),
    _role(
        "technician",
        "Technician",
        *(_P.OWN_SESSION, _P.TICKETS_READ, _P.TECH_CHECK_IN, _P.TECH_REQUEST_CHANGE, _P.ADD_EVIDENCE),
        *(
            _P.READ_EVIDENCE,
            _P.TECH_COMPLETE,
            _P.CLOSEOUT_CANDIDATE,
            _P.WORKSHOP_READ,
            _P.WORKSHOP_WORK,
            _P.WORK_ORDERS_READ,
        ),
        _P.WORK_ORDERS_WORK,
        aliases=("tech",),
    ),
    _role(
        "qa",
        "Quality control",
        *(_P.OWN_SESSION, _P.TICKETS_READ, _P.READ_EVIDENCE, _P.QA_VERIFY, _P.WORKSHOP_READ, _P.WORKSHOP_QC),
        _P.TICKET_REOPEN,
        aliases=("qc_inspector",),
    ),
    _role(
        "approver",
        "Approver",
        *(_P.OWN_SESSION, _P.TICKETS_READ, _P.READ_EVIDENCE, _P.APPROVAL_DECIDE, _P.TICKET_CLOSE, _P.INVOICES_READ),
    ),
    _role(
        "finance",
        "Finance",
        *(_P.OWN_SESSION, _P.TICKETS_READ, _P.READ_EVIDENCE, _P.GENERATE_INVOICE, _P.TICKET_CLOSE, _P.INVOICES_READ),
        _P.RATES_CHANGE,
    ),
    _role("master", "Workshop master", _WORKSHOP_LEAD, _P.WORKSHOP_CREATE, _P.WORKSHOP_REVIEW),
    _role(
        "ops_manager",
        "Operations manager",
        *(_WORKSHOP_LEAD, _P.WORKSHOP_ASSIGN, _P.DUTY_CHANGE, _P.WORKSHOP_METRICS, _P.WORKSHOP_REVIEW),
        *(_P.WORKSHOP_CANCEL, _P.INVENTORY_CHANGE, _P.RULES_READ, _P.ATTENDANCE_CHANGE, _P.XP_READ, _P.XP_CHANGE),
        _P.LEVELS_CHANGE,
    ),
    _role(
        "maintenance_lead",
        "Maintenance team leader",
        *(_WORKSHOP_LEAD, _P.WORK_ORDERS_ASSIGN, _P.WORK_ORDERS_OUTSOURCE, _P.DUTY_CHANGE),
        *(_P.WORK_ORDERS_COMPLETE_OUTSOURCED, _P.WORK_ORDERS_CANCEL),
    ),
    _role(
        "operations_lead",
        "Operations team leader",
        *(_WORKSHOP_LEAD, _P.WORK_ORDERS_CREATE, _P.WORK_ORDERS_CANCEL),
    ),
    _role(
        "store_manager",
        "Store manager",
        *(_P.OWN_SESSION, _P.WORK_ORDERS_READ, _P.TICKETS_READ, _P.WORK_ORDERS_COMPLETE_OUTSOURCED),
    ),
)
