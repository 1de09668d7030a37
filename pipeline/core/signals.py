"""What a mail says about known assets: which are mentioned, where, and in which state."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto
from itertools import chain, islice, product
from typing import Generic, NamedTuple, TypeVar
from uuid import UUID

from models.enums import SignalStatus
from pipeline.core.text import normalised

#: Stored with every extraction; to be raised whenever a list or a rule below changes what is extracted.
RULES_VERSION = "1"
#: Longer mails are read to this many characters, subject and text together.
TEXT_LIMIT = 65_536

V = TypeVar("V")


class Part(StrEnum):
    """Where in the mail a mention stands."""

    SUBJECT = "subject"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Asset:
    """One known asset; its tag, name and aliases are what people call it."""

    asset_id: UUID
    tag: str
    name: str
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Span:
    """Characters [start, end) of the subject or of the text, whichever `Extraction.part` says."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Extraction:
    """One asset of one mail: its state as told, the mention that told it, and the sentence around that."""

    asset_id: UUID
    status: SignalStatus
    part: Part
    span: Span
    quote: str


@dataclass(slots=True)
class _Node(Generic[V]):
    """One step of a trie of words; `value` is set where a phrase ends."""

    after: dict[str, _Node[V]] = field(default_factory=dict)
    value: V | None = None

    def add(self, words: Iterable[str], value: V) -> None:
        node = self
        for word in words:
            node = node.after.setdefault(word, _Node())
        node.value = value


class _Mention(NamedTuple):
    start: int
    end: int
    asset_id: UUID


_WORD = re.compile(r"[^\W_]+")
_STEP = re.compile(r"([\W_]{1,3})([^\W_]+)")
_FOREIGN_GAP = re.compile(r"[^\w\x00-\x7f]")
_ASCII_GAPS = bytes(byte if byte >= 128 or chr(byte).isalnum() else 32 for byte in range(256))
#: A single letter or a number joined to a name makes it another name: "AUS_0123-7", "B-AUS_0123".
_LONGER_AFTER = re.compile(r"[-_](?:[^\W\d_](?![^\W_])|[^\W_]*\d)")
_LONGER_BEFORE = re.compile(r"(?:(?<![^\W_])[^\W_]|\d[^\W_]*)[-_]\Z")
_LONGEST_NAME = 12


class AssetIndex:
    """Known assets by the words of their tags, names and aliases; built once, immutable.

    Words are runs of letters and digits without regard to case, so `-`, `_` and spaces between them are equivalent. A
    tag of letters and digits is also known written together ("AUS0123") unless another asset is called so. What
    several assets are called names none of them (`ambiguous`); what is too short to be told from ordinary text (below
    3 characters, digits alone below 4) or longer than 12 words is left out (`unusable`).
    """

    __slots__ = ("_heads", "_root", "ambiguous", "unusable")

    def __init__(self, assets: Iterable[Asset]) -> None:
        """Build the trie; looking names up costs the same for ten assets and for a hundred thousand."""
        owners: dict[tuple[str, ...], set[UUID]] = {}
        joined: dict[tuple[str, ...], set[UUID]] = {}
        unusable: set[str] = set()
        for asset in assets:
            for label in filter(str.strip, (asset.tag, asset.name, *asset.aliases)):
                words = _words(label)
                if _is_usable(words):
                    owners.setdefault(words, set()).add(asset.asset_id)
                else:
                    unusable.add(label)
            together = "".join(_words(asset.tag))
            if _is_usable((together,)) and not together.isdigit() and not together.isalpha():
                joined.setdefault((together,), set()).add(asset.asset_id)
        self.unusable = tuple(sorted(unusable))
        self.ambiguous = tuple(sorted(" ".join(words) for words, ids in owners.items() if len(ids) > 1))
        self._root: _Node[UUID] = _Node()
        for words, ids in {**joined, **owners}.items():
            if len(ids) == 1:
                self._root.add(words, *ids)
        self._heads = frozenset(head.encode("utf-8", "replace") for head in self._root.after)

    def heads(self, folded: str) -> frozenset[bytes]:
        """Return the first words of names that stand in lower-case text: none in most mail, and one set tells so."""
        text = folded if folded.isascii() else _FOREIGN_GAP.sub(" ", folded)
        return self._heads.intersection(text.encode("utf-8", "replace").translate(_ASCII_GAPS).split())

    def mentions(self, folded: str, heads: Iterable[bytes]) -> Iterator[_Mention]:
        """Yield the longest names in lower-case text that begin with one of `heads`, from left to right."""
        reached = 0
        for start, end in sorted(chain.from_iterable(_places(folded, head.decode("utf-8")) for head in heads)):
            if start >= reached and (found := _longest(self._root.after[folded[start:end]], folded, end)):
                reached, asset_id = found
                if _stands_alone(folded, start, reached):
                    yield _Mention(start, reached, asset_id)


def extract(subject: str, text: str, index: AssetIndex) -> list[Extraction]:
    """Return one extraction per known asset the mail mentions, subject first, then in order of the text.

    The state comes from the clause or sentence around a mention. The last telling mention in the text counts, since
    people tell what changed in order; then the subject's; then the whole text and subject are read. The subject of an
    answer ("Re:") repeats an earlier mail and tells nothing. Quoted lines and tails of earlier mails are not read.
    """
    subject = subject[:TEXT_LIMIT]
    text = text[: TEXT_LIMIT - len(subject)]
    heads = index.heads(_folded(f"{subject}\n\n{text}"))
    if not heads:
        return []
    document = f"{subject}\n\n{_own_words(text, forwarded=_FORWARD.match(subject) is not None)}"
    folded = _folded(document)
    mentions = list(islice(index.mentions(folded, heads), _MOST_MENTIONS))
    reading = _Reading(document, folded, len(subject), mentions, _ANSWER.match(subject) is not None)
    return sorted(reading.extractions(), key=lambda found: (found.part is Part.TEXT, found.span.start))


def status_of(text: str) -> SignalStatus:
    """Return the state that a few sentences tell about one thing; unknown when they tell none."""
    words = _SENTENCE_WORD.findall(_folded(text).replace("'", "").replace("\N{RIGHT SINGLE QUOTATION MARK}", ""))
    return _verdict(list(chain.from_iterable(map(_told_by, _sentences(words)))))


def _folded(text: str) -> str:
    """Return `text` in lower case with every character at its place, also where lower case is longer."""
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered
    return "".join(low if len(low := character.lower()) == 1 else character for character in text)


def _words(label: str) -> tuple[str, ...]:
    return tuple(_WORD.findall(_folded(normalised(label))))


def _is_usable(words: tuple[str, ...]) -> bool:
    letters = "".join(words)
    return len(words) <= _LONGEST_NAME and len(letters) >= (4 if letters.isdigit() else 3)


def _places(folded: str, word: str) -> Iterator[tuple[int, int]]:
    """Yield where `word` stands as a whole word."""
    at = folded.find(word)
    while at >= 0:
        end = at + len(word)
        if not folded[at - 1 : at].isalnum() and not folded[end : end + 1].isalnum():
            yield at, end
        at = folded.find(word, end)


def _longest(node: _Node[UUID], folded: str, end: int) -> tuple[int, UUID] | None:
    """Return (end, asset id) of the longest name that goes on from `node` at `end`."""
    found: tuple[int, UUID] | None = None
    step: _Node[UUID] | None = node
    while step is not None:
        if step.value is not None:
            found = end, step.value
        following = _STEP.match(folded, end) if step.after else None
        if following is None or not _joins(following.group(1)):
            return found
        step, end = step.after.get(following.group(2)), following.end()
    return found


def _joins(gap: str) -> bool:
    """Return whether a name may go on after `gap`: not after the end of a sentence or paragraph."""
    return len(gap) == 1 or (gap.count("\n") < 2 and set(gap).isdisjoint(".,;:!?"))


def _stands_alone(folded: str, start: int, end: int) -> bool:
    return not (_LONGER_AFTER.match(folded, end) or _LONGER_BEFORE.search(folded[max(0, start - 32) : start]))


#: A mail that names more than this is a list, whose end adds nothing.
_MOST_MENTIONS = 400
_MOST_READ = 4
_SENTENCE_REACH = 400
_QUOTE_REACH = 150
#: People state their matter at the start.
_WHOLE_TEXT = 4_096

_ANSWER = re.compile(r"\s*(?:re|aw|sv|antw)\s*(?:\[\d+\])?\s*:", re.IGNORECASE)
_FORWARD = re.compile(r"\s*(?:fwd?|wg|tr)\s*:", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?;](?=\s)|\n")
_NEW_ITEM = re.compile(r"[ \t\r]*(?:\n|[-*•]\s|\d{1,3}[.)]\s)")
#: Mail programs wrap near 72 characters: a line shorter than this was ended by its writer.
_SHORT_LINE = 50
_QUOTED_LINE = re.compile(r"^[ \t]*>[^\n]*", re.MULTILINE)
_ATTRIBUTION = re.compile(r"^[ \t]*On\b[^\n]{0,200}(?:\n[^\n]{0,200})?\bwrote:[ \t\r]*$", re.MULTILINE)
_QUOTE_FOLLOWS = re.compile(r"\s*>")
_OLD_MAIL = re.compile(r"^[ \t]*-{2,} ?Original Message|^From:[^\n]*\n(?:Sent|Date):", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class _Reading:
    """One mail with its mentions in order; `split` is where the subject ends."""

    document: str
    folded: str
    split: int
    mentions: Sequence[_Mention]
    is_answer: bool

    def extractions(self) -> Iterator[Extraction]:
        by_asset: dict[UUID, list[_Mention]] = {}
        for mention in self.mentions:
            by_asset.setdefault(mention.asset_id, []).append(mention)
        general: SignalStatus | None = None
        for own in by_asset.values():
            telling, status = self._telling(own)
            if status is SignalStatus.UNKNOWN:
                status = general = self._general() if general is None else general
            yield self._extraction(telling, status)

    def _telling(self, own: Sequence[_Mention]) -> tuple[_Mention, SignalStatus]:
        """Return the mention of one asset that tells its state, else the first one and unknown."""
        in_text = [mention for mention in reversed(own) if mention.start > self.split][:_MOST_READ]
        in_subject = [] if self.is_answer else [mention for mention in own if mention.start < self.split][:_MOST_READ]
        for mention in (*in_text, *in_subject):
            if (status := self._told(mention)) is not SignalStatus.UNKNOWN:
                return mention, status
        return own[0], SignalStatus.UNKNOWN

    def _general(self) -> SignalStatus:
        """Return what the mail tells as a whole: its text, else its subject unless that repeats an earlier mail."""
        status = status_of(self.folded[self.split : self.split + _WHOLE_TEXT])
        return status_of(self.folded[: self.split]) if status is SignalStatus.UNKNOWN and not self.is_answer else status

    def _told(self, mention: _Mention) -> SignalStatus:
        """Return what the sentence tells; where it names several assets, first the clause that belongs to this one."""
        low, high = self._sentence(mention)
        others = [other for other in self.mentions if other.asset_id != mention.asset_id and low <= other.start < high]
        if others:
            since = max((other.end for other in others if other.end <= mention.start), default=low)
            until = min((other.start for other in others if other.start >= mention.end), default=high)
            before, after = self.folded[since : mention.start], self.folded[mention.end : until]
            status = status_of(before if before.rstrip().endswith(":") else after)
            if status is not SignalStatus.UNKNOWN:
                return status
        return status_of(self.folded[low:high])

    def _sentence(self, mention: _Mention) -> tuple[int, int]:
        """Return the bounds of the sentence around a mention, within the subject or the text."""
        low, high = (0, self.split) if mention.start < self.split else (self.split, len(self.folded))
        low, high = max(low, mention.start - _SENTENCE_REACH), min(high, mention.end + _SENTENCE_REACH)
        before = max(_sentence_ends(self.folded, low, mention.start), default=low)
        return before, next(_sentence_ends(self.folded, mention.end, high), high)

    def _extraction(self, mention: _Mention, status: SignalStatus) -> Extraction:
        low, high = self._sentence(mention)
        quote = self.document[max(low, mention.start - _QUOTE_REACH) : min(high, mention.end + _QUOTE_REACH)]
        part, offset = (Part.SUBJECT, 0) if mention.start < self.split else (Part.TEXT, self.split + 2)
        span = Span(mention.start - offset, mention.end - offset)
        return Extraction(mention.asset_id, status, part, span, " ".join(quote.split()))


def _sentence_ends(folded: str, low: int, high: int) -> Iterator[int]:
    """Yield where sentences, list items and short lines end between `low` and `high`."""
    for found in _SENTENCE_END.finditer(folded, low, high):
        at = found.start()
        wrapped = folded[at] == "\n" and at >= _SHORT_LINE and "\n" not in folded[at - _SHORT_LINE : at]
        if not wrapped or _NEW_ITEM.match(folded, at + 1):
            yield found.end()


def _own_words(text: str, *, forwarded: bool) -> str:
    """Return `text` without what it quotes, every remaining character at its place; a forwarded mail is the matter.

    An unmarked quote runs to the end of the mail; between lines marked ">" people answer.
    """
    for found in _ATTRIBUTION.finditer(text) if "wrote:" in text else ():
        if not _QUOTE_FOLLOWS.match(text, found.end()):
            text = text[: found.start()]
            break
    may_end = not forwarded and ("From:" in text or "Original Message" in text)
    if may_end and (tail := _OLD_MAIL.search(text)) and text[: tail.start()].strip():
        text = text[: tail.start()]
    return _QUOTED_LINE.sub(lambda line: " " * len(line.group()), text) if ">" in text else text


class _Cue(Enum):
    """What a phrase tells where nothing around it changes that."""

    DOWN = auto()
    DEGRADED = auto()
    ONLINE = auto()
    RECOVERED = auto()  #: online, whatever was said before
    PROPERLY = auto()  #: online; when negated, degraded
    ACTION = auto()  #: what the thing should do: negated it is down, "again" it has recovered
    MENDED = auto()  #: recovered after "is", "was", "has been", but not in "needs to be fixed"
    HEDGE = auto()  #: makes what its sentence tells a matter of sometimes
    NOTHING = auto()  #: a way of speaking
    WAS_DOWN = auto()
    WAS_DEGRADED = auto()


def _list(text: str) -> frozenset[str]:
    """Return the phrases of a comma-separated list; "a/b c/d" stands for its four combinations."""
    alternatives = ((part.split("/") for part in phrase.split()) for phrase in text.split(","))
    return frozenset(" ".join(words) for choice in alternatives for words in product(*choice))


_PHRASES = {
    _Cue.DOWN: _list(
        "down, offline, off line, dead, broken, broke, unresponsive, unreachable, inoperable, bricked, crashed, "
        "stuck, jammed, failed, fails, failure, tripped, smashed, vandalised/vandalized, sparks/sparking, "
        "burnt/burned out, out of order/service, no power/response/signal/display/light/lights, blank/black screen, "
        "screen is black/blank/dark, shut/break/breaks down, shutdown"
    ),
    _Cue.DEGRADED: _list(
        "degraded, slow/slowly/slower, sluggish, lagging/laggy/lags, flicker/flickers/flickering/flickered, "
        "intermittent/intermittently, sporadic/sporadically, noisy, grinding, squeaks/squeaking/squeaky, "
        "rattles/rattling, leak/leaks/leaking, loose, drops/dropping/cuts/cutting out, overheats/overheating, "
        "unstable, unreliable, glitch/glitches/glitchy, faulty/fault/faults, error/errors, freezes/freezing, hangs, "
        "slams/slamming, sticks/sticking, worn, cracked, bent, damaged, weak, half speed, reduced speed/power, "
        "partially, keeps restarting/rebooting/crashing, hardly/barely works/working, slow/slows/slowed/slowing down, "
        "not always/reliably, not every time"
    ),
    _Cue.ONLINE: _list("online, working, works, operational, functional, functioning, functions, running, all good"),
    _Cue.PROPERLY: _list("work/works/working/run/runs/running properly/correctly/normally/right/reliably/well/as"),
    _Cue.RECOVERED: _list(
        "back online/up, back in service, back to normal, up and running, up/ok/fine again, recovered"
    ),
    _Cue.MENDED: _list("fixed/repaired/resolved/restored/solved/mended"),
    _Cue.HEDGE: _list("sometimes, occasionally, at times, now and then/again, on and off, off and on, time to time"),
    _Cue.ACTION: _list(
        "start/starts/starting, latch/latches/latching, open/opens/opening, close/closes/closing, lock/locks/locking, "
        "unlock/unlocks, charge/charges/charging, boot/boots/booting, respond/responds/responding, light/lights, "
        "connect/connects/connecting, dispense/dispenses, read/reads/reading, release/releases, move/moves/moving, "
        "turn/turns, power/powers, engage/engages, heat/heats/heating, cool/cools/cooling, drain/drains, "
        "print/prints/printing, scan/scans/scanning, accept/accepts/accepting, ring/rings, work/run/runs/function"
    ),
    _Cue.NOTHING: _list(
        "not sure/only/just, not to mention, no idea/doubt/matter/problem/worries, please note, work order/orders, "
        "start work, fixed price/term, running out/late, power supply, sit/put/calm/walk down, "
        "write/written/wrote/note/noted down, down the, down payment, upside down, back up the, "
        "working on/hours/day/days, works for me, online form/portal/store/order/shop/payment/banking/chat/account, "
        "order/ordered/book/booked/pay/paid/found/checked/reported online, shows/says/said/showing/appears online, "
        "open/read the attachment/file/pdf/link/mail"
    ),
}
_CUES: _Node[_Cue] = _Node()
for _cue, _phrases in _PHRASES.items():
    for _phrase in _phrases:
        _CUES.add(_phrase.split(), _cue)

_NEGATIONS = _list(
    "not/no/never/cannot/cant/wont/dont/doesnt/didnt/isnt/arent/wasnt/werent/hasnt/havent/couldnt/wouldnt/aint, "
    "nothing/none/neither/nor/without, unable/refuses/refused/refusing/stopped/stops/quit/ceased"
)
_BREAKS = frozenset((*",;:.!?", "but", "and", "so", "because", "although", "though", "while", ""))
_BAD_GUARDS = _list("if/unless/whether/might/may/would/case")
_GOOD_GUARDS = _BAD_GUARDS | _list(
    "when/once/until/till/hope/hopefully/please/need/needs/want/wants/should/must/ensure/sure/get/expect/before"
)
_PAST = _list("was/were/had/wasnt/werent")
_AUXILIARIES = _list("is/are/was/were/been/got/has/have/we/i/now/all/s")
_QUESTIONS = _list("is/are/was/does/do/did/has/have")
_WAS = {_Cue.DOWN: _Cue.WAS_DOWN, _Cue.DEGRADED: _Cue.WAS_DEGRADED}
_SENTENCE_WORD = re.compile(r"[^\W_]+|[.,;:!?]|\n\s*\n")


def _sentences(words: Sequence[str]) -> Iterator[list[str]]:
    """Yield the statements in `words`; a question such as "is it down?" states nothing."""
    sentence: list[str] = []
    for word in words:
        if word not in (".", "!", "?") and not word.isspace():
            sentence.append(word)
            continue
        if sentence and not (word == "?" and sentence[0] in _QUESTIONS):
            yield sentence
        sentence = []
    if sentence:
        yield sentence


def _told_by(words: list[str]) -> list[_Cue]:
    """Return what one sentence tells, in order."""
    told: list[_Cue] = []
    hedged, at = False, 0
    for start, word in enumerate(words):
        if start < at or word not in _CUES.after:
            continue
        at, cue = _phrase_at(words, start)
        if cue is None:
            continue
        hedged = hedged or cue is _Cue.HEDGE
        if (meant := _meant(cue, words, start, at)) is not None:
            told.append(meant)
        if cue is _Cue.NOTHING or not _NEGATIONS.isdisjoint(words[start:at]):
            words[start:at] = [""] * (at - start)  # its "not" belongs to it and negates nothing that follows
    return [_Cue.DEGRADED for _ in told] if hedged else told


def _phrase_at(words: Sequence[str], at: int) -> tuple[int, _Cue | None]:
    """Return the end and cue of the longest phrase that begins at `at`."""
    end, cue = at, None
    node = _CUES.after.get(words[at])
    while node is not None:
        at += 1
        if node.value is not None:
            end, cue = at, node.value
        node = node.after.get(words[at]) if at < len(words) else None
    return end, cue


def _meant(cue: _Cue, words: Sequence[str], start: int, end: int) -> _Cue | None:
    """Return what a phrase tells in its sentence, None when it tells nothing there."""
    before = _clause_before(words, start)
    near = before[-3:]
    meant = _affirmed(cue, {*near, *words[end : end + 2]}) if _NEGATIONS.isdisjoint(near) else _negated(cue)
    guards, reach = (_BAD_GUARDS, 4) if meant in _WAS else (_GOOD_GUARDS, 6)
    if meant is None or not guards.isdisjoint(before[-reach:]):
        return None
    if _PAST.isdisjoint(before[-2:]):
        return meant
    return None if meant is _Cue.ONLINE else _WAS.get(meant, meant)


def _negated(cue: _Cue) -> _Cue | None:
    if cue in _WAS:
        return _Cue.RECOVERED
    if cue is _Cue.PROPERLY:
        return _Cue.DEGRADED
    return None if cue in (_Cue.HEDGE, _Cue.NOTHING) else _Cue.DOWN


def _affirmed(cue: _Cue, around: set[str]) -> _Cue | None:
    if cue in (_Cue.ONLINE, _Cue.PROPERLY):
        return _Cue.ONLINE if around.isdisjoint(("again", "back", "now", "today")) else _Cue.RECOVERED
    if cue is _Cue.ACTION:
        return _Cue.RECOVERED if "again" in around else None
    if cue is _Cue.MENDED:
        return _Cue.RECOVERED if "be" not in around and not _AUXILIARIES.isdisjoint(around) else None
    return None if cue in (_Cue.HEDGE, _Cue.NOTHING) else cue


def _clause_before(words: Sequence[str], start: int) -> list[str]:
    """Return up to six words before `start`, none from beyond a comma or conjunction."""
    clause: list[str] = []
    for word in reversed(words[max(0, start - 6) : start]):
        if word in _BREAKS:
            break
        clause.append(word)
    clause.reverse()
    return clause


def _verdict(told: Sequence[_Cue]) -> SignalStatus:
    """Return the worst that still holds: a recovery ends what came before it, any present ends a past."""
    recovered = max((at for at, cue in enumerate(told) if cue is _Cue.RECOVERED), default=-1)
    present = told[recovered + 1 :]
    if _Cue.DOWN in present:
        return SignalStatus.DOWN
    if _Cue.DEGRADED in present:
        return SignalStatus.DEGRADED
    if recovered >= 0 or _Cue.ONLINE in present:
        return SignalStatus.ONLINE
    if _Cue.WAS_DOWN in present:
        return SignalStatus.DOWN
    return SignalStatus.DEGRADED if _Cue.WAS_DEGRADED in present else SignalStatus.UNKNOWN
