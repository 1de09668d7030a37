"""Erase: forgets the mail of an address, or what ended long ago, a page of the archive at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import Connection

from models.enums import ErasureKind
from pipeline.runtime import erasing, erasures
from pipeline.runtime.blob_rows import SOON
from pipeline.runtime.erasures import Erasure
from pipeline.runtime.jobs import Emit, Job
from pipeline.stage import Stage, Work, each


def load(connection: Connection, jobs: Sequence[Job]) -> Mapping[int, Erasure]:
    """Lock what is still to be forgotten."""
    found = {job.job_id: erasures.running(connection, int(job.key)) for job in jobs}
    return {job_id: one for job_id, one in found.items() if one is not None}


def save(connection: Connection, works: Sequence[Work[Erasure, Erasure]]) -> Sequence[Emit]:
    """Erase one page of each, and go on until the archive is through."""
    return [emit for done in works for emit in _save(connection, done)]


def _save(connection: Connection, done: Work[Erasure, Erasure]) -> Sequence[Emit]:
    one = done.result
    forget = replace(done.job.then("forget", str(one.org_id)), mailbox_id=None, delay=SOON)
    if one.kind is ErasureKind.ADDRESS:
        assert one.address is not None
        page = erasing.page_of_address(connection, one.org_id, one.address, one.position)
        counts = _address(connection, one, one.address, page)
    else:
        page = erasing.page_of_age(connection, one.org_id, one.before_at, one.position)
        counts = erasing.erase_messages(connection, one.org_id, page.message_ids)
    if page.last is None:
        erasures.finish(connection, one, counts)
        return [forget]
    erasures.move(connection, one, page.last, counts)
    again = done.job.then("erase", done.job.key)
    return [again, forget] if page.message_ids else [again]


def _address(connection: Connection, one: Erasure, address: str, page: erasing.Page) -> Counter[str]:
    if page.last is None:
        return erasing.erase_requests(connection, one.org_id, address)
    counts = erasing.erase_messages(connection, one.org_id, page.message_ids)
    return counts + erasing.erase_mentions(connection, one.org_id, address, one.position, page.last)


STAGE = Stage(
    name="erase",
    about="Forgets the mail of an address, or what ended long ago.",
    load=load,
    work=each(lambda one: one),
    save=save,
    emits=("erase", "forget"),
    batch=1,
    lease=timedelta(minutes=2),
)
