"""The table of markers that give a machine away: a header, what its value must be, what it shows, and where that is
written. Data, tried from the top: what must never be answered or open a ticket stands first."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from models.enums import MachineKind
from pipeline.core.loops import LOOP_HEADER, MOST_HOPS, read_loop_header

#: Names of what is no header: the sender's address, the count of a header, the METHOD of a calendar part.
FROM, CALENDAR = "(from)", "(calendar)"
_LOOP = LOOP_HEADER.lower()
_VALUE_LIMIT = 1_000
#: RFC 5321 6.3 proposes at least 100 Received lines before mail counts as circling.
_MOST_RECEIVED = 100
_MOST_VALUES = 1_000
_COMMENT = re.compile(r"\([^()]*\)")
_REPLY_SUBJECT = re.compile(
    r"\s*(?:(?:re|aw)\s*:\s*)?(?:auto(?:matic|mated)?[ -]?(?:reply|response|answer)|autoreply|out of (?:the )?office"
    r"|automatische antwort|abwesenheits|r[eé]ponse automatique|respuesta autom[aá]tica|resposta autom[aá]tica"
    r"|risposta automatica|automatisch antwoord|autosvar|automatiskt svar|odpowied[zź] automatyczna)",
    re.IGNORECASE,
)
#: A rule of Outlook that forwards marks what it forwards as generated: a person wrote it all the same.
_FORWARD_SUBJECT = re.compile(r"\s*(?:fwd?|wg|tr|rv|enc|doorst|vs|pd|i)\s*:", re.IGNORECASE)
_ROBOT = re.compile(
    r"(?:mailer-daemon|mailerdaemon|postmaster|microsoftexchange[0-9a-f]{32})(?:@.*)?", re.IGNORECASE | re.DOTALL
)
_UNREAD_MAILBOX = re.compile(r"(?:no|do[-_.]?not)[-_.]?reply(?:[-_.+][^@]*)?@.*", re.IGNORECASE | re.DOTALL)
_K = MachineKind
_OLD = "custom before RFC 3834"
_EXCHANGE = "Microsoft, MS-OXCMAIL and headers of Exchange"
_DESK = "a help desk's own header"
_SENDING = "a sending service's own header"
_CIRCLES = {
    "received": "RFC 5321 section 6.3",
    "delivered-to": "RFC 9228: delivered to one address again and again",
    "x-ms-exchange-inbox-rules-loop": f"{_EXCHANGE}: redirected again and again",
}
_SERVICES = ("zendesk.com", "freshdesk.com", "freshservice.com", "intercom-mail.com", "atlassian.net")


@dataclass(frozen=True, slots=True)
class Mail:
    """What is looked at of one mail; `signed` says whether a loop header is one that we signed."""

    headers: Mapping[str, Sequence[str]]
    from_address: str
    subject: str
    own_domains: frozenset[str]
    calendar_method: str
    signed: Callable[[str], bool]

    def values(self, header: str) -> list[str]:
        """Return the bounded values of a header, or of what is no header, each on one line."""
        if header == FROM:
            return [self.from_address]
        if header == CALENDAR:
            return [self.calendar_method]
        return [plain(value) for value in self.headers.get(header, ())]

    @property
    def is_answer(self) -> bool:
        """Whether it says that it answers a message."""
        return bool(self.headers.get("in-reply-to"))

    @property
    def is_automatic(self) -> bool:
        """Whether RFC 3834's own header says that no person wrote it."""
        return any(keyword(value) not in ("", "no") for value in self.values("auto-submitted"))


@dataclass(frozen=True, slots=True)
class Row:
    """One marker: the kind it shows, the header, what its value must be, where that is written."""

    kind: MachineKind
    header: str
    shows: Callable[[Mail, str], bool]
    source: str
    #: It looks at how often the header stands in the mail, not at one value.
    counts: bool = False

    def found_in(self, mail: Mail) -> str | None:
        """Return the value by which it holds of a mail, None when it does not."""
        if self.counts:
            return f"{len(mail.headers[self.header])} times" if self.shows(mail, "") else None
        for value in mail.values(self.header):
            if self.shows(mail, value):
                return value
        return None


def plain(value: str) -> str:
    """Return a bounded value on one line."""
    return " ".join(value[:_VALUE_LIMIT].split())


def keyword(value: str) -> str:
    """Return the first word of a header value, without comments and parameters (RFC 3834 section 5)."""
    return _COMMENT.sub(" ", value).partition(";")[0].strip().lower()


def _parameter(value: str, name: str) -> str:
    found = re.search(rf";\s*{name}\s*=\s*\"?([^\";\s]+)", value, re.IGNORECASE)
    return found.group(1).lower() if found else ""


def _is(*words: str) -> Callable[[Mail, str], bool]:
    return lambda _, value: keyword(value) in words


def _has(part: str) -> Callable[[Mail, str], bool]:
    return lambda _, value: part in value.lower()


def _present(_: Mail, value: str) -> bool:
    return keyword(value) not in ("", "no", "false")


def _unless_answer(mail: Mail, value: str) -> bool:
    """People who write through a company's sending service carry its headers, too: an answer is a person's."""
    return _present(mail, value) and not mail.is_answer


def _report(kind: str) -> Callable[[Mail, str], bool]:
    return lambda _, value: keyword(value) == "multipart/report" and _parameter(value, "report-type") == kind


def _our_loop(mail: Mail, value: str) -> bool:
    """Another desk's header is no loop, nor one that we did not sign; when nobody can tell whose it is, it is ours."""
    domain = read_loop_header(keyword(value), ()).domain
    if not domain:
        return True
    return (not mail.own_domains or domain in mail.own_domains) and mail.signed(value)


def _far_travelled(_: Mail, value: str) -> bool:
    return read_loop_header(value, ()).hop > MOST_HOPS


def _more_than(most: int, header: str) -> Row:
    return Row(_K.LOOP, header, lambda mail, _: len(mail.headers[header]) > most, _CIRCLES[header], counts=True)


def _same_more_than(most: int, header: str) -> Row:
    """Return the row of a header in which one value stands more than `most` times."""

    def shows(mail: Mail, _: str) -> bool:
        seen = Counter(value.lower() for value in mail.values(header)[:_MOST_VALUES])
        return max(seen.values(), default=0) > most

    return Row(_K.LOOP, header, shows, _CIRCLES[header], counts=True)


def _answers(mail: Mail, value: str) -> bool:
    """Exchange marks absence notes "auto-generated", so the subject or a reference to our mail decides."""
    if keyword(value) in ("", "no") or _FORWARD_SUBJECT.match(mail.subject):
        return False
    return mail.is_answer or _REPLY_SUBJECT.match(mail.subject) is not None


def _mailbox_rule(mail: Mail, value: str) -> bool:
    return "mailbox rules agent" in value.lower() and mail.is_automatic and not _FORWARD_SUBJECT.match(mail.subject)


def _answers_ours(mail: Mail, value: str) -> bool:
    """An automatic mail that refers to a message id of our domain answers it, whatever it calls itself."""
    own = {f"@{domain}>" for domain in mail.own_domains}
    return mail.is_automatic and any(one.endswith(tuple(own)) for one in value.lower().split())


def _automatic(_: Mail, value: str) -> bool:
    return keyword(value) not in ("", "no")


def _service_id(_: Mail, value: str) -> bool:
    host = value.strip("<> ").rpartition("@")[2].lower()
    return host.endswith(tuple(f".{name}" for name in _SERVICES)) or host in _SERVICES


MARKERS: tuple[Row, ...] = (
    Row(_K.LOOP, _LOOP, _our_loop, "RFC 3834 section 2: our own automatic mail came back"),
    Row(_K.LOOP, _LOOP, _far_travelled, "reliability, section 4: more than 3 steps from desk to desk"),
    _more_than(_MOST_RECEIVED, "received"),
    _same_more_than(3, "delivered-to"),
    _same_more_than(1, "x-ms-exchange-inbox-rules-loop"),
    _more_than(3, "x-ms-exchange-inbox-rules-loop"),
    Row(_K.BOUNCE, "content-type", _report("delivery-status"), "RFC 3464 section 2"),
    Row(_K.BOUNCE, "x-failed-recipients", _present, "bounces of Exim"),
    Row(_K.BOUNCE, "x-ms-exchange-message-is-ndr", lambda _, value: value.lower() != "false", _EXCHANGE),
    Row(_K.BOUNCE, FROM, lambda _, value: _ROBOT.fullmatch(value) is not None, "RFC 2142 section 4 and custom"),
    Row(_K.AUTO_REPLY, "auto-submitted", _is("auto-replied"), "RFC 3834 section 5"),
    Row(_K.AUTO_REPLY, "x-freescout-mail-type", _is("auto.reply"), f"{_DESK}: FreeScout"),
    Row(_K.AUTO_REPLY, "x-ms-exchange-generated-message-source", _mailbox_rule, _EXCHANGE),
    # Agents of these desks write through them, marked as generated: news, so before what generated answers are.
    Row(_K.NOTIFICATION, "x-mailer", _has("zendesk"), f"{_DESK}: Zendesk"),
    Row(_K.NOTIFICATION, "x-mailer", _has("osticket"), f"{_DESK}: osTicket"),
    Row(_K.NOTIFICATION, "message-id", _service_id, f"{_DESK}: message ids of Zendesk, Freshdesk, Intercom, Jira"),
    Row(_K.NOTIFICATION, "x-jira-fingerprint", _present, f"{_DESK}: Jira"),
    Row(_K.NOTIFICATION, "x-servicenow-generated", _present, f"{_DESK}: ServiceNow"),
    Row(_K.NOTIFICATION, "x-freescout-mail-type", _present, f"{_DESK}: FreeScout"),
    Row(_K.NOTIFICATION, "x-frappe-site", _present, f"{_DESK}: Frappe"),
    Row(_K.NOTIFICATION, "x-otrs-loop", _present, f"{_DESK}: OTRS and Znuny"),
    Row(_K.NOTIFICATION, "x-powered-by", _has("otrs"), f"{_DESK}: OTRS"),
    Row(_K.NOTIFICATION, "x-powered-by", _has("zammad"), f"{_DESK}: Zammad"),
    Row(_K.NOTIFICATION, "x-rt-loop-prevention", _present, f"{_DESK}: Request Tracker"),
    Row(_K.NOTIFICATION, "rt-ticket", _present, f"{_DESK}: Request Tracker"),
    Row(_K.NOTIFICATION, "x-redmine-host", _present, f"{_DESK}: Redmine"),
    Row(_K.NOTIFICATION, "x-github-reason", _present, "notifications of GitHub"),
    Row(_K.NOTIFICATION, "x-gitlab-project", _present, "notifications of GitLab"),
    Row(_K.NOTIFICATION, CALENDAR, _is("reply"), "RFC 5546 section 3.2.3: an answer to an invitation"),
    Row(_K.AUTO_REPLY, "auto-submitted", _answers, "RFC 3834 section 5 and absence notes of Exchange"),
    Row(_K.AUTO_REPLY, "references", _answers_ours, "reliability, section 4: it refers to a message id of ours"),
    Row(_K.AUTO_REPLY, "content-type", _report("disposition-notification"), "RFC 8098 section 3"),
    Row(_K.AUTO_REPLY, "x-autoreply", _present, f"{_OLD}: vacation notes of Gmail and others"),
    Row(_K.AUTO_REPLY, "x-auto-reply", _present, _OLD),
    Row(_K.AUTO_REPLY, "x-autoreply-from", _present, f"{_OLD}: Domain Technologie Control"),
    Row(_K.AUTO_REPLY, "x-mail-autoreply", _present, f"{_OLD}: Domain Technologie Control"),
    Row(_K.AUTO_REPLY, "x-autorespond", _present, f"{_OLD}: cPanel"),
    Row(_K.AUTO_REPLY, "x-autoresponder", _present, _OLD),
    Row(_K.AUTO_REPLY, "x-autogenerated", _is("reply"), f"{_OLD}: CommuniGate Pro"),
    Row(_K.AUTO_REPLY, "x-fc-machinegenerated", _present, f"{_OLD}: FirstClass"),
    Row(_K.AUTO_REPLY, "x-post-messageclass", _has("autoresponder"), f"{_OLD}: Mailtraq"),
    Row(_K.AUTO_REPLY, "delivered-to", _is("autoresponder"), f"{_OLD}: qmail"),
    Row(_K.AUTO_REPLY, "precedence", _is("auto_reply", "auto-reply"), _OLD),
    Row(_K.AUTO_REPLY, "x-precedence", _is("auto_reply", "auto-reply"), f"{_OLD}: cPanel"),
    Row(_K.AUTO_REPLY, "preference", _is("auto_reply", "auto-reply"), f"{_OLD}: cPanel"),
    Row(_K.BOUNCE, "return-path", lambda _, value: value == "<>", "RFC 5321 section 4.5.5"),
    Row(_K.MAILING_LIST, "list-id", _present, "RFC 2919 section 3"),
    Row(_K.MAILING_LIST, "list-post", _present, "RFC 2369 section 3.4"),
    Row(_K.MAILING_LIST, "precedence", _is("list"), "custom, named in RFC 3834 section 2"),
    Row(_K.MAILING_LIST, "mailing-list", _present, "ezmlm and Google Groups"),
    Row(_K.MAILING_LIST, "x-mailing-list", _present, "majordomo, vger and others"),
    Row(_K.MAILING_LIST, "x-beenthere", _present, "Mailman and Google Groups"),
    Row(_K.MAILING_LIST, "x-google-group-id", _present, "Google Groups"),
    Row(_K.BULK, "precedence", _is("bulk", "junk"), "custom, named in RFC 3834 section 2"),
    Row(_K.BULK, "list-unsubscribe", _unless_answer, "RFC 2369 section 3.2, RFC 8058"),
    Row(_K.BULK, "feedback-id", _unless_answer, "Gmail's feedback loop, sent by bulk senders"),
    Row(_K.BULK, "x-csa-complaints", _unless_answer, f"{_SENDING}: Certified Senders Alliance"),
    Row(_K.BULK, "x-campaign", _unless_answer, _SENDING),
    Row(_K.BULK, "x-campaignid", _unless_answer, _SENDING),
    Row(_K.BULK, "x-campaign-id", _unless_answer, _SENDING),
    Row(_K.BULK, "x-mc-user", _unless_answer, f"{_SENDING}: Mailchimp"),
    Row(_K.BULK, "x-msfbl", _unless_answer, f"{_SENDING}: Message Systems"),
    Row(_K.NOTIFICATION, _LOOP, _present, "automatic mail of another installation"),
    Row(_K.NOTIFICATION, "auto-submitted", _automatic, "RFC 3834 section 5: auto-generated and later words"),
    Row(_K.NOTIFICATION, "content-type", _report("feedback-report"), "RFC 5965: somebody complained"),
    Row(_K.NOTIFICATION, "x-loop", _present, "procmail and list servers: written to break loops"),
    Row(_K.NOTIFICATION, FROM, lambda _, value: _UNREAD_MAILBOX.fullmatch(value) is not None, "nobody reads answers"),
)

_PLACES: dict[str, tuple[int, ...]] = {
    name: tuple(place for place, row in enumerate(MARKERS) if row.header == name)
    for name in {row.header for row in MARKERS}
}
_NAMES = _PLACES.keys()
_NO_HEADERS = (FROM, CALENDAR)


def rows_for(headers: Mapping[str, Sequence[str]]) -> list[Row]:
    """Return the rows that may hold of a mail with these headers, in the table's order; most mail has few of them."""
    names = (*(_NAMES & headers.keys()), *_NO_HEADERS)
    return [MARKERS[place] for place in sorted(place for name in names for place in _PLACES[name])]
