"""Giving out attachments: as what they may be served, under which name, and by links that need no session."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote
from uuid import UUID

from models.queries.ticket_detail import Attachment
from ops_api.signing import Signer
from pipeline.core.filenames import display_name
from pipeline.runtime.secrets import Secrets

#: How long a link is good for (reliability, section 5: five minutes at most).
LASTS = timedelta(minutes=5)
#: A file may hold anything: no browser is to show it in our name, guess what it is, or run what is in it.
SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Cache-Control": "private, no-store",
}
_ANY = "application/octet-stream"
#: What no program that opens it by its type runs scripts of; everything else is bytes.
_SERVED = frozenset(
    {
        *(f"image/{kind}" for kind in ("png", "jpeg", "gif", "webp", "bmp", "tiff", "heic")),
        *(f"audio/{kind}" for kind in ("mpeg", "ogg", "wav", "mp4")),
        *(f"video/{kind}" for kind in ("mp4", "mpeg", "ogg", "quicktime", "webm")),
        *("text/plain", "text/csv", "text/calendar", "application/pdf", "application/zip", "application/msword"),
        *("application/vnd.ms-excel", "application/vnd.ms-powerpoint"),
        *(
            f"application/vnd.openxmlformats-officedocument.{kind}"
            for kind in ("wordprocessingml.document", "spreadsheetml.sheet", "presentationml.presentation")
        ),
    }
)
#: RFC 8187, 3.2.1: what stands for itself in an extended value.
_ATTR_CHAR = "!#$&+-.^_`|~"
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9 ._+()=,-]")


def headers_of(found: Attachment) -> dict[str, str]:
    """Return how an attachment is labelled, wherever its bytes come from."""
    kind = found.content_type.lower().strip()
    return {
        "Content-Type": kind if kind in _SERVED else _ANY,
        "Content-Disposition": disposition(found.filename),
    }


def disposition(filename: str) -> str:
    """Return `attachment` with the name in ASCII and in UTF-8 (RFC 6266, 4.3; RFC 8187); no path, no control."""
    name = display_name(filename) or "attachment"
    plain = _NOT_PLAIN.sub("_", name).strip(" .") or "attachment"
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe=_ATTR_CHAR)}"


def path_of(ticket_id: UUID, attachment_id: int) -> str:
    """Return the one way to write the path that a link is good for."""
    return f"/tickets/{ticket_id}/attachments/{attachment_id}/signed/download"


@dataclass(frozen=True, slots=True)
class Link:
    """What a link says, once it is read: whose it is, for which organization's bytes at which path, and until when."""

    path: str
    org_id: UUID
    person_id: UUID
    sha256: str
    expires_at: datetime

    def fits(self, path: str, found: Attachment) -> bool:
        """Say whether the link is for this path and these bytes, and not over."""
        return (path, found.sha256) == (self.path, self.sha256) and found.asked_at < self.expires_at


class Links:
    """Signs links, and reads those that it signed: HMAC over method, path, organization, content, expiry and person."""

    def __init__(self, keys: Secrets) -> None:
        self._signer = Signer(keys.key("download"))

    def make(self, link: Link) -> str:
        """Return the token of a link."""
        expires = int(link.expires_at.timestamp())
        who = {"org": str(link.org_id), "person": str(link.person_id)}
        return self._signer.sign({"m": "GET", "p": link.path, "sha256": link.sha256, "until": expires} | who)

    def read(self, token: str) -> Link | None:
        """Return what a token says; None for one that was not made here."""
        said = self._signer.read(token)
        return None if said is None or said.get("m") != "GET" else _link(said)


def _link(said: Mapping[str, object]) -> Link | None:
    try:
        return Link(
            path=str(said["p"]),
            org_id=UUID(str(said["org"])),
            person_id=UUID(str(said["person"])),
            sha256=str(said["sha256"]),
            expires_at=datetime.fromtimestamp(int(str(said["until"])), UTC),
        )
    except (KeyError, ValueError, OverflowError):
        return None
