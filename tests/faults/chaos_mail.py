"""The mail of a chaos run: a company whose mail comes in files, and mailboxes at Gmail whose life goes on meanwhile."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from uuid import UUID

from sqlalchemy import Connection, text

from deploy.demo.loading import load_company
from deploy.demo.scenario import build
from deploy.demo.specs import Mail, Scenario
from models.enums import Provider
from pipeline.adapters.file_index import provider_id_of
from pipeline.adapters.wiring import CREDENTIALS
from pipeline.commands import mailboxes
from pipeline.runtime.secrets import Secrets
from pipeline.runtime.settings import Settings
from tests import factories
from tests.faults.chaos_worker import POISON
from tests.flow.mailbox_life import FAULTS
from tests.gmail_server.errors import ApiError
from tests.gmail_server.server import GmailServer

ADDRESSES = ("help@acme.example", "desk@acme.example")
_START = datetime(2026, 1, 5, 6, 0, tzinfo=UTC)


def scenario(seed: int, size: int) -> Scenario:
    """Return a company with about `size` mails; making them takes some seconds."""
    return build(seed, max(size * 20 // 21, 40), _START)


class Company:
    """Mailboxes in files, for bulk: delivered in portions, and known to the byte."""

    def __init__(
        self, connection: Connection, scenario: Scenario, folder: Path, chance: Random, poisonous: int
    ) -> None:
        self._folder = folder
        self.org_id = load_company(connection, scenario)
        self.mailbox_ids: dict[str, UUID] = {
            address: mailboxes.add_mailbox(
                connection, self.org_id, address, Provider.FILES,
                source={"paths": [str(self._box(address))], "spool": str(folder / "spool")},
            )
            for address in scenario.mailboxes
        }  # fmt: skip
        self.delivered: list[Mail] = []
        self._left = _with_poison([*scenario.initial, *scenario.later], chance, poisonous)
        self._number = 0

    @property
    def left(self) -> int:
        """Return how many mails were not delivered yet."""
        return len(self._left)

    def deliver(self, count: int) -> set[UUID]:
        """Let mails arrive; return the mailboxes that are worth a look."""
        portion, self._left = self._left[:count], self._left[count:]
        for mail in portion:
            self._number += 1
            draft = self._folder / "draft"
            draft.write_bytes(mail.raw)
            os.utime(draft, (mail.at.timestamp(), mail.at.timestamp()))
            draft.rename(self._box(mail.mailbox) / f"{self._number:06d}.eml")
            self.delivered.append(mail)
        return {self.mailbox_ids[mail.mailbox] for mail in portion}

    def served(self, address: str) -> dict[str, str]:
        """Return the hash of the bytes behind each id; the N-th equal copy in a folder has an id of its own."""
        served: dict[str, str] = {}
        copies: Counter[str] = Counter()
        for mail in self.delivered:
            if mail.mailbox == address:
                sha256 = hashlib.sha256(mail.raw).hexdigest()
                copies[sha256] += 1
                number = copies[sha256]
                served[provider_id_of(mail.raw) + (f".{number}" if number > 1 else "")] = sha256
        return served

    def mails(self) -> Iterator[tuple[bytes, str | None]]:
        """Yield what a reader must have understood, as `tests.conservation.reference` takes it."""
        return ((mail.raw, None) for mail in self.delivered)

    def _box(self, address: str) -> Path:
        box = self._folder / "mail" / address
        box.mkdir(parents=True, exist_ok=True)
        return box


def _with_poison(mails: list[Mail], chance: Random, count: int) -> list[Mail]:
    """Put some mails among them that kill whatever reads them."""
    for number in range(count):
        place = chance.randrange(len(mails))
        mail = mails[place]
        head = f"Message-ID: <poison-{number}@example.net>\r\n".encode() + POISON + b"\r\nSubject: poison\r\n"
        raw = head + b"From: evil@example.net\r\nTo: " + mail.mailbox.encode() + b"\r\n\r\nDrink me.\r\n"
        mails.insert(place, Mail(mail.mailbox, raw, mail.at, mail.kind, mail.labels))
    return mails


class GmailDesks:
    """Two mailboxes of one organization at a Gmail whose faults come and go."""

    def __init__(self, connection: Connection, server: GmailServer, settings: Settings, folder: Path) -> None:
        self.server = server
        self.boxes = {address: server.mailbox(address) for address in ADDRESSES}
        #: Every id the server ever named, by mailbox: its bytes, its thread, its hash.
        self.ever: dict[str, dict[str, tuple[bytes, str, str]]] = {address: {} for address in ADDRESSES}
        self._number = 0
        secrets = Secrets.of(settings)
        self.org_id = mailboxes.ensure_organization(connection, "Acme")
        self.mailbox_ids: dict[str, UUID] = {}
        self.identity_ids: dict[str, UUID] = {}
        for address in ADDRESSES:
            content = server.authorized_user_file(folder / f"{address}.json", address).read_bytes()
            mailbox_id = mailboxes.add_mailbox(
                connection, self.org_id, address, Provider.GMAIL,
                source={"endpoint": server.url}, credentials=secrets.seal(CREDENTIALS, address, content),
            )  # fmt: skip
            self.mailbox_ids[address] = mailbox_id
            self.identity_ids[address] = factories.identity(connection, self.org_id, mailbox_id, address)

    def arrive(self, count: int, chance: Random, *, is_old: bool = False) -> None:
        """Let mails arrive: a quarter are replies, a tenth reach both mailboxes, and now and then one is hostile."""
        for _ in range(count):
            self._number += 1
            raw = _hostile(self._number) if chance.random() < 0.02 else self._plain(self._number, chance)
            at = _START + timedelta(minutes=self._number) if is_old else None
            for address in ADDRESSES if chance.random() < 0.1 else [chance.choice(ADDRESSES)]:
                own = f"Delivered-To: {address}\r\n".encode() + raw
                self._note(address, self.boxes[address].add(own, at=at))

    def change(self, count: int, chance: Random) -> None:
        """Delete, star, read, trash and take back some mails; what we sent is left alone."""
        for _ in range(count):
            address = chance.choice(ADDRESSES)
            box = self.boxes[address]
            one = chance.choice(list(self.ever[address]))
            with suppress(ApiError):  # it is deleted already
                match chance.randrange(5):
                    case 0:
                        box.delete(one)
                    case 1:
                        box.modify(one, add=("STARRED",), remove=("UNREAD",))
                    case 2:
                        box.trash(one)
                    case 3:
                        box.untrash(one)
                    case _:
                        box.modify(one, remove=box.get(one).labels)

    def fail(self, chance: Random) -> None:
        """Some calls fail for a while."""
        method = chance.choice(("messages.get", "messages.*", "history.list", "messages.send", "labels.*"))
        self.server.faults.add(
            chance.choice(FAULTS), method=method, mailbox=chance.choice((None, *ADDRESSES)),
            share=chance.choice((0.3, 1.0)), times=chance.randint(2, 12), retry_after=chance.choice((None, 1)),
        )  # fmt: skip

    def forget(self, chance: Random) -> None:
        """The provider forgets a mailbox's history, or every page token."""
        if chance.random() < 0.7:
            self.boxes[chance.choice(ADDRESSES)].expire_history()
        else:
            self.server.page_tokens.expire()

    def refuse_for_good(self, chance: Random) -> None:
        """Some mails cannot be fetched until the faults are over: they become dead letters, for people to replay."""
        address = chance.choice(ADDRESSES)
        for one in chance.sample(list(self.ever[address]), 3):
            self.server.faults.add("bad_request_400", method="messages.get", mailbox=address, message_id=one)

    def note_sent(self) -> None:
        """Learn of what we sent: it stands in the mailboxes as well."""
        for address, box in self.boxes.items():
            for one in box.ids():
                if one not in self.ever[address]:
                    self._note(address, one)

    def sent(self) -> Counter[str]:
        """Return how often each Message-ID was taken by the provider to be sent."""
        return Counter(
            message.rfc_id.strip("<>")
            for box in self.boxes.values()
            for message in box.messages.values()
            if "SENT" in message.labels
        )

    def served(self, address: str) -> dict[str, str]:
        """Return the hash of the bytes behind each id."""
        return {one: sha256 for one, (_, _, sha256) in self.ever[address].items()}

    def mails(self, connection: Connection) -> Iterator[tuple[bytes, str | None]]:
        """Yield the mails that were read before they were deleted, with their threads."""
        query = text("SELECT provider_id FROM occurrences WHERE mailbox_id = :id AND raw_sha256 IS NOT NULL")
        for address, mailbox_id in self.mailbox_ids.items():
            read = set(connection.execute(query, {"id": mailbox_id}).scalars())
            for one, (raw, thread, _) in self.ever[address].items():
                if one in read:
                    yield raw, f"{address} {thread}"

    def _note(self, address: str, one: str) -> None:
        message = self.boxes[address].get(one)
        self.ever[address][one] = message.raw, message.thread_id, message.sha256

    def _plain(self, number: int, chance: Random) -> bytes:
        parent = ""
        if number > 1 and chance.random() < 0.25:
            parent = f"In-Reply-To: <g{chance.randrange(1, number)}@example.com>\r\n"
        return (
            f"From: ann{number % 50}@example.com\r\nTo: {', '.join(ADDRESSES)}\r\nSubject: Case {number}\r\n"
            f"Message-ID: <g{number}@example.com>\r\n{parent}\r\nNumber {number}.\r\n"
        ).encode()


def _hostile(number: int) -> bytes:
    """Return a mail that breaks careless readers: NUL in a subject, a bogus charset, a lone surrogate."""
    return (
        f"From: ann{number % 50}@example.com\r\nTo: {ADDRESSES[0]}\r\nSubject: =?utf-8?q?=00=ED=A0=80 {number}?=\r\n"
        f"Message-ID: <g{number}@example.com>\r\nContent-Type: text/plain; charset=rot13\r\n\r\n"
    ).encode() + b"\x00\xff\xed\xa0\x80\r\n"
