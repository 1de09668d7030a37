"""Mail written by machines: automatic replies, bounces, lists, bulk mail, notifications and loops."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from models.enums import MachineKind


@dataclass(frozen=True, slots=True)
class Marker:
    """The header that gave a machine away, and what follows from it."""

    kind: MachineKind
    header: str
    value: str
    may_open_ticket: bool
    #: Never true: RFC 3834 section 2 forbids automatic answers to automatic mail.
    may_be_answered: bool = False


#: Our automatic mails carry it: our domain or address first, parameters after a semicolon.
LOOP_HEADER = "x-fieldpost-loop"

_OPENS_TICKET = frozenset((MachineKind.MAILING_LIST, MachineKind.BULK, MachineKind.NOTIFICATION))
#: RFC 5321 6.3 proposes at least 100 Received lines before mail counts as circling.
_MOST_HOPS = 100
_VALUE_LIMIT = 1_000
_COMMENT = re.compile(r"\([^()]*\)")
_REPLY_SUBJECT = re.compile(
    r"\s*(?:(?:re|aw)\s*:\s*)?(?:auto(?:matic|mated)?[ -]?(?:reply|response|answer)|autoreply|out of (?:the )?office"
    r"|automatische antwort|abwesenheits|r[eé]ponse automatique|respuesta autom[aá]tica)",
    re.IGNORECASE,
)
_ROBOT_MAILBOX = re.compile(r"(?:mailer-daemon|mailerdaemon|postmaster)(?:@.*)?", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Mail:
    headers: Mapping[str, Sequence[str]]
    from_address: str
    subject: str
    own_domains: frozenset[str]

    def values(self, header: str) -> list[str]:
        return [_plain(value) for value in self.headers.get(header, ())]


@dataclass(frozen=True, slots=True)
class _Row:
    """One marker: a header (or "from"), what its value must be, the kind it shows, where that is written."""

    kind: MachineKind
    header: str
    shows: Callable[[_Mail, str], bool]
    source: str


def classify(
    headers: Mapping[str, Sequence[str]], from_address: str | None, subject: str, own_domains: Collection[str]
) -> Marker | None:
    """Return the first marker of the table that the message carries, or None for mail written by a person.

    `headers` maps lower-case names to all their values. X-Auto-Response-Suppress alone is no marker: people's mail
    programs write it too (see `asks_for_no_answer`). Rules: RFC 3834 sections 2 and 5, RFC 3464 section 2, RFC 2919.
    """
    domains = frozenset(domain.lower() for domain in own_domains)
    mail = _Mail(headers, _plain(from_address or ""), subject[:_VALUE_LIMIT], domains)
    for row in MARKERS:
        for value in _candidates(mail, row.header):
            if row.shows(mail, value):
                return Marker(row.kind, row.header, value, row.kind in _OPENS_TICKET)
    return None


def asks_for_no_answer(headers: Mapping[str, Sequence[str]]) -> bool:
    """Return whether the sender asks to be spared automatic answers (X-Auto-Response-Suppress: All, OOF, AutoReply)."""
    asked = {word.strip().lower() for value in headers.get("x-auto-response-suppress", ()) for word in value.split(",")}
    return not asked.isdisjoint(("all", "oof", "autoreply"))


def _candidates(mail: _Mail, header: str) -> list[str]:
    if header == "from":
        return [mail.from_address]
    if header == "received":
        return [str(len(mail.headers.get("received", ())))]
    return mail.values(header)


def _plain(value: str) -> str:
    return " ".join(value[:_VALUE_LIMIT].split())


def _keyword(value: str) -> str:
    """Return the first word of a header value, without comments and parameters (RFC 3834 section 5)."""
    return _COMMENT.sub(" ", value).partition(";")[0].strip().lower()


def _parameter(value: str, name: str) -> str:
    found = re.search(rf";\s*{name}\s*=\s*\"?([^\";\s]+)", value, re.IGNORECASE)
    return found.group(1).lower() if found else ""


def _is(*words: str) -> Callable[[_Mail, str], bool]:
    return lambda _, value: _keyword(value) in words


def _present(_: _Mail, value: str) -> bool:
    return _keyword(value) not in ("", "no", "false")


def _report(kind: str) -> Callable[[_Mail, str], bool]:
    return lambda _, value: _keyword(value) == "multipart/report" and _parameter(value, "report-type") == kind


def _our_loop(mail: _Mail, value: str) -> bool:
    """Another installation's header is no loop; when nobody can tell whose it is, it is ours."""
    domain = _keyword(value).rpartition("@")[2]
    return not domain or not mail.own_domains or domain in mail.own_domains


def _answers(mail: _Mail, value: str) -> bool:
    """Exchange marks absence notes "auto-generated", so the subject or a reference to our mail decides."""
    if _keyword(value) in ("", "no"):
        return False
    return bool(mail.headers.get("in-reply-to")) or _REPLY_SUBJECT.match(mail.subject) is not None


def _automatic(_: _Mail, value: str) -> bool:
    return _keyword(value) not in ("", "no")


#: In order: what must never be answered or opened first, so that a list's bounce is a bounce.
MARKERS: tuple[_Row, ...] = (
    _Row(MachineKind.LOOP, LOOP_HEADER, _our_loop, "RFC 3834 section 2: our own automatic mail came back"),
    _Row(MachineKind.LOOP, "received", lambda _, value: int(value) > _MOST_HOPS, "RFC 5321 section 6.3"),
    _Row(MachineKind.BOUNCE, "content-type", _report("delivery-status"), "RFC 3464 section 2"),
    _Row(MachineKind.BOUNCE, "x-failed-recipients", _present, "bounces of Exim"),
    _Row(
        MachineKind.BOUNCE,
        "from",
        lambda _, value: _ROBOT_MAILBOX.fullmatch(value) is not None,
        "RFC 2142 section 4 and custom",
    ),
    _Row(MachineKind.AUTO_REPLY, "auto-submitted", _is("auto-replied"), "RFC 3834 section 5"),
    _Row(MachineKind.AUTO_REPLY, "auto-submitted", _answers, "RFC 3834 section 5 and absence notes of Exchange"),
    _Row(MachineKind.AUTO_REPLY, "content-type", _report("disposition-notification"), "RFC 8098 section 3"),
    _Row(MachineKind.AUTO_REPLY, "x-autoreply", _present, "custom before RFC 3834"),
    _Row(MachineKind.AUTO_REPLY, "x-autorespond", _present, "custom before RFC 3834"),
    _Row(MachineKind.AUTO_REPLY, "x-autoresponder", _present, "custom before RFC 3834"),
    _Row(MachineKind.AUTO_REPLY, "precedence", _is("auto_reply", "auto-reply"), "custom before RFC 3834"),
    _Row(MachineKind.BOUNCE, "return-path", lambda _, value: value == "<>", "RFC 5321 section 4.5.5"),
    _Row(MachineKind.MAILING_LIST, "list-id", _present, "RFC 2919 section 3"),
    _Row(MachineKind.MAILING_LIST, "list-post", _present, "RFC 2369 section 3.4"),
    _Row(MachineKind.MAILING_LIST, "precedence", _is("list"), "custom, named in RFC 3834 section 2"),
    _Row(MachineKind.BULK, "precedence", _is("bulk", "junk"), "custom, named in RFC 3834 section 2"),
    _Row(MachineKind.NOTIFICATION, LOOP_HEADER, _present, "automatic mail of another installation"),
    _Row(MachineKind.NOTIFICATION, "auto-submitted", _automatic, "RFC 3834 section 5: auto-generated and later words"),
)
