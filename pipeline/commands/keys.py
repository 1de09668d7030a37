"""Sealed credentials: which key each mailbox's are sealed with, and sealing them anew, row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, text

from pipeline.runtime.db import Database
from pipeline.runtime.errors import KeyUnknown, NeedsAuthorization
from pipeline.runtime.secrets import Secrets, named_key

_SEALED = text("SELECT address, credentials FROM mailboxes WHERE credentials IS NOT NULL ORDER BY address")
_READ = text("SELECT credentials FROM mailboxes WHERE address = :address")
_SEAL = text("UPDATE mailboxes SET credentials = :new WHERE address = :address AND credentials = :old")


class Standing(StrEnum):
    """How sealed credentials stand to the current key."""

    CURRENT = "current"
    OUTDATED = "outdated"  #: an earlier key, or the form of 0.1.0
    UNKNOWN_KEY = "unknown_key"  #: sealed with a key that is not known here
    UNREADABLE = "unreadable"  #: damaged, moved from another mailbox, or the form of 0.1.0 with an unknown key


@dataclass(frozen=True, slots=True)
class Sealing:
    """One mailbox's credentials: how they stand, and the id of the key they are sealed with, None when unknown."""

    address: str
    standing: Standing
    key_id: str | None


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a rotation did: mailboxes sealed anew, those that were current already, those that no key opens."""

    sealed: Sequence[str]
    current: Sequence[str]
    unreadable: Sequence[str]


def sealings(connection: Connection, secrets: Secrets, purpose: str) -> list[Sealing]:
    """Return how each mailbox's credentials are sealed, by address."""
    return [judged(secrets, purpose, row.address, row.credentials) for row in connection.execute(_SEALED)]


def rotate(db: Database, secrets: Secrets, purpose: str) -> Rotation:
    """Seal every mailbox's credentials with the current key.

    Each mailbox is a transaction of its own that replaces only what it read: a kill at any moment leaves every mailbox
    with credentials that open, and to repeat does the rest.
    """
    with db.begin() as connection:
        addresses = [row.address for row in connection.execute(_SEALED)]
    done: dict[Standing, list[str]] = {standing: [] for standing in Standing}
    for address in addresses:
        with db.begin() as connection:
            done[_reseal(connection, secrets, purpose, address)].append(address)
    unreadable = sorted(done[Standing.UNKNOWN_KEY] + done[Standing.UNREADABLE])
    return Rotation(done[Standing.OUTDATED], done[Standing.CURRENT], unreadable)


def _reseal(connection: Connection, secrets: Secrets, purpose: str, address: str) -> Standing:
    """Seal one mailbox's credentials anew if they need it, and return how they stood."""
    while True:
        old = connection.execute(_READ, {"address": address}).scalar_one_or_none()
        if old is None:
            return Standing.CURRENT
        found = judged(secrets, purpose, address, old)
        if found.standing is not Standing.OUTDATED:
            return found.standing
        new = secrets.seal(purpose, address, secrets.unseal(purpose, address, old))
        if connection.execute(_SEAL, {"new": new, "address": address, "old": old}).rowcount:
            return found.standing
        # It was connected anew meanwhile: what stands there now is looked at instead.


def judged(secrets: Secrets, purpose: str, address: str, sealed: bytes) -> Sealing:
    """Return how sealed text stands; `address` is what it is bound to."""
    try:
        opened = secrets.opened(purpose, address, sealed)
    except KeyUnknown:
        return Sealing(address, Standing.UNKNOWN_KEY, named_key(sealed))
    except NeedsAuthorization:
        return Sealing(address, Standing.UNREADABLE, named_key(sealed))
    return Sealing(address, Standing.OUTDATED if opened.is_outdated else Standing.CURRENT, opened.key_id)
