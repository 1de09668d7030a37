"""The MIME body of a draft: plain, alternative, HTML only, related, mixed (RFC 2045-2046, 2387)."""

from __future__ import annotations

import html
from collections.abc import Iterable
from email import policy
from email.message import MIMEPart
from random import Random

from deploy.demo.drafts import Draft, Layout
from deploy.demo.payloads import INLINE_ID, Shelf

_STYLE = (
    "<style>body{font-family:Calibri,Arial,sans-serif;font-size:11pt;color:#1f2933}p{margin:0 0 8pt}\n"
    "blockquote{border-left:2px solid #9fb3c8;margin:0;padding-left:8pt;color:#52606d}\n"
    "table.sig td{padding:0 8pt 0 0;font-size:9pt;color:#616e7c}</style>\n"
)
_NOTICE = "<p><small>This mail may hold confidential matter. If you got it by mistake, please delete it.</small></p>\n"
_PICTURE = f'<p><img src="cid:{INLINE_ID}" alt="type plate" width="64"></p>\n'
_TRANSFERS = ("quoted-printable", "base64", "8bit", "8bit")


def body(draft: Draft, rng: Random, shelf: Shelf) -> MIMEPart:
    """Return the body of `draft`; every boundary comes from `rng`, so equal seeds give equal bytes."""
    text = draft.prepared or _readable(draft, rng, shelf)
    return container("mixed", (text, *draft.attachments), rng) if draft.attachments else text


def _readable(draft: Draft, rng: Random, shelf: Shelf) -> MIMEPart:
    if draft.layout is Layout.PLAIN:
        return text_part(draft.text, "plain", draft.charset, rng)
    if draft.layout is Layout.HTML:
        return text_part(as_html(draft.text), "html", draft.charset, rng)
    plain = text_part(draft.text, "plain", draft.charset, rng)
    if draft.layout is Layout.ALTERNATIVE:
        return container("alternative", (plain, text_part(as_html(draft.text), "html", draft.charset, rng)), rng)
    page = text_part(as_html(draft.text, _PICTURE), "html", draft.charset, rng)
    return container("alternative", (plain, container("related", (page, shelf.inline), rng)), rng)


def text_part(text: str, subtype: str, charset: str, rng: Random) -> MIMEPart:
    """Return a text part in `charset`, or in UTF-8 where `charset` lacks a character."""
    part = MIMEPart(policy=policy.SMTP)
    fitting = charset if fits(text, charset) else "utf-8"
    transfer = "7bit" if text.isascii() or fitting == "iso-2022-jp" else rng.choice(_TRANSFERS)
    part.set_content(text, subtype=subtype, charset=fitting, cte=transfer)
    return part


def container(subtype: str, parts: Iterable[MIMEPart], rng: Random) -> MIMEPart:
    """Return a multipart with a boundary of its own; parts are not copied; `subtype` may carry parameters."""
    whole = MIMEPart(policy=policy.SMTP)
    whole["Content-Type"] = f'multipart/{subtype}; boundary="=_nl_{rng.getrandbits(96):024x}"'
    for part in parts:
        whole.attach(part)
    return whole


def fits(text: str, charset: str) -> bool:
    """Tell whether `charset` has every character of `text`."""
    try:
        text.encode(charset)
    except UnicodeEncodeError:
        return False
    return True


def as_html(text: str, extra: str = "") -> str:
    """Return `text` as a page as mail programs write it: quoted lines in a blockquote, `extra` before the notice."""
    fresh = [line for line in text.splitlines() if not line.startswith(">")]
    quoted = [line[1:].strip() for line in text.splitlines() if line.startswith(">")]
    page = "".join(f"<p>{html.escape(line)}</p>\n" for line in fresh if line)
    if quoted:
        page += "<blockquote>" + "<br>\n".join(html.escape(line) for line in quoted) + "</blockquote>\n"
    return f"<html><head>{_STYLE}</head><body>\n{page}{extra}{_NOTICE}</body></html>\n"
