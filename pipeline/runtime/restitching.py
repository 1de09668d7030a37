"""Stitching done again: which messages the rules of today would put into another ticket, and putting them there.

One chunk holds everything: where a message belongs depends on all the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from pipeline.core.threading import RULES_VERSION
from pipeline.ports import Ports
from pipeline.runtime import placement, stitching
from pipeline.runtime.jobs import Job
from pipeline.runtime.placement import Conversation, Plan
from pipeline.runtime.reprocessing import CHANGED, Again, Effects, Run, Subject

_MINE = """
    l.org_id = :org AND (CAST(:mailbox AS uuid) IS NULL
                         OR EXISTS (SELECT FROM occurrence_recipients r JOIN occurrences o ON o.id = r.occurrence_id
                                     WHERE r.message_id = l.message_id AND o.mailbox_id = :mailbox))
"""
_COUNT = text(f"SELECT count(*) FROM ticket_messages l WHERE {_MINE}")  # noqa: S608 - made of the constant above
_IDS = text(
    f"SELECT message_id FROM ticket_messages l WHERE {_MINE} AND linked_at <= :started_at ORDER BY 1"  # noqa: S608
)
_CODES = text("SELECT id, code FROM tickets WHERE id = ANY(CAST(:ids AS uuid[]))")
_AGREE = text("""
    UPDATE ticket_messages SET rules_version = :version
     WHERE message_id = ANY(CAST(:ids AS bigint[])) AND rules_version < :version
""")


@dataclass(frozen=True, slots=True)
class Placed:
    """A message that stands elsewhere than the rules say: the conversation it belongs to, and both in words."""

    plan: Plan
    conversation: Conversation
    stored: str
    proposed: str


class Restitching:
    """The kind `stitch`; its subjects are messages. What changes is the ticket."""

    @property
    def version(self) -> int:
        """The version of the stitching rules."""
        return RULES_VERSION

    def count(self, connection: Connection, org_id: UUID, mailbox_id: UUID | None) -> int:
        """Return how many messages stand in tickets."""
        return int(connection.execute(_COUNT, {"org": org_id, "mailbox": mailbox_id}).scalar_one())

    def load(self, connection: Connection, run: Run, limit: int) -> Sequence[Subject]:  # noqa: ARG002 - one chunk
        """Return every message of the run, with where it belongs when it stands elsewhere; nothing after that."""
        if run.position is not None:
            return ()
        values = {"org": run.org_id, "mailbox": run.mailbox_id, "started_at": run.started_at}
        ids = connection.execute(_IDS, values).scalars().all()
        misplaced = _misplaced(connection, placement.plan(connection, run.org_id))
        return [Subject(str(message_id), misplaced.get(message_id)) for message_id in ids]

    def work(
        self,
        subjects: Sequence[Subject],
        _: Ports,
        *,
        stores: bool,  # noqa: ARG002 - it is pure
        isolated: bool,  # noqa: ARG002 - nothing of it ends a process
    ) -> Sequence[Again | Exception]:
        """Say of each message which ticket it would stand in."""
        return [_again(subject.loaded) for subject in subjects]

    def apply(self, connection: Connection, run: Run, changed: Sequence[tuple[Subject, Again]], job: Job) -> Effects:  # noqa: ARG002 - it emits nothing
        """Move whole conversations, each step a regrouping that can be undone; refuse those that changed meanwhile."""
        if not changed:
            return Effects()
        asked = {int(subject.key) for subject, _ in changed}
        plan: Plan = changed[0][0].loaded.plan
        whole = [one for one in plan.conversations if {message_id for message_id, _ in one.moved} <= asked]
        touched = {ticket_id for one in whole for ticket_id in (*one.members, one.target) if ticket_id is not None}
        narrowed = Plan(whole, {ticket_id: plan.whole[ticket_id] for ticket_id in touched}, plan.seen)
        actor = f"{placement.AGAIN}{run.run_id} for {run.applied_by}"
        reason = f"stitched again by rules {RULES_VERSION}"
        done = placement.apply(connection, run.org_id, narrowed, actor=actor, reason=reason)
        self.agree(connection, run, [str(message_id) for message_id in done.moved])
        return Effects({str(message_id): CHANGED for message_id in asked - set(done.moved)})

    def agree(self, connection: Connection, run: Run, keys: Sequence[str]) -> None:
        """Note the version of the rules on links that they would make again, and add the keys that older rules lack."""
        ids = [int(key) for key in keys]
        stitching.register_all(connection, run.org_id, ids)
        connection.execute(_AGREE, {"ids": ids, "version": run.version})


def _misplaced(connection: Connection, plan: Plan) -> Mapping[int, Placed]:
    codes = {row.id: row.code for row in connection.execute(_CODES, {"ids": list(plan.whole)})}
    return dict(_placed(plan, codes))


def _placed(plan: Plan, codes: Mapping[UUID, str]) -> Iterator[tuple[int, Placed]]:
    for one in plan.conversations:
        first = min(message_id for its in one.members.values() for message_id in its)
        proposed = f"a new ticket with message {first}" if one.target is None else codes[one.target]
        for message_id, ticket_id in one.moved:
            yield message_id, Placed(plan, one, codes[ticket_id], proposed)


def _again(placed: Placed | None) -> Again:
    return Again({}) if placed is None else Again({"ticket": [placed.stored, placed.proposed]})
