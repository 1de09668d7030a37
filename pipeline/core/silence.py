"""When a watched mailbox counts as silent: its mail is found by asking, and nobody announces it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

#: This long without an announcement after unannounced mail was found, and the watch is no longer believed.
PATIENCE = timedelta(minutes=15)
#: A reading takes a while: what was announced just before it counts as announced.
SLACK = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Heard:
    """An active watch as it stands: when it was last announced on, and since when mail was found that nobody named."""

    renewed_at: datetime | None
    pushed_at: datetime | None
    unannounced_since: datetime | None


@dataclass(frozen=True, slots=True)
class Judgement:
    """What follows for the watch."""

    unannounced_since: datetime | None
    is_silent: bool


def judge(heard: Heard, *, found_new: bool, previous_at: datetime | None, now: datetime) -> Judgement:
    """Judge one reading of a mailbox; `previous_at` is the reading before it, None when there was none.

    An announcement clears `unannounced_since` when it comes, so one that is old has had none since.
    """
    since = heard.unannounced_since
    if since is None and found_new and _should_have_been_named(heard, previous_at):
        since = now
    return Judgement(since, since is not None and now - since >= PATIENCE)


def _should_have_been_named(heard: Heard, previous_at: datetime | None) -> bool:
    """Say whether all that is new came while the watch stood, and no announcement came with it."""
    if previous_at is None or heard.renewed_at is None or heard.renewed_at > previous_at:
        return False
    return heard.pushed_at is None or heard.pushed_at < previous_at - SLACK
