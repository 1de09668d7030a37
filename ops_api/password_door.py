"""The way in by password and token family (contract 004): slow on purpose, in few threads, and never a queue forever.

Every answer is given after its transaction has committed, for a refusal may change something, too: it counts a wrong
password, or ends a family.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

import anyio

from ops_api.answers import Refusal
from ops_api.waiting_room import in_turn
from pipeline.adapters.clock import SystemClock
from pipeline.commands.people_admin import Post
from pipeline.core import passwords as rules
from pipeline.runtime import resetting
from pipeline.runtime.access_tokens import AccessTokens
from pipeline.runtime.db import Database
from pipeline.runtime.logs import get_logger
from pipeline.runtime.password_logins import Locked, PasswordLogins, Wrong
from pipeline.runtime.passwords import Passwords
from pipeline.runtime.refreshing import REUSED, Families, Issued, Refused
from pipeline.runtime.secrets import Secrets
from pipeline.runtime.settings import Settings

#: Passwords that are looked at at once; each has a connection of its own, beside those of other requests.
WORKERS = 2
#: Those who show a token, at once: they wait for no hash, so that who guesses at passwords signs nobody out.
QUICK = 2
#: A wish for a new password is answered no sooner, whatever was done for it: the time tells nothing.
ASK_TAKES = timedelta(milliseconds=300)


class PasswordDoor:
    """Signs people in by password, and keeps them signed in."""

    def __init__(self, settings: Settings, secrets: Secrets, db: Database, passwords: Passwords | None = None) -> None:
        """Prepare; nothing connects yet."""
        self._settings, self._secrets, self._db = settings, secrets, db
        self._passwords = passwords or Passwords()
        self._families = Families(secrets, AccessTokens(secrets, SystemClock()))
        self._logins = PasswordLogins(db, self._passwords, self._families, secrets)
        #: How people who are invited are told.
        self.post = Post(secrets, settings.public_url)
        self._slow, self._quick = anyio.CapacityLimiter(WORKERS), anyio.CapacityLimiter(QUICK)

    async def login(
        self, identifier: str, password: str, org_id: UUID | None, origin: Mapping[str, str | None]
    ) -> Issued:
        """Sign somebody in. Raises `Refusal`: 401 in the same words for whatever is wrong, 423 locked."""
        found = await in_turn(self._slow, lambda: self._logins.attempt(identifier, password, org_id, origin))
        if isinstance(found, Issued):
            return found
        if isinstance(found, Locked):
            wait = {"Retry-After": str(found.seconds)}
            raise Refusal(423, "too many wrong passwords; try again later", code="locked", headers=wait)
        _note(found)
        raise Refusal(401, "the identifier or the password is wrong", code="bad_credentials")

    async def refresh(self, token: str) -> Issued:
        """Rotate a refresh token. Raises `Refusal` (401); one that was used before ends its family."""
        found = await in_turn(self._quick, lambda: self._rotate(token))
        if isinstance(found, Refused):
            if found.ended == REUSED:
                get_logger().warning("refresh.reused", person=str(found.person_id), organization=str(found.org_id))
            raise Refusal(401, "the refresh token is unknown, used or over; sign in again", code="token_invalid")
        return found

    async def end(self, token: str) -> None:
        """End the family of a refresh token; one that opens nothing is no trouble."""

        def end() -> None:
            with self._db.begin() as connection:
                self._families.end(connection, token)

        await in_turn(self._quick, end)

    async def forget(self, identifier: str) -> None:
        """Tell somebody how to set a new password, if there is somebody; the answer and its time do not say so."""

        def ask() -> None:
            with self._db.begin() as connection:
                resetting.ask(connection, self._secrets, identifier, self._settings.public_url)

        await asyncio.gather(in_turn(self._quick, ask), asyncio.sleep(ASK_TAKES.total_seconds()))

    async def reset(self, token: str, password: str) -> None:
        """Set a new password. Raises `Refusal`: 401 for a token that sets none, 422 for a password that is too weak."""
        await in_turn(self._slow, lambda: self._reset(token, password))

    def _rotate(self, token: str) -> Issued | Refused:
        with self._db.begin() as connection:
            return self._families.refresh(connection, token)

    def _reset(self, token: str, password: str) -> None:
        with self._db.begin() as connection:
            owner = resetting.owner(connection, token)
        if owner is None:
            raise _bad_reset_token()
        weakness = rules.problem(password, owner.belonging)
        if weakness is not None:
            raise Refusal(422, weakness, code="weak_password", fields={"body.newPassword": weakness})
        hashed = self._passwords.hashed(password)
        with self._db.begin() as connection:
            if resetting.use(connection, token, hashed) is None:
                raise _bad_reset_token()


def _note(found: Wrong) -> None:
    if found.has_locked:
        get_logger().warning("login.locked", person=str(found.person_id) if found.person_id else None)


def _bad_reset_token() -> Refusal:
    return Refusal(401, "the token is unknown, used or over; ask for a new one", code="token_invalid")
