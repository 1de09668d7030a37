"""The customer's page: plain HTML that needs no script, no login and nothing from elsewhere; readable on a phone."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from html import escape
from itertools import groupby
from uuid import uuid4

from pipeline.commands.customer_visits import DAYS, FURTHEST, Standing, View
from pipeline.core.field_work import Window
from pipeline.core.invitations import day_name, local_zone, when, zone_name
from pipeline.core.schedule import as_json

_STYLE = """
:root{color-scheme:light}
body{margin:0;background:#f4f5f7;color:#1c1e21;font:18px/1.5 system-ui,sans-serif}
main{max-width:38rem;margin:0 auto;padding:1rem}
section,header{background:#fff;border-radius:.5rem;padding:1rem;margin:0 0 1rem}
h1{font-size:1.4rem;margin:0 0 .5rem}h2{font-size:1.15rem;margin:0 0 .5rem}
p{margin:.4rem 0}.told{border-left:.4rem solid #1b6e3c}.refused{border-left:.4rem solid #b3261e}
fieldset{border:0;padding:0;margin:0 0 1rem}legend{font-weight:600;padding:0;margin:0 0 .3rem}
label{display:flex;align-items:flex-start;padding:.6rem .5rem;
border:1px solid #767b82;border-radius:.4rem;margin:.3rem 0}
input[type=radio]{width:1.2rem;height:1.2rem;margin:.15rem .6rem 0 0;flex:none}
button{font:inherit;font-weight:600;color:#fff;background:#0b4f9e;border:0;border-radius:.4rem;padding:.7rem 1.2rem;
width:100%}
a{color:#0b4f9e}a:focus,button:focus,input:focus{outline:3px solid #e8a400;outline-offset:2px}
nav{display:flex;justify-content:space-between}
"""
_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
#: No script runs, nothing is loaded, nobody frames it, forms go to us alone, and no search engine keeps it.
HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_DIGEST}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex, nofollow, noarchive",
    "Cache-Control": "no-store",
    "Content-Language": "en",
}
_DONE = {"confirmed": "Your visit is booked.", "moved": "Your visit has a new time."}
_HEADS = {
    Standing.PROPOSED: "Choose a time for your visit",
    Standing.HELD: "Please confirm your visit",
    Standing.BOOKED: "Your visit is booked",
    Standing.COMING: "Your visit",
    Standing.NONE: "No visit is planned at the moment",
}


def page(view: View, token: str, *, done: str | None = None, refused: str | None = None) -> str:
    """Return the page of a link. `done` is what the customer just did, `refused` why it was not possible."""
    link = view.link
    parts = [
        _told(_DONE.get(done or ""), "told", "status"),
        _told(refused, "refused", "alert"),
        _head(view),
        _planned(view, token),
        _options(view, token),
        _others(view, token),
    ]
    footer = f"<p>Number: {escape(link.code)}. To change something else, answer the mail that you had from us.</p>"
    return _whole(f"Visit by {link.company}", "".join(parts) + footer)


def missing() -> str:
    """Return the one page for every link that is good for nothing (any more)."""
    told = "It may be over, or a newer one may have taken its place. Please answer the last mail that you had from us."
    return _whole("This link is not valid", f"<header><h1>This link is not valid</h1><p>{told}</p></header>")


def _whole(title: str, content: str) -> str:
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="robots" content="noindex, nofollow">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>{content}</main></body></html>"
    )


def _told(said: str | None, kind: str, role: str) -> str:
    return f'<section class="{kind}" role="{role}"><p>{escape(said)}</p></section>' if said else ""


def _head(view: View) -> str:
    link = view.link
    place = f"<p>Where: {escape(link.address)}</p>" if link.address else ""
    now = link.now.astimezone(local_zone(link.timezone))
    zone = f"<p>All times are those of the place: {escape(zone_name(now, link.timezone))}.</p>"
    return f"<header><h1>{_HEADS[view.standing]}</h1><p>{escape(link.company)}</p>{place}{zone}</header>"


def _planned(view: View, token: str) -> str:
    """Return when somebody comes, and the button that confirms what is held."""
    if view.window is None:
        return ""
    said = f"<p><strong>{escape(when(view.window, view.link.timezone))}</strong></p>"
    if view.standing is Standing.HELD:
        until = _moment(view.confirm_by, view.link.timezone)
        chosen = f'<input type="hidden" name="window" value="{_value(view.window)}">'
        said += f"<p>Please confirm by {escape(until)}.</p>" + _form(token, "confirm", chosen, "Confirm this time")
    elif view.visit is not None:
        said += f'<p><a href="/visit/{escape(token)}/invitation.ics">Put it into my calendar</a></p>'
    return f"<section><h2>When</h2>{said}</section>"


def _options(view: View, token: str) -> str:
    if not view.options:
        return ""
    until = ""
    if view.standing is Standing.HELD and view.window is None:
        until = f"<p>Please confirm by {escape(_moment(view.confirm_by, view.link.timezone))}.</p>"
    choices = _choices("Times that suit us", (one.window for one in view.options), view.link.timezone)
    return f"<section><h2>Suggested times</h2>{until}{_form(token, 'confirm', choices, 'Confirm this time')}</section>"


def _others(view: View, token: str) -> str:
    """Return the free windows of a few days, and the way to earlier and later ones."""
    if not view.may_move:
        return ""
    there = local_zone(view.link.timezone)
    windows = [one.window for one in view.slots]
    days = groupby(windows, key=lambda one: one.starts_at.astimezone(there).date())
    choices = "".join(_choices(day_name(day), found, view.link.timezone, is_day=True) for day, found in days)
    head = "Another time" if view.standing is not Standing.PROPOSED or view.options else "Free times"
    free = _form(token, "move", choices, "Take this time") if windows else f"<p>{_nothing(view.day)}</p>"
    return f'<section id="times"><h2>{head}</h2>{free}{_ways(view, token)}</section>'


def _nothing(first: date) -> str:
    return f"Nothing is free from {day_name(first)} to {day_name(first + timedelta(days=DAYS - 1))}."


def _ways(view: View, token: str) -> str:
    today = view.link.now.astimezone(local_zone(view.link.timezone)).date()
    step, ways = timedelta(days=DAYS), []
    if view.day > today:
        ways.append(_way(token, max(today, view.day - step), "Earlier days"))
    if view.day + step <= today + FURTHEST:
        ways.append(_way(token, view.day + step, "Later days"))
    return f'<nav aria-label="Days">{"".join(ways)}</nav>'


def _way(token: str, day: date, said: str) -> str:
    return f'<a href="/visit/{escape(token)}?from={day.isoformat()}#times">{said}</a>'


def _choices(legend: str, windows: Iterable[Window], timezone: str, *, is_day: bool = False) -> str:
    there = local_zone(timezone)
    labels = []
    for window in windows:
        start, end = window.starts_at.astimezone(there), window.ends_at.astimezone(there)
        # The zone stands at the head of the page; its letters tell the hours apart that a night has twice.
        clock = start.tzname() or ""
        said = f"{start:%H:%M} to {end:%H:%M} {clock if clock.isalpha() else ''}" if is_day else when(window, timezone)
        labels.append(
            f'<label><input type="radio" name="window" value="{_value(window)}" required>{escape(said)}</label>'
        )
    return f"<fieldset><legend>{escape(legend)}</legend>{''.join(labels)}</fieldset>"


def _form(token: str, action: str, content: str, button: str) -> str:
    """Return a form; its key makes a second click the same wish."""
    key = f'<input type="hidden" name="key" value="{uuid4()}">'
    return (
        f'<form method="post" action="/visit/{escape(token)}/{action}">{key}{content}<button>{button}</button></form>'
    )


def _value(window: Window) -> str:
    return "/".join(as_json(window).values())


def _moment(at: datetime | None, timezone: str) -> str:
    if at is None:
        return ""
    local = at.astimezone(local_zone(timezone))
    return f"{day_name(local.date())}, {local:%H:%M} ({zone_name(local, timezone)})"


def as_text(view: View) -> dict[str, object]:
    """Return the same for programs."""
    link = view.link
    windows: Sequence[Window] = [one.window for one in view.slots]
    return {
        "code": link.code,
        "company": link.company,
        "address": link.address,
        "timezone": link.timezone,
        "standing": view.standing.value,
        "window": as_json(view.window) if view.window else None,
        "confirm_by": view.confirm_by,
        "options": [as_json(one.window) for one in view.options],
        "free_from": view.day,
        "free": [as_json(one) for one in windows],
        "may_confirm": view.may_confirm,
        "may_move": view.may_move,
        "expires_at": link.expires_at,
    }
