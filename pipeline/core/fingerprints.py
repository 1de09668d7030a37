"""Two digests that tell whether two mails are the same: a coarse fingerprint and an exact signature."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime

_PREFIX = 16
_ATTACHMENTS = 10


def fingerprint(
    *,
    sender: str | None,
    subject_norm: str,
    date: datetime | None,
    body: str,
    attachment_hashes: Sequence[str],
) -> str:
    """Return fingerprint v1, hex SHA-256: equal for mails that are probably the same.

    It covers the sender, the normalised subject, the day, the stripped body (text, or HTML when there is no text), the
    number of attachments and the first ten attachment hashes. Only prefixes of hashes enter.
    """
    return _digest(
        {
            "from": sender,
            "subject_norm": subject_norm,
            "date": date.date().isoformat() if date else None,
            "body_hash_prefix": hashlib.sha256(body.strip().encode()).hexdigest()[:_PREFIX],
            "attachment_count": len(attachment_hashes),
            "attachment_sha_prefixes": [digest[:_PREFIX] for digest in attachment_hashes[:_ATTACHMENTS]],
        }
    )


def signature(
    *,
    message_id: str | None,
    date: datetime | None,
    senders: Sequence[str],
    to: Sequence[str],
    cc: Sequence[str],
    reply_to: Sequence[str],
    subject_norm: str,
    body: str,
    attachment_hashes: Sequence[str],
) -> str:
    """Return signature v1, hex SHA-256: equal only for copies of one mail. Address order does not matter."""
    return _digest(
        {
            "rfc_message_id": message_id,
            "date": date.isoformat() if date else None,
            "from": sorted(senders),
            "to": sorted(to),
            "cc": sorted(cc),
            "reply_to": sorted(reply_to),
            "subject_norm": subject_norm,
            "body_text": body.strip(),
            "attachment_sha": list(attachment_hashes),
        }
    )


def bound_to(signature: str, raw: bytes) -> str:
    """Return the signature of a mail that only its own bytes identify: equal for byte-identical copies alone."""
    return hashlib.sha256(bytes.fromhex(signature) + hashlib.sha256(raw).digest()).hexdigest()


def _digest(value: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
