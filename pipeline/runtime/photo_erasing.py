"""Forgetting the photos of a ticket's work orders with it: the pictures, where, when and with what they were taken."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from sqlalchemy import text

#: Stands for who took a photo away when its ticket was erased.
ERASED = "(erased)"

_ORDERS = "SELECT w.id FROM work_orders w WHERE w.ticket_id = ANY(CAST(:tickets AS uuid[]))"
#: What another order's photo or a ticket's evidence needs stays.
_FILES = text(f"""
    UPDATE blobs b SET erased_at = now()
      FROM (SELECT DISTINCT p.org_id, h.sha256 FROM order_photos p
             CROSS JOIN LATERAL unnest(ARRAY[p.sha256, p.thumbnail_sha256]) AS h(sha256)
             WHERE p.order_id IN ({_ORDERS})) AS gone
     WHERE b.org_id = gone.org_id AND b.kind = 'evidence' AND b.sha256 = gone.sha256 AND b.erased_at IS NULL
       AND NOT EXISTS (SELECT FROM order_photos o
                        WHERE o.org_id = b.org_id AND (o.sha256 = b.sha256 OR o.thumbnail_sha256 = b.sha256)
                          AND o.removed_at IS NULL AND o.order_id NOT IN ({_ORDERS}))
       AND NOT EXISTS (SELECT FROM evidence_items e
                        WHERE e.org_id = b.org_id AND (e.sha256 = b.sha256 OR e.thumbnail_sha256 = b.sha256)
                          AND NOT e.metadata ? '_erased')
""")  # noqa: S608 - a constant
_FACTS = text(f"""
    UPDATE order_photos SET taken_at = NULL, lat = NULL, lon = NULL, device = NULL,
                            removed_at = coalesce(removed_at, now()), removed_by = coalesce(removed_by, '{ERASED}')
     WHERE order_id IN ({_ORDERS})
       AND (removed_at IS NULL OR num_nonnulls(taken_at, lat, device) > 0)
""")  # noqa: S608 - constants
_UNDER_WAY = text(f"DELETE FROM resumable_uploads WHERE order_id IN ({_ORDERS})")  # noqa: S608 - a constant
#: The request that comes again has no second effect, and learns no more than that.
_ANSWERS = text(f"""
    UPDATE idempotency_keys SET answer = jsonb_set(answer, '{{body}}', '{{}}')
     WHERE org_id IN (SELECT org_id FROM tickets WHERE id = ANY(CAST(:tickets AS uuid[])))
       AND answer #>> '{{body,workOrderId}}' IN (SELECT CAST(o.id AS text) FROM ({_ORDERS}) AS o(id))
""")  # noqa: S608 - a constant
#: By what is counted: the statement that takes it away from `tickets`, in this order, before their evidence.
STEPS: Mapping[str, Any] = MappingProxyType(
    {"photo_files": _FILES, "photo_facts": _FACTS, "photo_uploads": _UNDER_WAY, "photo_answers": _ANSWERS}
)
#: What photos tell of a former colleague: where they were, when, and with what. The work that they show is ours.
OF_PEOPLE = text("""
    UPDATE order_photos SET taken_at = NULL, lat = NULL, lon = NULL, device = NULL
     WHERE uploaded_by_id = ANY(CAST(:people AS uuid[])) AND num_nonnulls(taken_at, lat, device) > 0
""")
#: What of theirs never became one: its bytes have the same in them.
UPLOADS_OF_PEOPLE = text("DELETE FROM resumable_uploads WHERE owner = ANY(CAST(CAST(:people AS uuid[]) AS text[]))")
