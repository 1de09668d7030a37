"""`fieldpost keys`: which secret key the mailboxes' credentials are sealed with, and sealing them with the new one."""

from __future__ import annotations

from collections import Counter

import typer

from ops_api.cli.options import AsJson, Data
from ops_api.cli.output import print_json, print_table, remark
from ops_api.cli.session import begin, open_runtime
from pipeline.adapters.wiring import CREDENTIALS
from pipeline.commands.keys import Rotation, Standing, rotate, sealings
from pipeline.runtime.secrets import Secrets

_SAID = {
    Standing.CURRENT: "the current key",
    Standing.OUTDATED: "opens; `fieldpost keys rotate` seals it with the current key",
    Standing.UNKNOWN_KEY: "no key here opens it: put its key into FIELDPOST_PREVIOUS_SECRET_KEYS",
    Standing.UNREADABLE: "does not open: connect the mailbox again",
}

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Look at the secret key, and replace it.")


@app.command()
def status(data: Data = None, as_json: AsJson = False) -> None:
    """Count the mailboxes by the key their credentials are sealed with.

    Example: fieldpost keys status --json

    Exit codes: 0 all are sealed with the current key, 1 some are not, 2 bad input or configuration.
    """
    settings, where = begin("keys", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        secrets = Secrets.of(runtime.settings)
        current, found = secrets.key_id, sealings(connection, secrets, CREDENTIALS)
    counts = sorted(Counter((each.standing, each.key_id) for each in found).items(), key=str)
    if as_json:
        keys = [{"key_id": key, "standing": standing, "mailboxes": count} for (standing, key), count in counts]
        print_json({"current": current, "mailboxes": len(found), "keys": keys})
    else:
        rows = [(key, count, _SAID[standing]) for (standing, key), count in counts]
        print_table(("key", "mailboxes", ""), rows, empty=f"No mailbox has credentials; the current key is {current}.")
    if any(each.standing is not Standing.CURRENT for each in found):
        raise typer.Exit(1)


@app.command("rotate")
def rotate_keys(data: Data = None, as_json: AsJson = False) -> None:
    """Seal every mailbox's credentials with the current key, one after the other; safe to kill and to repeat.

    First set FIELDPOST_SECRET_KEY to the new key and FIELDPOST_PREVIOUS_SECRET_KEYS to the old one, everywhere.

    Example: fieldpost keys rotate

    Exit codes: 0 all are sealed with the current key, 1 some cannot be opened, 2 bad input or configuration.
    """
    settings, where = begin("keys", data)
    with open_runtime(settings, where) as runtime:
        secrets = Secrets.of(runtime.settings)
        current, done = secrets.key_id, rotate(runtime.db, secrets, CREDENTIALS)
    if as_json:
        print_json({"current": current, "sealed": len(done.sealed), "unchanged": len(done.current),
                    "unreadable": list(done.unreadable)})  # fmt: skip
    else:
        _tell(current, done)
    if done.unreadable:
        raise typer.Exit(1)


def _tell(current: str, done: Rotation) -> None:
    print(f"{len(done.sealed)} mailboxes sealed with the key {current}, {len(done.current)} were so already")
    for address in done.unreadable:
        remark(f"{address}: {_SAID[Standing.UNKNOWN_KEY]}, or connect it again")
