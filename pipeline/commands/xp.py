"""Points given or taken by hand (contract 002)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID, uuid4

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from sqlalchemy import Connection, Row, text

from models.enums import XpKind
from models.permissions import Permission
from pipeline.command import Ask, Command, Effect, Locked, Target
from pipeline.commands.field_arguments import Reason
from pipeline.core.refusing import Refusal
from pipeline.core.repairs import enveloped
from pipeline.core.written import plain
from pipeline.core.xp import MOST_POINTS, Grant
from pipeline.runtime import workshop_people, xp_rows
from pipeline.runtime.workshop_people import PART_ONLY, UNKNOWN_USER, Member

_READ = text("""
    SELECT x.id, x.person_id, p.full_name, x.kind, x.amount, x.reference, x.order_id, x.comment, x.created_by,
           x.created_at
      FROM xp_transactions x JOIN people p ON p.id = x.person_id WHERE x.org_id = :org AND x.reference = :reference
""")


def _not_nothing(amount: int) -> int:
    if amount == 0:
        raise ValueError("0 points change nothing: give or take some")
    return amount


class Adjustment(BaseModel):
    """Points for somebody, and why; below 0 they are taken."""

    model_config = ConfigDict(extra="forbid")

    user: UUID
    amount: Annotated[int, Field(strict=True, ge=-MOST_POINTS, le=MOST_POINTS), AfterValidator(_not_nothing)]
    comment: Annotated[Reason, StringConstraints(max_length=500)]


def said(row: Row[Any]) -> Mapping[str, Any]:
    """Return one row of the ledger as it is answered."""
    return {
        "id": str(row.id),
        "user": str(row.person_id),
        "user_name": row.full_name,
        "entry_type": row.kind,
        "amount": row.amount,
        "reference": row.reference,
        "ticket": plain(row.order_id),
        "comment": row.comment,
        "created_by": row.created_by,
        "created_at": plain(row.created_at),
    }


def _member(connection: Connection, ask: Ask[Adjustment]) -> Locked[Member] | None:
    who = ask.principal
    found = workshop_people.lock(connection, who.org_id, ask.arguments.user)
    return None if found is None else Locked(str(found.person_id), found, 0, who.scope.is_whole)


def not_oneself(ask: Ask[Adjustment], member: Member) -> Refusal | None:
    """Refuse whoever would give points to themselves."""
    if ask.principal.person_id != member.person_id:
        return None
    return Refusal("FOUR_EYES", "nobody gives points to themselves: somebody else must")


def _adjust(connection: Connection, ask: Ask[Adjustment], member: Member) -> Effect:
    asked, reference = ask.arguments, f"manual_adjustment:{uuid4()}"
    grant = Grant(member.person_id, XpKind.ADJUSTMENT, asked.amount, reference, comment=asked.comment)
    xp_rows.grant(connection, member.org_id, [grant], ask.principal.actor_id)
    row = connection.execute(_READ, {"org": member.org_id, "reference": reference}).one()
    details = {"amount": asked.amount, "reason": asked.comment, "transaction_id": row.id}
    return Effect(enveloped(said(row)), status=201, details=details)


ADJUST = Command(
    name="xp.adjust",
    about="Gives points to somebody, or takes them, with a comment.",
    arguments=Adjustment,
    permission=Permission.XP_CHANGE,
    target=Target("person", _member, UNKNOWN_USER, unreached=PART_ONLY),
    gates=(not_oneself,),
    effect=_adjust,
)
#: What `pipeline.table` finds here.
COMMANDS = (ADJUST,)
