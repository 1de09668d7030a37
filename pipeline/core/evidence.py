"""Proof of field work: what a reference may be, and the pieces and promises that a closeout is judged by."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlsplit

#: Object stores that are taken where nothing else is set (contract 000, seed-behaviours 1.7).
OBJECT_STORES = frozenset({"s3", "minio"})
#: What is uploaded to us: `fieldpost://evidence/<sha256>`.
OUR_SCHEME, _OUR_HOST = "fieldpost", "evidence"
#: The key that a signature has, and the kind that is one whatever its key.
SIGNATURE_KEY, SIGNATURE_KIND = "signature_or_no_signature_reason", "SIGNATURE"
#: A picture is none when it is only told of.
_PICTURE_KEY = "photo_"
_OURS = re.compile(rf"{OUR_SCHEME}://{_OUR_HOST}/([0-9a-f]{{64}})", re.ASCII)
#: RFC 7493, 2.2: what every reader of JSON tells exactly.
_LARGEST = 2**53
_SHA256 = re.compile(r"(?:sha-?256[:=])?([0-9a-f]{64})", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of evidence that counts: neither withdrawn nor superseded. A note has no `uri`; hashes are hex."""

    evidence_id: str
    kind: str
    evidence_key: str | None = None
    uri: str | None = None
    #: Of what is stored here, and of what was sent; None where the bytes are not ours.
    sha256: str | None = None
    checksum: str | None = None

    @property
    def is_signature(self) -> bool:
        """True for a signature, by kind (any case) or by key."""
        return self.kind.upper() == SIGNATURE_KIND or self.evidence_key == SIGNATURE_KEY


@dataclass(frozen=True, slots=True)
class Promise:
    """A photo that a device says it took: on the way, come (`evidence_id`), or given up by a dispatcher."""

    sha256: str
    evidence_key: str
    evidence_id: str | None = None
    is_waived: bool = False
    captured_at: datetime | None = None

    @property
    def is_outstanding(self) -> bool:
        """True while it has neither come nor been given up."""
        return self.evidence_id is None and not self.is_waived


def our_uri(sha256: str) -> str:
    """Return the reference to bytes that we keep, by their hash in hex."""
    return f"{OUR_SCHEME}://{_OUR_HOST}/{sha256}"


def our_hash(uri: str) -> str | None:
    """Return the hash in a reference to bytes that we keep; None for any other reference."""
    found = _OURS.fullmatch(uri)
    return found[1] if found else None


def plain_sha256(said: str) -> str | None:
    """Return a SHA-256 as lower-case hex, with or without `sha256:` before it; None for another checksum."""
    found = _SHA256.fullmatch(said.strip())
    return found[1].lower() if found else None


def reference_problem(uri: str, schemes: Collection[str] | None = OBJECT_STORES) -> str | None:
    """Return what is wrong with a reference, None when it names an object in an object store.

    `schemes` are the stores that are taken besides our own; None takes what was taken when it was added.
    """
    try:
        parts = urlsplit(uri)
        host = parts.hostname
    except ValueError:
        return "this is no reference: write it like s3://bucket/key"
    if parts.scheme == OUR_SCHEME:
        return None if our_hash(uri) else f"one of ours is {OUR_SCHEME}://{_OUR_HOST}/ and a SHA-256 in lower-case hex"
    if not parts.scheme or (schemes is not None and parts.scheme not in schemes):
        known = ", ".join(f"{scheme}://" for scheme in sorted({*(schemes or ()), OUR_SCHEME}))
        return f"evidence lies in an object store: {known}"
    if not host or parts.path in {"", "/"}:
        return "name the bucket and the object, like s3://bucket/key"
    return None


def is_good(piece: Piece, schemes: Collection[str] | None = OBJECT_STORES) -> bool:
    """Say whether a piece proves something: a note does, and a reference to an object store."""
    return piece.uri is None or reference_problem(piece.uri, schemes) is None


def note_problem(kind: str, evidence_key: str | None) -> str | None:
    """Return why words alone do not do for a piece of this kind and key; None when they do."""
    if kind.upper() == SIGNATURE_KIND:
        return "a signature is a picture: give its uri, or say at completion why there is none"
    if (evidence_key or "").startswith(_PICTURE_KEY):
        return "a photo is a picture: give its uri, or upload it"
    return None


def facts_problem(value: object, *, most: int = 50, most_deep: int = 4, most_characters: int = 8_192) -> str | None:
    """Return what is too much about facts that somebody sent as JSON; None when they may be kept."""
    seen, edge = 0, [(value, 0)]
    while edge:
        one, depth = edge.pop()
        if depth > most_deep:
            return f"nothing in it lies deeper than {most_deep} levels"
        if isinstance(one, int) and abs(one) > _LARGEST:
            return "a number in it is too large to be told exactly: write it as text"
        inner = list(one.values()) if isinstance(one, dict) else one if isinstance(one, list) else []
        seen += len(inner)
        if seen > most:
            return f"it holds at most {most} values"
        edge += [(part, depth + 1) for part in inner]
    return f"it is longer than {most_characters} characters" if len(str(value)) > most_characters else None
