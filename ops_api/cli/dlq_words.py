"""What `fieldpost dlq` says: a letter on one screen, kinds of error with their course, lists that fit 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

import orjson
from rich.markup import escape
from rich.panel import Panel

from dlq.history import Action
from dlq.letters import UNDO_WITHIN
from dlq.reading import Letter, LetterGroup
from models.enums import Cause, LetterAction, Resolution
from ops_api.cli.output import ago, line_of, print_fields, span, to_stdout
from ops_api.wording import clock, counted, plain

#: Lower to higher eighths of a line's height; the first stands for none.
_BARS = "·▁▂▃▄▅▆▇█"
#: Things done before that one screen has room for.
_SHOWN = 6
_ADVICE: Mapping[Cause, str] = MappingProxyType(
    {
        Cause.PERMANENT: "It fails however often it is tried: replay it once the program or the data is mended, else "
        "discard it. The raw mail is kept either way.",
        Cause.EXHAUSTED: "It failed every time for a reason that may pass: look at the error, then replay it.",
        Cause.CRASHED: "The worker died each time it ran alone (memory, a defect of a library): replay it after an "
        "update, and watch the worker's log.",
        Cause.UNKNOWN_STAGE: "No running version knows its stage: finish the deployment, then replay it.",
    }
)


@dataclass(frozen=True, slots=True)
class Explained:
    """Everything one screen says of a letter: `others` are the other letters of its job, the newest first.

    `kind` is its kind of error among the open letters, None when none of it is open; `alike_ever` counts all of it.
    """

    letter: Letter
    kind: LetterGroup | None
    alike_ever: int
    actions: Sequence[Action]
    others: Sequence[Letter]
    now: datetime


def said(letter: Letter) -> str:
    """Return the error in one line."""
    return line_of(f"{letter.error_class}: {letter.error_text}")


def sparkline(hourly: Sequence[int]) -> str:
    """Return one character an hour, as high as its share of the highest; a dot for an hour without a letter."""
    most = max(hourly, default=0)
    return "".join(_BARS[0 if not number else 1 + (number * 7) // most] for number in hourly)


def print_letters(letters: Sequence[Letter], now: datetime) -> None:
    """List letters, two lines each: what it is about, and why it stopped."""
    console = to_stdout()
    width = max((len(str(letter.letter_id)) for letter in letters), default=0)
    room = max((len(letter.stage) for letter in letters), default=0)
    for letter in letters:
        what = letter.subject or letter.provider_id or letter.key
        where = f" [dim]{escape(letter.mailbox)}[/]" if letter.mailbox else ""
        head = f"{letter.letter_id:>{width}}  {letter.stage:<{room}}  {age(letter.buried_at, now):>6} ago"
        console.print(f"[bold]{escape(head)}[/]  {escape(line_of(what, 60))}{where}", overflow="ellipsis", no_wrap=True)
        ended = plain(f"{letter.resolution} by {letter.resolved_by}; ") if letter.resolution else ""
        why = f"{' ' * width}  {ended}{letter.cause}, {said(letter)}"
        console.print(escape(why), overflow="ellipsis", no_wrap=True)


def print_groups(groups: Sequence[LetterGroup], now: datetime) -> None:
    """List kinds of error, two lines each: how many, since when, the last 24 hours; then where it goes, and why."""
    console = to_stdout()
    room = max((len(group.stage) for group in groups), default=5)
    head = f"{'group':<12} {'letters':>7}  {'stage':<{room}}  {'first':>6}  {'last':>6}  last 24 h, hour by hour"
    console.print(f"[bold]{head}[/]", no_wrap=True, overflow="ellipsis")
    for group in groups:
        first, last = age(group.first_at, now), age(group.last_at, now)
        line = f"{group.group:<12} {group.count:>7,}  {group.stage:<{room}}  {first:>6}  {last:>6}  "
        console.print(escape(line) + sparkline(group.hourly), no_wrap=True, overflow="ellipsis")
        why = line_of(f"{group.error_class}: {group.example}")
        course = ", ".join(filter(None, [f"[bold]{group.trend}[/]", _tried_before(group)]))
        console.print(f"  {course}: {escape(why)}", no_wrap=True, overflow="ellipsis")


def print_explained(found: Explained) -> None:
    """Put one letter on the screen: what, in which mail, why, since when, its like, what was tried, what to type."""
    letter = found.letter
    state = f"open for {span(found.now - letter.buried_at)}" if letter.resolution is None else letter.resolution.value
    title = f"dead letter {letter.letter_id}, {state}"
    to_stdout().print(Panel(escape(f"{letter.stage}: {said(letter)}"), title=title), width=_panel_width())
    print_fields(_fields(found))
    print("\nNext")
    width = max(len(command) for command, _ in _next(found))
    for command, about in _next(found):
        line = f"  {command:<{width}}  [dim]{escape(about)}[/]"
        to_stdout().print(line, soft_wrap=True)


def _panel_width() -> int:
    return min(to_stdout().width, 120)


def _fields(found: Explained) -> list[tuple[str, object]]:
    letter = found.letter
    return [
        ("mail", _mail(letter)),
        ("why", None if letter.resolution else _ADVICE[letter.cause]),
        ("at first", _at_first(letter)),
        ("raised at", _raised_at(letter)),
        ("since", f"{clock(letter.buried_at)} ({ago(letter.buried_at, found.now)}), queued {clock(letter.queued_at)}"),
        ("tries", _tries(letter)),
        ("alike", "\n".join(_alike(found))),
        ("done", "\n".join(_done(found)) or "nothing yet: nobody replayed, edited or discarded it"),
        ("arguments", _json(letter.args) if letter.args else None),
        ("job", plain(f"{letter.job_id}: {letter.stage} {letter.key}, lane {letter.lane}, trace {letter.trace_id}")),
    ]


def _at_first(letter: Letter) -> str | None:
    """Return what its first failure said, when that was something else."""
    first = letter.first_error
    if first is None or first["text"] == letter.error_text:
        return None
    return line_of(f"{first['class']}: {first['text']} ({clock(datetime.fromisoformat(first['at']))})", 200)


def _mail(letter: Letter) -> str | None:
    if letter.occurrence_id is None and letter.message_id is None:
        return letter.mailbox and f"no mail of its own; mailbox {letter.mailbox}"
    sender = f"from {letter.sender}, " if letter.sender else ""
    lines = [
        letter.subject or "without a subject, or not parsed yet",
        f"{sender}in {letter.mailbox or 'no mailbox'}",
        letter.provider_id and f"provider id {letter.provider_id}",
        letter.raw_sha256 and letter.occurrence_id and f"its bytes: fieldpost raw {letter.occurrence_id} -o mail.eml",
    ]
    return plain("\n".join(line for line in lines if line))


def _tries(letter: Letter) -> str:
    crashes = "1 crash" if letter.crashes == 1 else f"{letter.crashes} crashes"
    return f"{letter.attempts} ({counted(letter.failures, 'failure')}, {crashes})"


def _alike(found: Explained) -> Iterator[str]:
    kind = found.kind
    if kind is None:
        yield f"none open; {counted(found.alike_ever, 'letter')} of group {found.letter.group} ever"
        return
    yield (
        f"{kind.count:,} open of {found.alike_ever:,} in group {kind.group}: {kind.trend}, first seen "
        f"{ago(kind.first_at, found.now)}, last {ago(kind.last_at, found.now)}"
    )
    yield f"{sparkline(kind.hourly)} last 24 h"
    if tried := _tried_before(kind):
        yield tried


def _tried_before(kind: LetterGroup) -> str:
    """Return what replaying this kind came to so far; empty when it was not tried."""
    parts = ((kind.replayed, "replayed before"), (kind.failed_again, "come from a bulk that failed again"))
    return ", ".join(f"{number:,} {what}" for number, what in parts if number)


def _done(found: Explained) -> Iterator[str]:
    """Say what was done to it and to its job's earlier letters, the newest first."""
    lines = [(action.at, _said_of(action)) for action in found.actions]
    known = {action.action for action in found.actions}
    letter = found.letter
    if letter.resolution and letter.resolved_at and LetterAction(letter.resolution.value) not in known:
        lines.append((letter.resolved_at, f"{letter.resolution} by {letter.resolved_by}: {letter.resolved_reason}"))
    lines += [
        (one.resolved_at, f"{one.resolution} by {one.resolved_by}: {one.resolved_reason} (as letter {one.letter_id})")
        for one in found.others
        if one.resolution and one.resolved_at and one.letter_id < letter.letter_id
    ]
    lines.sort(key=lambda line: line[0], reverse=True)
    for at, what in lines[:_SHOWN]:
        yield f"{ago(at, found.now)}: {line_of(what)}"
    if len(lines) > _SHOWN:
        yield f"and {len(lines) - _SHOWN} more: --json"


def _said_of(action: Action) -> str:
    bulk = f" (bulk {action.bulk_id})" if action.bulk_id else ""
    before = f", they were {_json(action.data['before'])}" if action.data and "before" in action.data else ""
    return f"{action.action} by {action.actor}: {action.reason}{before}{bulk}"


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


def _raised_at(letter: Letter) -> str | None:
    """Return the deepest place in our own program; the libraries below it seldom matter."""
    places = [line.strip() for line in (letter.error_trace or "").splitlines() if line.lstrip().startswith("File ")]
    ours = [place for place in places if "site-packages" not in place]
    return plain(next(reversed(ours or places), "")) or None


def _next(found: Explained) -> list[tuple[str, str]]:
    """Return the commands that can come next, each with what it does."""
    letter = found.letter
    number = letter.letter_id
    trace = (f"fieldpost dlq show {number} --trace", "the whole error")
    later = [one.letter_id for one in found.others if one.letter_id > number]
    if later:
        return [(f"fieldpost dlq show {max(later)}", "it died again: this one"), trace]
    if letter.resolution is Resolution.DISCARDED:
        return [
            (f"fieldpost dlq restore {number} --reason TEXT", f"undo it, for {span(UNDO_WITHIN)}"),
            trace,
        ]
    if letter.resolution is Resolution.REPLAYED:
        return [trace]
    found_next = [(f"fieldpost dlq replay {number}", "try it again")]
    if found.kind is not None and found.kind.count > 1:
        of = f"--group {letter.group}"
        found_next += [
            (f"fieldpost dlq replay {of} --canary 3 --wait", "3 first, then all"),
            (f"fieldpost dlq list {of}", "see them"),
        ]
    return [
        *found_next,
        (f"fieldpost dlq discard {number} --reason TEXT", "end it; raw stays"),
        *([(f"fieldpost dlq edit {number} --args JSON --reason TEXT", "edit arguments")] if letter.args else []),
        trace,
    ]


def age(then: datetime, now: datetime) -> str:
    """Return how long ago, by its largest unit alone."""
    return " ".join(span(now - then).split()[:2])
