"""A small IMAP server in this process, for what Dovecot does not show: stable ids, refusals, cuts, races."""

from __future__ import annotations

import re
import socketserver
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

HOST = "127.0.0.1"

_TOKEN = re.compile(r'"((?:[^"\\]|\\.)*)"|(\([^()]*\))|(\S+)')
_DATE = '"05-Jan-2026 06:00:00 +0000"'


@dataclass
class Mail:
    """A message in a folder; copies in other folders have the same id."""

    uid: int
    one: str
    raw: bytes
    flags: set[str] = field(default_factory=set)
    modseq: int = 1


@dataclass
class Box:
    """A folder."""

    uidvalidity: int = 7
    uidnext: int = 1
    modseq: int = 1
    attributes: str = "\\HasNoChildren"
    mails: list[Mail] = field(default_factory=list)

    def add(self, one: str, raw: bytes = b"Subject: x\r\n\r\nx\r\n", *flags: str) -> Mail:
        """Put a message in."""
        self.modseq += 1
        mail = Mail(self.uidnext, one, raw, set(flags), self.modseq)
        self.mails.append(mail)
        self.uidnext += 1
        return mail

    def flag(self, one: str, *flags: str) -> None:
        """Give a message these flags and no others."""
        self.modseq += 1
        for mail in self.mails:
            if mail.one == one:
                mail.flags, mail.modseq = set(flags), self.modseq

    def remove(self, one: str) -> None:
        """Take a message out."""
        self.modseq += 1
        self.mails = [mail for mail in self.mails if mail.one != one]


class ImapServer:
    """The folders of one account, and how the server behaves; change both at any time."""

    def __init__(self, *capabilities: str) -> None:
        self.capabilities = ["IMAP4rev1", *capabilities]
        self.boxes: dict[str, Box] = {"INBOX": Box()}
        #: What to answer to the next commands of a name instead of obeying; None: cut the connection.
        self.refusals: dict[str, list[str | None]] = {}
        #: Called before each command with its name and arguments.
        self.before: Callable[[str, list[str]], None] = lambda _name, _arguments: None
        self.commands: Counter[str] = Counter()
        #: A server that keeps silent about sizes, or tells them wrong.
        self.told_size: int | None = None
        #: UIDs that no answer to FETCH describes.
        self.hidden: set[int] = set()
        self.lock = threading.RLock()
        self.port = 0

    def refuse(self, name: str, *answers: str | None) -> None:
        """Give these answers to the next commands of a name; None cuts the connection."""
        self.refusals.setdefault(name, []).extend(answers)

    def move(self, one: str, source: str, target: str) -> None:
        """Move a message as RFC 6851 does: at once."""
        (mail,) = (mail for mail in self.boxes[source].mails if mail.one == one)
        self.boxes[target].add(one, mail.raw, *mail.flags)
        self.boxes[source].remove(one)


@contextmanager
def imap_server(*capabilities: str) -> Iterator[ImapServer]:
    """Give the block a server that offers these capabilities beside the basic ones."""
    state = ImapServer(*capabilities)

    class Handler(_Session):
        server_state = state

    with socketserver.ThreadingTCPServer((HOST, 0), Handler) as server:
        server.daemon_threads = True
        state.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()


class _Cut(Exception):
    pass


class _Session(socketserver.StreamRequestHandler):
    server_state: ImapServer
    disable_nagle_algorithm = True

    def handle(self) -> None:
        self.box: Box | None = None
        try:
            self._say("* OK ready")
            while line := self.rfile.readline():
                self._command(line.decode("utf-8").rstrip("\r\n"))
        except (_Cut, OSError):
            return

    def _say(self, text: str | bytes) -> None:
        self.wfile.write((text.encode() if isinstance(text, str) else text) + b"\r\n")

    def _command(self, line: str) -> None:
        tag, *words = [_unquoted(quoted) or group or word for quoted, group, word in _TOKEN.findall(line)]
        name = f"UID {words[1]}" if words[0] == "UID" else words[0]
        arguments = words[2:] if words[0] == "UID" else words[1:]
        state = self.server_state
        state.before(name, arguments)
        with state.lock:
            state.commands[name] += 1
            if state.refusals.get(name):
                answer = state.refusals[name].pop(0)
                if answer is None:
                    raise _Cut
                self._say(answer if answer.startswith("* BYE") else f"{tag} {answer}")
                if answer.startswith("* BYE"):
                    raise _Cut
                return
            obey = getattr(self, f"_{name.replace(' ', '_').lower()}", None)
            said = obey(arguments) if obey is not None else f"BAD unknown command {name}"
            self._say(f"{tag} {said or 'OK done'}")

    def _capability(self, _: list[str]) -> None:
        self._say(f"* CAPABILITY {' '.join(self.server_state.capabilities)}")

    def _login(self, arguments: list[str]) -> str | None:
        return None if arguments[1] == "secret" else "NO [AUTHENTICATIONFAILED] wrong password"

    def _noop(self, _: list[str]) -> None:
        return

    def _list(self, _: list[str]) -> None:
        for name, box in self.server_state.boxes.items():
            self._say(f'* LIST ({box.attributes}) "/" {_quoted(name)}')

    def _status(self, arguments: list[str]) -> str | None:
        box = self.server_state.boxes.get(arguments[0])
        if box is None:
            return "NO [NONEXISTENT] no such folder"
        known = {
            "UIDVALIDITY": box.uidvalidity,
            "UIDNEXT": box.uidnext,
            "MESSAGES": len(box.mails),
            "UNSEEN": sum("\\Seen" not in mail.flags for mail in box.mails),
            "HIGHESTMODSEQ": box.modseq,
        }
        said = " ".join(f"{name} {known[name]}" for name in arguments[1].strip("()").split())
        self._say(f"* STATUS {_quoted(arguments[0])} ({said})")
        return None

    def _examine(self, arguments: list[str]) -> str | None:
        self.box = self.server_state.boxes.get(arguments[0])
        if self.box is None:
            return "NO [NONEXISTENT] no such folder"
        self._say(f"* {len(self.box.mails)} EXISTS")
        self._say("* 0 RECENT")
        self._say(f"* OK [UIDVALIDITY {self.box.uidvalidity}] valid")
        self._say(f"* OK [UIDNEXT {self.box.uidnext}] next")
        if "CONDSTORE" in self.server_state.capabilities:
            self._say(f"* OK [HIGHESTMODSEQ {self.box.modseq}] highest")
        return "OK [READ-ONLY] opened"

    def _close(self, _: list[str]) -> None:
        self.box = None

    def _uid_search(self, arguments: list[str]) -> None:
        assert self.box is not None
        words = list(arguments)
        found = {mail.uid for mail in self.box.mails}
        while words:
            found &= self._matching(words)
        self._say(f"* SEARCH {' '.join(map(str, sorted(found)))}".rstrip())

    def _matching(self, words: list[str]) -> set[int]:
        assert self.box is not None
        match words.pop(0):
            case "OR":
                return self._matching(words) | self._matching(words)
            case "UID":
                uids = words.pop(0)
                return {mail.uid for mail in self.box.mails if _is_in(uids, mail.uid)}
            case "EMAILID" | "X-GM-MSGID":
                wanted = words.pop(0)
                return {mail.uid for mail in self.box.mails if mail.one == wanted}
            case "HEADER":
                line = f"{words.pop(0)}: {words.pop(0)}".lower().encode()
                return {mail.uid for mail in self.box.mails if line in mail.raw.lower()}
            case "SINCE":
                words.pop(0)
        return {mail.uid for mail in self.box.mails}

    def _uid_fetch(self, arguments: list[str]) -> None:
        assert self.box is not None
        items = arguments[1].strip("()").split()
        since = int(arguments[2].strip("()").split()[1]) if len(arguments) > 2 else -1
        # News of a message nobody asked for, as servers may send them at any time.
        self._say("* 1 FETCH (FLAGS (\\Answered))")
        for number, mail in enumerate(self.box.mails, 1):
            if _is_in(arguments[0], mail.uid) and mail.modseq > since and mail.uid not in self.server_state.hidden:
                self._say(f"* {number} FETCH (".encode() + b" ".join(self._item(mail, item) for item in items) + b")")

    def _item(self, mail: Mail, item: str) -> bytes:
        if item.startswith("BODY.PEEK[]<0."):
            raw = mail.raw[: int(item[14:-1])]
            return b"BODY[]<0> {%d}\r\n%s" % (len(raw), raw)
        size = len(mail.raw) if self.server_state.told_size is None else self.server_state.told_size
        said: dict[str, Any] = {
            "UID": mail.uid,
            "FLAGS": f"({' '.join(sorted(mail.flags))})",
            "RFC822.SIZE": size,
            "INTERNALDATE": _DATE,
            "EMAILID": f"({mail.one})",
            "THREADID": f"(T{mail.one})",
            "X-GM-MSGID": mail.one,
            "X-GM-THRID": f"9{mail.one}",
        }
        return f"{item} {said[item]}".encode("ascii")


def _quoted(word: str) -> str:
    return '"' + re.sub(r'(["\\])', r"\\\1", word) + '"'


def _unquoted(word: str) -> str:
    return re.sub(r"\\(.)", r"\1", word)


def _is_in(uids: str, uid: int) -> bool:
    for part in uids.split(","):
        low, _, high = part.partition(":")
        if int(low) <= uid <= int(high or low):
            return True
    return False
