"""What every writer of mails needs at hand: chance, time, people, assets, attachments."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from random import Random

from deploy.demo.drafts import Draft, Evidence, Layout
from deploy.demo.payloads import Shelf, stock_shelf
from deploy.demo.people import Person, make_customers, make_staff
from deploy.demo.places import MAILBOXES, ORGANIZATION, make_assets
from deploy.demo.specs import AssetSpec, MailKind

_OFFSETS = {"en": -6, "de": 1, "fr": 1, "pl": 1, "ja": 9}
_CHARSETS = {
    "de": ("utf-8", "windows-1252", "iso-8859-1"),
    "fr": ("utf-8", "windows-1252"),
    "pl": ("utf-8", "iso-8859-2"),
    "ja": ("utf-8", "iso-2022-jp", "iso-2022-jp"),
    "en": ("utf-8", "utf-8", "us-ascii"),
}
_TRANSIT = timedelta(minutes=10)
_LAYOUTS = (Layout.PLAIN, Layout.ALTERNATIVE, Layout.HTML, Layout.RELATED)
_EVIDENCE = (Evidence.DELIVERED_TO, Evidence.WORKSPACE, Evidence.ORIGINAL_TO, Evidence.NONE)


@dataclass(frozen=True, slots=True)
class World:
    """One demonstration in the making; all chance comes from `rng`."""

    rng: Random
    assets: tuple[AssetSpec, ...]
    customers: tuple[Person, ...]
    staff: dict[str, tuple[Person, ...]]
    shelf: Shelf

    def new_id(self, address: str) -> str:
        """Return a Message-ID never given before, without angle brackets, on the domain of `address`."""
        return f"{self.rng.getrandbits(80):020x}.{self.rng.getrandbits(32):x}@{address.rpartition('@')[2]}"

    def moment(self, start: datetime, end: datetime) -> datetime:
        """Return a time in between, in whole seconds, early enough for the mail to arrive before `end`."""
        room = end - start - _TRANSIT
        return start + timedelta(seconds=self.rng.randrange(int(room.total_seconds())))

    def chance(self, share: float) -> bool:
        """Tell whether something of this probability happens now."""
        return self.rng.random() < share

    def compose(
        self, kind: MailKind, sender: Person, mailbox: str, sent_at: datetime, *, subject: str, text: str
    ) -> Draft:
        """Return a mail to `mailbox` with the layout, charset and evidence this writer happens to use."""
        rng = self.rng
        return Draft(
            kind=kind,
            mailbox=mailbox,
            recipient=mailbox,
            sender=sender,
            to=(mailbox,),
            cc=(),
            subject=subject,
            text=text,
            message_id=self.new_id(sender.address),
            sent_at=sent_at.astimezone(timezone(timedelta(hours=_OFFSETS[sender.language]))),
            at=sent_at.astimezone(UTC) + timedelta(seconds=rng.randrange(2, 90)),
            layout=rng.choices(_LAYOUTS, (46, 42, 9, 3))[0],
            charset=rng.choice(_CHARSETS[sender.language]),
            evidence=rng.choices(_EVIDENCE, (52, 24, 10, 14))[0],
        )


def make_world(rng: Random) -> World:
    """Return the people and things of one seed."""
    staff = {mailbox: make_staff(ORGANIZATION, mailbox) for mailbox in MAILBOXES}
    return World(rng, make_assets(rng), make_customers(rng), staff, stock_shelf(rng))
