"""Push: tells every device of a person what they are notified of, through the installation's push service.

The key is a notification, or a notification and the one device that is left. A device may get it twice when an answer
is lost, under the same id, and shows it once; never after it is of no use. Devices that are gone are dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Connection, Row, text

from models.enums import NotificationKind
from pipeline.core import pushing
from pipeline.core.pushing import OF_USE, Device, NotYet, Push, Reached
from pipeline.ports import Ports, Pusher
from pipeline.runtime import device_rows
from pipeline.runtime.errors import Transient
from pipeline.runtime.jobs import Emit, Job
from pipeline.stage import Again, Stage, Work, caught

#: Between the notification and the device, in the key of what is left.
_MARK = ":"
_BACKOFF = timedelta(seconds=10)

#: A person's devices in the organization of the notification, whose sessions go on.
_LOAD = text("""
    SELECT k.key, n.id, n.kind, n.order_id, n.title, n.body, d.id AS device_id, d.token_sha256, d.token_sealed,
           n.read_at IS NULL AND n.created_at > now() - CAST(:of_use AS interval) AS is_of_use
      FROM unnest(CAST(:keys AS text[]), CAST(:ids AS uuid[]), CAST(:devices AS uuid[])) AS k(key, id, device_id)
      JOIN notifications n ON n.id = k.id AND (n.pushed_at IS NULL OR k.device_id IS NOT NULL)
      LEFT JOIN (devices d LEFT JOIN sessions s ON s.id = d.session_id)
        ON d.person_id = n.person_id AND d.org_id = n.org_id AND d.dropped_at IS NULL
       AND (d.session_id IS NULL OR (s.ended_at IS NULL AND s.expires_at > now()))
       AND (k.device_id IS NULL OR d.id = k.device_id)
     ORDER BY k.key, d.id
""")
#: In the order of their ids, as whoever reads all of theirs locks them, too.
_PUSHED = text("""
    WITH told AS MATERIALIZED (
        SELECT id FROM notifications WHERE id = ANY(CAST(:ids AS uuid[])) AND pushed_at IS NULL
         ORDER BY id FOR NO KEY UPDATE
    )
    UPDATE notifications n SET pushed_at = now() FROM told WHERE n.id = told.id
""")


@dataclass(frozen=True, slots=True)
class Telling:
    """A notification that was not pushed yet, the devices that are to have it, and whether it is still of use."""

    push: Push
    devices: tuple[Device, ...]
    is_of_use: bool


def load(connection: Connection, jobs: Sequence[Job]) -> Mapping[int, Telling]:
    """Return the notifications that are still to be pushed, with the devices they go to."""
    named = {job.key: _read(job.key) for job in jobs}
    values = {
        "keys": list(named),
        "ids": [notification_id for notification_id, _ in named.values()],
        "devices": [device_id for _, device_id in named.values()],
        "of_use": OF_USE,
    }
    found: dict[str, list[Row[tuple[object, ...]]]] = {}
    for row in connection.execute(_LOAD, values):
        found.setdefault(row.key, []).append(row)
    return {job.job_id: _telling(found[job.key]) for job in jobs if job.key in found}


def _read(key: str) -> tuple[UUID, UUID | None]:
    notification, _, device = key.partition(_MARK)
    return UUID(notification), UUID(device) if device else None


def _telling(rows: Sequence[Row[tuple[object, ...]]]) -> Telling:
    first = rows[0]
    push = Push.of(first.id, NotificationKind(first.kind), first.order_id, first.title, first.body)
    devices = (Device(one.device_id, one.token_sha256, one.token_sealed) for one in rows if one.device_id is not None)
    return Telling(push, tuple(devices), first.is_of_use)


def work(items: Sequence[Telling], ports: Ports) -> Sequence[Reached | Again | Exception]:
    """Push each to its devices; without a push service nobody is told, and the list has it."""
    tell = caught(_tell)
    return [tell(item, ports.pusher) for item in items]


def _tell(item: Telling, pusher: Pusher) -> Reached | Again:
    if not item.is_of_use or not pusher.is_ready:
        return Reached(0)
    found = {device.device_id: pusher.push(item.push, device) for device in item.devices}
    return _outcome(pushing.judged(found, again=_BACKOFF))


def _outcome(found: Reached | NotYet) -> Reached | Again:
    if isinstance(found, Reached):
        return found
    if found.delay is None:
        raise Transient(found.said)
    return Again(found.delay, found.said)


def save(connection: Connection, works: Sequence[Work[Telling, Reached]]) -> Sequence[Emit]:
    """Note what was pushed, drop the devices that are gone, and try those that are left each by itself."""
    device_rows.drop(connection, [one for done in works for one in done.result.gone], device_rows.UNREGISTERED)
    connection.execute(_PUSHED, {"ids": sorted({done.item.push.notification_id for done in works})})
    return [
        done.job.then("push", f"{done.item.push.notification_id}{_MARK}{device_id}").after(delay)
        for done in works
        for device_id, delay in done.result.left.items()
    ]


STAGE = Stage(
    name="push",
    about="Tells the devices of people what they are notified of.",
    load=load,
    work=work,
    save=save,
    emits=("push",),
    io=True,
    batch=20,
    backoff=_BACKOFF,
    lease=timedelta(seconds=60),
)
