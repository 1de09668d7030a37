"""One connection to an IMAP server: what the library offers, and three commands in the form this source needs."""

from __future__ import annotations

import imaplib
import re
import socket
import ssl
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from imapclient import IMAPClient, SocketTimeout
from imapclient.datetime_util import format_criteria_date, parse_to_datetime
from imapclient.exceptions import ProtocolError
from imapclient.imap_utf7 import decode as decode_utf7
from imapclient.imap_utf7 import encode as encode_utf7
from imapclient.response_parser import parse_response

from pipeline.adapters.guarded_http import Connect, connect_anywhere
from pipeline.adapters.imap_errors import SELECT, STATUS, from_exception
from pipeline.core.imap_names import Folder, escaped, folders_to_read, shown, unescaped
from pipeline.core.imap_state import Counters
from pipeline.core.uid_sets import GREATEST, batches, pack, windows_up
from pipeline.runtime.errors import Gone, Permanent, Transient

#: An answer of a search is one line, and the standard library reads none longer than a million characters.
SEARCH_WINDOW = 80_000
#: Messages per command that asks for flags and ids only.
FACTS_PER_COMMAND = 2_000

#: No name with one of these fits into a command.
_UNSPEAKABLE = re.compile(rb"[\r\n\0]")

Fields = Mapping[bytes, Any]


@dataclass(frozen=True, slots=True)
class IdKind:
    """What a server calls the id that a message keeps when it moves, and its thread's."""

    message: str
    thread: str


#: By capability: Gmail's own, and RFC 8474.
ID_KINDS = {"X-GM-EXT-1": IdKind("X-GM-MSGID", "X-GM-THRID"), "OBJECTID": IdKind("EMAILID", "THREADID")}


@dataclass(frozen=True, slots=True)
class Opened:
    """A folder as the server described it when it was opened; what comes later is not in it."""

    folder: str
    uidvalidity: int
    uidnext: int | None
    messages: int
    modseq: int | None


class _Connection(imaplib.IMAP4):
    """The standard library's protocol over a connection that somebody else makes."""

    def __init__(
        self, host: str, port: int, tls: ssl.SSLContext | None, connect: Connect, limits: SocketTimeout
    ) -> None:
        self._tls, self._connect_to, self._limits = tls, connect, limits
        super().__init__(host, port, timeout=limits.connect)

    def _create_socket(self, timeout: float | None = None) -> socket.socket:
        plain = self._connect_to(self.host, self.port, self._limits.connect if timeout is None else timeout)
        if self._tls is None:
            return plain
        try:
            return self._tls.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise


class ImapClient(IMAPClient):  # type: ignore[misc]
    """A connection that only ever reads: folders are opened by EXAMINE, so that no flag is set by looking.

    `timeout` is in seconds and holds for each answer of the server, the greeting included, until `wait_up_to`.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None,
        timeout: float,
        connect: Connect = connect_anywhere,
    ) -> None:
        limits = SocketTimeout(timeout, timeout)
        self._connect_to = connect
        super().__init__(host, port, ssl=tls is not None, ssl_context=tls, timeout=limits)
        # The library fails at the first name that is not encoded as it should be, and shows no folder at all.
        self.folder_encode = False
        # The library sends a command in two writes: the second would wait for the server to acknowledge the first.
        self.socket().setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The library would describe every line to the debug log, mail included.
        self._imap.debug = 0
        self.opened: Opened | None = None

    def _create_IMAP4(self) -> imaplib.IMAP4:
        return _Connection(
            self.host, self.port, self.ssl_context if self.ssl else None, self._connect_to, self._timeout
        )

    def wait_up_to(self, seconds: float) -> None:
        """Wait this long for each answer from now on."""
        self._timeout = SocketTimeout(seconds, seconds)
        self._set_read_timeout()

    @property
    def id_kind(self) -> IdKind | None:
        """What names messages over moves; None: nothing does."""
        return next((kind for name, kind in ID_KINDS.items() if self.has_capability(name)), None)

    def folders(self, wanted: Sequence[str] | None) -> list[Folder]:
        """Return the folders to read; see `folders_to_read`."""
        listed = [
            (tuple(map(_text, attributes)), _text(delimiter or b""), folder_name(name))
            for attributes, delimiter, name in self.list_folders()
            if isinstance(name, str) or (isinstance(name, bytes) and not _UNSPEAKABLE.search(name))
        ]
        if not listed:
            raise Transient("IMAP list: the server named no folder at all")
        return folders_to_read(listed, wanted)

    def counters(self, folder: str) -> Counters:
        """Return the counters of a folder; `Gone` when there is none of the name.

        A folder that is open is closed first: its counters may be those of its opening.
        """
        if self.opened is not None and self.opened.folder == folder:
            self.close_opened()
        counts = ["UIDVALIDITY", "UIDNEXT", "MESSAGES", "UNSEEN"]
        if self.has_capability("CONDSTORE"):
            counts.append("HIGHESTMODSEQ")
        with _goneness(STATUS):
            said = {name.upper(): value for name, value in self.folder_status(folder, counts).items()}
        return Counters(
            int(said.get(b"UIDVALIDITY") or 0),
            said.get(b"UIDNEXT"),
            said.get(b"MESSAGES"),
            said.get(b"HIGHESTMODSEQ") or None,
            said.get(b"UNSEEN"),
        )

    def open(self, folder: str) -> Opened:
        """Open a folder for reading, anew if it is open, and return what the server says of it; `Gone` without one."""
        self.opened = None
        with _goneness(SELECT):
            said = self.select_folder(folder, readonly=True)
        if not said.get(b"UIDVALIDITY"):
            raise Permanent(f"IMAP select: {shown(folder)} has no UIDVALIDITY, so its messages cannot be told apart")
        modseq = said.get(b"HIGHESTMODSEQ") if self.has_capability("CONDSTORE") else None
        self.opened = Opened(folder, said[b"UIDVALIDITY"], said.get(b"UIDNEXT"), said[b"EXISTS"], modseq or None)
        return self.opened

    def reopen(self, folder: str) -> Opened:
        """Return the folder if it is open, else open it."""
        return self.opened if self.opened is not None and self.opened.folder == folder else self.open(folder)

    def close_opened(self) -> None:
        """Close the open folder; nothing is removed, since it was opened for reading."""
        self.opened = None
        self.close_folder()

    @property
    def widest_search(self) -> int:
        """How wide a range of UIDs one search of the open folder may cover."""
        assert self.opened is not None
        return GREATEST if self.opened.messages <= SEARCH_WINDOW else SEARCH_WINDOW

    def all_uids(self) -> list[int]:
        """Return the UIDs of the open folder, ascending."""
        assert self.opened is not None
        if not self.opened.messages:
            return []
        if self.opened.uidnext is None or self.widest_search == GREATEST:
            return self.uids(["ALL"])
        ranges = windows_up(self.opened.uidnext, SEARCH_WINDOW)
        return [uid for low, high in ranges for uid in self.uids(["UID", f"{low}:{high}"])]

    def uids(self, criteria: Sequence[str]) -> list[int]:
        """Return the UIDs in the open folder that match, ascending. The criteria are sent as they are."""
        answers = self._raw_command_untagged(b"SEARCH", [word.encode("ascii") for word in criteria])
        found: set[int] = set()
        # Some servers divide the answer; a count of changes in parentheses may follow the numbers.
        for answer in answers:
            found.update(int(word) for word in (answer or b"").partition(b"(")[0].split())
        return sorted(found)

    def facts(self, uids: Iterable[int], items: Sequence[str]) -> dict[int, Fields]:
        """Return the fields of messages of the open folder by UID; one that vanished is missing."""
        found: dict[int, Fields] = {}
        for piece in batches(uids, FACTS_PER_COMMAND):
            answers = self.fetch_uids(pack(piece), items)
            found |= {uid: answers[uid] for uid in piece if uid in answers}
        return found

    def facts_changed(self, uids: Collection[int], items: Sequence[str], since: int) -> dict[int, Fields]:
        """Return the fields of those messages that changed after a count of changes (CONDSTORE, RFC 7162)."""
        if not uids:
            return {}
        answers = self.fetch_uids(f"{min(uids)}:{max(uids)}", items, f"(CHANGEDSINCE {since})")
        return {uid: fields for uid, fields in answers.items() if uid in uids}

    def fetch_uids(self, uids: str, items: Sequence[str], *modifiers: str) -> dict[int, Fields]:
        """Return the fields of a packed set of messages of the open folder, and maybe of others."""
        # The library's own `fetch` takes no ranges, and takes news about other messages for an answer.
        arguments = [uids, f"({' '.join(['UID', *items])})", *modifiers]
        answers = self._raw_command_untagged(b"FETCH", [argument.encode("ascii") for argument in arguments])
        return dict(_messages(answers))

    def _normalise_folder(self, folder_name: str) -> bytes:
        """Return a name as the library is to send it, which would encode none as `folder_encode` says."""
        quoted = wire_name(folder_name).replace(b"\\", b"\\\\").replace(b'"', b'\\"')
        return b'"' + quoted + b'"'


def folder_name(wire: bytes | str) -> str:
    """Return the name of a folder that the server lists: decoded, or escaped when it would not be found again so."""
    if isinstance(wire, str):  # a name of digits is one already
        return wire
    try:
        name = str(decode_utf7(wire))
        return name if encode_utf7(name) == wire else escaped(wire)
    except ValueError:  # of text or base64 that cannot be decoded
        return escaped(wire)


def wire_name(name: str) -> bytes:
    """Return a folder's name as the server knows it."""
    wire = unescaped(name)
    return bytes(encode_utf7(name)) if wire is None else wire


@contextmanager
def _goneness(method: str) -> Iterator[None]:
    """Raise `Gone` where a folder is not there; every other trouble stays what it was."""
    try:
        yield
    except imaplib.IMAP4.error as error:
        found = from_exception(method, error)
        if isinstance(found, Gone):
            raise found from error
        raise


def day_before(moment: datetime) -> str:
    """Return the day before a moment as SEARCH wants it: a day of IMAP is the server's, not UTC's."""
    day = date.fromordinal(max(1, moment.astimezone(UTC).toordinal() - 1))
    return str(format_criteria_date(day).decode("ascii"))


def internal_date(fields: Fields) -> datetime | None:
    """Return when the server took a message in, in UTC; None when it says nothing that can be read."""
    said = fields.get(b"INTERNALDATE")
    try:
        return None if said is None else parse_to_datetime(said, normalise=False).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def flags_of(fields: Fields) -> tuple[str, ...]:
    """Return the flags of a message."""
    return tuple(_text(flag) for flag in fields.get(b"FLAGS") or ())


def id_of(fields: Fields, name: str) -> str | None:
    """Return the id a server gave under a name: Gmail says a number, RFC 8474 a word in parentheses."""
    value = fields.get(name.encode("ascii"))
    if isinstance(value, tuple):
        value = value[0] if value else None
    return None if value is None else _text(value)


def _messages(answers: Sequence[Any]) -> Iterator[tuple[int, dict[bytes, Any]]]:
    """Yield (UID, fields) of each answer; news about other messages come without a UID and are left out."""
    parts = parse_response(answers)
    if len(parts) % 2:
        raise ProtocolError("an answer to FETCH is not whole")
    for said in parts[1::2]:
        if not isinstance(said, tuple) or len(said) % 2:
            raise ProtocolError("an answer to FETCH is not whole")
        fields = {bytes(name).upper(): value for name, value in zip(said[::2], said[1::2], strict=True)}
        if isinstance(fields.get(b"UID"), int):
            yield fields[b"UID"], fields


def _text(value: bytes | str | int) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
