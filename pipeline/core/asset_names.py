"""Names of known assets in text: tags, names and aliases by their words, and where they stand."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Generic, NamedTuple, TypeVar
from uuid import UUID

from models.enums import ExtractedBy
from pipeline.core.text import normalised

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Asset:
    """One known asset; its tag, name and aliases are what people call it."""

    asset_id: UUID
    tag: str
    name: str
    aliases: tuple[str, ...] = ()
    site_id: UUID | None = None


class Mention(NamedTuple):
    """Characters [start, end) of a text that name an asset, and how that was recognised."""

    start: int
    end: int
    asset_id: UUID
    by: ExtractedBy = ExtractedBy.NAME


@dataclass(slots=True)
class Trie(Generic[V]):
    """One step of a trie of words; `value` is set where a phrase ends."""

    after: dict[str, Trie[V]] = field(default_factory=dict)
    value: V | None = None

    def add(self, words: Iterable[str], value: V) -> None:
        """Add a phrase."""
        node = self
        for word in words:
            node = node.after.setdefault(word, Trie())
        node.value = value

    def find(self, words: Iterable[str]) -> V | None:
        """Return what a whole phrase stands for."""
        node: Trie[V] | None = self
        for word in words:
            node = node.after.get(word) if node is not None else None
        return None if node is None else node.value


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
    3 characters, digits alone below 4) or longer than 12 words is left out (`unusable`). `alone_at` holds the one
    asset of each site that has exactly one, `vocabulary` the longer words of names: most misspelt names hold one of
    them that is not misspelt.
    """

    __slots__ = ("_heads", "_root", "alone_at", "ambiguous", "unusable", "vocabulary")

    def __init__(self, assets: Iterable[Asset]) -> None:
        """Build the trie; looking names up costs the same for ten assets and for a hundred thousand."""
        owners: dict[tuple[str, ...], set[UUID]] = {}
        joined: dict[tuple[str, ...], set[UUID]] = {}
        unusable: set[str] = set()
        at_site: dict[UUID, list[UUID]] = {}
        vocabulary: set[str] = set()
        for asset in assets:
            known = [(label, words_of(label)) for label in (asset.tag, asset.name, *asset.aliases) if label.strip()]
            for label, words in known:
                if _is_usable(words):
                    owners.setdefault(words, set()).add(asset.asset_id)
                else:
                    unusable.add(label)
            together = "".join(words_of(asset.tag))
            if _is_usable((together,)) and not together.isdigit() and not together.isalpha():
                joined.setdefault((together,), set()).add(asset.asset_id)
            named = (word for label, words in known if label is asset.name for word in words)
            vocabulary.update(word for word in named if len(word) > 3 and not word.isdigit())
            if asset.site_id is not None:
                at_site.setdefault(asset.site_id, []).append(asset.asset_id)
        self.vocabulary = frozenset(word.encode("utf-8", "replace") for word in vocabulary)
        self.unusable = tuple(sorted(unusable))
        self.ambiguous = tuple(sorted(" ".join(words) for words, ids in owners.items() if len(ids) > 1))
        self.alone_at = {site_id: ids[0] for site_id, ids in at_site.items() if len(ids) == 1}
        self._root: Trie[UUID] = Trie()
        for words, ids in {**joined, **owners}.items():
            if len(ids) == 1:
                self._root.add(words, *ids)
        self._heads = frozenset(head.encode("utf-8", "replace") for head in self._root.after)

    def heads(self, tokens: Sequence[bytes]) -> frozenset[bytes]:
        """Return the first words of names among `tokens`: none in most mail, and one set tells so."""
        return self._heads.intersection(tokens)

    def called(self, label: str) -> UUID | None:
        """Return the asset that is called so, whole."""
        return self._root.find(words_of(label))

    def mentions(self, folded: str, heads: Iterable[bytes]) -> Iterator[Mention]:
        """Yield the longest names in lower-case text that begin with one of `heads`, from left to right."""
        reached = 0
        for start, end in sorted(chain.from_iterable(_places(folded, head.decode("utf-8")) for head in heads)):
            if start >= reached and (found := _longest(self._root.after[folded[start:end]], folded, end)):
                reached, asset_id = found
                if _stands_alone(folded, start, reached):
                    yield Mention(start, reached, asset_id)


def folded_text(text: str) -> str:
    """Return `text` in lower case with every character at its place, also where lower case is longer."""
    lowered = text.lower()
    if len(lowered) == len(text):
        return lowered
    return "".join(low if len(low := character.lower()) == 1 else character for character in text)


def tokens_of(folded: str) -> list[bytes]:
    """Return the words of lower-case text as bytes: the quickest form to compare with a set."""
    text = folded if folded.isascii() else _FOREIGN_GAP.sub(" ", folded)
    return text.encode("utf-8", "replace").translate(_ASCII_GAPS).split()


def words_of(label: str) -> tuple[str, ...]:
    """Return the words that a name is known by."""
    return tuple(_WORD.findall(label.lower() if label.isascii() else folded_text(normalised(label))))


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


def _longest(node: Trie[UUID], folded: str, end: int) -> tuple[int, UUID] | None:
    """Return (end, asset id) of the longest name that goes on from `node` at `end`."""
    found: tuple[int, UUID] | None = None
    step: Trie[UUID] | None = node
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
