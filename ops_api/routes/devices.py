"""The devices that get somebody's pushes (contract 004)."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from models.enums import Platform
from ops_api.answers import Refusal
from ops_api.dependencies import Provided, SignedIn, Transaction
from ops_api.guard import GuardedRoute
from pipeline.commands import devices as commands
from pipeline.commands.devices import NoPerson
from pipeline.core.written import read_id
from pipeline.runtime.secrets import Secrets

router = APIRouter(route_class=GuardedRoute, prefix="/api/v1", tags=["technician"])


def _lower(said: Any) -> Any:
    return said.lower() if isinstance(said, str) else said


class DeviceWish(BaseModel):
    """A device, by the token that its app got from Firebase."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    platform: Annotated[Platform, BeforeValidator(_lower)]
    fcmToken: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4096, pattern=r"^[!-~]+$")
    ] = Field(repr=False)


class DeviceAnswer(BaseModel):
    """A device that gets pushes."""

    id: UUID


@router.post("/devices/register", status_code=201)
def register(asked: DeviceWish, session: SignedIn, connection: Transaction, services: Provided) -> DeviceAnswer:
    """Let a device get your pushes until you sign out; the same token keeps its id.

    Register at every start of the app: a token that another person registered on the same device becomes yours.
    """
    keys = Secrets.of(services.settings)
    try:
        return DeviceAnswer(id=commands.register(connection, keys, session, asked.platform, asked.fcmToken))
    except NoPerson as error:
        raise Refusal(403, str(error)) from None


@router.delete("/devices/{device_id}", status_code=204)
def remove(device_id: Annotated[str, Path(max_length=64)], session: SignedIn, connection: Transaction) -> None:
    """Take one of your devices away; it gets no pushes any more."""
    found = read_id(device_id)
    if found is None or not commands.remove(connection, session, found):
        raise Refusal(404, "you have no such device")
