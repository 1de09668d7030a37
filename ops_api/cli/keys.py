"""`fieldpost keys`: which secret key credentials and devices' tokens are sealed with, and sealing them anew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import typer

from ops_api.cli.options import AsJson, Data
from ops_api.cli.output import print_json, print_table, remark
from ops_api.cli.session import begin, open_runtime
from pipeline.adapters.wiring import CREDENTIALS
from pipeline.commands.device_keys import rotate_devices, sealings_of_devices
from pipeline.commands.keys import Rotation, Standing, rotate, sealings
from pipeline.runtime.secrets import Secrets

_SAID = {
    Standing.CURRENT: "the current key",
    Standing.OUTDATED: "opens; `fieldpost keys rotate` seals it with the current key",
    Standing.UNKNOWN_KEY: "no key here opens it: put its key into FIELDPOST_PREVIOUS_SECRET_KEYS",
    Standing.UNREADABLE: "does not open: connect the mailbox again",
}
_NOT_OPENED = (Standing.UNKNOWN_KEY, Standing.UNREADABLE)
_AT_START = "they get no pushes until their apps start again"

#: How many stand how, and by which key.
Standings = Mapping[tuple[Standing, str | None], int]

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Look at the secret key, and replace it.")


@app.command()
def status(data: Data = None, as_json: AsJson = False) -> None:
    """Count the mailboxes by the key their credentials are sealed with, and devices by that of their tokens.

    Example: fieldpost keys status --json

    Exit codes: 0 all are sealed with the current key, 1 some are not, 2 bad input or configuration.
    """
    settings, where = begin("keys", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        secrets = Secrets.of(runtime.settings)
        current, found = secrets.key_id, sealings(connection, secrets, CREDENTIALS)
        devices = sealings_of_devices(connection, secrets)
    mailboxes = Counter((each.standing, each.key_id) for each in found)
    if as_json:
        print_json({"current": current, **_counted("mailboxes", "keys", mailboxes),
                    **_counted("devices", "device_keys", devices)})  # fmt: skip
    else:
        _show(current, mailboxes, devices)
    if any(standing is not Standing.CURRENT for standing, _ in (*mailboxes, *devices)):
        raise typer.Exit(1)


@app.command("rotate")
def rotate_keys(data: Data = None, as_json: AsJson = False) -> None:
    """Seal mailboxes' credentials and devices' tokens with the current key; safe to kill and to repeat.

    First set FIELDPOST_SECRET_KEY to the new key and FIELDPOST_PREVIOUS_SECRET_KEYS to the old one, everywhere.

    Example: fieldpost keys rotate

    Exit codes: 0 all are sealed with the current key, 1 some cannot be opened, 2 bad input or configuration.
    """
    settings, where = begin("keys", data)
    with open_runtime(settings, where) as runtime:
        secrets = Secrets.of(runtime.settings)
        current, done = secrets.key_id, rotate(runtime.db, secrets, CREDENTIALS)
        devices = rotate_devices(runtime.db, secrets)
    lost = sum(devices.get(standing, 0) for standing in _NOT_OPENED)
    if as_json:
        print_json({"current": current, "sealed": len(done.sealed), "unchanged": len(done.current),
                    "unreadable": list(done.unreadable),
                    "devices": {"sealed": devices.get(Standing.OUTDATED, 0),
                                "unchanged": devices.get(Standing.CURRENT, 0), "unreadable": lost}})  # fmt: skip
    else:
        _tell(current, done)
        _tell_of_devices(current, devices, lost)
    if done.unreadable or lost:
        raise typer.Exit(1)


def _counted(what: str, keys: str, counts: Standings) -> dict[str, object]:
    """Return how many there are, and how many of them stand how."""
    told = [{"key_id": key, "standing": standing, what: count} for (standing, key), count in _sorted(counts)]
    return {what: sum(counts.values()), keys: told}


def _sorted(counts: Standings) -> list[tuple[tuple[Standing, str | None], int]]:
    return sorted(counts.items(), key=str)


def _show(current: str, mailboxes: Standings, devices: Standings) -> None:
    rows = [(key, count, _SAID[standing]) for (standing, key), count in _sorted(mailboxes)]
    print_table(("key", "mailboxes", ""), rows, empty=f"No mailbox has credentials; the current key is {current}.")
    rows = [(key, count, _said_of_devices(standing)) for (standing, key), count in _sorted(devices)]
    print_table(("key", "devices", ""), rows, empty="No device gets pushes.")


def _said_of_devices(standing: Standing) -> str:
    return f"does not open: {_AT_START}" if standing is Standing.UNREADABLE else _SAID[standing]


def _tell(current: str, done: Rotation) -> None:
    print(f"{len(done.sealed)} mailboxes sealed with the key {current}, {len(done.current)} were so already")
    for address in done.unreadable:
        remark(f"{address}: {_SAID[Standing.UNKNOWN_KEY]}, or connect it again")


def _tell_of_devices(current: str, devices: Mapping[Standing, int], lost: int) -> None:
    sealed, unchanged = (devices.get(one, 0) for one in (Standing.OUTDATED, Standing.CURRENT))
    print(f"{sealed} devices sealed with the key {current}, {unchanged} were so already")
    if lost:
        remark(f"{lost} devices: {_SAID[Standing.UNKNOWN_KEY]}, or {_AT_START}")
