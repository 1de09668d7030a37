"""Commands on the inventory: things are made known, changed, put away and taken back; categories and parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Connection

from models.permissions import Permission
from pipeline.command import Ask, Command, Effect, Locked, Refused, Target, refusing_twins
from pipeline.commands.inventory_arguments import ItemChange, NewCategory, NewItem, NewStockPart, PartChange
from pipeline.commands.workshop_arguments import Nothing
from pipeline.core.inventory import Category, Item, Part
from pipeline.core.refusing import Because, Refusal
from pipeline.core.repairs import enveloped
from pipeline.core.written import read_id
from pipeline.runtime import inventory_reading, inventory_rows
from pipeline.runtime.workshop_people import PART_ONLY

Subject = TypeVar("Subject")

_NO_ITEM = Refusal("ITEM_NOT_FOUND", "your organization has no such thing", Because.MISSING)
_NO_CATEGORY = Refusal("CATEGORY_NOT_FOUND", "your organization has no such category", Because.MISSING)
_NO_PART = Refusal("PART_NOT_FOUND", "your organization has no such part", Because.MISSING)
_SERIAL_TAKEN = Refusal("SERIAL_TAKEN", "a thing has this serial number already; it may be archived", Because.CONFLICT)
_NAME_TAKEN = Refusal("NAME_TAKEN", "there is one of this name already", Because.CONFLICT)
_USED = Refusal("CATEGORY_IN_USE", "things or parts are of this category; move them first", Because.CONFLICT)
_ARCHIVED = Refusal("ITEM_ARCHIVED", "it is archived: restore it first", Because.CONFLICT)
_IN_REPAIR = Refusal("ITEM_IN_REPAIR", "it is in repair: where it stands is said by its ticket", Because.CONFLICT)
_UNKNOWN_CATEGORY = Refusal("INVALID_REQUEST", "category_id: your organization has no such category", Because.INVALID)
#: What a repair relies on while it is open.
_HELD_BY_REPAIR = frozenset({"state", "category_id"})


def _new(kind: str, missing: Refusal) -> Target[Any, None]:
    """Return the target of a command that makes a thing of a kind."""

    def lock(_connection: Connection, ask: Ask[Any]) -> Locked[None]:
        return Locked(str(ask.principal.org_id), None, 0, ask.principal.scope.is_whole)

    return Target(kind, lock, missing, unreached=PART_ONLY)


def _one(
    kind: str,
    find: Callable[[Connection, UUID, UUID], Subject | None],
    missing: Refusal,
    version: Callable[[Subject], int] = lambda _: 0,
) -> Target[Any, Subject]:
    """Return the target of a command on one thing of a kind."""

    def lock(connection: Connection, ask: Ask[Any]) -> Locked[Subject] | None:
        one_id = read_id(ask.target or "")
        found = None if one_id is None else find(connection, ask.principal.org_id, one_id)
        return None if found is None else Locked(str(one_id), found, version(found), ask.principal.scope.is_whole)

    return Target(kind, lock, missing, unreached=PART_ONLY)


def not_archived(_ask: Ask[Any], item: Item) -> Refusal | None:
    """Refuse what is done to a thing that was put away."""
    return None if item.archived_at is None else _ARCHIVED


def not_in_repair(ask: Ask[Any], item: Item) -> Refusal | None:
    """Refuse what an open repair would not understand: another state or category, and to put the thing away."""
    if item.open_order_id is None:
        return None
    is_about_it = not isinstance(ask.arguments, ItemChange) or _HELD_BY_REPAIR & set(ask.arguments.changes())
    return _IN_REPAIR if is_about_it else None


def _make_item(connection: Connection, ask: Ask[NewItem], _: None) -> Effect:
    asked, org_id = ask.arguments, ask.principal.org_id
    _check_category(connection, org_id, asked.category_id)
    name, category_id = asked.name or asked.serial_number, asked.category_id
    made = inventory_rows.make(
        connection, org_id, asked.serial_number, name=name, category_id=category_id, state=asked.status
    )
    if made is None:
        raise Refused(_SERIAL_TAKEN)
    details = {"item_id": str(made), "serial_number": asked.serial_number}
    return _item_said(connection, org_id, made, 0, status=201, details=details)


def _change_item(connection: Connection, ask: Ask[ItemChange], item: Item) -> Effect:
    changes = ask.arguments.changes()
    _check_category(connection, ask.principal.org_id, changes.get("category_id"))
    with refusing_twins(_SERIAL_TAKEN):
        after = inventory_rows.save(connection, item.item_id, changes)
    told = {name: {"before": getattr(item, name), "after": value} for name, value in changes.items()}
    return _item_said(connection, ask.principal.org_id, item.item_id, after.version, details={"changes": told})


def _archive(connection: Connection, ask: Ask[Nothing], item: Item) -> Effect:
    after = inventory_rows.archive(connection, item.item_id)
    return _item_said(connection, ask.principal.org_id, item.item_id, after.version)


def _restore(connection: Connection, ask: Ask[Nothing], item: Item) -> Effect:
    after = inventory_rows.restore(connection, item.item_id)
    return _item_said(connection, ask.principal.org_id, item.item_id, after.version)


def _item_said(connection: Connection, org_id: UUID, item_id: UUID, version: int, **more: Any) -> Effect:
    said = inventory_reading.item(connection, org_id, item_id)
    return Effect(enveloped(said), version=version, **more)


def _make_category(connection: Connection, ask: Ask[NewCategory], _: None) -> Effect:
    made = inventory_rows.make_category(connection, ask.principal.org_id, ask.arguments.name)
    if made is None:
        raise Refused(_NAME_TAKEN)
    return _category_said(connection, ask, made, status=201, details={"category_id": str(made.category_id)})


def _name_category(connection: Connection, ask: Ask[NewCategory], category: Category) -> Effect:
    with refusing_twins(_NAME_TAKEN):
        after = inventory_rows.name_category(connection, category.category_id, ask.arguments.name)
    return _category_said(connection, ask, after)


def _drop_category(connection: Connection, ask: Ask[Nothing], category: Category) -> Effect:
    said = _category_said(connection, ask, category)
    if inventory_rows.is_used(connection, category.category_id):
        raise Refused(_USED)
    with refusing_twins(_USED):
        inventory_rows.drop_category(connection, category.category_id)
    return said


def _category_said(connection: Connection, ask: Ask[Any], category: Category, **more: Any) -> Effect:
    said = inventory_reading.category(connection, ask.principal.org_id, category.category_id)
    return Effect(enveloped(said), **more)


def _make_part(connection: Connection, ask: Ask[NewStockPart], _: None) -> Effect:
    asked, org_id = ask.arguments, ask.principal.org_id
    _check_category(connection, org_id, asked.category_id)
    made = inventory_rows.make_part(connection, org_id, asked.category_id, asked.name)
    if made is None:
        raise Refused(_NAME_TAKEN)
    return _part_said(connection, ask, made, status=201, details={"part_id": str(made.part_id)})


def _change_part(connection: Connection, ask: Ask[PartChange], part: Part) -> Effect:
    return _save_part(connection, ask, replace(part, **ask.arguments.model_dump(exclude_unset=True)))


def _retire_part(connection: Connection, ask: Ask[Nothing], part: Part) -> Effect:
    return _save_part(connection, ask, replace(part, is_active=False))


def _save_part(connection: Connection, ask: Ask[Any], part: Part) -> Effect:
    with refusing_twins(_NAME_TAKEN):
        inventory_rows.save_part(connection, part)
    return _part_said(connection, ask, part, details={"is_active": part.is_active})


def _part_said(connection: Connection, ask: Ask[Any], part: Part, **more: Any) -> Effect:
    said = inventory_reading.part(connection, ask.principal.org_id, part.part_id)
    return Effect(enveloped(said), **more)


def _check_category(connection: Connection, org_id: UUID, category_id: UUID | None) -> None:
    if category_id is not None and not inventory_rows.hold_category(connection, org_id, category_id):
        raise Refused(_UNKNOWN_CATEGORY)


_ITEM: Target[Any, Item] = _one("inventory_item", inventory_rows.by_id, _NO_ITEM, lambda item: item.version)
_CATEGORY: Target[Any, Category] = _one("item_category", inventory_rows.category, _NO_CATEGORY)
_PART: Target[Any, Part] = _one("workshop_part", inventory_rows.part, _NO_PART)


def _command(
    name: str, about: str, arguments: Any, target: Any, effect: Any, *gates: Any
) -> Command[Any, Any]:  # fmt: skip
    return Command(name, about, arguments, Permission.INVENTORY_CHANGE, target, effect, gates)


MAKE_ITEM = _command(
    "inventory.item_make", "Makes a thing known.", NewItem, _new("inventory_item", _NO_ITEM), _make_item
)  # fmt: skip
CHANGE_ITEM = _command(
    "inventory.item_change",
    "Changes serial number, name, category or status of a thing; the last two not while it is in repair.",
    *(ItemChange, _ITEM, _change_item, not_archived, not_in_repair),
)
ARCHIVE_ITEM = _command(
    "inventory.item_archive", "Puts a thing away that is not in repair.", Nothing, _ITEM, _archive, not_in_repair
)
RESTORE_ITEM = _command("inventory.item_restore", "Takes a thing back that was put away.", Nothing, _ITEM, _restore)
MAKE_CATEGORY = _command(
    "inventory.category_make",
    "Makes a category.",
    *(NewCategory, _new("item_category", _NO_CATEGORY), _make_category),
)
NAME_CATEGORY = _command(
    "inventory.category_name", "Names a category anew.", NewCategory, _CATEGORY, _name_category
)  # fmt: skip
DROP_CATEGORY = _command(
    "inventory.category_drop", "Takes a category away that nothing is of.", Nothing, _CATEGORY, _drop_category
)
MAKE_PART = _command(
    "inventory.part_make", "Makes a part of a category.", NewStockPart, _new("workshop_part", _NO_PART), _make_part
)
CHANGE_PART = _command(
    "inventory.part_change", "Changes name or use of a part.", PartChange, _PART, _change_part
)  # fmt: skip
RETIRE_PART = _command(
    "inventory.part_retire", "Takes a part out of use; repairs that name it keep it.", Nothing, _PART, _retire_part
)
#: What `pipeline.table` finds here.
COMMANDS = (
    *(MAKE_ITEM, CHANGE_ITEM, ARCHIVE_ITEM, RESTORE_ITEM),
    *(MAKE_CATEGORY, NAME_CATEGORY, DROP_CATEGORY),
    *(MAKE_PART, CHANGE_PART, RETIRE_PART),
)
