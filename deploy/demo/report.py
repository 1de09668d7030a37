"""What came of a demonstration: counted from the database, compared with the Gmail server, shown as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from sqlalchemy import Connection, text

from deploy.demo.serving import Gmail
from dlq import reading
from dlq.reading import LetterGroup
from models.enums import OccurrenceState
from models.queries import summary
from models.queries.summary import Summary

_MESSAGES = text("""
    SELECT count(DISTINCT message_id) AS messages, count(message_id) - count(DISTINCT message_id) AS duplicates
      FROM occurrences
""")
_TICKETS = text("SELECT status, count(*) AS tickets FROM tickets GROUP BY status ORDER BY tickets DESC, status")
#: A trouble has a case in either mode; here the one that weighs certainty leads.
_CASES = text("""
    SELECT count(*) AS cases, count(*) FILTER (WHERE verification_required) AS uncertain FROM cases
     WHERE mode = 'certainty'
""")
_WORK_ORDERS = text("""
    SELECT coalesce(t.name, 'no team yet') AS team, count(*) AS orders
      FROM work_orders w LEFT JOIN teams t ON t.id = w.team_id GROUP BY 1 ORDER BY orders DESC, team
""")
_MERGED = "merged"
#: Always a column, also when empty; others are shown when any mailbox has them.
_ALWAYS = frozenset({OccurrenceState.ROUTED.value, OccurrenceState.QUARANTINED.value})


@dataclass(frozen=True, slots=True)
class MailboxProof:
    """One mailbox: the ids its server has, how many of them the ledger lacks, and what became of the others."""

    address: str
    provider_ids: int
    missing: int
    summary: Summary

    @property
    def unaccounted(self) -> int:
        """Return how many ids the ledger lacks, and how many occurrences stand still without a job."""
        return self.missing + self.summary.stranded


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything the final table tells; `tickets` by status, `work_orders` by team."""

    mailboxes: Sequence[MailboxProof]
    messages: int
    duplicates: int
    tickets: Mapping[str, int]
    cases: int
    uncertain: int
    work_orders: Mapping[str, int]
    dead_letters: Sequence[LetterGroup]

    @property
    def unaccounted(self) -> int:
        """Return how many messages nobody could say anything about; 0 is the promise."""
        return sum(mailbox.unaccounted for mailbox in self.mailboxes)

    @property
    def occurrences(self) -> int:
        """Return how many ids stand in the ledger."""
        return sum(mailbox.summary.occurrences for mailbox in self.mailboxes)

    @property
    def ignored(self) -> int:
        """Return how many mails stand in the spam folder: counted, and nobody's request."""
        return sum(mailbox.summary.by_state["ignored"] for mailbox in self.mailboxes)

    def shortcomings(self) -> list[str]:
        """Return what keeps this from being a success; empty when nothing does."""
        live_tickets = sum(number for status, number in self.tickets.items() if status != _MERGED)
        counts = {
            "tickets": live_tickets,
            "cases": self.cases,
            "work orders": sum(self.work_orders.values()),
            "dead letters": len(self.dead_letters),
        }
        found = [f"there are no {name}" for name, number in counts.items() if not number]
        if self.unaccounted:
            found.append(f"{self.unaccounted} messages are unaccounted for")
        return found


def read_outcome(connection: Connection, gmail: Gmail, mailbox_ids: Mapping[str, UUID]) -> Outcome:
    """Count everything, and compare the ids of each mailbox with those the server has."""
    messages = connection.execute(_MESSAGES).one()
    cases = connection.execute(_CASES).one()
    return Outcome(
        mailboxes=[_prove(connection, gmail, address, found) for address, found in mailbox_ids.items()],
        messages=messages.messages,
        duplicates=messages.duplicates,
        tickets={row.status: row.tickets for row in connection.execute(_TICKETS)},
        cases=cases.cases,
        uncertain=cases.uncertain,
        work_orders={row.team: row.orders for row in connection.execute(_WORK_ORDERS)},
        dead_letters=reading.groups(connection),
    )


def _prove(connection: Connection, gmail: Gmail, address: str, mailbox_id: UUID) -> MailboxProof:
    ids = gmail.ids(address)
    missing = summary.missing(connection, mailbox_id, ids)
    return MailboxProof(address, len(ids), len(missing), summary.summarise(connection, mailbox_id))


def show(console: Console, outcome: Outcome, *, written: int, seconds: float, rate: float) -> None:
    """Print the mailboxes' table, the figures, and the line that everything is about.

    `written` is how many conversations the mail was written as.
    """
    console.print(_mailboxes(outcome))
    console.print()
    console.print(_figures(outcome, written, seconds, rate))
    console.print()
    style = "bold red" if outcome.unaccounted else "bold green"
    console.print(f"[{style}]unaccounted {outcome.unaccounted}[/]")


def _mailboxes(outcome: Outcome) -> Table:
    states = [
        state.value
        for state in OccurrenceState
        if state.value in _ALWAYS or any(mailbox.summary.by_state[state] for mailbox in outcome.mailboxes)
    ]
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("mailbox")
    for name in ("at Gmail", "in the ledger", *states, "unaccounted"):
        table.add_column(name, justify="right")
    for mailbox in outcome.mailboxes:
        counts = (mailbox.provider_ids, mailbox.summary.occurrences, *(mailbox.summary.by_state[s] for s in states))
        table.add_row(escape(mailbox.address), *map(str, (*counts, mailbox.unaccounted)))
    return table


def _figures(outcome: Outcome, written: int, seconds: float, rate: float) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="bold")
    grid.add_column(justify="right")
    grid.add_column(style="dim", overflow="fold")
    merged = outcome.tickets.get(_MERGED, 0)
    orders = sum(outcome.work_orders.values())
    letters = sum(group.count for group in outcome.dead_letters)
    rows: list[tuple[str, object, str]] = [
        ("messages", outcome.messages, f"{outcome.duplicates} duplicates joined"),
        (
            "tickets",
            sum(outcome.tickets.values()) - merged,
            f"from {written} conversations, {outcome.ignored} of them spam: {_counted(outcome.tickets)}",
        ),
        ("cases", outcome.cases, f"{outcome.uncertain} need verification"),
        ("work orders", orders, _counted(outcome.work_orders)),
        ("dead letters", letters, "; ".join(_reason(group) for group in outcome.dead_letters)),
        ("messages/s", f"{rate:.0f}", "from the request for the backfill until the chain was idle"),
        ("seconds", f"{seconds:.1f}", "from the first line to this one"),
    ]
    for name, value, about in rows:
        grid.add_row(name, str(value), escape(about))
    return grid


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in counts.items())


def _reason(group: LetterGroup) -> str:
    said = (group.example.strip().splitlines() or [""])[0][:100]
    return f"{group.count} {group.stage}: {group.error_class}: {said}"
