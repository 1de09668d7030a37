"""Asking a provider while somebody waits for the answer: within the mailbox's budgets, and in no transaction."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial

from models.enums import Lane
from ops_api.answers import Refusal
from ops_api.wording import line_of
from pipeline.adapters.wiring import make_meters, open_source
from pipeline.ports import Label, MailboxRef, MailSource, Profile
from pipeline.runtime.db import Database
from pipeline.runtime.errors import FieldpostError, KeyUnknown, Throttled
from pipeline.runtime.secrets import Secrets
from pipeline.runtime.settings import Settings

#: Questions at once: each holds a thread for as long as its provider takes.
QUESTIONS = 4


class Providers:
    """Opens a mailbox for one question and closes it again. Asking moves no cursor and changes no mailbox."""

    def __init__(self, settings: Settings, secrets: Secrets, db: Database) -> None:
        self._settings, self._secrets = settings, secrets
        self._meters = make_meters(settings, db)

    def profile(self, mailbox: MailboxRef) -> Profile:
        """Return who the mailbox is at its provider. Raises from the tree in `pipeline.runtime.errors`."""
        with self._open(mailbox) as source:
            return source.profile()

    def labels(self, mailbox: MailboxRef) -> Sequence[Label]:
        """Return the provider's labels with its counts. Raises from the tree in `pipeline.runtime.errors`."""
        with self._open(mailbox) as source:
            return source.labels()

    def close(self) -> None:
        """Give back what the meters hold."""
        self._meters.close()

    @contextmanager
    def _open(self, mailbox: MailboxRef) -> Iterator[MailSource]:
        meter_for = partial(self._meters.meter, mailbox.mailbox_id, lane=Lane.LIVE)
        with closing(open_source(mailbox, self._settings, self._secrets, meter_for=meter_for)) as source:
            yield source


def refused(error: FieldpostError) -> Refusal:
    """Return what is answered when a provider does not answer: 503 when patience helps, else 502 with its words."""
    if isinstance(error, KeyUnknown):
        return Refusal(503, str(error), code="key_unknown")
    if isinstance(error, Throttled):
        seconds = max(1, math.ceil(error.retry_after.total_seconds()))
        detail = f"the provider asks for patience: {line_of(str(error))}"
        return Refusal(503, detail, code="provider_busy", headers={"Retry-After": str(seconds)})
    return Refusal(502, f"the provider does not answer as it should: {line_of(str(error))}", code="provider_failed")
