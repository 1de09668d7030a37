"""What `backfill` and `history` share: write the request, ring, and wait for it when asked to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from sqlalchemy import Connection

from models.queries import queue
from ops_api.cli.bells import ring
from ops_api.cli.output import print_json
from ops_api.cli.proof import Proof, finish, summarise
from ops_api.cli.roles import workers_for
from ops_api.cli.session import Runtime, begin, open_runtime, warn_without_workers
from ops_api.cli.waiting import wait_until_idle
from pipeline.commands.mailboxes import find_mailbox
from pipeline.runtime.ledger import Line
from pipeline.runtime.mailboxes import load_mailboxes

#: Writes a request for one mailbox, and returns its job's id.
Request = Callable[[Connection, UUID], int | None]


def ask(name: str, request: Request, line: Line, mailbox: str, data: Path | None, *, wait: bool, as_json: bool) -> None:
    """Write a request for a mailbox; with `wait`, start workers if none live, wait, and end with the summary."""
    settings, where = begin(name, data)
    with open_runtime(settings, where, start=wait) as runtime:
        with runtime.db.begin() as connection:
            mailbox_id = find_mailbox(connection, mailbox)
            address = load_mailboxes(connection, [mailbox_id])[mailbox_id].ref.address
        if not wait:
            _ask_only(runtime, name, request, line, (mailbox_id, address), as_json=as_json)
            return
        proof = _ask_and_wait(runtime, request, line, mailbox_id, address)
    finish(proof, as_json)


def _ask_only(
    runtime: Runtime, name: str, request: Request, line: Line, mailbox: tuple[UUID, str], *, as_json: bool
) -> None:
    mailbox_id, address = mailbox
    with runtime.db.begin() as connection:
        job_id = request(connection, mailbox_id)
        workers = queue.live_workers(connection)
    ring(runtime.settings, [line])
    if as_json:
        print_json({"mailbox": address, "job_type": name, "job_id": job_id, "live_workers": len(workers)})
    else:
        print(f"asked for the {name} of {address}; `fieldpost status {address}` shows how it goes")
    warn_without_workers(len(workers))


def _ask_and_wait(runtime: Runtime, request: Request, line: Line, mailbox_id: UUID, address: str) -> Proof:
    before = summarise(runtime, mailbox_id).occurrences
    with workers_for(runtime) as crew:
        began = runtime.clock.monotonic()
        with runtime.db.begin() as connection:
            request(connection, mailbox_id)
        ring(runtime.settings, [line])
        wait_until_idle(runtime, mailbox_id, crew)
        seconds = runtime.clock.monotonic() - began
    found = summarise(runtime, mailbox_id)
    return Proof(address, found.occurrences, 0, found, seconds, found.occurrences - before)
