"""Help desks that write to each other: mailboxes of a real HTTP Gmail, the engine behind them, and robots."""

from __future__ import annotations

from collections.abc import Callable
from email import message_from_bytes
from email.message import EmailMessage, Message
from email.policy import default
from email.utils import parseaddr
from pathlib import Path
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from models.enums import Provider
from pipeline.adapters.wiring import CREDENTIALS
from pipeline.commands import mailboxes, sync
from pipeline.runtime.db import Database
from pipeline.runtime.secrets import Secrets
from pipeline.runtime.settings import Settings
from tests import factories
from tests.engine import Engine
from tests.gmail_server.server import GmailServer
from tests.gmail_server.state import Mailbox

#: More rounds than this are a loop that nothing stops.
_ENDLESS = 40

#: Answers a mail that reached it, or does not.
Robot = Callable[[Message], bytes | None]
#: What a relay makes of a mail on its way.
Relay = Callable[[bytes], bytes]


class Desk:
    """One Fieldpost desk: an organization of its own with one Gmail mailbox that answers automatically."""

    def __init__(self, server: GmailServer, db: Database, settings: Settings, folder: Path, address: str) -> None:
        self.db, self.address, self.box = db, address, server.mailbox(address)
        content = server.authorized_user_file(folder / f"{address}.json", address).read_bytes()
        with db.begin() as connection:
            self.org_id: UUID = mailboxes.ensure_organization(connection, address.rpartition("@")[2])
            self.mailbox_id: UUID = mailboxes.add_mailbox(
                connection, self.org_id, address, Provider.GMAIL, source={"endpoint": server.url},
                credentials=Secrets.of(settings).seal(CREDENTIALS, address, content),
            )  # fmt: skip
            factories.identity(connection, self.org_id, self.mailbox_id, address)
            sync.request_backfill(connection, self.mailbox_id)
        policy = Jsonb({"acknowledge": True})
        factories.rows(db, "UPDATE organizations SET policy = :policy WHERE id = :org", policy=policy, org=self.org_id)

    def count(self, what: str, where: str = "true") -> int:
        """Return how many rows of a table are this desk's."""
        found: int = factories.value(
            self.db, f"SELECT count(*) FROM {what} WHERE org_id = :org AND {where}", org=self.org_id
        )
        return found

    def held(self) -> list[tuple[int, str]]:
        """Return id and cause of what waits in quarantine."""
        statement = "SELECT id, cause FROM quarantines WHERE org_id = :org AND released_at IS NULL ORDER BY id"
        return [(row.id, row.cause) for row in factories.rows(self.db, statement, org=self.org_id)]


class Post:
    """Carries what leaves one desk to the other or to a robot, and robots' answers back, until nobody writes."""

    def __init__(self, engine: Engine, desks: list[Desk], robots: dict[str, Robot], relay: Relay = bytes) -> None:
        self._engine, self._desks, self._relay = engine, {desk.address: desk for desk in desks}, relay
        self._robots = robots
        self._carried: set[str] = set()
        #: Every mail that was carried: from and to.
        self.carried: list[tuple[str, str]] = []
        self._work()

    def put(self, desk: Desk, raw: bytes) -> None:
        """Let a mail arrive at a desk."""
        self.carried.append((_sender(raw), desk.address))
        desk.box.add(self._relay(raw))

    def until_silence(self) -> int:
        """Carry mail until nobody writes any more; return how many mails were carried in all."""
        for _ in range(_ENDLESS):
            self._work()
            if sum(self._empty(desk) for desk in self._desks.values()) == 0:
                return len(self.carried)
        raise AssertionError(f"still going after {len(self.carried)} mails: {self.carried[-4:]}")

    def _work(self) -> None:
        for desk in self._desks.values():
            with desk.db.begin() as connection:
                sync.request_history(connection, desk.mailbox_id)
        self._engine.run()
        self._engine.pass_time()
        self._engine.run()

    def _empty(self, desk: Desk) -> bool:
        """Carry what a desk has sent and nobody carried yet; return whether there was something."""
        sent = [one for one in desk.box.ids() if "SENT" in desk.box.get(one).labels and one not in self._carried]
        self._carried.update(sent)
        for one in sent:
            self._carry(desk.box, one)
        return bool(sent)

    def _carry(self, box: Mailbox, message_id: str) -> None:
        raw = box.get(message_id).raw
        mail = message_from_bytes(raw, policy=default)
        address = parseaddr(str(mail["To"]))[1]
        if (desk := self._desks.get(_base(address))) is not None:
            self.put(desk, b"Delivered-To: %s\r\n" % address.encode() + raw)
            return
        self.carried.append((_sender(raw), address))
        answer = self._robots[address](mail)
        if answer is not None:
            back = parseaddr(str(message_from_bytes(answer, policy=default)["To"]))[1]
            self.put(self._desks[_base(back)], answer)


def _sender(raw: bytes) -> str:
    return parseaddr(str(message_from_bytes(raw, policy=default)["From"]))[1]


def _base(address: str) -> str:
    """Return an address without what stands behind its plus, as Gmail delivers it."""
    local, _, domain = address.partition("@")
    return f"{local.partition('+')[0]}@{domain}"


def stripped(*names: str) -> Relay:
    """Return a relay that takes headers away: those named, whatever their case."""
    wanted = {name.lower() for name in names}

    def relay(raw: bytes) -> bytes:
        message = message_from_bytes(raw)
        for name in {name for name in message.keys() if name.lower() in wanted}:  # noqa: SIM118 - not a mapping
            del message[name]
        return message.as_bytes()

    return relay


def letter(subject: str, text: str, sender: str, to: str, **more: Any) -> bytes:
    """Return a mail with a Message-ID of its own; `more` holds further headers."""
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = sender, to, subject
    made["Message-ID"] = f"<{next(factories._numbers)}@{sender.rpartition('@')[2]}>"
    for name, content in more.items():
        made[name.replace("_", "-")] = content
    made.set_content(text)
    return made.as_bytes()
