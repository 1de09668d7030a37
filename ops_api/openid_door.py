"""The way in through an identity provider: out to its login, and back with a code that is good once."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import anyio

from ops_api.answers import Refusal
from ops_api.waiting_room import in_turn
from pipeline.adapters.guarded_http import Guard
from pipeline.adapters.openid import CodeRefused, OpenIdProvider, ProviderAway, Secret
from pipeline.commands.openid_people import NobodyHere, recognise
from pipeline.core.local_paths import is_local
from pipeline.ports import Clock
from pipeline.runtime import auditing, logins, sessions
from pipeline.runtime.db import Database
from pipeline.runtime.errors import UserError
from pipeline.runtime.logins import Login
from pipeline.runtime.logs import get_logger
from pipeline.runtime.secrets import Secrets
from pipeline.runtime.sessions import Begun
from pipeline.runtime.settings import Settings

#: People who sign in at once. Each may wait some seconds for the provider, and holds no connection meanwhile.
SIGN_INS = 4
#: What a provider says when its person, or whoever administers it, says no (RFC 6749, 4.1.2.1; OpenID Core, 3.1.2.6).
_DENIED = frozenset({"access_denied", "login_required", "consent_required", "interaction_required"})
_AGAIN = "this login was begun elsewhere, took too long, or was used; begin again at /auth/oidc/start"


@dataclass(frozen=True, slots=True)
class Return:
    """What the browser brings back from the provider, and whose browser it is."""

    state: str | None
    code: str | None
    error: str | None
    browser: str
    #: The session that the browser still has; it ends where another begins.
    held: UUID | None


class OpenIdDoor:
    """Signs people in who sign in elsewhere."""

    def __init__(self, settings: Settings, secrets: Secrets, db: Database, clock: Clock) -> None:
        """Prepare; nothing is asked for yet."""
        self._settings, self._secrets, self._db = settings, secrets, db
        self._provider = OpenIdProvider(settings, Guard.of(settings), clock)
        self._limiter = anyio.CapacityLimiter(SIGN_INS)

    async def start(self, browser: str, return_to: str, redirect_uri: str) -> str:
        """Return where to sign in. Raises `Refusal`: 400 for a page that is not ours to go on to, 502."""
        if not is_local(return_to):
            raise Refusal(400, "return_to is a path here, such as /tickets")
        return await in_turn(self._limiter, lambda: self._start(logins.new(browser, return_to), redirect_uri))

    async def finish(self, back: Return, redirect_uri: str, request_id: str) -> tuple[Begun, str]:
        """Return the session that begins, and where it goes on. Raises `Refusal`: 400, 403 and 502."""
        return await in_turn(self._limiter, lambda: self._finish(back, redirect_uri, request_id))

    def close(self) -> None:
        """Let go of connections."""
        self._provider.close()

    def _start(self, login: Login, redirect_uri: str) -> str:
        try:
            url = self._provider.login_url(login.state, Secret(login.nonce, login.verifier), redirect_uri)
        except ProviderAway as error:
            raise _away(error) from None
        with self._db.begin() as connection:
            logins.begin(connection, self._secrets, login)
        return url

    def _finish(self, back: Return, redirect_uri: str, request_id: str) -> tuple[Begun, str]:
        login = self._taken(back)
        if back.error in _DENIED:
            raise Refusal(403, "the identity provider did not let you in", code="login_denied")
        if back.error or not back.code:
            raise _away(ProviderAway("the identity provider sent you back without a login"))
        try:
            found = self._provider.who(back.code, Secret(login.nonce, login.verifier), redirect_uri)
        except ProviderAway as error:
            raise _away(error) from None
        except CodeRefused:
            raise Refusal(400, _AGAIN, code="login_over") from None
        known = {"issuer": found.issuer, "subject": found.subject, "email": found.email, "name": found.name}
        return self._let_in(known, back.held, request_id), login.return_to

    def _taken(self, back: Return) -> Login:
        with self._db.begin() as connection:
            login = logins.take(connection, self._secrets, back.state or "", back.browser)
        if login is None:
            raise Refusal(400, _AGAIN, code="login_over")
        return login

    def _let_in(self, known: dict[str, str | None], held: UUID | None, request_id: str) -> Begun:
        settings = self._settings
        try:
            with self._db.begin() as connection:
                principal = recognise(
                    connection,
                    issuer=known["issuer"] or "",
                    subject=known["subject"] or "",
                    email=known["email"],
                    name=known["name"] or "",
                    organization=settings.oidc_organization,
                    default_role=settings.oidc_default_role,
                )
                assert principal.person_id is not None
                begun = sessions.begin(connection, principal.org_id, principal.person_id, instead_of=held)
                auditing.append(connection, auditing.by(principal, "session.begin", request_id=request_id))
        except NobodyHere as error:
            raise Refusal(403, str(error), code="nobody_here") from None
        except UserError as error:
            # The default role is no role of the organization.
            get_logger().error("oidc.misconfigured", error=str(error))
            raise Refusal(403, "you cannot be made a member here; ask an administrator", code="nobody_here") from None
        return begun


def _away(error: ProviderAway) -> Refusal:
    get_logger().warning("oidc.failed", error=str(error)[:200])
    return Refusal(502, f"{error}; try again, or tell an administrator", code="provider_failed")
