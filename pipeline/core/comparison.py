"""How requests to compare a mailbox with its provider are joined: one comparison at a time serves all who asked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from models.enums import ReconcileScope


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is compared: a scope, and how far back; None: everything.

    A full one reaches as far back as the mailbox was ever asked to be listed.
    """

    scope: ReconcileScope
    since: datetime | None

    @property
    def changes_something(self) -> bool:
        """Whether what is missing is fetched and what vanished is marked."""
        return self.scope is not ReconcileScope.AUDIT


def joined(running: Comparison, wanted: Comparison) -> Comparison:
    """Return the comparison that answers both."""
    since = None if running.since is None or wanted.since is None else min(running.since, wanted.since)
    scopes = {running.scope, wanted.scope}
    if len(scopes) == 1:
        return Comparison(running.scope, since)
    if since is None or scopes & {ReconcileScope.FULL, ReconcileScope.AUDIT}:
        return Comparison(ReconcileScope.FULL, since)
    return Comparison(ReconcileScope.RESYNC, since)


def reaches(running: Comparison, wanted: Comparison) -> bool:
    """Say whether a running comparison answers what is wanted; otherwise it must list anew, as the joined one."""
    return joined(running, wanted) == running
