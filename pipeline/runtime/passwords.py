"""Hashing passwords with Argon2id: slow on purpose, the same work for people who do not exist, and never unbounded."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import ARGON2_VERSION

from pipeline.core.passwords import prepared


@dataclass(frozen=True, slots=True)
class Cost:
    """What one hash takes; RFC 9106, section 4, second recommended option, with one lane for machines of two cores."""

    memory_kib: int = 65_536
    passes: int = 3
    lanes: int = 1


class Passwords:
    """Hashes and checks passwords; safe for threads."""

    def __init__(self, cost: Cost = Cost()) -> None:
        self._hasher = PasswordHasher(time_cost=cost.passes, memory_cost=cost.memory_kib, parallelism=cost.lanes)
        #: Of no password at all: what is typed for nobody is checked against it, at the same cost.
        self._nobody = _of_nothing(cost)

    def hashed(self, password: str) -> str:
        """Return what is stored of a password."""
        return self._hasher.hash(prepared(password))

    def is_right(self, stored: str | None, password: str) -> bool:
        """Say whether a password is the stored one; takes as long when nothing is stored, and is False then."""
        try:
            self._hasher.verify(stored or self._nobody, prepared(password))
        except (VerificationError, InvalidHashError):
            return False
        return stored is not None

    def renewed(self, stored: str, password: str) -> str | None:
        """Return a new hash of a right password when the stored one was made at another cost; None when it is good."""
        return self.hashed(password) if self._hasher.check_needs_rehash(stored) else None


def _of_nothing(cost: Cost) -> str:
    """Return a hash in the form that is stored, of random bytes: making a true one would cost each process 0.15 s."""
    salt, digest = (base64.b64encode(os.urandom(size)).decode().rstrip("=") for size in (16, 32))
    return f"$argon2id$v={ARGON2_VERSION}$m={cost.memory_kib},t={cost.passes},p={cost.lanes}${salt}${digest}"
