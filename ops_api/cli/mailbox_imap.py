"""`fieldpost mailbox add imap`: connect a mailbox at any IMAP server, after one try whether its login works."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from models.enums import Provider
from ops_api.cli.bells import HISTORY, ring
from ops_api.cli.options import AsJson, Data
from ops_api.cli.output import print_json
from ops_api.cli.session import begin, open_runtime
from pipeline.adapters import imap_credentials
from pipeline.adapters.gmail_credentials import GOOGLE_TOKEN_URI
from pipeline.adapters.guarded_http import Guard
from pipeline.adapters.imap import ImapSource
from pipeline.adapters.imap_connections import ImapServer
from pipeline.adapters.smtp_sending import SmtpServer
from pipeline.adapters.wiring import CREDENTIALS
from pipeline.commands.mailboxes import add_mailbox, ensure_organization
from pipeline.commands.sync import resume
from pipeline.core.imap_names import INBOX
from pipeline.runtime.errors import FieldpostError, UserError
from pipeline.runtime.secrets import Secrets
from pipeline.runtime.settings import read_settings


class Security(StrEnum):
    """How a connection is protected."""

    TLS = "tls"
    STARTTLS = "starttls"
    NONE = "none"


def add_imap(
    address: Annotated[str, typer.Argument(help="The mailbox's address.", show_default=False)],
    *,
    host: Annotated[str, typer.Option(metavar="HOST", help="The IMAP server, such as imap.example.org.")],
    port: Annotated[int | None, typer.Option(min=1, max=65_535, help="Its port; else 993, or 143 without tls.")] = None,
    security: Annotated[
        Security, typer.Option(help="How the connection is protected; none only for this machine.")
    ] = Security.TLS,
    user: Annotated[str | None, typer.Option(metavar="NAME", help="Who logs in; else the address.")] = None,
    password_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file with the password, or an app password, and no more.")
    ] = None,
    oauth: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="JSON with refresh_token, client_id, client_secret and token_uri."),
    ] = None,
    folder: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Read this folder only; may be repeated.")
    ] = None,
    smtp_host: Annotated[
        str | None, typer.Option(metavar="HOST", help="The server that takes its answers, such as smtp.example.org.")
    ] = None,
    smtp_port: Annotated[
        int | None, typer.Option(min=1, max=65_535, help="Its port; else 587, or 465 with tls.")
    ] = None,
    smtp_security: Annotated[Security, typer.Option(help="How that connection is protected.")] = Security.STARTTLS,
    org: Annotated[str, typer.Option("--org", metavar="NAME", help="Organization the mailbox belongs to.")] = "Default",
    check: Annotated[bool, typer.Option("--check/--no-check", help="Try the login first.")] = True,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Connect an IMAP mailbox, or connect it anew; reading only, unless --smtp-host lets it be answered from.

    Reconnecting skips no mail.

    Every folder with mail is read, unless --folder names some; what Gmail calls All Mail only when it is named. IMAP
    does not say whose mailbox it is: give the user of this very mailbox. Credentials are stored sealed with the secret
    key, and never given on the command line.

    Example: fieldpost mailbox add imap help@example.org --host imap.example.org --password-file password.txt

    Exit codes: 0 connected, 2 bad input, configuration or login.
    """
    cleaned = address.strip().lower()
    source = _source(host, port, security, user, folder) | _smtp(smtp_host, smtp_port, smtp_security)
    guard = Guard.of(read_settings())
    if smtp_host:
        sending = SmtpServer.read(source, cleaned)
        guard.check(sending.host, sending.port)
    credentials = _credentials(password_file, oauth)
    opened = ImapSource(cleaned, source, imap_credentials.load(credentials, guard), guard=guard)
    reading = ImapServer.read(source, cleaned)
    guard.check(reading.host, reading.port)
    if check:
        _try(opened, folder or [])
    settings, where = begin("mailbox", data)
    with open_runtime(settings, where, create=True) as runtime:
        sealed = Secrets.of(runtime.settings).seal(CREDENTIALS, cleaned, orjson.dumps(credentials))
        with runtime.db.begin() as connection:
            org_id = ensure_organization(connection, org)
            mailbox_id = add_mailbox(connection, org_id, cleaned, Provider.IMAP, source=source, credentials=sealed)
            resume(connection, mailbox_id)
        ring(runtime.settings, [HISTORY])
    if as_json:
        print_json({"mailbox": cleaned, "mailbox_id": str(mailbox_id)})
    else:
        print(f"{cleaned} is connected. Next: `fieldpost up`, then `fieldpost backfill {cleaned} --wait`")


def _source(
    host: str, port: int | None, security: Security, user: str | None, folders: list[str] | None
) -> dict[str, Any]:
    said = {"host": host.strip(), "port": port, "security": security.value, "user": user, "folders": folders}
    return {name: value for name, value in said.items() if value}


def _smtp(host: str | None, port: int | None, security: Security) -> dict[str, Any]:
    if not host:
        return {}
    said = {"host": host.strip(), "port": port, "security": security.value}
    return {"smtp": {name: value for name, value in said.items() if value}}


def _credentials(password_file: Path | None, oauth: Path | None) -> dict[str, object]:
    """Return what is sealed, from the one file that was given."""
    if password_file is not None and oauth is None:
        password = _read(password_file).rstrip("\r\n")
        if not password or "\n" in password:
            raise UserError(f"{password_file} must hold the password in one line, and no more")
        return {"type": imap_credentials.PASSWORD, "password": password}
    if oauth is not None and password_file is None:
        return _oauth(oauth)
    raise UserError("give exactly one of --password-file and --oauth")


def _oauth(path: Path) -> dict[str, object]:
    try:
        found = orjson.loads(_read(path))
    except orjson.JSONDecodeError as error:
        raise UserError(f"{path} is no JSON file: {error}") from error
    if not isinstance(found, Mapping):
        raise UserError(f"{path} holds no credentials: a JSON object is expected")
    # A file that gcloud wrote may leave its token address out: it is Google's.
    known = {"token_uri": GOOGLE_TOKEN_URI} if found.get("type") == "authorized_user" else {}
    names = ("refresh_token", "client_id", "client_secret", "token_uri")
    return {"type": imap_credentials.OAUTH, **known, **{name: found[name] for name in names if name in found}}


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text in UTF-8") from error


def _try(source: ImapSource, wanted: list[str]) -> None:
    """Log in once and look at the folders; `UserError` says why the mailbox was not connected."""
    try:
        there = {label.label_id for label in source.labels()}
    except FieldpostError as error:
        raise UserError(f"the mailbox was not connected: {error}; --no-check connects it untried") from error
    finally:
        source.close()
    absent = [name for name in wanted if name not in there and not (name.upper() == INBOX and INBOX in there)]
    if absent:
        raise UserError(f"the server has no folder {', '.join(map(repr, absent))} that can be opened")
