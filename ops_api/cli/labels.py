"""`fieldpost labels`: the provider's count per label beside the ledger's."""

from __future__ import annotations

from contextlib import closing
from functools import partial

import typer

from models.enums import Lane
from models.queries import comparisons, progress
from ops_api.cli.audit import PATIENCE
from ops_api.cli.options import AsJson, Data, Mailbox
from ops_api.cli.output import print_json, print_table, remark
from ops_api.cli.session import begin, open_runtime
from ops_api.labelling import compare
from ops_api.wording import counted
from pipeline.adapters.wiring import make_meters, open_source
from pipeline.commands.mailboxes import find_mailbox
from pipeline.runtime.mailboxes import load_mailboxes
from pipeline.runtime.secrets import Secrets

app = typer.Typer(add_completion=False)


@app.command()
def labels(mailbox: Mailbox, data: Data = None, as_json: AsJson = False) -> None:
    """Ask the provider for its count of messages per label, and show it beside the ledger's.

    Labels of a message are known once it is fetched, so counts differ while messages are on their way. It only reads.

    Example: fieldpost labels support@example.org

    Exit codes: 0 all counts agree, 1 some differ, 2 bad input or configuration.
    """
    settings, where = begin("labels", data)
    with open_runtime(settings, where) as runtime:
        with runtime.db.begin() as connection:
            mailbox_id = find_mailbox(connection, mailbox)
            ref = load_mailboxes(connection, [mailbox_id])[mailbox_id].ref
        meters = make_meters(runtime.settings, runtime.db)
        meter_for = partial(meters.meter, mailbox_id, lane=Lane.REPAIR, patience=PATIENCE)
        secrets = Secrets.of(runtime.settings)
        with closing(meters), closing(open_source(ref, runtime.settings, secrets, meter_for=meter_for)) as source:
            theirs = source.labels()
        with runtime.db.begin() as connection:
            ours = comparisons.by_label(connection, mailbox_id)
            on_their_way = progress.left(connection).get(mailbox_id, progress.Left()).fetches
    found = compare(theirs, ours)
    if as_json:
        rows = [
            {"label_id": one.label_id, "name": one.name, "provider": one.provider, "ledger": one.ledger,
             "difference": one.difference}
            for one in found
        ]  # fmt: skip
        print_json({"mailbox": ref.address, "to_fetch": on_their_way, "labels": rows})
    else:
        print_table(
            ("label", "provider", "ledger", "difference"),
            [
                (one.name, f"{one.provider:,}", f"{one.ledger:,}", f"{one.difference:+,}" if one.difference else "none")
                for one in found
                if one.provider or one.ledger
            ],
            empty="No message of this mailbox carries a label.",
        )
    if any(one.difference for one in found):
        if on_their_way:
            remark(f"{counted(on_their_way, 'message')} to be fetched yet: their labels are not known here")
        else:
            remark(f"`fieldpost reconcile {mailbox} --wait` corrects labels that differ")
        raise typer.Exit(1)
