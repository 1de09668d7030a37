"""An organization of the field, made set-wise: zones, rides, technicians, leads, and work orders old and new."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from pipeline.runtime import auditing
from pipeline.runtime.auditing import Entry

#: A word of a few titles, and one of none.
RARE, ABSENT = "zwitscherbox", "quetzalcoatlus"
ZONES = 20

_ORGANIZATION = text("INSERT INTO organizations (name) VALUES ('field') RETURNING id")
_PLACES = text("""
    WITH mine AS (
        INSERT INTO accounts (org_id, name) SELECT CAST(:org AS uuid), 'park ' || n FROM generate_series(1, 4) n
        RETURNING id
    ), numbered AS (SELECT id, row_number() OVER () AS n FROM mine)
    INSERT INTO sites (org_id, account_id, name)
    SELECT :org, p.id, 'zone ' || z FROM generate_series(1, :zones) z JOIN numbered p ON p.n = 1 + z % 4
""")
_RIDES = text("""
    INSERT INTO assets (org_id, tag, name, kind) SELECT :org, 'RIDE-' || n, 'Ride ' || n, 'ride'
      FROM generate_series(1, 400) n
""")
_PEOPLE = text("""
    INSERT INTO people (email, full_name)
    SELECT CAST(:role AS text) || n || '@field.example', initcap(replace(:role, '_', ' ')) || ' ' || n
      FROM generate_series(1, :many) n
    RETURNING id
""")
#: Technicians are each of one zone; the others reach everything.
_JOIN = text("""
    WITH zones AS (SELECT array_agg(id ORDER BY name, id) AS ids FROM sites WHERE org_id = :org),
    joined AS (
        INSERT INTO memberships (org_id, person_id, role_id, reach)
        SELECT :org, p, r.id, CASE WHEN r.code = 'technician' THEN 'site' ELSE 'organization' END
          FROM unnest(CAST(:people AS uuid[])) AS p, roles r WHERE r.code = :role AND r.org_id IS NULL
        RETURNING id, person_id, reach
    )
    INSERT INTO membership_scopes (org_id, membership_id, site_id)
    SELECT :org, j.id, zones.ids[1 + (p.n - 1) % :zones]
      FROM joined j JOIN unnest(CAST(:people AS uuid[])) WITH ORDINALITY AS p(id, n) ON p.id = j.person_id, zones
     WHERE j.reach = 'site'
""")
_CHECKLISTS = text("""
    INSERT INTO checklists (org_id, site_id, asset_id, name, created_by)
    SELECT :org, zones.ids[1 + (n - 1) % :zones], rides.ids[1 + n % 400], 'Morning round ' || n, 'bench'
      FROM generate_series(1, :many) n,
           (SELECT array_agg(id ORDER BY name, id) AS ids FROM sites WHERE org_id = :org) zones,
           (SELECT array_agg(id ORDER BY id) AS ids FROM assets WHERE org_id = :org) rides
""")
#: Numbers of an order come from a hash of its own number, so that two runs make the same. Technician n works in zone
#: n % zones; of a hundred, `open_in_hundred` are open, those made last.
_ORDERS = text("""
    WITH staff AS (SELECT CAST(:technicians AS uuid[]) AS ids), zones AS (
        SELECT array_agg(id ORDER BY name, id) AS ids FROM sites WHERE org_id = :org
    ), rides AS (SELECT array_agg(id ORDER BY id) AS ids FROM assets WHERE org_id = :org
    ), lists AS (SELECT array_agg(id ORDER BY id) AS ids FROM checklists WHERE org_id = :org
    ), drawn AS (
        SELECT n, (hashint8(n) & 2147483647) / 2147483648.0 AS a, (hashint8(n + 7) & 2147483647) / 2147483648.0 AS b,
               1 + n % cardinality(staff.ids) AS who,
               n > CAST(:many AS bigint) - CAST(:open AS bigint) AS is_open
          FROM generate_series(1, CAST(:many AS bigint)) n, staff
    ), told AS (
        SELECT d.*, CASE WHEN NOT is_open THEN CASE WHEN a < 0.03 THEN 'cancelled' ELSE 'done' END
                         WHEN a < 0.1 THEN 'created' WHEN a < 0.75 THEN 'assigned' WHEN a < 0.85 THEN 'in_progress'
                         WHEN a < 0.93 THEN 'returned' ELSE 'outsourced' END AS state,
               CASE WHEN is_open THEN now() - interval '3 days' * a
                    ELSE now() - interval '2 years' * (1 - n / CAST(:many AS float8)) END AS born_at
          FROM drawn d
    ), made AS (
        INSERT INTO work_orders (org_id, policy, title, priority, state, checklist_id, site_id, asset_id,
                                 assigned_to_id, assigned_by_id, assigned_at, attempt, created_by_id, instructions,
                                 return_reason, outsourced_to, started_at, closed_at, due_at, created_at, version)
        SELECT :org, 'field', CASE WHEN n % 9001 = 5 THEN CAST(:rare AS text) ELSE 'The brake squeals' END || ' ' || n,
               (ARRAY['low', 'normal', 'normal', 'high', 'urgent'])[1 + floor(5 * b)], state,
               lists.ids[1 + (n / 4) % cardinality(lists.ids)], zones.ids[1 + (who - 1) % :zones],
               rides.ids[1 + n % 400],
               CASE WHEN state NOT IN ('created', 'outsourced') THEN staff.ids[who] END,
               CAST(:lead AS uuid), born_at, CASE WHEN state = 'created' THEN 0 ELSE 1 END, CAST(:lead AS uuid),
               'Lock it out first', CASE WHEN state = 'returned' THEN 'parts are missing' END,
               CASE WHEN state = 'outsourced' OR n % 50 = 0 THEN 'Brakes Ltd' END,
               CASE WHEN state IN ('in_progress', 'done') THEN born_at END,
               CASE WHEN state IN ('done', 'cancelled') THEN born_at + interval '1 day' * b END,
               born_at + interval '1 day' * (0.2 + 4 * b), born_at, 2
          FROM told, staff, zones, rides, lists
        RETURNING id, checklist_id, number
    )
    INSERT INTO findings (order_id, org_id, checklist_id, item_id, item_text, item_note)
    SELECT id, :org, checklist_id, 'A' || number % 40, 'Brake pads are worn ' || number, 'left side' FROM made
""")
_STEPS = text("""
    INSERT INTO work_order_events (org_id, order_id, policy, command, attempt, from_state, to_state, actor_id,
                                   actor_role, at, audit_number)
    SELECT w.org_id, w.id, 'field', s.command, 1, s.before, s.after, CAST(w.created_by_id AS text),
           'maintenance_lead', w.created_at, :number
      FROM work_orders w,
           (VALUES ('work_order.create', NULL, 'created'), ('work_order.assign', 'created', 'assigned'),
                   ('work_order.start', 'assigned', 'in_progress'), ('work_order.done', 'in_progress', 'done'))
           AS s(command, before, after)
     WHERE w.org_id = :org AND (w.state = 'done' OR s.after IN ('created', 'assigned'))
""")
_PHOTOS = text("""
    INSERT INTO order_photos (org_id, order_id, kind, attempt, source_sha256, sha256, thumbnail_sha256, content_type,
                              size, width, height, uploaded_by)
    SELECT :org, w.id, 'ISSUE', 0, sha256(CAST(w.id AS text)::bytea), sha256(CAST(w.id AS text)::bytea),
           sha256(CAST(w.id AS text)::bytea), 'image/jpeg', 100000, 1600, 1200, 'bench'
      FROM work_orders w WHERE w.org_id = :org
""")
_TOLD = text("""
    INSERT INTO notifications (org_id, person_id, kind, order_id, title, body, reference, read_at)
    SELECT :org, w.assigned_to_id, 'WO_ASSIGNED', w.id, 'New work order', w.title, 'told:' || w.id,
           w.closed_at
      FROM work_orders w WHERE w.org_id = :org AND w.assigned_to_id IS NOT NULL
""")


@dataclass(frozen=True, slots=True)
class Made:
    """The organization, its people by role, and its zones."""

    org_id: UUID
    technicians: Sequence[UUID]
    lead: UUID
    store: UUID
    zones: Sequence[UUID]


def make(connection: Connection, *, technicians: int, orders: int, open_orders: int) -> Made:
    """Make an organization with so many technicians and orders, the last of which are open."""
    org_id: UUID = connection.execute(_ORGANIZATION).scalar_one()
    values = {"org": org_id, "zones": ZONES}
    connection.execute(_PLACES, values)
    connection.execute(_RIDES, values)
    staff = {
        role: _staff(connection, org_id, role, many)
        for role, many in (("technician", technicians), ("maintenance_lead", 1), ("store_manager", 1))
    }
    connection.execute(_CHECKLISTS, {**values, "many": max(1, orders // 4)})
    (lead,) = staff["maintenance_lead"]
    wanted = {"many": orders, "open": open_orders, "lead": lead, "rare": RARE, "technicians": staff["technician"]}
    connection.execute(_ORDERS, {**values, **wanted})
    number = auditing.append(connection, Entry(org_id, "bench.make", "bench"))
    connection.execute(_STEPS, {"org": org_id, "number": number})
    connection.execute(_PHOTOS, {"org": org_id})
    connection.execute(_TOLD, {"org": org_id})
    zones = connection.execute(text("SELECT id FROM sites WHERE org_id = :org ORDER BY name, id"), values).scalars()
    return Made(org_id, staff["technician"], lead, staff["store_manager"][0], list(zones))


def give_days(connection: Connection, made: Made, each: int) -> None:
    """Let each technician have nothing open but `each` orders that are assigned and due today or tomorrow."""
    connection.execute(
        text("""
            WITH ranked AS (
                SELECT id, row_number() OVER (PARTITION BY assigned_to_id ORDER BY id) AS place FROM work_orders
                 WHERE org_id = :org AND assigned_to_id IS NOT NULL AND state NOT IN ('done', 'cancelled')
            )
            UPDATE work_orders w
               SET state = CASE WHEN r.place <= :each THEN 'assigned' ELSE 'done' END, return_reason = NULL,
                   started_at = NULL, closed_at = CASE WHEN r.place > :each THEN now() END,
                   due_at = now() + interval '30 minutes' * r.place
              FROM ranked r WHERE r.id = w.id
        """),
        {"org": made.org_id, "each": each},
    )


def _staff(connection: Connection, org_id: UUID, role: str, many: int) -> list[UUID]:
    found = list(connection.execute(_PEOPLE, {"role": role, "many": many}).scalars())
    connection.execute(_JOIN, {"org": org_id, "people": found, "role": role, "zones": ZONES})
    return found
