"""Workers that die at every step of a send: no mail is lost, and none leaves twice."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import text

from models.enums import OutboundKind, Provider
from pipeline.adapters.wiring import CREDENTIALS
from pipeline.commands import mailboxes
from pipeline.runtime import ledger, outgoing
from pipeline.runtime.db import Database
from pipeline.runtime.secrets import Secrets, SignedReplyTokens
from pipeline.runtime.settings import Settings
from tests import factories
from tests.faults.failpoints import STAGE_STEPS, Action, Fate, Plan, points
from tests.faults.forked import Forked, forked
from tests.gmail_server.faults import FaultKind
from tests.gmail_server.server import GmailServer
from tests.imap_server import Box, ImapServer, imap_server
from tests.passing_time import let_time_pass
from tests.smtp_server import HOST, PASSWORD, Post, smtp_server
from tests.worker_process import until

pytestmark = pytest.mark.faults

ADDRESS = "support@example.org"
#: Every step of the stage, both ends of the call, and the moment after the commit in which nobody was told.
DEATHS = (*points([step for step in STAGE_STEPS if step.name.startswith("stage.send.")]), "send.report.before")


class Desk:
    """One mailbox that answers, and what its provider took."""

    def __init__(self, db: Database, settings: Settings, provider: Provider, source: Any, credentials: bytes) -> None:
        self.db = db
        self._secrets = Secrets.of(settings)
        with db.begin() as connection:
            self.org_id = mailboxes.ensure_organization(connection, "Acme")
            sealed = self._secrets.seal(CREDENTIALS, ADDRESS, credentials)
            self.mailbox_id = mailboxes.add_mailbox(
                connection, self.org_id, ADDRESS, provider, source=source, credentials=sealed
            )
            self.identity_id = factories.identity(connection, self.org_id, self.mailbox_id, ADDRESS)
            self.ticket_id = factories.ticket(connection, self.org_id)

    def answer(self) -> str:
        """Mean to answer; return the Message-ID."""
        intent = outgoing.Intent(
            self.org_id, self.ticket_id, self.identity_id, OutboundKind.REPLY, ["ann@customer.example"], "Re: It",
            "We come tomorrow.", "bo",
        )  # fmt: skip
        with self.db.begin() as connection:
            found = outgoing.intend(connection, SignedReplyTokens(self._secrets), intent)
            assert found.step is not None
            ledger.put(connection, [found.step])
        return outgoing.message_id_of(found.outbound_id, ADDRESS)

    def states(self) -> dict[str, int]:
        """Count the messages by state."""
        return dict(self._rows("SELECT state, count(*) FROM outbound GROUP BY state"))

    def pending(self) -> int:
        """Return how many messages may still be sent by somebody."""
        return sum(count for state, count in self.states().items() if state in {"queued", "sending"})

    def finish(self) -> None:
        """Let time pass until the fate of every message is known."""

        def is_over() -> bool:
            let_time_pass(self.db)
            return not self.pending()

        until(is_over, "the fate of every message")
        until(lambda: not self._rows("SELECT id FROM jobs WHERE stage = 'send'"), "the end of the jobs")

    def told(self) -> dict[str, int]:
        """Count what the tickets' histories say of messages."""
        found = "SELECT kind, count(*) FROM events WHERE kind LIKE 'outbound.%' GROUP BY kind"
        return dict(self._rows(found))

    def _rows(self, statement: str) -> list[Any]:
        with self.db.begin() as connection:
            result = connection.execute(text(statement))
            return [tuple(row) for row in result] if result.returns_rows else []


@pytest.fixture
def workers(settings: Settings, tmp_path: Path) -> Iterator[Forked]:
    """Return no workers yet; those that the test starts end with it."""
    with forked(settings, tmp_path) as found:
        yield found


@pytest.fixture
def gmail() -> Iterator[GmailServer]:
    """A Gmail of this test's own."""
    with GmailServer(seed=1) as found:
        yield found


@pytest.fixture
def desk(gmail: GmailServer, db: Database, settings: Settings, tmp_path: Path) -> Desk:
    """A mailbox at Gmail."""
    content = gmail.authorized_user_file(tmp_path / "credentials.json", ADDRESS).read_bytes()
    return Desk(db, settings, Provider.GMAIL, {"endpoint": gmail.url}, content)


@pytest.fixture
def post() -> Iterator[Post]:
    """An SMTP server of this test's own."""
    with smtp_server() as found:
        yield found


@pytest.fixture
def imap() -> Iterator[ImapServer]:
    """The IMAP server beside it, with a folder of sent mail."""
    with imap_server() as found:
        found.boxes["Sent"] = Box(attributes="\\HasNoChildren \\Sent")
        yield found


@pytest.fixture
def office(post: Post, imap: ImapServer, db: Database, settings: Settings) -> Desk:
    """A mailbox that is read by IMAP and answered from by SMTP."""
    place = {"host": HOST, "security": "none"}
    source = {**place, "port": imap.port, "smtp": {**place, "port": post.port}}
    return Desk(db, settings, Provider.IMAP, source, orjson.dumps({"type": "imap_password", "password": PASSWORD}))


def taken(gmail: GmailServer) -> list[str]:
    """Return the Message-ID of every mail that Gmail took."""
    return sorted(one.rfc_id for one in gmail.mailbox(ADDRESS).messages.values())


def die(workers: Forked, folder: Path, point: str) -> None:
    """Let a worker die at a failpoint."""
    flag = folder / f"{point}-flag"
    flag.touch()
    victim = workers.follow(Plan({point: Fate(Action.KILL)}, flag=flag))
    until(lambda: victim.poll() is not None, f"a death at {point}")
    assert not flag.exists()


@pytest.mark.fault("F-03", "F-04")
def test_a_death_at_every_step_of_a_send_through_gmail_loses_and_doubles_nothing(
    desk: Desk, gmail: GmailServer, workers: Forked, tmp_path: Path
) -> None:
    meant = []
    for point in (*DEATHS, "gmail.send.before", "gmail.send.after"):
        meant.append(desk.answer())
        die(workers, tmp_path, point)
        workers.keep(1)
        desk.finish()
        workers.kill(workers.running()[0])
    assert taken(gmail) == sorted(meant)
    assert desk.states() == {"sent": len(meant)}
    assert desk.told() == {"outbound.queued": len(meant), "outbound.sent": len(meant)}


@pytest.mark.fault("F-03")
@pytest.mark.parametrize("kind", [FaultKind.SLOW, FaultKind.SLOW_BODY])
def test_a_death_while_gmail_holds_its_answer_loses_and_doubles_nothing(
    desk: Desk, gmail: GmailServer, workers: Forked, kind: FaultKind
) -> None:
    number = gmail.faults.add(kind, method="messages.send", delay=600, bytes_per_second=1)
    meant = desk.answer()
    workers.keep(1)
    until(lambda: taken(gmail), "Gmail to take the mail")
    workers.kill(workers.running()[0])
    gmail.faults.remove(number)
    assert desk.states() == {"sending": 1}
    workers.keep(1)
    desk.finish()
    assert (taken(gmail), desk.states()) == ([meant], {"sent": 1})


def test_answers_that_are_lost_again_and_again_double_nothing(desk: Desk, gmail: GmailServer, workers: Forked) -> None:
    for kind in (FaultKind.LOST_REPLY, FaultKind.RESET, FaultKind.ERROR_503):
        gmail.faults.add(kind, method="messages.send", times=8, share=0.5)
    meant = [desk.answer() for _ in range(20)]
    workers.keep(2)
    desk.finish()
    assert taken(gmail) == sorted(meant)
    assert desk.states() == {"sent": 20}


@pytest.mark.fault("F-13")
@pytest.mark.parametrize(
    ("point", "changes"),
    [
        ("gmail.send.before", ("short_lease",)),
        ("stage.send.work.before", ("short_lease",)),
        ("gmail.send.before", ("short_lease", "unbounded")),
    ],
)
def test_a_worker_that_froze_with_a_mail_in_its_hands_does_not_send_it_late(
    desk: Desk, gmail: GmailServer, workers: Forked, tmp_path: Path, *, point: str, changes: tuple[str, ...]
) -> None:
    """The last worker is a mutation without the limit: it must be seen to send twice."""
    flag = tmp_path / "flag"
    flag.touch()
    meant = desk.answer()
    frozen = workers.follow(Plan({point: Fate(Action.STOP)}, changes, flag))
    until(lambda: workers.is_frozen(frozen), "the worker to freeze")
    other = workers.start()
    desk.finish()
    assert taken(gmail) == [meant]
    workers.kill(other)
    frozen.send_signal(signal.SIGCONT)
    until(lambda: workers.has_said(frozen, "fence.refused"), "the frozen worker to be refused")
    assert len(taken(gmail)) == (2 if "unbounded" in changes else 1)
    assert desk.states() == {"sent": 1}


def test_a_death_at_every_step_of_a_send_by_smtp_doubles_nothing_and_loses_nothing_silently(
    office: Desk, post: Post, workers: Forked, tmp_path: Path
) -> None:
    fates: dict[str, tuple[str, int]] = {}
    for point in (*DEATHS, "smtp.send.before", "smtp.send.after"):
        meant = office.answer()
        before = office.states()
        die(workers, tmp_path, point)
        workers.keep(1)
        office.finish()
        workers.kill(workers.running()[0])
        (state,) = (state for state, count in office.states().items() if count > before.get(state, 0))
        fates[point] = state, post.message_ids().count(meant)
    assert fates == {
        # Nothing was marked, so nothing can have left.
        "stage.send.load.before": ("sent", 1),
        "stage.send.load.after": ("sent", 1),
        "stage.send.work.before": ("unknown", 0),
        "smtp.send.before": ("unknown", 0),
        "smtp.send.after": ("unknown", 1),
        "stage.send.work.after": ("unknown", 1),
        "stage.send.save.before": ("unknown", 1),
        "stage.send.save.after": ("unknown", 1),
        "send.report.before": ("sent", 1),
    }
    assert office.told() == {"outbound.queued": 9, "outbound.sent": 3, "outbound.unknown": 6}


@pytest.mark.parametrize("is_filed", [True, False])
def test_a_death_while_the_smtp_server_holds_its_answer_doubles_nothing(
    office: Desk, post: Post, imap: ImapServer, workers: Forked, *, is_filed: bool
) -> None:
    with ExitStack() as stack:
        post.hold = threading.Event()
        post.hold.set()
        stack.callback(post.hold.clear)
        meant = office.answer()
        workers.keep(1)
        until(post.held.is_set, "the server to take the mail")
        workers.kill(workers.running()[0])
    if is_filed:
        imap.boxes["Sent"].add("copy", post.accepted[0].raw)
    workers.keep(1)
    office.finish()
    assert post.message_ids() == [meant]
    assert office.states() == {"sent" if is_filed else "unknown": 1}
