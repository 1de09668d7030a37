"""Changes of who may what, over HTTP: who gives, and how a refusal of theirs is answered."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ops_api.answers import ErrorAnswer, Refusal
from pipeline.commands.granting import Conflict, Grantor, NotGranted, Unknown
from pipeline.core.principals import Principal

#: Documents what `in_words` may answer.
RESPONSES: dict[int | str, dict[str, object]] = {
    404: {"model": ErrorAnswer, "description": "Your organization has nothing of this id."},
    409: {"model": ErrorAnswer, "description": "It cannot be done as things stand; the detail says why."},
}


def grantor_of(principal: Principal) -> Grantor:
    """Return who gives, with what they hold."""
    return Grantor(principal.permissions, principal.person_id)


@contextmanager
def in_words() -> Iterator[None]:
    """Answer 403 to who does not hold what they give, 404 to what is not there, 409 to what cannot be done now."""
    try:
        yield
    except NotGranted as error:
        raise Refusal(403, str(error)) from error
    except Unknown as error:
        raise Refusal(404, str(error)) from error
    except Conflict as error:
        raise Refusal(409, str(error)) from error
