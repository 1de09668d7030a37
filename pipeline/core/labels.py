"""Which labels say that a message is nobody's request."""

from __future__ import annotations

from collections.abc import Collection

#: A draft is not sent, a chat is no mail, spam is nobody's request (reliability, 3.2: an explicit policy). Counted as
#: `ignored`; a message that leaves these labels is read after all.
IGNORED = frozenset({"DRAFT", "CHAT", "SPAM"})


def is_ignored(labels: Collection[str], ignored: frozenset[str] = IGNORED) -> bool:
    """Say whether a message with these labels is counted but not read into a ticket."""
    return not ignored.isdisjoint(labels)
