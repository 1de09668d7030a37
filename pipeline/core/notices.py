"""What people are told of themselves by mail: a new password, an invitation; and how long it is of use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType

from models.enums import NoticeKind

#: The page of the console that takes a token; it stands behind the #, which no log and no referrer ever holds.
PAGE = "/reset-password"
RESET_VALID, INVITATION_VALID = timedelta(minutes=30), timedelta(days=7)
#: After this a notice is of no use, so it is not sent any more.
VALID: Mapping[NoticeKind, timedelta] = MappingProxyType(
    {NoticeKind.PASSWORD_RESET: RESET_VALID, NoticeKind.INVITATION: INVITATION_VALID}
)


@dataclass(frozen=True, slots=True)
class Words:
    """A notice in words."""

    subject: str
    body: str


def link(public_url: str | None, token: str) -> str | None:
    """Return the address that leads to a new password; None when nobody knows under which address we are reached."""
    return f"{public_url.rstrip('/')}{PAGE}#token={token}" if public_url else None


def reset_words(public_url: str | None, token: str) -> Words:
    """Say how to set a new password."""
    minutes = round(RESET_VALID.total_seconds() / 60)
    body = (
        "Somebody, perhaps you, asked for a new password for your account.\n\n"
        f"{_how(public_url, token)}\n\n"
        f"This works once, within {minutes} minutes. If it was not you, leave this mail alone: nothing has changed.\n"
    )
    return Words("Set a new password", body)


def invitation_words(public_url: str | None, organization: str, token: str | None) -> Words:
    """Say that somebody may work in an organization now, and how to begin; `token` is None for who has a password."""
    begin = f"Sign in at {public_url}." if public_url else "Sign in as you did before."
    if token is not None:
        begin = f"{_how(public_url, token)}\n\nThis works once, within {INVITATION_VALID.days} days."
    return Words(f"You were invited to {organization}", f"You may work in {organization} now.\n\n{begin}\n")


def _how(public_url: str | None, token: str) -> str:
    found = link(public_url, token)
    if found is not None:
        return f"Set your password here:\n{found}"
    return f"Set your password in the app, with this code:\n{token}"
