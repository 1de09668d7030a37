"""The printed page of an invoice: made once, kept in the blob store, and the same ever after."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from uuid import UUID

from sqlalchemy import Connection

from models.enums import BlobKind
from models.queries.invoices import Invoice
from pipeline.adapters.invoice_pdf import render
from pipeline.ports import BlobStore
from pipeline.runtime import billing_rows
from pipeline.runtime.blob_rows import note_blobs
from pipeline.runtime.errors import Gone

Begin = Callable[[], AbstractContextManager[Connection]]


def page_of(invoice: Invoice, org_id: UUID, blobs: BlobStore, begin: Begin) -> bytes:
    """Return the page of an invoice; nobody asked before: it is printed and kept. No transaction is open meanwhile.

    A page that the store has lost is printed anew: the same invoice has the same page. Raises `Gone` when it has not
    any more, and what the store raises.
    """
    kept = invoice.pdf_sha256
    if kept is not None and (found := blobs.get(BlobKind.DOCUMENT, [kept]).get(kept)) is not None:
        return found
    content = render(invoice)
    name = hashlib.sha256(content).hexdigest()
    if kept is not None and kept != name:
        raise Gone("the blob store has lost this page, and this version would print another one")
    sizes = blobs.put(BlobKind.DOCUMENT, {name: content})
    with begin() as connection:
        row = (org_id, bytes.fromhex(name), len(content), sizes[name])
        note_blobs(connection, BlobKind.DOCUMENT, [row])
        billing_rows.note_pdf(connection, invoice.id, bytes.fromhex(name))
    return content
