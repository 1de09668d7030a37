"""A mailbox's life at random beside the engine that mirrors it, and the model that says what the mirror must show."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from sqlalchemy import Connection

from models.enums import ReconcileScope
from pipeline.adapters.wiring import CREDENTIALS
from pipeline.commands import reconcile, sync
from pipeline.core.labels import is_ignored
from pipeline.ports import MailboxRef
from pipeline.runtime.db import Database
from pipeline.runtime.errors import UserError
from pipeline.runtime.mailboxes import load_mailboxes
from pipeline.runtime.secrets import Secrets
from pipeline.runtime.settings import Settings
from tests import factories
from tests.engine import Engine
from tests.flow.gmail_box import ADDRESS, GmailBox
from tests.gmail_server.faults import FaultKind
from tests.gmail_server.server import GmailServer

#: What a provider may answer now and then. None of them may lose anything.
FAULTS = (
    FaultKind.RATE_LIMIT_403, FaultKind.USER_RATE_LIMIT_403, FaultKind.RATE_LIMIT_429, FaultKind.CONCURRENT_429,
    FaultKind.BANDWIDTH_429, FaultKind.DAILY_LIMIT_403, FaultKind.ERROR_500, FaultKind.ERROR_502, FaultKind.ERROR_503,
    FaultKind.ERROR_504, FaultKind.RESET, FaultKind.LOST_REPLY, FaultKind.CUT_BODY, FaultKind.TRUNCATED_JSON,
    FaultKind.WRONG_BASE64, FaultKind.SUSPENDED_400, FaultKind.UNAUTHENTICATED_401, FaultKind.EMPTY_HISTORY_PAGE,
    FaultKind.DUPLICATED_HISTORY, FaultKind.HISTORY_EXPIRED, FaultKind.PAGE_TOKEN_EXPIRED,
)  # fmt: skip
_LABELS = ("STARRED", "UNREAD", "IMPORTANT", "INBOX", "SPAM", "TRASH", "Label_1")
_ENDED = {"routed", "gone", "ignored"}
#: Rounds in which a mailbox must come to rest once nothing disturbs it any more.
_ROUNDS = 40


class MailboxLife:
    """One mailbox at the server, the engine that reads it, and the steps of their lives; each draws by its `chance`."""

    #: The steps; what happens often stands here several times.
    RULES = (
        "arrive", "arrive_many", "arrive_with_an_old_date", "delete", "label", "move", "run_a_little", "poll", "die",
        "fail", "expire_history", "expire_page_tokens", "list_all", "compare", "pause", "resume", "pass_time",
    )  # fmt: skip

    def __init__(self, server: GmailServer, db: Database, settings: Settings, folder: Path) -> None:
        self.server, self.db = server, db
        self.gmail = GmailBox(server, db, settings, folder)
        self.box, self.mailbox_id = self.gmail.box, self.gmail.mailbox_id
        self.box.create_label("Projects")
        self.engine = Engine(db, settings)
        self.bytes: dict[str, str] = {}

    def begin(self) -> None:
        """An operator asks for a listing of everything: from now on every id is promised."""
        with self.db.begin() as connection:
            sync.request_backfill(connection, self.mailbox_id)

    def close(self) -> None:
        """Let go of the engine."""
        self.engine.ports.sources.close()

    def arrive(self, chance: Random) -> None:
        """A mail arrives, perhaps as spam or a draft."""
        labels = chance.choices([("INBOX", "UNREAD"), ("SPAM",), ("DRAFT",), ("SENT",), ()], [80, 6, 3, 8, 3])[0]
        self._add(chance, labels, None)

    def arrive_many(self, chance: Random) -> None:
        """Several mails arrive at once."""
        for _ in range(chance.randint(2, 4)):
            self.arrive(chance)

    def arrive_with_an_old_date(self, chance: Random) -> None:
        """A mail is imported with a date of its own, up to twenty years back."""
        self._add(chance, ("INBOX",), self._now() - timedelta(days=chance.choice((1, 5, 40, 400, 7_000))))

    def delete(self, chance: Random) -> None:
        """A mail is removed for ever."""
        if ids := self.box.ids():
            self.box.delete(chance.choice(ids))

    def label(self, chance: Random) -> None:
        """A mail is starred, read, trashed, called spam or taken back."""
        if ids := self.box.ids():
            add, remove = chance.sample(_LABELS, 2)
            self.box.modify(chance.choice(ids), add=(add,), remove=(remove,))

    def move(self, chance: Random) -> None:
        """A mail is moved to a label of the user's, or spam is let out of its folder."""
        for one in chance.sample(self.box.ids(), min(3, len(self.box.ids()))):
            if "SPAM" in self.box.get(one).labels:
                self.box.modify(one, add=("INBOX",), remove=("SPAM",))
            else:
                self.box.modify(one, add=("Label_1",), remove=("INBOX",))

    def run_a_little(self, chance: Random) -> None:
        """Some batches are worked on."""
        self.engine.run(most=chance.randint(1, 12))

    def poll(self, chance: Random) -> None:
        """The schedule asks for changes."""
        with self.db.begin() as connection:
            sync.request_history(connection, self.mailbox_id)
        self.engine.run(most=chance.randint(1, 4))

    def die(self, chance: Random) -> None:
        """A worker dies with work done that it has not saved."""
        self.engine.die_while_running(chance)

    def fail(self, chance: Random) -> None:
        """The provider fails some calls."""
        # The token endpoint is left alone: the library that asks it waits on a clock of its own.
        method = chance.choice(("messages.get", "messages.*", "history.list", "labels.*", "getProfile"))
        self.server.faults.add(
            chance.choice(FAULTS), method=method, share=chance.choice((0.3, 1.0)), times=chance.randint(1, 4),
            retry_after=chance.choice((None, 1, 30)),
        )  # fmt: skip

    def expire_history(self, _: Random) -> None:
        """The provider forgets the history so far."""
        self.box.expire_history()

    def expire_page_tokens(self, _: Random) -> None:
        """The provider forgets every page token."""
        self.server.page_tokens.expire()

    def list_all(self, chance: Random) -> None:
        """An operator asks for a listing of everything, or of the last days."""
        since = chance.choice((None, self._now() - timedelta(days=3)))
        with self.db.begin() as connection:
            sync.request_backfill(connection, self.mailbox_id, since)

    def compare(self, chance: Random) -> None:
        """The night comes, or somebody asks for a comparison; an audit is refused while another comparison corrects."""
        with suppress(UserError), self.db.begin() as connection:
            reconcile.request_reconcile(connection, self.mailbox_id, chance.choice(list(ReconcileScope)), "test")

    def pause(self, _: Random) -> None:
        """An operator pauses the mailbox."""
        if self._state() == "active":
            with self.db.begin() as connection:
                sync.pause(connection, self.mailbox_id, timedelta(minutes=5), "a test", "operator")

    def resume(self, _: Random) -> None:
        """An operator resumes it, or connects it anew."""
        with self.db.begin() as connection:
            sync.resume(connection, self.mailbox_id)

    def pass_time(self, _: Random) -> None:
        """What waits is due."""
        self.engine.pass_time()

    def come_to_rest(self) -> None:
        """Nothing disturbs any more: the engine reads what happened until nothing is left to do. No sleep is needed."""
        self.server.faults.clear()
        if self._state() in ("auth_required", "blocked"):  # an operator connects the mailbox again
            self.resume(Random(0))
        for _ in range(_ROUNDS):
            self.engine.pass_time()
            with self.db.begin() as connection:
                sync.request_history(connection, self.mailbox_id)
            self.engine.run()
            if not self._is_busy():
                break
        self.engine.pass_time()
        with self.db.begin() as connection:
            sync.request_history(connection, self.mailbox_id)
        self.engine.run()

    def differences(self) -> list[str]:
        """Return how the ledger differs from the provider's mailbox, id by id, and every job that is left or dead."""
        wanted = self.box.state()
        found = {row.provider_id: row for row in self._rows()}
        left = factories.rows(self.db, "SELECT stage, key, state, last_error FROM jobs")
        return [
            *(f"{one} is missing" for one in wanted.keys() - found.keys()),
            *(f"{one} was never there" for one in found.keys() - self.bytes.keys()),
            *(said for one, row in found.items() if (said := self._difference(row, wanted.get(one)))),
            *(f"left: {tuple(row)}" for row in left),
        ]

    def connect_as(self, address: str, folder: Path) -> None:
        """An operator connects the mailbox anew, with the consent of the person behind `address`."""
        content = self.server.authorized_user_file(folder / f"{address}.json", address).read_bytes()
        secret = self.engine.settings.secret_key
        sealed = Secrets(secret and secret.get_secret_value()).seal(CREDENTIALS, ADDRESS, content)
        factories.rows(self.db, "UPDATE mailboxes SET credentials = :sealed", sealed=sealed)
        self.resume(Random(0))

    def reference(self, connection: Connection) -> MailboxRef:
        """Return what opens the mailbox."""
        return load_mailboxes(connection, [self.mailbox_id])[self.mailbox_id].ref

    def _difference(self, row: Any, wanted: dict[str, Any] | None) -> str | None:
        one = row.provider_id
        if row.state not in _ENDED:
            return f"{one} is still {row.state}"
        if wanted is None:
            return None if row.is_tombstone else f"{one} was deleted and is {row.state} without a tombstone"
        if row.is_tombstone or row.state == "gone":
            return f"{one} is there and has a tombstone ({row.state})"
        if row.state == "ignored" and not is_ignored(wanted["labels"]):
            return f"{one} is ignored with labels {wanted['labels']}"
        if row.sha256 not in (None, self.bytes[one]) or (row.state == "routed" and row.sha256 is None):
            return f"{one} has other bytes"
        same = sorted(row.labels) == wanted["labels"]
        return None if same else f"{one} ({row.state}) has labels {sorted(row.labels)}, provider {wanted['labels']}"

    def _add(self, chance: Random, labels: tuple[str, ...], at: datetime | None) -> None:
        number = len(self.bytes)
        parent = (
            f"In-Reply-To: <m{chance.randrange(number)}@example.com>\r\n" if number and chance.random() < 0.3 else ""
        )
        raw = (
            f"From: ann{number % 9}@example.com\r\nTo: {ADDRESS}\r\nSubject: Case {number}\r\n"
            f"Message-ID: <m{number}@example.com>\r\n{parent}Delivered-To: {ADDRESS}\r\n\r\nNumber {number}.\r\n"
        ).encode()
        one = self.box.add(raw, labels, at)
        self.bytes[one] = self.box.get(one).sha256

    def _now(self) -> datetime:
        return self.engine.ports.clock.now()

    def _state(self) -> str:
        return str(factories.value(self.db, "SELECT state FROM mailboxes"))

    def _is_busy(self) -> bool:
        return bool(factories.value(self.db, "SELECT count(*) FROM jobs WHERE state <> 'dead'"))

    def _rows(self) -> list[Any]:
        return factories.rows(
            self.db,
            "SELECT provider_id, state, labels, encode(raw_sha256, 'hex') AS sha256,"
            " deleted_at IS NOT NULL OR state = 'gone' AS is_tombstone FROM occurrences",
        )
