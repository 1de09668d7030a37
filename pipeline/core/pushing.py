"""The values of pushing to a device: what it is told, how that ended, and what follows for all devices of a person."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from uuid import UUID

from models.enums import NotificationKind

#: A push is of use for so long; who was out of reach reads it in the list.
OF_USE = timedelta(hours=24)
#: FCM takes 4096 bytes in all (its reference, INVALID_ARGUMENT); three bytes a character leave room for the rest.
_LONGEST_TITLE, _LONGEST_BODY = 100, 700
#: Where the provider names no time; Firebase asks for a minute at least after a 429.
PATIENCE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Push:
    """What a device shows; nothing else of the order or of anybody leaves."""

    #: The same at every try: the device shows what has the same id once.
    notification_id: UUID
    kind: NotificationKind
    order_id: UUID
    title: str = field(repr=False)
    body: str = field(repr=False)

    @classmethod
    def of(cls, notification_id: UUID, kind: NotificationKind, order_id: UUID, title: str, body: str) -> Push:
        """Return a push whose words are short enough to be taken."""
        return cls(notification_id, kind, order_id, _cut(title, _LONGEST_TITLE), _cut(body, _LONGEST_BODY))


@dataclass(frozen=True, slots=True)
class Device:
    """A device of a person; `sealed` opens for whoever pushes, by the digest that it is bound to."""

    device_id: UUID
    token_sha256: bytes = field(repr=False)
    sealed: bytes = field(repr=False)


class How(StrEnum):
    """How a push to one device ended."""

    ACCEPTED = "accepted"
    GONE = "gone"  #: the token is good for nothing any more: the app was removed, or the token never was one
    LATER = "later"  #: the provider asks for patience
    REFUSED = "refused"  #: it will not be taken until a person acts: credentials, project, permission
    DOUBTFUL = "doubtful"  #: no answer, or one that says nothing: it may have been taken


@dataclass(frozen=True, slots=True)
class Pushed:
    """What became of a push; `said` has the provider's status and code, never a token."""

    how: How
    said: str = ""
    #: For `LATER`.
    delay: timedelta = PATIENCE


@dataclass(frozen=True, slots=True)
class Reached:
    """What became of a notification on the devices of its person."""

    accepted: int
    gone: tuple[UUID, ...] = ()
    #: Devices that are tried again each by itself, so that those that had it do not ring twice.
    left: Mapping[UUID, timedelta] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class NotYet:
    """No device had it, and one may: all are tried again."""

    said: str
    #: None where nobody named a time: it counts as a failure.
    delay: timedelta | None


def judged(found: Mapping[UUID, Pushed], *, again: timedelta = PATIENCE) -> Reached | NotYet:
    """Return what follows from the answers of all devices; one that gave no clear answer is tried after `again`."""
    gone = tuple(device_id for device_id, one in found.items() if one.how is How.GONE)
    accepted = sum(one.how is How.ACCEPTED for one in found.values())
    open_ = {device_id: one for device_id, one in found.items() if one.how not in {How.ACCEPTED, How.GONE}}
    if not open_:
        return Reached(accepted, gone)
    if accepted:
        return Reached(accepted, gone, {one: _wait(said, again) for one, said in open_.items()})
    told = list(open_.values())
    later = [one.delay for one in told if one.how is How.LATER]
    return NotYet(told[0].said, max(later) if len(later) == len(told) else None)


def _wait(one: Pushed, again: timedelta) -> timedelta:
    return one.delay if one.how is How.LATER else again


def _cut(said: str, most: int) -> str:
    return said if len(said) <= most else said[: most - 1] + "…"
