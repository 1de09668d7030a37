"""Refusals of IMAP servers as errors of the tree: one table on the method and the words, codes of RFC 5530 included."""

from __future__ import annotations

import imaplib
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from google.auth.exceptions import GoogleAuthError, RefreshError
from imapclient.exceptions import LoginError

from pipeline.runtime.errors import (
    FieldpostError,
    Forbidden,
    Gone,
    NeedsAuthorization,
    Permanent,
    Reach,
    Throttled,
    Transient,
)

LOGIN, SELECT, STATUS = "login", "select", "status"

SHORT = timedelta(seconds=30)
MINUTE = timedelta(minutes=1)
LONG = timedelta(hours=1)
LONGEST = timedelta(hours=24)

_SUGGESTED = re.compile(r"backoff time:? *(\d{1,9}) *milliseconds", re.IGNORECASE)
_SHOWN = 300


class Lost(Transient):
    """The connection is of no use any more."""


class Dropped(Lost):
    """The connection ended or the server said goodbye: a new connection may work at once."""


class Silent(Lost):
    """The server gave no answer in time: another connection would most likely wait as long."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the server said to a method, in one line without secrets."""

    method: str
    words: str

    def text(self, hint: str = "") -> str:
        """Return one line for logs and people."""
        return f"IMAP {self.method}: {self.words}{hint and f' ({hint})'}"


Decide = Callable[[Refusal], FieldpostError]


@dataclass(frozen=True, slots=True)
class Rule:
    """One row: it holds for words that are a case-blind pattern and, where given, for a method."""

    words: str
    decide: Decide
    method: str = ""

    def matches(self, refusal: Refusal) -> bool:
        """Tell whether the row holds."""
        return self.method in {"", refusal.method} and re.search(self.words, refusal.words, re.IGNORECASE) is not None


def _wait(default: timedelta, reach: Reach) -> Decide:
    return lambda refusal: Throttled(refusal.text(), _suggested(refusal.words) or default, reach)


def _person(hint: str) -> Decide:
    return lambda refusal: NeedsAuthorization(refusal.text(hint))


def _as(kind: type[FieldpostError]) -> Decide:
    return lambda refusal: kind(refusal.text())


_AGAIN = "connect the mailbox again"
_CROWDED = (
    r"too many (simultaneous )?connections|too many simultaneous|maximum (number of )?connections|connection limit"
)

#: The first row that holds decides; passing trouble stands before wrong passwords, since both refuse a login.
RULES = (
    Rule(_CROWDED, _wait(SHORT, Reach.CALLS)),
    Rule(r"bandwidth|download limit|\[overquota\]", _wait(LONG, Reach.MAILBOX), LOGIN),
    Rule(r"bandwidth|download limit|\[overquota\]", _wait(LONG, Reach.BYTES)),
    Rule(r"\[limit\]|throttl|rate limit|too many (requests|commands|logins|attempts)", _wait(MINUTE, Reach.MAILBOX)),
    Rule(r"\[unavailable\]|\[inuse\]|\[serverbug\]|\[expungeissued\]|\[corruption\]", _as(Transient)),
    Rule(r"temporar|try again|internal (server )?error|system error", _as(Transient)),
    Rule(r"domain policy|\[contactadmin\]|not enabled for imap|imap access is disabled", _as(Forbidden)),
    Rule(r"\[(authenticationfailed|authorizationfailed|expired|privacyrequired)\]|logindisabled", _person(_AGAIN)),
    Rule("", _person(_AGAIN), LOGIN),
    Rule(r"\[nonexistent\]|doesn't exist|does not exist|no such (mailbox|folder)|unknown mailbox", _as(Gone)),
    # A folder that is listed and may not be opened is not part of the mailbox.
    Rule(r"\[noperm\]|permission denied|access denied", _as(Gone), SELECT),
    Rule(r"\[noperm\]|permission denied|access denied", _as(Gone), STATUS),
    Rule(r"\[noperm\]", _as(Permanent)),
    Rule(r"\bBAD\b", _as(Permanent)),
    Rule("", _as(Transient)),
)


def from_words(method: str, words: str) -> FieldpostError:
    """Return the error for words with which a server refused a method (`LOGIN`, or a name of our own)."""
    refusal = Refusal(method, " ".join(words.split())[:_SHOWN] or "no text")
    return next(rule for rule in RULES if rule.matches(refusal)).decide(refusal)


def from_exception(method: str, error: Exception) -> FieldpostError:
    """Return the error of the tree for what the library or the network raised; one of the tree is returned as it is."""
    if isinstance(error, FieldpostError):
        return error
    if isinstance(error, GoogleAuthError):
        return _from_token(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return Transient(f"IMAP {method}: the server's certificate is not trusted: {error.verify_message}")
    if _is_drop(error):
        return _from_drop(method, error)
    if isinstance(error, imaplib.IMAP4.error):
        return from_words(LOGIN if isinstance(error, LoginError) else method, _words(error))
    return Transient(f"IMAP {method}: the answer cannot be understood: {type(error).__name__}")


def _is_drop(error: Exception) -> bool:
    # The library makes one kind of every trouble of a login; what it was before tells a lost connection from a refusal.
    causes = (error, error.__context__) if isinstance(error, LoginError) else (error,)
    return any(isinstance(cause, imaplib.IMAP4.abort | OSError) for cause in causes)


def _is_timeout(error: BaseException | None) -> bool:
    """Tell whether waiting ended it; the library makes other errors of that."""
    return error is not None and (isinstance(error, TimeoutError) or _is_timeout(error.__context__))


def _from_drop(method: str, error: Exception) -> FieldpostError:
    """Return the error for a lost connection; a goodbye may say more than that."""
    words = _words(error)
    if _is_timeout(error):
        return Silent(f"IMAP {method} gave no answer in time: {words}")
    found = from_words(method, words) if isinstance(error, imaplib.IMAP4.error) else None
    return found if isinstance(found, Throttled) else Dropped(f"IMAP {method} gave no answer: {words}")


def _from_token(error: GoogleAuthError) -> FieldpostError:
    """Return the error for a token that could not be had: revoked consent needs a person, the rest passes."""
    said = str(error.args[0] if error.args else error)[:_SHOWN]
    text = f"no access token for IMAP: {said}"
    refused = ("invalid_grant", "invalid_client", "unauthorized_client", "invalid_request", "necessary fields")
    is_final = isinstance(error, RefreshError) and any(word in text for word in refused) and not error.retryable
    return NeedsAuthorization(f"{text} ({_AGAIN})") if is_final else Transient(text)


def _words(error: Exception) -> str:
    """Return what was said; the standard library shows some answers as Python's bytes."""
    said = str(error) or type(error).__name__
    found = re.fullmatch(r"b(['\"])(.*)\1", said, re.DOTALL)
    return found[2] if found else said


def _suggested(words: str) -> timedelta | None:
    found = _SUGGESTED.search(words)
    return None if found is None else min(max(timedelta(milliseconds=int(found[1])), timedelta(seconds=1)), LONGEST)
