"""`fieldpost audit`: the completeness proof, by comparing every id at the provider with the ledger."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from functools import partial

import typer

from models.enums import Lane
from ops_api.cli.options import AsJson, Data, Mailbox
from ops_api.cli.proof import Proof, compare, finish, summarise
from ops_api.cli.session import begin, open_runtime
from pipeline.adapters.wiring import make_meters, open_source
from pipeline.commands.mailboxes import find_mailbox
from pipeline.runtime.mailboxes import load_mailboxes
from pipeline.runtime.secrets import Secrets

#: A person waits for the answer: other work goes first, but not for ever.
PATIENCE = timedelta(minutes=5)

app = typer.Typer(add_completion=False)


@app.command()
def audit(mailbox: Mailbox, data: Data = None, as_json: AsJson = False) -> None:
    """Prove that a mailbox is complete: list every id at the provider and compare it with the ledger.

    Unaccounted are ids the ledger lacks, and occurrences that stand still without a job. It only reads; mail that
    arrived a moment ago counts as missing until it is read.

    Example: fieldpost audit support@example.org --json

    Exit codes: 0 nothing is unaccounted for, 1 something is, 2 bad input or configuration.
    """
    settings, where = begin("audit", data)
    with open_runtime(settings, where) as runtime:
        began = runtime.clock.monotonic()
        with runtime.db.begin() as connection:
            mailbox_id = find_mailbox(connection, mailbox)
            ref = load_mailboxes(connection, [mailbox_id])[mailbox_id].ref
        meters = make_meters(runtime.settings, runtime.db)
        meter_for = partial(meters.meter, mailbox_id, lane=Lane.REPAIR, patience=PATIENCE)
        secrets = Secrets.of(runtime.settings)
        with closing(meters), closing(open_source(ref, runtime.settings, secrets, meter_for=meter_for)) as source:
            compared = compare(runtime, mailbox_id, source)
        seconds = runtime.clock.monotonic() - began
        found = summarise(runtime, mailbox_id)
    missing = len(compared.missing)
    proof = Proof(ref.address, compared.provider_ids, missing, found, seconds, compared.provider_ids)
    finish(proof, as_json, compared)
