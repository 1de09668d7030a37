"""Which asset mails mean that name none: by a name that is nearly written so, or as the only one of a site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from models.enums import ExtractedBy
from pipeline.core.asset_guesses import LEAST_ALIKE, Alike, best_guess
from pipeline.core.reading import Reading
from pipeline.core.signals import Known

#: For `%`, in this transaction.
_THRESHOLD = text("SELECT set_config('pg_trgm.similarity_threshold', :least, true)")
#: By the index of names' trigrams, a few of the best for each phrase.
_ALIKE = text("""
    SELECT p.org_id, p.said, a.id, a.name, a.likeness
      FROM unnest(CAST(:orgs AS uuid[]), CAST(:phrases AS text[])) AS p(org_id, said)
     CROSS JOIN LATERAL (SELECT id, name, similarity(lower(name), p.said) AS likeness FROM assets
                          WHERE org_id = p.org_id AND name <> '' AND lower(name) % p.said
                          ORDER BY 3 DESC, id LIMIT 8) a
""")
#: What the house knows of where a sender is: the site of the ticket, else the sites that the sender reaches as one of
#: our people, those of their newest tickets, and the one of an account that has no other.
_SITES = text("""
    WITH asked AS (
        SELECT m.id, m.org_id, lower(m.from_address) AS address, t.site_id, t.account_id
          FROM messages m
          LEFT JOIN ticket_messages l ON l.message_id = m.id
          LEFT JOIN tickets t ON t.id = l.ticket_id
         WHERE m.id = ANY(CAST(:messages AS bigint[]))
    ), reached AS (
        SELECT a.id, a.org_id, s.site_id, s.account_id
          FROM asked a
          JOIN people p ON p.email = a.address
          JOIN memberships b ON b.person_id = p.id AND b.org_id = a.org_id AND b.is_active
          JOIN membership_scopes s ON s.membership_id = b.id
         WHERE a.site_id IS NULL
    ), accounts_of AS (
        SELECT id, account_id FROM asked WHERE site_id IS NULL AND account_id IS NOT NULL
         UNION SELECT id, account_id FROM reached WHERE account_id IS NOT NULL
    )
    SELECT id, site_id FROM asked WHERE site_id IS NOT NULL
     UNION SELECT id, site_id FROM reached WHERE site_id IS NOT NULL
     UNION SELECT a.id, e.site_id
             FROM asked a
            CROSS JOIN LATERAL (SELECT site_id FROM tickets t
                                 WHERE t.org_id = a.org_id AND t.requester_email = a.address AND t.site_id IS NOT NULL
                                 ORDER BY t.last_activity_at DESC LIMIT :newest) e
            WHERE a.site_id IS NULL
     UNION SELECT o.id, (array_agg(s.id))[1] FROM accounts_of o JOIN sites s ON s.account_id = o.account_id
            GROUP BY o.id, o.account_id HAVING count(*) = 1
""")
_NEWEST_TICKETS = 20


@dataclass(frozen=True, slots=True)
class Unnamed:
    """A mail that tells of a state or a symptom and names nothing."""

    message_id: int
    org_id: UUID
    known: Known
    reading: Reading


def meant(connection: Connection, mails: Sequence[Unnamed]) -> Mapping[int, Reading]:
    """Return the reading of each mail, by message, for which one asset alone can be meant."""
    found = _by_name(connection, mails)
    rest = [mail for mail in mails if mail.message_id not in found and mail.known.index.alone_at]
    return {**found, **_by_site(connection, rest)}


def _by_name(connection: Connection, mails: Sequence[Unnamed]) -> dict[int, Reading]:
    wanted = sorted(
        {(mail.org_id, one.said) for mail in mails if mail.known.index.vocabulary for one in mail.reading.phrases}
    )
    if not wanted:
        return {}
    connection.execute(_THRESHOLD, {"least": str(LEAST_ALIKE)})
    values = {"orgs": [org_id for org_id, _ in wanted], "phrases": [said for _, said in wanted]}
    alike: dict[tuple[UUID, str], list[Alike]] = {}
    for row in connection.execute(_ALIKE, values):
        alike.setdefault((row.org_id, row.said), []).append(Alike(row.id, row.name.lower(), row.said, row.likeness))
    found = {}
    for mail in mails:
        candidates = [one for phrase in mail.reading.phrases for one in alike.get((mail.org_id, phrase.said), ())]
        if (guess := best_guess(candidates)) is not None:
            found[mail.message_id] = mail.reading.meaning(guess.asset_id, ExtractedBy.FUZZY, guess.phrase)
    return found


def _by_site(connection: Connection, mails: Sequence[Unnamed]) -> dict[int, Reading]:
    if not mails:
        return {}
    values = {"messages": [mail.message_id for mail in mails], "newest": _NEWEST_TICKETS}
    sites: dict[int, set[UUID]] = {}
    for row in connection.execute(_SITES, values):
        sites.setdefault(row.id, set()).add(row.site_id)
    found = {}
    for mail in mails:
        at = sites.get(mail.message_id, set())
        asset_id = mail.known.index.alone_at.get(next(iter(at))) if len(at) == 1 else None
        if asset_id is not None:
            found[mail.message_id] = mail.reading.meaning(asset_id, ExtractedBy.SITE)
    return found
