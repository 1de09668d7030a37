"""What a mail says about assets: which it means and how that was recognised, in which state, with which symptoms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from types import MappingProxyType

from models.enums import SignalStatus
from pipeline.core.asset_guesses import guessed_phrases
from pipeline.core.asset_names import AssetIndex, Mention, folded_text, tokens_of
from pipeline.core.asset_patterns import TagPattern, merged, pattern_mentions
from pipeline.core.clauses import others
from pipeline.core.own_words import is_answer, is_forward, own_words
from pipeline.core.reading import OTHERS, Reading
from pipeline.core.sentence_bounds import sentences, trimmed
from pipeline.core.statuses import may_tell, status_of
from pipeline.core.symptoms import symptoms_in

#: What each version of the rules decides; a signal keeps the version that it was read by (0: a program reported it).
RULES_VERSIONS: Mapping[int, str] = MappingProxyType(
    {
        1: "tags, names and aliases; the status by words, with negation, of the sentence around a name",
        2: "patterns of tags, misspelt names, the sender's site; symptoms; clauses of their own for each of several "
        "assets; questions, conditions, exceptions, tables, signatures; some German",
        3: "verbs and adjectives in every form; recoveries that follow; headings above lists; the other one; requests",
        4: "a model weighs words, their order and what the rules found",
    }
)
RULES_VERSION = max(RULES_VERSIONS)
#: Longer mails are read to this many characters, subject and text together.
TEXT_LIMIT = 65_536

#: A mail that names more than this is a list, whose end adds nothing.
_MOST_MENTIONS = 400
#: What a mail may mean that names nothing is read out of so much.
_GUESSED_FROM = 1_024


@dataclass(frozen=True, slots=True)
class Known:
    """What an organization's mail is read with."""

    index: AssetIndex
    patterns: tuple[TagPattern, ...] = ()

    def may_mean(self, tokens: Sequence[bytes]) -> bool:
        """Return whether a mail of these words may mean an asset that it does not name; quick."""
        index = self.index
        return (bool(index.alone_at) or not index.vocabulary.isdisjoint(tokens)) and may_tell(tokens)


def read(subject: str, text: str, known: Known) -> Reading | None:
    """Return the reading of a mail that names assets or may mean some; None, quickly, for any other mail.

    Quoted lines and tails of earlier mails are not read.
    """
    subject = subject[:TEXT_LIMIT]
    text = text[: TEXT_LIMIT - len(subject)]
    tokens = tokens_of(folded_text(f"{subject}\n\n{text}"))
    heads = known.index.heads(tokens)
    if not heads and not known.patterns and not known.may_mean(tokens):
        return None
    document = f"{subject}\n\n{own_words(text, forwarded=is_forward(subject))}"
    folded = folded_text(document)
    mentions = list(islice(known.index.mentions(folded, heads), _MOST_MENTIONS))
    if known.patterns:
        mentions = merged(mentions, list(pattern_mentions(document, known.patterns, known.index)))[:_MOST_MENTIONS]
    reading = Reading(document, folded, len(subject), mentions, is_answer(subject))
    if mentions:
        masked = _masked(folded, mentions)
        named = sorted([*mentions, *_apart(others(masked, OTHERS), mentions)], key=lambda one: one.start)
        return replace(reading, folded=masked, mentions=named)
    return _guessing(reading) if known.may_mean(tokens) else None


def _guessing(reading: Reading) -> Reading | None:
    """Return a mail that names nothing with what it may mean; None when it tells of no state and no symptom."""
    stated = [
        (low, high)
        for start, end in reading.whole()
        for low, high in sentences(reading.folded, start, min(end, start + _GUESSED_FROM))
    ]
    places = [
        (low, high)
        for low, high in stated
        if status_of(reading.folded[low:high]) in (SignalStatus.DOWN, SignalStatus.DEGRADED)
    ]
    if not places:
        places = [(low, high) for low, high in stated if any(symptoms_in(reading.folded, low, high))]
    if not places:
        return None
    subject = () if reading.is_answer else ((0, reading.split),)
    phrases = guessed_phrases(reading.folded, [*places, *subject])
    return replace(reading, phrases=phrases, telling=trimmed(reading.folded, *places[0]))


def _masked(folded: str, mentions: Sequence[Mention]) -> str:
    """Return a text with each name as one word of its length: what a name is made of tells nothing."""
    parts, at = [], 0
    for mention in sorted(mentions, key=lambda one: one.start):
        if mention.start >= at:
            parts += [folded[at : mention.start], "x" * (mention.end - mention.start)]
            at = mention.end
    return "".join([*parts, folded[at:]])


def _apart(found: Iterable[Mention], mentions: Sequence[Mention]) -> list[Mention]:
    return [one for one in found if not any(one.start < other.end and other.start < one.end for other in mentions)]
