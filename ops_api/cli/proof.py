"""The summary that `import` and `audit` end with: what the provider lists against what the ledger holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

import typer

from models.queries import summary
from models.queries.summary import Summary
from ops_api.cli.output import print_fields, print_json, remark
from ops_api.cli.session import Runtime
from pipeline.ports import MailSource

_PAGE = 500
_NAMED = 100


@dataclass(frozen=True, slots=True)
class Comparison:
    """Every id the provider lists, those of them that the ledger lacks, and how many occurrences it lists no more."""

    provider_ids: int
    missing: Sequence[str]
    vanished: int


@dataclass(frozen=True, slots=True)
class Proof:
    """What is known of a mailbox's completeness; `seconds` is how long the work took, for `done` occurrences."""

    mailbox: str
    provider_ids: int
    missing: int
    summary: Summary
    seconds: float
    done: int

    @property
    def unaccounted(self) -> int:
        """Return how many ids the ledger lacks, and how many occurrences stand still without a job."""
        return self.missing + self.summary.stranded

    def as_json(self) -> dict[str, object]:
        """Return the object of `import --json` and `audit --json`."""
        found = self.summary
        return {
            "mailbox": self.mailbox,
            "provider_ids": self.provider_ids,
            "by_state": dict(found.by_state),
            "unaccounted": self.unaccounted,
            "messages": found.messages,
            "tickets": found.tickets,
            "cases": found.cases,
            "work_orders": found.work_orders,
            "dead_letters": found.dead_letters,
            "seconds": round(self.seconds, 3),
            "messages_per_second": round(self.done / self.seconds, 1) if self.seconds > 0 else 0.0,
        }


def compare(runtime: Runtime, mailbox_id: UUID, source: MailSource) -> Comparison:
    """List all ids at the provider, page by page, and compare them with the ledger; reads, changes nothing."""
    with runtime.db.begin() as connection:
        began_at = summary.database_time(connection)
    listed: set[str] = set()
    missing: dict[str, None] = {}
    for page in _pages(source):
        fresh = [provider_id for provider_id in page if provider_id not in listed]
        listed.update(fresh)
        with runtime.db.begin() as connection:
            missing.update(dict.fromkeys(summary.missing(connection, mailbox_id, fresh)))
    with runtime.db.begin() as connection:
        vanished = summary.vanished(connection, mailbox_id, listed, began_at)
        # What arrived while the listing went on may have been recorded since.
        still = summary.missing(connection, mailbox_id, list(missing))
    return Comparison(len(listed), still, vanished)


def summarise(runtime: Runtime, mailbox_id: UUID) -> Summary:
    """Return what the mailbox has become."""
    with runtime.db.begin() as connection:
        return summary.summarise(connection, mailbox_id)


def finish(proof: Proof, as_json: bool, compared: Comparison | None = None) -> None:
    """Print the proof and leave with 1 unless everything is accounted for."""
    if as_json:
        more = {} if compared is None else {"missing": list(compared.missing[:_NAMED]), "vanished": compared.vanished}
        print_json(proof.as_json() | more)
    else:
        _show(proof, compared)
    if proof.summary.dead_letters:
        remark(f"{proof.summary.dead_letters} dead letters: see `fieldpost dlq groups --mailbox {proof.mailbox}`")
    if proof.unaccounted:
        remark(_next_step(proof))
        raise typer.Exit(1)


def _pages(source: MailSource) -> Iterator[list[str]]:
    cursor: str | None = None
    while True:
        page = source.list_page(cursor, limit=_PAGE)
        yield [item.provider_id for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            return


def _show(proof: Proof, compared: Comparison | None) -> None:
    found = proof.as_json()
    states = ", ".join(f"{name} {number}" for name, number in proof.summary.by_state.items() if number)
    rows: list[tuple[str, object]] = [
        ("mailbox", proof.mailbox),
        ("ids at the provider", proof.provider_ids),
        ("in the ledger", f"{proof.summary.occurrences} ({states or 'nothing'})"),
        ("unaccounted", proof.unaccounted),
    ]
    if compared is not None:
        rows.append(("no longer listed", compared.vanished))
        rows += [("missing", provider_id) for provider_id in compared.missing[:_NAMED]]
    rows += [(name.replace("_", " "), found[name]) for name in ("messages", "tickets", "cases", "work_orders")]
    rows += [("dead letters", proof.summary.dead_letters), ("seconds", found["seconds"])]
    rows.append(("messages/s", found["messages_per_second"]))
    print_fields(rows)


def _next_step(proof: Proof) -> str:
    parts = []
    if proof.missing:
        parts.append(f"{proof.missing} ids are not in the ledger: run `fieldpost backfill {proof.mailbox} --wait`")
    if proof.summary.stranded:
        parts.append(f"{proof.summary.stranded} occurrences stand still without a job: please report this defect")
    return "; ".join(parts)
