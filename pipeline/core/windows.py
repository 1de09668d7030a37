"""Date windows of a backfill: newest first, as wide as the mailbox allows; page tokens expire, windows do not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

#: The first window; later ones follow what was found.
FIRST_WIDTH = timedelta(days=30)
NARROWEST = timedelta(hours=1)
#: Below it a window is left open: Gmail opened in April 2004, and what is dated earlier is found all the same.
OLDEST = datetime(2004, 1, 1, tzinfo=UTC)
#: A window with fewer ids than half a page was too narrow, one with more than 10 pages too wide to list in one go.
_FEW_IDS = 250
_MANY_PAGES = 10
#: A window whose page token expired this often is too wide for the tokens' lifetime.
MOST_RESTARTS = 3


@dataclass(frozen=True, slots=True)
class Window:
    """One stretch of a mailbox: `after` included, `before` not; None is open. Numbers grow with age."""

    number: int
    after: datetime | None
    before: datetime | None


def first(*, now: datetime, since: datetime | None, has_dates: bool) -> Window:
    """Return the newest window; a source that cannot bound a listing by date gets one window for everything."""
    if not has_dates:
        return Window(0, since, None)
    return Window(0, _bottom(now - FIRST_WIDTH, since), None)


def following(done: Window, *, listed: int, pages: int, since: datetime | None, now: datetime) -> Window | None:
    """Return the window below one that was listed to its end; None when nothing is left below it."""
    if done.after is None or (since is not None and done.after <= since):
        return None
    width = _next_width(max((done.before or now) - done.after, NARROWEST), listed, pages)
    return Window(done.number + 1, _bottom(done.after - width, since), done.after)


def narrowed(window: Window, now: datetime) -> Window:
    """Return the upper half of a window that could not be listed before its page tokens expired."""
    if window.after is None:
        return replace(window, after=(window.before or now) - FIRST_WIDTH)
    half = ((window.before or now) - window.after) / 2
    return replace(window, after=(window.before or now) - half) if half >= NARROWEST else window


def _bottom(wanted: datetime, since: datetime | None) -> datetime | None:
    if since is not None and wanted <= since:
        return since
    return None if wanted <= OLDEST else wanted


def _next_width(width: timedelta, listed: int, pages: int) -> timedelta:
    if pages > _MANY_PAGES:
        return max(width / 2, NARROWEST)
    return width * 2 if listed < _FEW_IDS else width
