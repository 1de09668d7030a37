"""A box that is lost after its backup: restored elsewhere, it has every mail once, and nothing is sent twice."""

from __future__ import annotations

import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from random import Random
from uuid import UUID

import orjson
import pytest
from sqlalchemy import text

from deploy.local.backup import take
from deploy.local.backup_folder import BackupFolder
from deploy.local.binaries import find_postgres
from deploy.local.layout import DataDir
from deploy.local.restore import Restored, restore
from models.enums import OutboundKind
from pipeline.adapters.blobs import open_blob_store
from pipeline.core.composing import PROOF_HEADER
from pipeline.runtime import ledger, outgoing
from pipeline.runtime.secrets import Secrets, SignedReplyTokens
from tests import conservation, factories
from tests.faults.machines import Machine, short_folder
from tests.flow.gmail_box import ADDRESS, LONG_AGO, GmailBox
from tests.gmail_server.server import GmailServer
from tests.gmail_server.state import Message
from tests.passing_time import let_time_pass
from tests.worker_process import WorkerProcesses, until, worker_processes

pytestmark = pytest.mark.fault("F-60")

_SEED = 60
_FIRST_ID = 1_000_000_000


class Story:
    """What happens around one mailbox at Gmail while machines come and go."""

    def __init__(self, gmail: GmailServer, machine: Machine, folder: Path) -> None:
        self.gmail, self.chance = gmail, Random(_SEED)
        self.box = GmailBox(gmail, machine.db, machine.settings, folder)
        self.tokens = SignedReplyTokens(Secrets.of(machine.settings))
        with machine.db.begin() as connection:
            self.org_id: UUID = connection.execute(text("SELECT id FROM organizations")).scalar_one()
            values = {"policy": orjson.dumps({"acknowledge": True}).decode()}
            connection.execute(text("UPDATE organizations SET policy = CAST(:policy AS jsonb)"), values)
            self.identity_id = factories.identity(connection, self.org_id, self.box.mailbox_id, ADDRESS)

    def answer(self, machine: Machine, *, later: bool = False) -> str:
        """Mean to answer the newest ticket, at once or when its job is hastened; return the Message-ID."""
        newest = "SELECT t.id FROM tickets t WHERE t.status <> 'merged' ORDER BY t.created_at DESC LIMIT 1"
        with machine.db.begin() as connection:
            intent = outgoing.Intent(
                self.org_id, connection.execute(text(newest)).scalar_one(), self.identity_id, OutboundKind.REPLY,
                ["ann@customer.example"], "Re: It", "We come tomorrow.", "bo",
            )  # fmt: skip
            found = outgoing.intend(connection, self.tokens, intent)
            assert found.step is not None
            ledger.put(connection, [found.step.after(timedelta(hours=1)) if later else found.step])
        return outgoing.message_id_of(found.outbound_id, ADDRESS)

    def write(self, number: int, person: int | None = None, **headers: str) -> str:
        """Let a person, of the same number if nothing is said, write live mail; return the provider's id."""
        mail, person = EmailMessage(policy=policy.SMTP), number if person is None else person
        mail["From"], mail["To"] = f"live{person}@customer{person}.example", headers.pop("To", ADDRESS)
        mail["Subject"], mail["Message-ID"] = f"Broken pump {number}", f"<live{number}@customer.example>"
        for name, value in headers.items():
            mail[name.replace("_", "-")] = value
        mail.set_content(f"Pump {number} is broken.")
        return self.box.box.add(mail.as_bytes())

    def sent(self) -> list[Message]:
        """Return what Gmail took from us."""
        return [one for one in list(self.box.box.messages.values()) if "SENT" in one.labels]

    def told(self) -> dict[str, list[Message]]:
        """Return the automatic answers that Gmail took, by the Message-ID that they answer."""
        found: dict[str, list[Message]] = {}
        for one in self.sent():
            mail = message_from_bytes(one.raw)
            if mail["Auto-Submitted"]:
                found.setdefault(mail["In-Reply-To"], []).append(one)
        return found

    def catch_up(self, machine: Machine) -> None:
        """Let time pass until the mailbox is mirrored, all mail is sent, and no job is left."""
        self.box.db = machine.db
        open_mail = "SELECT count(*) FROM outbound WHERE state NOT IN ('sent', 'cancelled')"
        known = "SELECT count(*) FROM occurrences WHERE state = 'routed'"

        def is_done() -> bool:
            let_time_pass(machine.db)
            everything = machine.count(known) == len(self.box.box.ids())
            return everything and not machine.count(open_mail) and not self.box.pending()

        until(is_done, "the mailbox to be caught up with")

    def violations(self, machine: Machine) -> list[str]:
        """Return every broken invariant: over all mail of the mailbox, and what Gmail was given."""
        assert machine.settings.blob_url is not None
        served = {one.id: one.sha256 for one in self.box.box.messages.values()}
        blobs = open_blob_store(machine.settings.blob_url)
        with machine.db.begin() as connection:
            broken = conservation.check(connection, self.box.mailbox_id, served, served=served, blobs=blobs)
        mails = [message_from_bytes(one.raw) for one in self.sent()]
        for name in ("Message-ID", PROOF_HEADER):
            doubled = [value for value, times in Counter(mail[name] for mail in mails).items() if times > 1]
            broken += [f"sent twice: {value}" for value in doubled]
        return broken + [f"told twice: {asked}" for asked, mails in self.told().items() if len(mails) > 1]


@contextmanager
def arriving(story: Story, first: int) -> Iterator[list[int]]:
    """Let live mail arrive all the time during the block; gives the numbers of those that came."""
    came: list[int] = []
    over = threading.Event()

    def arrive() -> None:
        while not over.wait(0.1):
            story.write(first + len(came))
            came.append(first + len(came))

    thread = threading.Thread(target=arrive)
    thread.start()
    try:
        yield came
    finally:
        over.set()
        thread.join()


@pytest.fixture
def gmail() -> Iterator[GmailServer]:
    """A Gmail of this test's own."""
    with GmailServer(seed=_SEED) as found:
        yield found


def lose_and_restore(gmail: GmailServer, folder: Path, old_mails: int, live_mails: int) -> None:
    """Run the whole drill in `folder` and check its end; prints what it took."""
    machine = Machine(folder / "a")
    story = Story(gmail, machine, folder)
    story.box.arrive(old_mails, story.chance, at=LONG_AGO)
    target = BackupFolder.at(folder / "backup")
    with worker_processes(machine.settings, folder) as workers:
        workers.keep(1)
        story.box.backfill()
        until(lambda: machine.count("SELECT count(*) FROM tickets"), "the first tickets")
        late = story.answer(machine, later=True)
        with arriving(story, 1) as came:
            until(lambda: len(came) > 2, "live mail")
            began = time.monotonic()
            copy = take(machine.origin, target, keep=2)
            took = time.monotonic() - began
        queued = machine.count("SELECT count(*) FROM outbound WHERE state = 'queued'")
        after = go_on(story, machine, late, range(1000, 1000 + live_mails))
        for child in workers.running():
            workers.kill(child)
    machine.close()
    shutil.rmtree(machine.folder)
    before = {one.id for one in story.sent()}
    assert queued >= 1
    done, seconds = restored(target, folder / "b")
    assert done.settled.doubtful
    box = Machine(folder / "b")
    try:
        with worker_processes(box.settings, folder) as workers:
            finish(story, box, workers)
        verify(story, box, [late, after], before)
    finally:
        box.close()
    print(f"backup {took:.1f} s of {copy.size // 1_000_000} MB, restore {seconds:.1f} s, {len(before)} sent")


def go_on(story: Story, machine: Machine, late: str, numbers: range) -> str:
    """Let the world go on after the backup: more mail, answered automatically; both replies leave."""
    for number in numbers:
        story.write(number)
    wanted = {f"<live{number}@customer.example>" for number in numbers}
    until(lambda: wanted <= story.told().keys(), "the last mails to be answered")
    after = story.answer(machine)
    with machine.db.begin() as connection:
        connection.execute(text("UPDATE jobs SET run_at = now() WHERE stage = 'send' AND state = 'waiting'"))
    until(lambda: {late, after} <= {one.rfc_id for one in story.sent()}, "both replies to leave")
    return after


def restored(target: BackupFolder, folder: Path) -> tuple[Restored, float]:
    """Restore the newest copy; return how it went, and how many seconds it took."""
    began = time.monotonic()
    done = restore(target, DataDir.at(folder), find_postgres(), durable=False)
    return done, time.monotonic() - began


def finish(story: Story, box: Machine, workers: WorkerProcesses) -> None:
    """Let workers catch up, with new mail coming, one of it to the signed address of a ticket that is lost."""
    lost = message_from_bytes(story.told()["<live1000@customer.example>"][0].raw)
    workers.keep(1)
    story.write(5000, 1000, To=str(lost["Reply-To"]), In_Reply_To=str(lost["Message-ID"]))
    story.catch_up(box)


def verify(story: Story, box: Machine, meant: list[str], before: set[str]) -> None:
    """Fail unless all is there once, and nothing that had left has left again."""
    assert story.violations(box) == []
    taken = Counter(one.rfc_id for one in story.sent())
    assert [taken[one] for one in meant] == [1, 1]
    # Only mail of after the restore is answered automatically.
    fresh = [message_from_bytes(one.raw) for one in story.sent() if one.id not in before]
    assert {mail["In-Reply-To"] for mail in fresh} <= {"<live5000@customer.example>"}
    # The answer to a signed address of a lost ticket stands with what it answers.
    same = """
        SELECT count(DISTINCT l.ticket_id) FROM ticket_messages l JOIN messages m ON m.id = l.message_id
         WHERE m.rfc_message_id IN ('<live1000@customer.example>', '<live5000@customer.example>')
    """
    assert box.count(same) == 1
    assert box.count("SELECT min(id) FROM messages WHERE rfc_message_id = '<live1000@customer.example>'") > _FIRST_ID
    assert box.count("SELECT count(*) FROM events WHERE kind = 'installation.restored'") == 1


def test_a_lost_box_is_restored_with_every_mail_once_and_nothing_sent_twice(gmail: GmailServer) -> None:
    with short_folder() as folder:
        lose_and_restore(gmail, folder, old_mails=60, live_mails=2)


@pytest.mark.soak
def test_a_lost_box_with_much_mail_is_restored_with_every_mail_once(gmail: GmailServer) -> None:
    with short_folder() as folder:
        lose_and_restore(gmail, folder, old_mails=5_000, live_mails=100)
