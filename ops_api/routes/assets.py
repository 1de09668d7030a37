"""The registry: what an organization looks after, what it is called, and how its tags are written."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from models.queries import assets as queries
from ops_api.answers import Refusal
from ops_api.commands import Calling
from ops_api.dependencies import Provided, SignedIn, Transaction
from ops_api.guard import GuardedRoute
from ops_api.routes.places import Cursor, Limit, Name
from pipeline.commands import assets as commands
from pipeline.commands.asset_arguments import AssetChange, NewAsset, NewTagPattern, TagPatternChange

router = APIRouter(route_class=GuardedRoute, prefix="/assets", tags=["assets"])


class AssetAnswer(BaseModel):
    """An asset of the registry."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    tag: str
    name: str
    aliases: list[str]
    kind: str
    zone: str | None
    lat: float | None
    lon: float | None
    site_id: UUID | None
    site: str | None = Field(description="The site's name.")
    origin: str = Field(description="registry: somebody entered it; signal: a report named it.")
    created_at: datetime


class AssetAnswers(BaseModel):
    """One page, by tag."""

    items: list[AssetAnswer]
    next_cursor: str | None = Field(description="Null on the last page.")


class TagPatternAnswer(BaseModel):
    """How tags are written: an RE2 expression, and the tag that its groups make."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    pattern: str
    tag: str
    position: int
    is_enabled: bool
    created_by: str
    created_at: datetime


class TagPatternAnswers(BaseModel):
    """One page, in the order they are tried."""

    items: list[TagPatternAnswer]
    next_cursor: str | None = Field(description="Null on the last page.")


@router.get("")
def list_assets(
    session: SignedIn,
    connection: Transaction,
    services: Provided,
    *,
    cursor: Cursor = None,
    q: Annotated[Name | None, Query(description="Part of a tag, a name or an alias.")] = None,
    site_id: UUID | None = None,
    limit: Limit = 50,
) -> AssetAnswers:
    """List assets by tag."""
    bound = {"list": "assets", "org": session.org_id, "q": q, "site_id": site_id}
    place = services.cursors.read_place(cursor, bound)
    after = str(place["after"]) if place else None
    found = queries.assets(connection, session.org_id, after=after, site_id=site_id, words=q, limit=limit + 1)
    more = services.cursors.make_place({"after": found[limit - 1].tag}, bound) if len(found) > limit else None
    return AssetAnswers(items=[AssetAnswer.model_validate(one) for one in found[:limit]], next_cursor=more)


@router.post("", status_code=201, response_model=AssetAnswer)
def add_asset(call: Calling, asked: NewAsset) -> Response:
    """Enter an asset; 409 for a tag that is there, or that is spelt like another one."""
    return call.run(commands.ADD, None, asked)


@router.get("/patterns")
def list_patterns(
    session: SignedIn, connection: Transaction, services: Provided, cursor: Cursor = None, limit: Limit = 50
) -> TagPatternAnswers:
    """List the patterns of tags, also those that are off, in the order they are tried."""
    bound = {"list": "asset_patterns", "org": session.org_id}
    place = services.cursors.read_place(cursor, bound)
    after = (int(place["position"]), UUID(str(place["id"]))) if place else None
    found = queries.patterns(connection, session.org_id, after=after, limit=limit + 1)
    last = found[limit - 1] if len(found) > limit else None
    more = services.cursors.make_place({"position": last.position, "id": str(last.id)}, bound) if last else None
    return TagPatternAnswers(items=[TagPatternAnswer.model_validate(one) for one in found[:limit]], next_cursor=more)


@router.post("/patterns", status_code=201, response_model=TagPatternAnswer)
def add_pattern(call: Calling, asked: NewTagPattern) -> Response:
    """Add a pattern; 422 for one that cannot be compiled, 409 for one that is there."""
    return call.run(commands.ADD_PATTERN, None, asked)


@router.patch("/patterns/{pattern_id}", response_model=TagPatternAnswer)
def change_pattern(pattern_id: UUID, call: Calling, asked: TagPatternChange) -> Response:
    """Change a pattern, or switch it on or off; mail that comes from now on is read so."""
    return call.run(commands.CHANGE_PATTERN, str(pattern_id), asked)


@router.get("/{asset_id}")
def show_asset(asset_id: UUID, session: SignedIn, connection: Transaction) -> AssetAnswer:
    """Return an asset."""
    found = queries.asset(connection, session.org_id, asset_id)
    if found is None:
        raise Refusal(404, "your organization has no such asset", code="ASSET_NOT_FOUND")
    return AssetAnswer.model_validate(found)


@router.patch("/{asset_id}", response_model=AssetAnswer)
def change_asset(asset_id: UUID, call: Calling, asked: AssetChange) -> Response:
    """Change an asset; mail that comes from now on knows it by its new names."""
    return call.run(commands.CHANGE, str(asset_id), asked)
