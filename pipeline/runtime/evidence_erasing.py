"""Forgetting the files of field work with its ticket: what was photographed, when and where; hashes and sizes stay."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from sqlalchemy import text

#: In the metadata of a piece that needs its bytes no more.
ERASED = "_erased"

#: What another ticket's evidence needs stays, and what a photo shows; those of its own orders are erased before.
_FILES = text(f"""
    UPDATE blobs b SET erased_at = now()
      FROM (SELECT DISTINCT e.org_id, h.sha256 FROM evidence_items e
             CROSS JOIN LATERAL unnest(ARRAY[e.sha256, e.thumbnail_sha256]) AS h(sha256)
             WHERE e.ticket_id = ANY(CAST(:tickets AS uuid[])) AND h.sha256 IS NOT NULL) AS gone
     WHERE b.org_id = gone.org_id AND b.kind = 'evidence' AND b.sha256 = gone.sha256 AND b.erased_at IS NULL
       AND NOT EXISTS (SELECT FROM evidence_items o
                        WHERE o.org_id = b.org_id AND (o.sha256 = b.sha256 OR o.thumbnail_sha256 = b.sha256)
                          AND o.ticket_id <> ALL(CAST(:tickets AS uuid[])) AND NOT o.metadata ? '{ERASED}')
       AND NOT EXISTS (SELECT FROM order_photos p
                        WHERE p.org_id = b.org_id AND (p.sha256 = b.sha256 OR p.thumbnail_sha256 = b.sha256)
                          AND p.removed_at IS NULL)
""")  # noqa: S608 - a constant
_FACTS = text(f"""
    UPDATE evidence_items SET metadata = '{{"{ERASED}": true}}'
     WHERE ticket_id = ANY(CAST(:tickets AS uuid[])) AND NOT metadata ? '{ERASED}'
""")  # noqa: S608 - a constant
#: By what is counted: the statement that takes it away from `tickets`, in this order.
STEPS: Mapping[str, Any] = MappingProxyType({"evidence_files": _FILES, "evidence_facts": _FACTS})
