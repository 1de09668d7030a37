"""The mailbox of the independent Gmail with the face of one of `tests.gmail_server`: one box of tests fits both."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import orjson

from tests.other_gmail import OtherGmail, Resource


@dataclass
class OtherMessage:
    """What a mirror has to know of one message."""

    id: str
    thread_id: str
    sha256: str
    labels: tuple[str, ...]


class OtherServer:
    """Gives out the one mailbox and its credentials."""

    def __init__(self, gmail: OtherGmail) -> None:
        self.gmail, self.url = gmail, gmail.url

    def mailbox(self, address: str) -> OtherMailbox:
        """Return the mailbox."""
        assert address == self.gmail.address
        return OtherMailbox(self.gmail)

    def authorized_user_file(self, path: Path, address: str) -> Path:
        """Write the credentials file."""
        path.write_bytes(orjson.dumps(self.gmail.credentials(address)))
        return path


class OtherMailbox:
    """Changes the mailbox through its own API and remembers the answers: the truth that rows are compared with."""

    def __init__(self, gmail: OtherGmail) -> None:
        self._gmail = gmail
        self._messages: dict[str, OtherMessage] = {}

    def add(self, raw: bytes, at: datetime | None = None) -> str:
        """Let a mail arrive; return its id."""
        made = self._gmail.inserted(raw, ("INBOX", "UNREAD"), at)
        sha256 = hashlib.sha256(raw).hexdigest()
        message = OtherMessage(made["id"], made["threadId"], sha256, tuple(made["labelIds"]))
        self._messages[message.id] = message
        return message.id

    def get(self, message_id: str) -> OtherMessage:
        """Return a message that is there."""
        return self._messages[message_id]

    def ids(self) -> list[str]:
        """Return every id, in the order of arrival."""
        return list(self._messages)

    def delete(self, message_id: str) -> None:
        """Delete for ever."""
        self._gmail.delete(message_id)
        del self._messages[message_id]

    def modify(self, message_id: str, add: Iterable[str] = (), remove: Iterable[str] = ()) -> None:
        """Change labels."""
        self._note(self._gmail.modify(message_id, add, remove))

    def trash(self, message_id: str) -> None:
        """Move to the trash."""
        self._note(self._gmail.trash(message_id))

    def state(self) -> dict[str, dict[str, object]]:
        """Return what a mirror has to equal."""
        return {
            one.id: {"sha256": one.sha256, "labels": sorted(one.labels), "thread_id": one.thread_id}
            for one in self._messages.values()
        }

    def _note(self, changed: Resource) -> None:
        self._messages[changed["id"]].labels = tuple(changed["labelIds"])
