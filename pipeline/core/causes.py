"""What a case's texts point to: the contract's keywords, an organization's own, and how they vote (contract 003)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from models.enums import RootCause
from pipeline.core.triage_policy import BUILT_IN, TriagePolicy

#: The contract's keywords with their inflections. Matched as whole words: as substrings "support" would be a port,
#: "stopping" a ping and "discard" a card.
_WORDS = {
    RootCause.PAYMENT_TERMINAL: (
        "payment payments card cards tap taps tapped tapping terminal terminals reader readers",
    ),
    RootCause.CONNECTOR: (
        "connector connectors plug plugs plugged plugging unplug unplugs unplugged unplugging",
        "cable cables cabling port ports bent",
    ),
    RootCause.NETWORK: (
        "network networks networking timeout timeouts offline latency latencies",
        "ping pings pinged pinging modem modems router routers",
    ),
}
_CAUSE_OF = {word: cause for cause, lines in _WORDS.items() for line in lines for word in line.split()}
_WORD = re.compile(r"[^\W_]+")
#: More of one report than this tells nothing new about its cause.
_TEXT_LIMIT = 65_536


def root_cause(texts: Iterable[str], policy: TriagePolicy = BUILT_IN) -> RootCause:
    """Return the cause whose words occur most often in `texts`; a tie goes to the earlier cause, none is unknown."""
    own = policy.cause_of
    votes: Counter[RootCause] = Counter()
    for text in texts:
        for word in _WORD.findall(text[:_TEXT_LIMIT].lower()):
            if cause := _CAUSE_OF.get(word) or own.get(word):
                votes[cause] += 1
    # max keeps the first of equals, and _WORDS is in the contract's order.
    return max(_WORDS, key=lambda cause: votes[cause]) if votes else RootCause.UNKNOWN
