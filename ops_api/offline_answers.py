"""A queue of actions as a phone sends it, and what it is answered, action by action."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from ops_api.shapes import TECHNICIAN, Problem, TechnicianProblem
from pipeline.core.offline import MOST_ACTIONS, Deed, Queued


def _uuid(said: str) -> str:
    try:
        UUID(said)
    except ValueError:
        raise ValueError("a UUID is wanted") from None
    return said


class QueuedAction(BaseModel):
    """One action, as its own address would take it; `clientId` is its Idempotency-Key there, too."""

    model_config = ConfigDict(extra="forbid")

    clientId: Annotated[str, AfterValidator(_uuid)] = Field(
        max_length=64,
        description="A UUID, the app's own name for this action, kept over every retry.",
        json_schema_extra={"format": "uuid"},
    )
    action: Deed
    workOrderId: str | None = Field(default=None, min_length=1, max_length=64)
    notificationId: UUID | None = Field(default=None, description="Of what was read.")
    version: int | None = Field(default=None, ge=0, lt=2**63, description="The version of the order that was seen.")
    after: UUID | None = Field(
        default=None,
        description="The clientId of an earlier action of this queue: the version is the one that its answer has, "
        "and when it is not done this is not tried.",
    )
    body: dict[str, Any] | None = Field(default=None, description="As the action's own address takes it.")
    queuedAt: AwareDatetime | None = Field(default=None, description="When it was done by the phone's clock; kept.")

    @model_validator(mode="after")
    def _named(self) -> QueuedAction:
        is_read = self.action is Deed.READ_NOTIFICATION
        if (self.notificationId is not None) != is_read or (self.workOrderId is None) != is_read:
            raise ValueError("name a notificationId for read_notification, and a workOrderId for all others")
        return self

    def queued(self) -> Queued:
        """Return it as a value."""
        target = self.workOrderId if self.notificationId is None else str(self.notificationId)
        return Queued(
            UUID(self.clientId),
            self.action,
            target or "",
            self.version,
            self.after,
            self.body or {},
            self.queuedAt,
            self.clientId,
        )


@dataclass(frozen=True, slots=True)
class Malformed:
    """An action that cannot be read: it is answered so, and those of other orders go on."""

    client_id: str | None
    fields: Mapping[str, str]


def _each_alone(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    try:
        return read(value)
    except ValidationError as error:
        return Malformed(_client_id(value), fields_of(error))


def fields_of(error: ValidationError) -> dict[str, str]:
    """Return what is wrong with which value; the values themselves are never repeated."""
    return {".".join(map(str, one["loc"]))[:200] or "action": str(one["msg"])[:200] for one in error.errors()[:20]}


def _client_id(value: Any) -> str | None:
    said = value.get("clientId") if isinstance(value, dict) else None
    return said if isinstance(said, str) and len(said) <= 64 else None


class Queue(BaseModel):
    """What was done without a network, in order."""

    model_config = ConfigDict(extra="forbid")

    actions: list[Annotated[QueuedAction, WrapValidator(_each_alone)]] = Field(min_length=1, max_length=MOST_ACTIONS)

    def read(self) -> list[Queued | Malformed]:
        """Return the actions as values."""
        return [one if isinstance(one, Malformed) else one.queued() for one in self.actions]


class ActionResult(BaseModel):
    """What one action is answered, as its own address would answer it."""

    clientId: str | None = Field(description="Null where the action names none that can be read.")
    status: int = Field(description="424: what it comes after was not done. 503: not tried; send the queue again.")
    replayed: bool = Field(description="It was done before, and this is that answer again.")
    body: dict[str, Any] | None = Field(default=None, description="Of what was done.")
    error: TechnicianProblem | None = Field(default=None, description="Of what was refused.")


class BatchAnswer(BaseModel):
    """The answers, in the order of the actions."""

    results: list[ActionResult]


@dataclass(frozen=True, slots=True)
class Result:
    """What one action came to."""

    client_id: str | None
    status: int
    body: Mapping[str, Any] | None = None
    problem: Problem | None = None
    is_replayed: bool = False
    version: int | None = None

    @property
    def is_done(self) -> bool:
        """Whether it was done, now or before."""
        return self.problem is None

    @property
    def outcome(self) -> str:
        """What is counted of it."""
        if self.problem is None:
            return "replayed" if self.is_replayed else "done"
        return {424: "dependent", 500: "failed", 503: "later"}.get(self.status, "refused")

    def said(self) -> dict[str, Any]:
        """Return it as the phone reads it."""
        told: dict[str, Any] = {"clientId": self.client_id, "status": self.status, "replayed": self.is_replayed}
        if self.problem is not None:
            return {**told, **TECHNICIAN.body(self.problem)}
        return told | {"body": self.body}
