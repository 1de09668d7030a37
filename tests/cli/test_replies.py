"""Answering by hand: `reply`, `identity` and `outbound`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from models.enums import Provider
from pipeline.adapters.wiring import CREDENTIALS
from pipeline.commands.mailboxes import add_mailbox, ensure_organization
from pipeline.runtime.db import Database
from pipeline.runtime.secrets import Secrets
from pipeline.runtime.settings import Settings
from tests import factories
from tests.cli.conftest import Command
from tests.engine import Engine
from tests.gmail_server.samples import mail
from tests.gmail_server.server import GmailServer

ADDRESS = "support@example.org"
TEXT = ("--text", "We come tomorrow.")


@pytest.fixture
def gmail() -> Iterator[GmailServer]:
    with GmailServer(seed=1) as found:
        yield found


@pytest.fixture
def mailbox_id(gmail: GmailServer, served: Settings, db: Database, tmp_path: Path) -> UUID:
    """A mailbox at Gmail with one mail, connected."""
    gmail.mailbox(ADDRESS).add(mail(message_id="<q@example.org>", sender="Ann <ann@customer.example>"))
    content = gmail.authorized_user_file(tmp_path / "user.json", ADDRESS).read_bytes()
    with db.begin() as connection:
        org_id = ensure_organization(connection, "Acme")
        sealed = Secrets.of(served).seal(CREDENTIALS, ADDRESS, content)
        source = {"endpoint": gmail.url}
        return add_mailbox(connection, org_id, ADDRESS, Provider.GMAIL, source=source, credentials=sealed)


@pytest.fixture
def engine(db: Database, served: Settings) -> Iterator[Engine]:
    with Engine(db, served) as found:
        yield found


@pytest.fixture
def ticket(fieldpost: Command, mailbox_id: UUID, engine: Engine, db: Database) -> str:
    """The code of the ticket that the mail opened."""
    assert fieldpost("backfill", ADDRESS).code == 0
    engine.run()
    found: str = factories.value(db, "SELECT code FROM tickets")
    return found


@pytest.fixture
def allowed(fieldpost: Command, mailbox_id: UUID) -> None:
    assert fieldpost("identity", "add", ADDRESS, "--mailbox", ADDRESS, "--name", "Support").code == 0


@pytest.mark.usefixtures("allowed")
def test_an_answer_goes_to_who_wrote_and_comes_back_as_one_message(
    fieldpost: Command, ticket: str, engine: Engine, gmail: GmailServer, db: Database
) -> None:
    queued = fieldpost("reply", ticket, *TEXT, "--json")
    assert queued.code == 0
    assert {name: queued.json[name] for name in ("state", "ticket", "from", "to")} == {
        "state": "queued", "ticket": ticket, "from": ADDRESS, "to": "ann@customer.example",
    }  # fmt: skip
    engine.run()
    (sent,) = [one for one in gmail.mailbox(ADDRESS).messages.values() if "SENT" in one.labels]
    assert (sent.recipients, sent.subject) == ("ann@customer.example", "Re: Pump 7 leaks")
    assert fieldpost("history", ADDRESS).code == 0
    engine.run()
    assert factories.value(db, "SELECT count(*) FROM messages") == 2
    assert factories.value(db, "SELECT count(*) FROM occurrences WHERE state = 'routed'") == 2
    assert factories.value(db, "SELECT count(*) FROM tickets") == 1
    answered = fieldpost("outbound", "show", queued.json["outbound_id"], "--json")
    assert answered.json["state"] == "sent"


@pytest.mark.usefixtures("allowed")
def test_the_customers_answer_comes_back_to_the_ticket_and_opens_it_again(
    fieldpost: Command, ticket: str, engine: Engine, gmail: GmailServer, db: Database
) -> None:
    fieldpost("reply", ticket, *TEXT)
    engine.run()
    (sent,) = [one for one in gmail.mailbox(ADDRESS).messages.values() if "SENT" in one.labels]
    factories.rows(db, "UPDATE tickets SET status = 'closed', closed_at = now()")
    reply_to = next(line for line in sent.raw.decode().split("\r\n") if "+tkt-" in line).split("<")[1].strip(">")
    gmail.mailbox(ADDRESS).add(mail("Thanks", sender="Ann <ann@private.example>", to=reply_to, message_id="<a@x.org>"))
    gmail.mailbox(ADDRESS).add(
        mail("Re: Pump 7 leaks", sender="Ann <ann@customer.example>", in_reply_to=sent.rfc_id, message_id="<b@x.org>")
    )
    fieldpost("history", ADDRESS)
    engine.run()
    assert factories.value(db, "SELECT count(*) FROM tickets") == 1
    assert factories.value(db, "SELECT status FROM tickets") == "open"
    reasons = factories.rows(db, "SELECT reason FROM ticket_messages ORDER BY reason")
    assert [row.reason for row in reasons] == ["in_reply_to", "new_ticket", "outbound_send", "reply_token"]


@pytest.mark.usefixtures("allowed")
def test_a_reply_with_a_key_is_one_reply(fieldpost: Command, ticket: str, db: Database, tmp_path: Path) -> None:
    file = tmp_path / "answer.txt"
    file.write_text("We come tomorrow.\n")
    first = fieldpost("reply", ticket, *TEXT, "--key", "morning", "--json").json
    second = fieldpost("reply", ticket, "--file", file, "--key", "morning", "--json").json
    assert first["outbound_id"] == second["outbound_id"]
    assert factories.value(db, "SELECT count(*) FROM outbound") == 1
    refused = fieldpost("reply", ticket, "--text", "We do not.", "--key", "morning")
    assert (refused.code, "new key" in refused.err) == (2, True)


@pytest.mark.usefixtures("allowed")
def test_to_copies_and_subject_can_be_said(fieldpost: Command, ticket: str, db: Database) -> None:
    options = ("--to", "bob@b.example", "--to", "eve@e.example", "--cc", "boss@b.example", "--subject", "Hello")
    assert fieldpost("reply", ticket, *TEXT, *options).code == 0
    roles = factories.rows(
        db, "SELECT role, address FROM message_addresses a JOIN outbound b USING (message_id) ORDER BY role, position"
    )
    assert [tuple(row) for row in roles if row.role in {"to", "cc"}] == [
        ("cc", "boss@b.example"), ("to", "bob@b.example"), ("to", "eve@e.example"),
    ]  # fmt: skip


def test_without_a_worker_waiting_ends_with_1(fieldpost: Command, ticket: str, allowed: None) -> None:
    result = fieldpost("reply", ticket, *TEXT, "--wait", "--timeout", "1")
    assert (result.code, "no worker is alive" in result.err) == (1, True)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (("reply", "tkt-nothing", *TEXT), "there is no ticket"),
        (("reply", "TICKET"), "exactly one of --text and --file"),
        (("reply", "TICKET", *TEXT, "--file", "x"), "exactly one of --text and --file"),
        (("reply", "TICKET", "--file", "nowhere.txt"), "cannot be read"),
        (("reply", "TICKET", *TEXT, "--from", "other@example.org"), "may not be written from"),
        (("reply", "TICKET", *TEXT, "--to", "nobody"), "no mail address"),
        (("reply", "TICKET", "--text", " "), "a body has"),
        (("outbound", "show", "7"), "no id of an outbound message"),
        (("outbound", "show", str(uuid4())), "there is no outbound message"),
        (("outbound", "retry", str(uuid4())), "there is no outbound message"),
        (("outbound", "settle", str(uuid4())), "say --sent"),
        (("identity", "add", "x@y.example", "--mailbox", "nobody@example.org"), "unknown mailbox"),
        (("identity", "add", "nobody", "--mailbox", ADDRESS), "no mail address"),
        (("identity", "verify", "nobody@example.org"), "is unknown"),
    ],
)
@pytest.mark.usefixtures("allowed")
def test_what_cannot_be_is_told_in_a_line(fieldpost: Command, ticket: str, line: tuple[str, ...], said: str) -> None:
    result = fieldpost(*(ticket if word == "TICKET" else word for word in line))
    assert (result.code, said in result.err) == (2, True), result.err
    assert len(result.err.strip().splitlines()) == 1


@pytest.mark.usefixtures("allowed")
def test_a_person_decides_what_got_stuck(fieldpost: Command, ticket: str, db: Database) -> None:
    outbound_id = fieldpost("reply", ticket, *TEXT, "--json").json["outbound_id"]
    assert fieldpost("outbound", "cancel", outbound_id, "--json").json == {
        "outbound_id": outbound_id, "state": "cancelled",
    }  # fmt: skip
    factories.rows(db, "UPDATE outbound SET state = 'unknown', last_error = 'its answer was lost'")
    shown = fieldpost("outbound", "list", "--state", "unknown").out
    assert outbound_id in shown
    assert "its answer was lost" in shown
    assert "settle" in fieldpost("outbound", "show", outbound_id).out
    assert fieldpost("outbound", "retry", outbound_id).code == 0
    factories.rows(db, "UPDATE outbound SET state = 'unknown'")
    assert fieldpost("outbound", "settle", outbound_id, "--sent").code == 0
    again = fieldpost("outbound", "settle", outbound_id, "--sent")
    assert (again.code, "only one that is unknown" in again.err) == (2, True)
    kinds = factories.rows(db, "SELECT kind FROM events WHERE kind LIKE 'outbound.%' ORDER BY id")
    assert [row.kind for row in kinds] == [
        "outbound.queued", "outbound.cancelled", "outbound.retried", "outbound.sent",
    ]  # fmt: skip


@pytest.mark.usefixtures("allowed")
@pytest.mark.parametrize(
    ("job", "shown", "what"),
    [
        ("state = 'dead', last_error = '{\"text\": \"a defect\"}'", "dead: a defect", "dead letter"),
        ("state = 'blocked'", "blocked", "mended"),
        (None, "missing", "missing"),
    ],
)
@pytest.mark.parametrize("state", ["queued", "sending"])
def test_a_message_that_no_job_will_send_says_so(  # noqa: PLR0917
    fieldpost: Command, ticket: str, db: Database, state: str, job: str | None, shown: str, what: str
) -> None:
    outbound_id = fieldpost("reply", ticket, *TEXT, "--json").json["outbound_id"]
    factories.rows(db, "UPDATE outbound SET state = :state, handed_over_at = now() - interval '1 hour'", state=state)
    factories.rows(db, f"UPDATE jobs SET {job} WHERE stage = 'send'" if job else "DELETE FROM jobs")
    said = " ".join(fieldpost("outbound", "show", outbound_id).out.split())
    assert f"job {shown}" in said
    assert what in said
    assert ("settle ID --sent" in said) == (state == "sending")
    assert fieldpost("outbound", "show", outbound_id, "--json").json["job_state"] == (
        shown.partition(":")[0] if job else None
    )
    if state == "sending":
        assert fieldpost("outbound", "settle", outbound_id, "--sent").code == 0


def test_addresses_are_proved_by_gmail(fieldpost: Command, mailbox_id: UUID, gmail: GmailServer, db: Database) -> None:
    gmail.mailbox(ADDRESS).send_as = {"sales@example.org": "accepted", "new@example.org": "pending"}
    for address in (ADDRESS, "sales@example.org", "new@example.org", "evil@other.example"):
        assert fieldpost("identity", "add", address, "--mailbox", ADDRESS).code == 0
    states = {one["from_email"]: one["status"] for one in fieldpost("identity", "list", "--json").json}
    assert states == {
        ADDRESS: "verified", "sales@example.org": "pending", "new@example.org": "pending",
        "evil@other.example": "pending",
    }  # fmt: skip
    codes = [fieldpost("identity", "verify", address).code for address in states]
    assert dict(zip(states, codes, strict=True)) == {
        ADDRESS: 0, "sales@example.org": 0, "new@example.org": 1, "evil@other.example": 1,
    }  # fmt: skip
    assert fieldpost("identity", "disable", "sales@example.org", "--json").json["is_enabled"] is False
    assert "disabled" in fieldpost("identity", "list").out
    assert fieldpost("identity", "enable", "sales@example.org").code == 0
    # To add it again changes its name, and what was proved stays so.
    assert fieldpost("identity", "add", "sales@example.org", "--mailbox", ADDRESS, "--name", "Sales").code == 0
    (sales,) = factories.rows(db, "SELECT * FROM send_identities WHERE from_email = 'sales@example.org'")
    assert (sales.status, sales.display_name) == ("verified", "Sales")


def test_by_smtp_a_person_answers_for_an_address_and_is_remembered(
    fieldpost: Command, served: Settings, db: Database, tmp_path: Path
) -> None:
    password = tmp_path / "password.txt"
    password.write_text("secret\n")
    place = ("--host", "imap.example.org", "--password-file", password, "--no-check")
    add = ("mailbox", "add", "imap", "desk@example.org")
    assert fieldpost(*add, *place).code == 0
    refused = fieldpost("identity", "add", "desk@example.org", "--mailbox", "desk@example.org")
    assert (refused.code, "--smtp-host" in refused.err) == (2, True)
    assert fieldpost(*add, *place, "--smtp-host", "smtp.example.org", "--smtp-security", "none").code == 2
    assert fieldpost(*add, *place, "--smtp-host", "smtp.example.org").code == 0
    assert fieldpost("identity", "add", "sales@example.org", "--mailbox", "desk@example.org").code == 0
    unsure = fieldpost("identity", "verify", "sales@example.org")
    assert (unsure.code, "--assume-verified" in unsure.err) == (2, True)
    assert fieldpost("identity", "verify", "sales@example.org", "--assume-verified").code == 0
    (event,) = factories.rows(db, "SELECT * FROM events WHERE kind = 'identity.verified'")
    assert event.data == {"address": "sales@example.org", "by": "assumed"}
    assert event.actor != "system"
