"""`fieldpost mailbox`: add, list, pause and resume mailboxes."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from models.enums import MailboxState, Provider
from models.queries import queue, sync
from ops_api.cli.bells import HISTORY, ring
from ops_api.cli.mailbox_imap import add_imap
from ops_api.cli.options import AsJson, Data, Mailbox
from ops_api.cli.output import ago, print_json, print_table
from ops_api.cli.person import actor
from ops_api.cli.session import Runtime, begin, open_runtime, warn_without_workers
from ops_api.wording import clock
from pipeline.adapters import gmail_credentials
from pipeline.adapters.wiring import CREDENTIALS
from pipeline.commands.mailboxes import add_mailbox, ensure_organization, find_mailbox
from pipeline.commands.sync import pause as pause_mailbox
from pipeline.commands.sync import resume as resume_mailbox
from pipeline.runtime.errors import UserError
from pipeline.runtime.secrets import Secrets

_MINUTES = 30
_MOST_MINUTES = 10_080

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Add, list, pause and resume mailboxes.")
add = typer.Typer(no_args_is_help=True, help="Connect a mailbox at its provider.")
app.add_typer(add, name="add")
add.command("imap")(add_imap)


@add.command("gmail")
def add_gmail(
    address: Annotated[str, typer.Argument(help="The mailbox's address.", show_default=False)],
    *,
    service_account: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Key of a service account with domain-wide delegation.")
    ] = None,
    authorized_user: Annotated[
        Path | None, typer.Option(metavar="FILE", help="An authorized_user file, as gcloud writes it.")
    ] = None,
    oauth_client: Annotated[
        Path | None, typer.Option(metavar="FILE", help="An OAuth client; says how to get the person's consent.")
    ] = None,
    org: Annotated[str, typer.Option("--org", metavar="NAME", help="Organization the mailbox belongs to.")] = "Default",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Connect a Gmail mailbox, or connect it anew; reading only. Reconnecting skips no mail.

    The credentials are checked for their form and stored sealed with the secret key.

    Example: fieldpost mailbox add gmail support@example.org --service-account key.json

    Exit codes: 0 connected, 2 bad input or configuration.
    """
    content = _credentials([service_account, authorized_user, oauth_client], address)
    settings, where = begin("mailbox", data)
    with open_runtime(settings, where, create=True) as runtime:
        cleaned = address.strip().lower()
        sealed = _secrets(runtime).seal(CREDENTIALS, cleaned, content)
        with runtime.db.begin() as connection:
            org_id = ensure_organization(connection, org)
            mailbox_id = add_mailbox(connection, org_id, cleaned, Provider.GMAIL, source={}, credentials=sealed)
            resume_mailbox(connection, mailbox_id)
        ring(runtime.settings, [HISTORY])
    if as_json:
        print_json({"mailbox": cleaned, "mailbox_id": str(mailbox_id)})
    else:
        print(f"{cleaned} is connected. Next: `fieldpost up`, then `fieldpost backfill {cleaned} --wait`")


@app.command("list")
def list_mailboxes(data: Data = None, as_json: AsJson = False) -> None:
    """List every mailbox with its state and when it was last read.

    Example: fieldpost mailbox list --json

    Exit codes: 0 ok, 2 bad input or configuration.
    """
    settings, where = begin("mailbox", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        found = sync.sync_status(connection)
        now = runtime.clock.now()
    if as_json:
        print_json([{"mailbox_id": str(m.mailbox_id), "mailbox": m.email, "provider": m.provider, "state": m.state,
                     "paused_until": m.paused_until, "paused_by": m.paused_by, "pause_reason": m.pause_reason,
                     "last_full_sync_at": m.last_full_sync_at,
                     "last_incremental_sync_at": m.last_incremental_sync_at} for m in found])  # fmt: skip
        return
    rows = [
        (m.email, m.provider, _state(m), ago(m.last_full_sync_at, now), ago(m.last_incremental_sync_at, now))
        for m in found
    ]
    empty = "No mailbox yet: add one with `fieldpost mailbox add` or `fieldpost import`."
    print_table(("mailbox", "provider", "state", "last listed", "last changes"), rows, empty=empty)


@app.command()
def pause(
    mailbox: Mailbox,
    minutes: Annotated[int, typer.Option(min=1, max=_MOST_MINUTES, help="For how long.")] = _MINUTES,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; shown to others.")] = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Stop reading a mailbox for a while; nothing is lost, and it goes on by itself.

    Example: fieldpost mailbox pause support@example.org --minutes 60 --reason "migration tonight"

    Exit codes: 0 paused, 2 bad input or configuration.
    """
    settings, where = begin("mailbox", data)
    with open_runtime(settings, where) as runtime, runtime.db.begin() as connection:
        mailbox_id = find_mailbox(connection, mailbox)
        until = pause_mailbox(connection, mailbox_id, timedelta(minutes=minutes), reason, actor())
    if as_json:
        print_json({"mailbox_id": str(mailbox_id), "paused": True, "paused_until": until})
    else:
        print(f"paused until {until:%Y-%m-%d %H:%M:%S} UTC; `fieldpost mailbox resume {mailbox}` ends it sooner")


@app.command()
def resume(mailbox: Mailbox, data: Data = None, as_json: AsJson = False) -> None:
    """Read a mailbox again at once; what waited or was parked goes on.

    Example: fieldpost mailbox resume support@example.org

    Exit codes: 0 resumed, 2 bad input or configuration.
    """
    settings, where = begin("mailbox", data)
    with open_runtime(settings, where) as runtime:
        with runtime.db.begin() as connection:
            mailbox_id = find_mailbox(connection, mailbox)
            job_id = resume_mailbox(connection, mailbox_id)
            workers = queue.live_workers(connection)
        ring(runtime.settings, [HISTORY])
    if as_json:
        print_json({"mailbox_id": str(mailbox_id), "resumed": True, "history_sync_job_id": job_id})
    else:
        print(f"{mailbox} is read again")
    warn_without_workers(len(workers))


def _credentials(files: list[Path | None], address: str) -> bytes:
    """Return the content of the one credentials file that was given, after checking it."""
    given = [path for path in files if path is not None]
    if len(given) != 1:
        raise UserError("give exactly one of --service-account, --authorized-user and --oauth-client")
    try:
        content = given[0].read_bytes()
        found: Any = orjson.loads(content)
    except OSError as error:
        raise UserError(f"{given[0]} cannot be read: {error.strerror or error}") from error
    except orjson.JSONDecodeError as error:
        raise UserError(f"{given[0]} is no JSON file: {error}") from error
    if not isinstance(found, dict):
        raise UserError(f"{given[0]} holds no credentials: a JSON object is expected")
    gmail_credentials.load(found, subject=address.strip().lower())
    return content


def _secrets(runtime: Runtime) -> Secrets:
    return Secrets.of(runtime.settings)


def _state(found: sync.SyncStatus) -> str:
    said = found.state.value.replace("_", " ")
    if found.state not in sync.HELD_BACK:
        return said
    until = "" if found.paused_until is None else f" until {clock(found.paused_until)}"
    by = f" by {found.paused_by}" if found.paused_by and found.state is MailboxState.PAUSED else ""
    return f"{said}{until}{by}"
