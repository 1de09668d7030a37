"""The mail relay of the installation: what is told to people themselves leaves through it, not through a mailbox."""

from __future__ import annotations

import smtplib
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from urllib.parse import SplitResult, unquote, urlsplit

from pipeline.adapters.imap_connections import is_loopback
from pipeline.adapters.smtp_sending import short
from pipeline.core import contacts
from pipeline.core.handing_over import Handed, HandOver
from pipeline.core.notices import Words
from pipeline.ports import Clock, Notice
from pipeline.runtime.errors import UserError
from pipeline.runtime.notices import opened
from pipeline.runtime.secrets import Secrets
from pipeline.runtime.settings import Settings

_PORTS = {"smtp": 587, "smtps": 465}
_SECONDS = 20.0
_HOW = "write FIELDPOST_MAIL_RELAY_URL as smtp://user:password@host:587 or smtps://user:password@host:465"


@dataclass(frozen=True, slots=True)
class Relay:
    """Where the relay is. `smtp` turns to TLS first (STARTTLS), but on this machine; `smtps` speaks it at once."""

    scheme: str
    host: str
    port: int
    user: str | None
    password: str = field(repr=False)

    @classmethod
    def read(cls, url: str) -> Relay:
        """Return the relay of an address. `UserError` says what is wrong, without what stands in it."""
        try:
            parts = urlsplit(url)
            port = parts.port or _PORTS.get(parts.scheme, 0)
        except ValueError:
            raise UserError(_HOW) from None
        if parts.scheme not in _PORTS or not parts.hostname or parts.path.strip("/") or parts.query:
            raise UserError(_HOW)
        return cls(parts.scheme, parts.hostname, port, *_login(parts))


def _login(parts: SplitResult) -> tuple[str | None, str]:
    return (unquote(parts.username) if parts.username else None), unquote(parts.password or "")


class MailRelay:
    """The Notifier port over SMTP; without a relay in the settings it is not ready and sends nothing."""

    def __init__(
        self, settings: Settings, secrets: Secrets, clock: Clock, *, tls: ssl.SSLContext | None = None
    ) -> None:
        """Read the settings. Raises `UserError` for a relay that is none, or that has no address to write from."""
        url, sender = settings.mail_relay_url, settings.mail_from
        self._relay = None if url is None else Relay.read(url.get_secret_value())
        self._from = sender or ""
        if self._relay is not None and contacts.email(parseaddr(self._from)[1]) is None:
            raise UserError("FIELDPOST_MAIL_RELAY_URL needs FIELDPOST_MAIL_FROM, an address such as desk@example.org")
        self._secrets, self._clock, self._tls = secrets, clock, tls

    @property
    def is_ready(self) -> bool:
        """Whether there is a relay."""
        return self._relay is not None

    def send(self, notice: Notice) -> Handed:
        """Hand one notice over. Raises as `Secrets.unseal` when it does not open."""
        assert self._relay is not None
        mail = self._mail(notice, opened(self._secrets, notice.notice_id, notice.sealed))
        smtp: smtplib.SMTP | None = None
        try:
            smtp = self._connect(self._relay)
            smtp.send_message(mail, to_addrs=[notice.recipient])
        except smtplib.SMTPRecipientsRefused as error:
            return _refused(*next(iter(error.recipients.values())))
        except smtplib.SMTPAuthenticationError as error:
            return Handed(HandOver.LATER, f"the relay refuses the login ({error.smtp_code})")
        except smtplib.SMTPResponseException as error:
            return _refused(error.smtp_code, error.smtp_error)
        except (smtplib.SMTPException, OSError) as error:
            return Handed(HandOver.LATER if smtp is None else HandOver.DOUBTFUL, short(error))
        finally:
            _leave(smtp)
        return Handed(HandOver.ACCEPTED)

    def _connect(self, relay: Relay) -> smtplib.SMTP:
        context = self._tls or ssl.create_default_context()
        smtp: smtplib.SMTP
        if relay.scheme == "smtps":
            smtp = smtplib.SMTP_SSL(relay.host, relay.port, timeout=_SECONDS, context=context)
        else:
            smtp = smtplib.SMTP(relay.host, relay.port, timeout=_SECONDS)
        try:
            if relay.scheme == "smtp" and not is_loopback(relay.host):
                smtp.starttls(context=context)
            if relay.user is not None:
                smtp.login(relay.user, relay.password)
        except BaseException:
            smtp.close()
            raise
        return smtp

    def _mail(self, notice: Notice, words: Words) -> EmailMessage:
        mail = EmailMessage(policy=SMTP)
        mail["From"], mail["To"], mail["Subject"] = self._from, notice.recipient, words.subject
        mail["Date"] = format_datetime(self._clock.now())
        domain = parseaddr(self._from)[1].rpartition("@")[2]
        # The same at every try: whoever gets it twice sees it once.
        mail["Message-ID"] = f"<notice.{notice.notice_id}@{domain}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(words.body)
        return mail


def _leave(smtp: smtplib.SMTP | None) -> None:
    """Hang up; whatever is answered to that decides nothing."""
    if smtp is not None:
        with suppress(smtplib.SMTPException, OSError):
            smtp.quit()
        smtp.close()


def _refused(code: int, said: bytes | str) -> Handed:
    words = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    how = HandOver.REFUSED if 500 <= code < 600 else HandOver.LATER
    return Handed(how, short(f"the relay answered {code}: {words}"))
