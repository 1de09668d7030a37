"""Where messages with stable ids lie now: every folder is asked, since a message may lie in several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.adapters.imap_client import IdKind, ImapClient, flags_of, id_of
from pipeline.core.imap_names import Folder, Place, labels_of
from pipeline.runtime.errors import Gone

#: Ids per search; each makes the criteria one level deeper.
IDS_PER_SEARCH = 40


@dataclass(slots=True)
class Found:
    """A message where it lies, and its labels from every folder it lies in; None: not known yet."""

    provider_id: str
    place: Place
    labels: tuple[str, ...] | None = None


@dataclass(slots=True)
class Search:
    """One search for ids over one connection."""

    client: ImapClient
    kind: IdKind
    found: dict[str, Found] = field(default_factory=dict)
    #: UIDNEXT of each folder when it was searched.
    seen: dict[str, int | None] = field(default_factory=dict)

    def run(self, ids: Sequence[str], folders: Sequence[Folder]) -> bool:
        """Look for ids in every folder; return whether one that was not found may have moved meanwhile."""
        for folder in folders:
            try:
                self._search(ids, folder)
            except Gone:
                continue
        return len(self.found) < len(set(ids)) and any(self._has_grown(folder.name) for folder in folders)

    def _search(self, ids: Sequence[str], folder: Folder) -> None:
        opened = self.client.open(folder.name)
        self.seen[folder.name] = opened.uidnext
        if not opened.messages:
            return
        wanted = frozenset(ids)
        uids = [uid for start in range(0, len(ids), IDS_PER_SEARCH) for uid in self._uids(ids[start:][:IDS_PER_SEARCH])]
        for uid, fields in self.client.facts(uids, ["FLAGS", self.kind.message]).items():
            named = id_of(fields, self.kind.message)
            if named in wanted:
                self._note(named, Place(folder.name, opened.uidvalidity, uid), labels_of(folder, flags_of(fields)))

    def _uids(self, ids: Sequence[str]) -> list[int]:
        criteria = ["OR"] * (len(ids) - 1)
        for one in ids:
            criteria += [self.kind.message, one]
        return self.client.uids(criteria)

    def _note(self, provider_id: str, place: Place, labels: tuple[str, ...]) -> None:
        known = self.found.setdefault(provider_id, Found(provider_id, place, ()))
        known.labels = tuple(dict.fromkeys((*(known.labels or ()), *labels)))

    def _has_grown(self, name: str) -> bool:
        """Tell whether mail came into a folder since it was searched."""
        try:
            return name not in self.seen or self.client.counters(name).uidnext != self.seen[name]
        except Gone:
            return False
