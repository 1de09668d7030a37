"""One organization on a served app: technicians, a lead, orders with checklists, and what the database says of them."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from PIL import Image
from sqlalchemy import text

from ops_api.limits import Limits
from tests.adapters.pictures import encoded
from tests.airplane.model import Order, Server
from tests.airplane.wire import Wire
from tests.commands.work_desk import WorkDesk
from tests.ops_api.serving import Person, serving, settings_for

_MANY = 10_000_000
_LIMITS = Limits(
    auth_per_minute=_MANY,
    read_per_minute=_MANY,
    write_per_minute=_MANY,
    search_per_minute=_MANY,
    download_per_minute=_MANY,
    stray_per_minute=_MANY,
)
_CHECKLIST = text("""
    INSERT INTO checklists (org_id, site_id, name, created_by) VALUES (:org, :site, 'Round', 'test') RETURNING id
""")
_ORDERS = """
    SELECT id, state, version, assigned_to_id, attempt, checklist_id FROM work_orders
     WHERE id = ANY(CAST(:ids AS uuid[]))
"""
_STEPS = """
    SELECT order_id, command, from_state, to_state, attempt FROM work_order_events
     WHERE order_id = ANY(CAST(:ids AS uuid[])) AND command NOT LIKE '%photo' ORDER BY id
"""
_PHOTOS = """
    SELECT order_id, attempt, encode(source_sha256, 'hex') FROM order_photos
     WHERE order_id = ANY(CAST(:ids AS uuid[])) AND kind = 'COMPLETION' AND removed_at IS NULL ORDER BY 1, 2, 3
"""
_TOLD = """
    SELECT order_id, person_id, kind, count(*) FROM notifications
     WHERE order_id = ANY(CAST(:ids AS uuid[])) GROUP BY 1, 2, 3
"""
_HELD = "SELECT id, state = 'held' FROM checklists WHERE id = ANY(CAST(:ids AS uuid[]))"
_AUDITED = """
    SELECT count(*) FROM work_order_events e
      LEFT JOIN audit_events a ON a.org_id = e.org_id AND a.number = e.audit_number
     WHERE e.order_id = ANY(CAST(:ids AS uuid[]))
       AND (a.outcome IS DISTINCT FROM 'done' OR a.target_id <> e.order_id::text OR a.action <> e.command)
"""


@dataclass
class Office:
    """Who works there, and the way to them."""

    desk: WorkDesk
    wire: Wire
    people: dict[str, Person]

    def person_id(self, name: str) -> str:
        return str(self.desk.person_id(name))

    def make(self, rng: random.Random) -> Server:
        """Make checklists with orders that nobody has yet; return the model of them."""
        orders: dict[str, Order] = {}
        held: dict[str, bool] = {}
        for _ in range(rng.randint(1, 2)):
            with self.desk.db.begin() as connection:
                values = {"org": self.desk.org_id, "site": self.desk.site_id}
                checklist = str(connection.execute(_CHECKLIST, values).scalar_one())
            held[checklist] = True
            for _ in range(rng.randint(1, 2)):
                order = self.desk.order(checklist_id=UUID(checklist))
                orders[str(order.order_id)] = Order(checklist)
        return Server(orders, held)

    def seen(self, model: Server) -> tuple[Any, ...]:
        """Return what the database says of the model's orders, as the model would."""
        ids = list(model.orders)
        rows = self.desk.rows
        steps, photos = rows(_STEPS, ids=ids), rows(_PHOTOS, ids=ids)
        told = rows(_TOLD, ids=ids)
        found: list[Any] = []
        for order_id, state, version, assignee, attempt, checklist in rows(_ORDERS, ids=ids):
            order = Order(str(checklist), state, version, None if assignee is None else str(assignee), attempt)
            order.steps = tuple(tuple(step[1:]) for step in steps if step[0] == order_id)
            assert len({photo for photo in photos if photo[0] == order_id}) == sum(
                photo[0] == order_id for photo in photos
            ), f"a photo of {order_id} is there twice"
            order.photos = frozenset((one[1], one[2]) for one in photos if one[0] == order_id)
            order.told = Counter({(str(one[1]), one[2]): one[3] for one in told if one[0] == order_id})
            found.append((str(order_id), order.seen()))
        held = tuple(sorted((str(one), is_held) for one, is_held in rows(_HELD, ids=list(model.held))))
        return tuple(sorted(found)), held

    def unaudited(self, model: Server) -> int:
        """Return how many steps have no row of the audit trail that tells the same."""
        return int(self.desk.rows(_AUDITED, ids=list(model.orders))[0][0])

    def left_parts(self) -> int:
        """Return how many parts of whole uploads wait although nobody will come for them."""
        statement = """
            SELECT count(*) FROM upload_parts p JOIN resumable_uploads u ON u.id = p.upload_id
             WHERE u.photo_id IS NOT NULL
        """
        # The phone gives up every upload that it does not end.
        assert self.desk.rows("SELECT count(*) FROM resumable_uploads WHERE photo_id IS NULL") == [(0,)]
        return int(self.desk.rows(statement)[0][0])


def picture(number: int) -> bytes:
    """Return a small picture that no other number has."""
    return encoded(Image.new("RGB", (8, 8), (number % 256, number // 256 % 256, 77)), "PNG")


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@contextmanager
def office(database_url: str, blob_url: str, **limits: Any) -> Iterator[Office]:
    """Serve one while the block runs; `limits` by the names of `Limits`."""
    with serving(settings_for(database_url, blob_url=blob_url), limits=replace(_LIMITS, **limits)) as api:
        desk = WorkDesk.of(api.db)
        names = ("tech", "other_tech", "lead")
        people = {name: api.signed_in(desk.org_id, desk.person_id(name)) for name in names}
        yield Office(desk, Wire(api), people)
