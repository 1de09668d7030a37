"""The inventory of the workshop: things by serial number, their categories and parts (contract 002)."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.responses import Response

from models.enums import InventoryState
from models.queries import inventory as queries
from models.queries.inventory import WantedItems, WantedParts
from ops_api.answers import Refusal
from ops_api.commands import Calling
from ops_api.dependencies import SignedIn, Transaction
from ops_api.guard import GuardedRoute
from ops_api.workshop_answers import AskedPage, Envelope, Results, StockCategory, StockItem, StockPart, Words
from pipeline.commands import inventory as commands
from pipeline.commands.inventory_arguments import ItemChange, NewCategory, NewItem, NewStockPart, PartChange
from pipeline.commands.workshop_arguments import Nothing
from pipeline.core.repairs import enveloped
from pipeline.runtime import inventory_reading as reading

router = APIRouter(route_class=GuardedRoute, prefix="/api/v1/inventory", tags=["inventory"])

Sought = Annotated[Words | None, Query(description="Part of a serial number or name.")]
_ITEM, _CATEGORY, _PART = "/items/{item_id}/", "/categories/{category_id}/", "/parts/{workshop_part_id}/"


@router.get("/items/", response_model=Results[StockItem])
def list_items(
    session: SignedIn,
    connection: Transaction,
    page: AskedPage,
    *,
    status: InventoryState | None = None,
    category: UUID | None = None,
    archived: bool = False,
    q: Sought = None,
) -> dict[str, Any]:
    """List things by serial number; those that were put away with `archived`."""
    wanted = WantedItems(session.org_id, is_archived=archived, state=status, category_id=category, words=q)
    found = [reading.described_item(row) for row in queries.items(connection, wanted, **page.bounds)]
    return page.of(found, queries.count_items(connection, wanted, **page.bounds))


@router.post("/items/", status_code=201, response_model=Envelope[StockItem])
def make_item(call: Calling, asked: NewItem) -> Response:
    """Make a thing known."""
    return call.run(commands.MAKE_ITEM, None, asked)


@router.get(_ITEM, response_model=Envelope[StockItem])
def show_item(item_id: UUID, session: SignedIn, connection: Transaction) -> dict[str, Any]:
    """Return a thing, archived or not, with its open ticket."""
    return _found(reading.item(connection, session.org_id, item_id), "thing")


@router.patch(_ITEM, response_model=Envelope[StockItem])
def change_item(item_id: UUID, call: Calling, asked: ItemChange) -> Response:
    """Change a thing; with `If-Match`, only in the version that was read."""
    return call.run(commands.CHANGE_ITEM, str(item_id), asked)


@router.delete(_ITEM, response_model=Envelope[StockItem])
def archive_item(item_id: UUID, call: Calling) -> Response:
    """Put a thing away; nobody can take it in until it is restored."""
    return call.run(commands.ARCHIVE_ITEM, str(item_id), Nothing())


@router.post(f"{_ITEM}restore/", response_model=Envelope[StockItem])
def restore_item(item_id: UUID, call: Calling) -> Response:
    """Take a thing back that was put away."""
    return call.run(commands.RESTORE_ITEM, str(item_id), Nothing())


@router.get("/categories/", response_model=Results[StockCategory])
def list_categories(session: SignedIn, connection: Transaction, page: AskedPage, q: Sought = None) -> dict[str, Any]:
    """List categories by name."""
    found = queries.categories(connection, session.org_id, q, **page.bounds)
    total = queries.count_categories(connection, session.org_id, q, **page.bounds)
    return page.of([reading.described_category(row) for row in found], total)


@router.post("/categories/", status_code=201, response_model=Envelope[StockCategory])
def make_category(call: Calling, asked: NewCategory) -> Response:
    """Make a category."""
    return call.run(commands.MAKE_CATEGORY, None, asked)


@router.get(_CATEGORY, response_model=Envelope[StockCategory])
def show_category(category_id: UUID, session: SignedIn, connection: Transaction) -> dict[str, Any]:
    """Return a category."""
    return _found(reading.category(connection, session.org_id, category_id), "category")


@router.patch(_CATEGORY, response_model=Envelope[StockCategory])
def name_category(category_id: UUID, call: Calling, asked: NewCategory) -> Response:
    """Name a category anew."""
    return call.run(commands.NAME_CATEGORY, str(category_id), asked)


@router.delete(_CATEGORY, response_model=Envelope[StockCategory])
def drop_category(category_id: UUID, call: Calling) -> Response:
    """Take a category away that no thing and no part is of."""
    return call.run(commands.DROP_CATEGORY, str(category_id), Nothing())


@router.get("/parts/", response_model=Results[StockPart])
def list_parts(
    session: SignedIn,
    connection: Transaction,
    page: AskedPage,
    *,
    category: UUID | None = None,
    is_active: bool | None = None,
    q: Sought = None,
) -> dict[str, Any]:
    """List parts by category and name."""
    wanted = WantedParts(session.org_id, category_id=category, is_active=is_active, words=q)
    found = [reading.described_part(row) for row in queries.parts(connection, wanted, **page.bounds)]
    return page.of(found, queries.count_parts(connection, wanted, **page.bounds))


@router.post("/parts/", status_code=201, response_model=Envelope[StockPart])
def make_part(call: Calling, asked: NewStockPart) -> Response:
    """Make a part of a category."""
    return call.run(commands.MAKE_PART, None, asked)


@router.get(_PART, response_model=Envelope[StockPart])
def show_part(workshop_part_id: UUID, session: SignedIn, connection: Transaction) -> dict[str, Any]:
    """Return a part."""
    return _found(reading.part(connection, session.org_id, workshop_part_id), "part")


@router.patch(_PART, response_model=Envelope[StockPart])
def change_part(workshop_part_id: UUID, call: Calling, asked: PartChange) -> Response:
    """Change a part's name, or take it into use again."""
    return call.run(commands.CHANGE_PART, str(workshop_part_id), asked)


@router.delete(_PART, response_model=Envelope[StockPart])
def retire_part(workshop_part_id: UUID, call: Calling) -> Response:
    """Take a part out of use; tickets that name it keep it."""
    return call.run(commands.RETIRE_PART, str(workshop_part_id), Nothing())


def _found(said: dict[str, Any] | None, kind: str) -> dict[str, Any]:
    if said is None:
        raise Refusal(404, f"your organization has no such {kind}")
    return enveloped(said)
