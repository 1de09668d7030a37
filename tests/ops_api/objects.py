"""One object of every kind that a path can name, made anew for each route that is asked about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, text

from models.enums import QuarantineCause, Reach
from tests import factories
from tests.ops_api import people
from tests.ops_api.serving import compared, fetched, hold, kill, over

#: Stands in everything that has words: whoever reads it elsewhere has seen what is not theirs.
CANARY = "canary4711"

_MESSAGE = """
    INSERT INTO messages (org_id, rfc_message_id, fingerprint, signature, subject, subject_norm, from_address,
                          received_at, snippet, raw_sha256, parser_version)
    VALUES (:org, '<' || :name || '@canary.example>', sha256(CAST(:digest AS bytea)), sha256(CAST(:digest AS bytea)),
            :name, :name, :name || '@canary.example', now(), :name, sha256(CAST(:digest AS bytea)), 1)
    RETURNING id
"""
_LINK = """
    INSERT INTO ticket_messages (message_id, org_id, ticket_id, reason, confidence)
    VALUES (:message, :org, :ticket, 'new_ticket', 'high')
"""
_CONTENT = "INSERT INTO message_contents (message_id, body_text) VALUES (:message, :name)"
_FOUND = """
    INSERT INTO message_search (message_id, org_id, received_at, document, version)
    VALUES (:message, :org, now(), to_tsvector('simple', :word), 1)
"""
_BLOB = """
    INSERT INTO blobs (org_id, kind, sha256, size, stored_size)
    VALUES (:org, 'attachment', sha256(CAST(:digest AS bytea)), 1, 1)
"""
_RAW = """
    INSERT INTO blobs (org_id, kind, sha256, size, stored_size)
    VALUES (:org, 'raw', decode(repeat('ab', 32), 'hex'), 1, 1) ON CONFLICT DO NOTHING
"""
_ATTACHMENT = """
    INSERT INTO attachments (org_id, message_id, position, sha256, filename, content_type, size, disposition)
    VALUES (:org, :message, 0, sha256(CAST(:digest AS bytea)), :name, 'text/plain', 1, 'attachment') RETURNING id
"""
_EVIDENCE_BLOB = """
    INSERT INTO blobs (org_id, kind, sha256, size, stored_size)
    VALUES (:org, 'evidence', sha256(CAST(:digest AS bytea)), 1, 1)
"""
_EVIDENCE = """
    INSERT INTO evidence_items (org_id, ticket_id, kind, uri, sha256, thumbnail_sha256, size, content_type, check_state,
                                created_by)
    VALUES (:org, :ticket, 'PHOTO', 's3://canary/' || :name, sha256(CAST(:digest AS bytea)),
            sha256(CAST(:digest AS bytea)), 1, 'image/jpeg', 'checked', :name) RETURNING id
"""
_TEMPLATE = """
    INSERT INTO incident_templates (org_id, incident_type, name, evidence_keys, checklist_keys)
    VALUES (:org, 'T' || upper(left(md5(:digest), 20)), :name, '{a}', '{b}') RETURNING incident_type
"""
_OUTBOUND = """
    INSERT INTO outbound (org_id, mailbox_id, identity_id, message_id, kind, recipient, created_by)
    VALUES (:org, :mailbox, :identity, :message, 'reply', :name || '@canary.example', 'ann') RETURNING id
"""
_REGROUPING = """
    INSERT INTO regroupings (org_id, kind, ticket_id, other_ids, before, reason)
    VALUES (:org, 'merge', :ticket, '{}', '{"tickets": {}}', :name) RETURNING id
"""
_FIELD_WORKER = """
    UPDATE memberships SET role_id = (SELECT id FROM roles WHERE code = 'technician' AND org_id IS NULL)
     WHERE org_id = :org AND person_id = :person
"""
_PART = """
    INSERT INTO part_entries (org_id, ticket_id, name, quantity, unit_price_cents, recorded_by)
    VALUES (:org, :ticket, :name, 1, 1, :name) RETURNING id
"""
_TIME = """
    INSERT INTO time_entries (org_id, ticket_id, began_at, ended_at, recorded_by)
    VALUES (:org, :ticket, '2026-03-02T12:00Z', '2026-03-02T13:00Z', :name) RETURNING id
"""
_PLAN = """
    INSERT INTO day_plans (org_id, day, asked, result, created_by)
    VALUES (:org, '2026-12-25', '{"timezone": "UTC", "time_limit_seconds": 1, "weights": {}, "tickets": {}}',
            '{"summary": {"tickets": 0, "planned": 0, "left_out": 0, "technicians": 0, "cost": 0, "greedy_cost": 0,
                          "solved_by": "greedy", "note": null},
              "cost": {"travel": 0, "lateness": 0, "left_out": 0, "imbalance": 0, "continuity": 0},
              "greedy_cost": {"travel": 0, "lateness": 0, "left_out": 0, "imbalance": 0, "continuity": 0},
              "routes": [], "left_out": []}', :name) RETURNING id
"""
_INVOICE = """
    INSERT INTO invoices (org_id, number, code, ticket_id, currency, subtotal_cents, tax_percent, tax_cents,
                          total_cents, nte_cents, issuer, customer, issued_on, issued_by)
    VALUES (:org, floor(random() * 1e15), :name, :ticket, 'USD', 0, 0, 0, 0, 0, :name, :name, '2026-03-02', :name)
    RETURNING id
"""
_DEVICE = """
    INSERT INTO devices (org_id, person_id, platform, token_sha256, token_sealed)
    VALUES (:org, :person, 'android', sha256(CAST(:digest AS bytea)), '') RETURNING id
"""
_NOTIFICATION = """
    WITH ordered AS (INSERT INTO work_orders (org_id, title, due_at) VALUES (:org, :name, now()) RETURNING id)
    INSERT INTO notifications (org_id, person_id, kind, order_id, title, body, reference)
    SELECT :org, :person, 'WO_ASSIGNED', id, :name, :name, :name FROM ordered RETURNING id
"""
_WORDS = "UPDATE tickets SET subject = :name, requester_email = :name || '@canary.example' WHERE id = :ticket"
_CATEGORY = "INSERT INTO item_categories (org_id, name) VALUES (:org, :name) RETURNING id"
_STOCK_PART = "INSERT INTO parts (org_id, category_id, name) VALUES (:org, :category, :name) RETURNING id"
_ITEM = """
    INSERT INTO inventory_items (org_id, serial_number, name, category_id)
    VALUES (:org, 'RM-' || upper(left(md5(:digest), 20)), :name, :category) RETURNING id
"""
_REPAIR_ORDER = """
    INSERT INTO work_orders (org_id, policy, state, title, item_id)
    VALUES (:org, 'workshop', 'under_review', :name, :item) RETURNING id
"""
_FIELD_ORDER = """
    INSERT INTO work_orders (org_id, title, site_id, due_at) VALUES (:org, :name, :site, now() + interval '1 day')
    RETURNING id
"""
_CHECKLIST = (
    "INSERT INTO checklists (org_id, site_id, name, created_by) VALUES (:org, :site, :name, :name) RETURNING id"
)
_PHOTO = """
    INSERT INTO order_photos (org_id, order_id, kind, attempt, source_sha256, sha256, thumbnail_sha256, content_type,
                              size, width, height, device, uploaded_by)
    VALUES (:org, :order, 'ISSUE', 0, sha256(CAST(:digest AS bytea)), sha256(CAST(:digest AS bytea)),
            sha256(CAST(:digest AS bytea)), 'image/jpeg', 1, 1, 1, :name, :name) RETURNING id
"""
_TRIAGE_POLICY = """
    INSERT INTO triage_policies (org_id, version, policy, checksum, reason, created_by)
    SELECT :org, 1 + coalesce(max(version), 0), '{}', '', :name, :name FROM triage_policies WHERE org_id = :org
    RETURNING version
"""
_ASSET = "INSERT INTO assets (org_id, tag) VALUES (:org, :name) RETURNING id"
_ASSET_PATTERN = """
    INSERT INTO asset_patterns (org_id, pattern, tag, created_by) VALUES (:org, :name, :name, :name) RETURNING id
"""
_CASE = """
    INSERT INTO cases (org_id, asset_id, mode, priority_score, sla_hours, root_cause_tag, confidence,
                       recommended_action, grid_stress_level, explanation, verification_required, assessed_at)
    VALUES (:org, :asset, 'certainty', 64, 8, 'unknown', 0.64, 'needs_verification', 'elevated', :name, true, now())
    RETURNING id
"""
_QUESTION = "INSERT INTO verification_tasks (org_id, case_id, question, owner) VALUES (:org, :case, :name, 'FieldOps')"
_UPLOAD = """
    INSERT INTO resumable_uploads (org_id, order_id, owner, kind, device, length, expires_at)
    VALUES (:org, :order, :name, 'ISSUE', :name, 9, now() + interval '1 day') RETURNING id
"""
_REPAIR = "INSERT INTO repairs (order_id, org_id, minutes, flag_color, xp_amount) VALUES (:order, :org, 20, 'green', 1)"


@dataclass
class Objects:
    """Makes objects in one organization; `path` fills in a path template and says what its names stand for."""

    connection: Connection
    org_id: UUID
    mailbox_id: UUID
    #: The values of the path that is being filled in.
    made: dict[str, Any] = field(default_factory=dict)
    #: Every id that was made, as it would be written in an answer.
    ids: set[str] = field(default_factory=set)

    def fill(self, path: str, names: list[str]) -> str:
        """Return the path with new objects in it. Raises `KeyError` for a name that nothing is known of."""
        self.made = {}
        for name in names:
            self.made[name] = MAKERS[name](self)
        self.ids |= {str(value) for value in self.made.values() if isinstance(value, UUID)}
        return path.format(**self.made)

    def insert(self, statement: str, **values: Any) -> Any:
        """Run a statement that may name the organization, the mailbox and a new name; return its one value."""
        known = {"org": self.org_id, "mailbox": self.mailbox_id, "name": f"{CANARY}-{uuid4().hex}", **values}
        result = self.connection.execute(text(statement), {**known, "digest": known["name"].encode()})
        return result.scalar_one() if result.returns_rows else None


def _mailbox(the: Objects) -> UUID:
    address = f"{CANARY}-{uuid4().hex}@ours.example"
    return the.insert(
        "INSERT INTO mailboxes (org_id, address, provider, source) VALUES (:org, :address, 'gmail', '{}') RETURNING id",
        address=address,
    )


def _ticket(the: Objects) -> UUID:
    ticket_id = factories.ticket(the.connection, the.org_id)
    the.insert(_WORDS, ticket=ticket_id)
    account_id = the.insert("INSERT INTO accounts (org_id, name) VALUES (:org, :name) RETURNING id")
    the.made["account"] = account_id
    the.insert("UPDATE tickets SET account_id = :account WHERE id = :ticket", account=account_id, ticket=ticket_id)
    return ticket_id


def _message(the: Objects) -> int:
    name = f"{CANARY}-{uuid4().hex}"
    message_id = int(the.insert(_MESSAGE, name=name))
    the.insert(_CONTENT, message=message_id)
    the.insert(_FOUND, message=message_id, word=CANARY)
    ticket_id = the.made.get("ticket_id") or _ticket(the)
    the.insert(_LINK, message=message_id, ticket=ticket_id)
    return message_id


def _attachment(the: Objects) -> int:
    name, message_id = f"{CANARY}-{uuid4().hex}", _message(the)
    the.insert(_BLOB, name=name)
    return int(the.insert(_ATTACHMENT, name=name, message=message_id))


def _evidence(the: Objects) -> UUID:
    name = f"{CANARY}-{uuid4().hex}"
    the.insert(_EVIDENCE_BLOB, name=name)
    return the.insert(_EVIDENCE, name=name, ticket=the.made["ticket_id"])


def _outbound(the: Objects) -> UUID:
    address = f"{CANARY}-{uuid4().hex}@ours.example"
    identity_id = factories.identity(the.connection, the.org_id, the.mailbox_id, address)
    return the.insert(_OUTBOUND, identity=identity_id, message=_message(the))


def _occurrence(the: Objects) -> int:
    the.insert(_RAW)
    return fetched(the.connection, the.org_id, the.mailbox_id, [uuid4().hex])[0]


def _job(the: Objects) -> int:
    said, key = f"{CANARY} in line 1", str(_occurrence(the))
    return kill(the.connection, the.org_id, the.mailbox_id, stage="parse", key=key, said=said)


def _letter(the: Objects) -> int:
    return int(the.insert("SELECT id FROM dead_letters WHERE job_id = :job", job=_job(the)))


def _person(the: Objects) -> UUID:
    return people.member(the.connection, the.org_id, "viewer", f"{CANARY}-{uuid4().hex}@ours.example")


def _account(the: Objects) -> UUID:
    return the.insert("INSERT INTO accounts (org_id, name) VALUES (:org, :name) RETURNING id")


def _token(the: Objects) -> UUID:
    return the.insert(
        "INSERT INTO api_tokens (org_id, person_id, role_id, name, token_hash, hint, expires_at) "
        "SELECT :org, :person, r.id, CAST(:name AS text), sha256(CAST(:digest AS bytea)), 'abcd', now() + '1 day' "
        "FROM roles r WHERE r.code = 'viewer' RETURNING id",
        person=_person(the),
    )


def _leave(the: Objects) -> UUID:
    return the.insert(
        "INSERT INTO leaves (org_id, person_id, begins_at, ends_at, reason) "
        "VALUES (:org, :person, now(), now() + interval '1 day', :name) RETURNING id",
        person=the.made["person_id"],
    )


def _day(the: Objects) -> str:
    the.insert(
        "INSERT INTO holidays (org_id, calendar_id, day, name) VALUES (:org, :calendar, '2026-12-25', :name)",
        calendar=the.made["calendar_id"],
    )
    return "2026-12-25"


def _simple(statement: str) -> Callable[[Objects], Any]:
    return lambda the: the.insert(statement)


def _certificate(the: Objects) -> str:
    the.insert(_FIELD_WORKER, person=the.made["person_id"])
    the.insert(
        "INSERT INTO certificates (org_id, person_id, name) VALUES (:org, :person, 'hv')", person=the.made["person_id"]
    )
    return "hv"


def _field_order(the: Objects) -> UUID:
    site_id = the.insert(
        "INSERT INTO sites (org_id, account_id, name) VALUES (:org, :account, :name) RETURNING id",
        account=_account(the),
    )
    return the.insert(_FIELD_ORDER, site=site_id)


def _checklist(the: Objects) -> UUID:
    site_id = the.insert("SELECT site_id FROM work_orders WHERE id = :order", order=_field_order(the))
    return the.insert(_CHECKLIST, site=site_id)


def _photo(the: Objects) -> UUID:
    name = f"{CANARY}-{uuid4().hex}"
    the.insert(_EVIDENCE_BLOB, name=name)
    return the.insert(_PHOTO, name=name, order=_field_order(the))


def _case(the: Objects) -> UUID:
    case_id: UUID = the.insert(_CASE, asset=the.insert(_ASSET))
    the.insert(_QUESTION, case=case_id)
    return case_id


def _upload(the: Objects) -> UUID:
    return the.insert(_UPLOAD, order=_field_order(the))


def _item(the: Objects) -> UUID:
    return the.insert(_ITEM, category=the.insert(_CATEGORY))


def _repair(the: Objects) -> UUID:
    order_id = the.insert(_REPAIR_ORDER, item=_item(the))
    the.insert(_REPAIR, order=order_id)
    return order_id


#: How each name of a path comes to be.
MAKERS: Mapping[str, Callable[[Objects], Any]] = {
    "mailbox_id": _mailbox,
    "ticket_id": _ticket,
    "message_id": _message,
    "attachment_id": _attachment,
    "evidence_id": _evidence,
    "incident_type": _simple(_TEMPLATE),
    "outbound_id": _outbound,
    "regrouping_id": lambda the: the.insert(_REGROUPING, ticket=the.made["ticket_id"]),
    "occurrence_id": _occurrence,
    "quarantine_id": lambda the: hold(the.connection, the.org_id, _occurrence(the), QuarantineCause.POISON),
    "job_id": _job,
    "letter_id": _letter,
    "bulk_id": lambda the: over(the.connection, the.org_id),
    "reprocessing_id": lambda the: compared(the.connection, the.org_id),
    "person_id": _person,
    "leave_id": _leave,
    "role_id": _simple(
        "INSERT INTO roles (org_id, code, name) VALUES (:org, 'r' || left(md5(:digest), 20), :name) RETURNING id"
    ),
    "account_id": _account,
    "site_id": lambda the: the.insert(
        "INSERT INTO sites (org_id, account_id, name) VALUES (:org, :account, :name) RETURNING id",
        account=_account(the),
    ),
    "queue_id": _simple("INSERT INTO queues (org_id, slug, name) VALUES (:org, :name, :name) RETURNING id"),
    "token_id": _token,
    "view_id": _simple("INSERT INTO saved_views (org_id, name, filters) VALUES (:org, :name, '{}') RETURNING id"),
    "allowlist_id": _simple("INSERT INTO recipient_allowlist (org_id, pattern) VALUES (:org, :name) RETURNING id"),
    "rule_id": _simple("INSERT INTO routing_rules (org_id, name, auto_close) VALUES (:org, :name, true) RETURNING id"),
    "calendar_id": _simple(
        "INSERT INTO calendars (org_id, name, timezone, hours) "
        """VALUES (:org, :name, 'UTC', '{"0": [["08:00", "17:00"]]}') RETURNING id"""
    ),
    "day": _day,
    "rate_id": _simple("INSERT INTO rates (org_id, currency, labor_hour_cents) VALUES (:org, 'USD', 1) RETURNING id"),
    "part_id": lambda the: the.insert(_PART, ticket=the.made["ticket_id"]),
    "time_id": lambda the: the.insert(_TIME, ticket=the.made["ticket_id"]),
    "device_id": lambda the: the.insert(_DEVICE, person=_person(the)),
    "notification_id": lambda the: the.insert(_NOTIFICATION, person=_person(the)),
    "invoice_id": lambda the: the.insert(_INVOICE, ticket=_ticket(the)),
    "plan_id": _simple(_PLAN),
    "order_id": _field_order,
    "checklist_id": _checklist,
    "photo_id": _photo,
    "upload_id": _upload,
    "asset_id": _simple(_ASSET),
    "pattern_id": _simple(_ASSET_PATTERN),
    "case_id": _case,
    "policy_version": _simple(_TRIAGE_POLICY),
    "repair_id": _repair,
    "item_id": _item,
    "category_id": _simple(_CATEGORY),
    "workshop_part_id": lambda the: the.insert(_STOCK_PART, category=the.insert(_CATEGORY)),
    "name": _certificate,
    #: Good for nothing: whoever has the token of a link is the customer.
    "token": lambda _: "x" * 43,
    "policy_id": _simple(
        "INSERT INTO sla_policies (org_id, name, targets) "
        """VALUES (:org, :name, '{"normal": {"response": 60, "resolution": 240}}') RETURNING id"""
    ),
}


def elsewhere(connection: Connection, org_id: UUID, role: str) -> UUID:
    """Return a member whose reach is a site of the organization that holds none of the objects."""
    person_id = people.member(connection, org_id, role, "elsewhere@ours.example")
    ticket_id = factories.ticket(connection, org_id)
    people.give(connection, org_id, ticket_id, person_id, Reach.SITE)
    return person_id
