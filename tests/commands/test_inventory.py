"""The inventory: things are made known, changed and put away, but for what an open repair relies on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError

from models.enums import WorkOrderState
from pipeline import executor
from pipeline.command import Command
from pipeline.commands.inventory import (
    ARCHIVE_ITEM,
    CHANGE_ITEM,
    CHANGE_PART,
    COMMANDS,
    DROP_CATEGORY,
    MAKE_CATEGORY,
    MAKE_ITEM,
    MAKE_PART,
    NAME_CATEGORY,
    RESTORE_ITEM,
    RETIRE_PART,
)
from pipeline.commands.inventory_arguments import ItemChange, NewCategory, NewItem, NewStockPart, PartChange
from pipeline.commands.workshop_arguments import Nothing
from pipeline.core.principals import Scope
from pipeline.runtime.db import Database
from tests.commands.workshop_desk import WorkshopDesk
from tests.worker_process import until

_NOTHING = Nothing()
_WAITS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


class Store(WorkshopDesk):
    """The workshop by whose hands the inventory is kept."""

    speaker = "ops_manager"


@pytest.fixture
def store(db: Database) -> Store:
    return Store.of(db)


def test_a_thing_is_made_known_changed_put_away_and_taken_back(store: Store) -> None:
    made = store.run(MAKE_ITEM, NewItem(serial_number=" rm-0101 ", category_id=store.category_id))
    said = made.body["data"]
    assert (made.status, said["serial_number"], said["name"], said["status"], said["category_name"]) == (
        *(201, "RM-0101", "RM-0101"),
        *("ready", "Bikes"),
    )
    item_id = UUID(said["id"])
    changed = store.run(CHANGE_ITEM, ItemChange(status="rented", name="Red one"), item_id, version=0)
    assert (changed.body["data"]["status"], changed.body["data"]["name"], changed.version) == ("rented", "Red one", 1)
    assert store.refused(CHANGE_ITEM, ItemChange(status="ready"), item_id, version=0).code == "STALE_VERSION"
    away = store.run(ARCHIVE_ITEM, _NOTHING, item_id).body["data"]
    assert (away["is_active"], away["archived_at"] is None) == (False, False)
    assert store.refused(CHANGE_ITEM, ItemChange(status="ready"), item_id).code == "ITEM_ARCHIVED"
    assert store.run(RESTORE_ITEM, _NOTHING, item_id).body["data"]["is_active"] is True
    assert [name for name, outcome, _ in store.trail(item_id) if outcome == "done"] == [
        "inventory.item_change",
        "inventory.item_archive",
        "inventory.item_restore",
    ]


def test_a_serial_number_is_one_things_archived_or_not(store: Store) -> None:
    store.item("RM-0101")
    other = store.item("RM-0102")
    store.change("UPDATE inventory_items SET archived_at = now() WHERE serial_number = 'RM-0101'")
    assert store.refused(MAKE_ITEM, NewItem(serial_number="rm-0101")).code == "SERIAL_TAKEN"
    assert store.refused(CHANGE_ITEM, ItemChange(serial_number="RM-0101"), other).code == "SERIAL_TAKEN"
    assert store.run(CHANGE_ITEM, ItemChange(serial_number="RM-0102"), other).status == 200


def test_what_an_open_repair_relies_on_stays_as_it_is(store: Store) -> None:
    order = store.repair(WorkOrderState.IN_PROGRESS, "tech")
    assert order.item_id is not None
    for change in (ItemChange(status="ready"), ItemChange(category_id=store.other_category_id)):
        assert store.refused(CHANGE_ITEM, change, order.item_id).code == "ITEM_IN_REPAIR"
    assert store.refused(ARCHIVE_ITEM, _NOTHING, order.item_id).code == "ITEM_IN_REPAIR"
    said = store.run(CHANGE_ITEM, ItemChange(name="Red one"), order.item_id).body["data"]
    assert (said["name"], said["active_ticket"]) == ("Red one", str(order.order_id))
    store.cancel(order.order_id)
    assert store.run(CHANGE_ITEM, ItemChange(status="write_off"), order.item_id).status == 200


def test_categories_and_parts_have_one_name_each(store: Store) -> None:
    made = store.run(MAKE_CATEGORY, NewCategory(name=" Boats ")).body["data"]
    assert made["name"] == "Boats"
    boats = UUID(made["id"])
    assert store.refused(MAKE_CATEGORY, NewCategory(name="Boats")).code == "NAME_TAKEN"
    assert store.refused(NAME_CATEGORY, NewCategory(name="Bikes"), boats).code == "NAME_TAKEN"
    assert store.run(NAME_CATEGORY, NewCategory(name="Ships"), boats).body["data"]["name"] == "Ships"
    oar = store.run(MAKE_PART, NewStockPart(name="Oar", category_id=boats)).body["data"]
    assert store.refused(MAKE_PART, NewStockPart(name="Oar", category_id=boats)).code == "NAME_TAKEN"
    assert store.run(MAKE_PART, NewStockPart(name="Oar", category_id=store.category_id)).status == 201
    mast = UUID(store.run(MAKE_PART, NewStockPart(name="Mast", category_id=boats)).body["data"]["id"])
    assert store.refused(CHANGE_PART, PartChange(name="Oar"), mast).code == "NAME_TAKEN"
    assert store.run(CHANGE_PART, PartChange(name="Oar 2"), UUID(oar["id"])).body["data"]["name"] == "Oar 2"


def test_a_category_goes_when_nothing_is_of_it(store: Store) -> None:
    for category_id in (store.category_id, store.other_category_id):
        assert store.refused(DROP_CATEGORY, _NOTHING, category_id).code == "CATEGORY_IN_USE"
    empty = UUID(store.run(MAKE_CATEGORY, NewCategory(name="Boats")).body["data"]["id"])
    store.item("RM-0101", category=empty)
    assert store.refused(DROP_CATEGORY, _NOTHING, empty).code == "CATEGORY_IN_USE"
    store.change("UPDATE inventory_items SET category_id = NULL WHERE serial_number = 'RM-0101'")
    assert store.run(DROP_CATEGORY, _NOTHING, empty).body["data"]["name"] == "Boats"
    assert store.refused(DROP_CATEGORY, _NOTHING, empty).code == "CATEGORY_NOT_FOUND"


@pytest.mark.parametrize("name", ["inventory.part_make", "inventory.item_make", "inventory.item_change"])
def test_what_comes_into_a_category_that_goes_meanwhile_is_refused_in_words(store: Store, name: str) -> None:
    """The foreign key would say it as well, which nobody asked: 500."""
    empty = UUID(store.run(MAKE_CATEGORY, NewCategory(name="Boats")).body["data"]["id"])
    command, asked, target = {
        "inventory.part_make": (MAKE_PART, NewStockPart(name="Oar", category_id=empty), None),
        "inventory.item_make": (MAKE_ITEM, NewItem(serial_number="RM-0101", category_id=empty), None),
        "inventory.item_change": (CHANGE_ITEM, ItemChange(category_id=empty), store.item()),
    }[name]
    with ThreadPoolExecutor(1) as pool:
        with store.db.begin() as connection:
            executor.execute(connection, DROP_CATEGORY, store.ask(_NOTHING, target=str(empty)))
            waits = pool.submit(store.refused, command, asked, target)
            until(lambda: store.rows(_WAITS) == [(1,)], "somebody waits")
        assert waits.result().code == "INVALID_REQUEST"


def test_a_part_out_of_use_stays_in_repairs_and_comes_back(store: Store) -> None:
    order = store.repair()
    part_id = store.part_ids[0]
    assert store.run(RETIRE_PART, _NOTHING, part_id).body["data"]["is_active"] is False
    assert store.rows("SELECT part_id FROM repair_parts WHERE order_id = :id", id=order.order_id) == [(part_id,)]
    assert store.run(CHANGE_PART, PartChange(is_active=True), part_id).body["data"]["is_active"] is True


def test_an_unknown_category_is_refused(store: Store) -> None:
    item_id = store.item()
    theirs = Store.of(store.db).category_id
    for category_id in (uuid4(), theirs):
        for command, asked, target in (
            (MAKE_ITEM, NewItem(serial_number="RM-0101", category_id=category_id), None),
            (CHANGE_ITEM, ItemChange(category_id=category_id), item_id),
            (MAKE_PART, NewStockPart(name="Oar", category_id=category_id), None),
        ):
            assert store.refused(command, asked, target).code == "INVALID_REQUEST"


_ARGUMENTS: dict[str, Any] = {
    "inventory.item_make": NewItem(serial_number="RM-0101"),
    "inventory.item_change": ItemChange(name="x"),
    "inventory.category_make": NewCategory(name="x"),
    "inventory.category_name": NewCategory(name="x"),
    "inventory.part_make": NewStockPart(name="x", category_id=UUID(int=1)),
    "inventory.part_change": PartChange(name="x"),
}


def test_the_inventory_is_kept_by_those_who_may_and_reach_all_of_it(store: Store) -> None:
    narrow = replace(store.people["ops_manager"], scope=Scope(site_ids=frozenset({store.site_id})))
    theirs = Store.of(store.db)
    ids = {"item": theirs.item(), "category": theirs.category_id, "part": theirs.part_ids[0]}
    ours = {"item": store.item(), "category": store.category_id, "part": store.part_ids[0]}
    for command in COMMANDS:
        kind = command.name.removeprefix("inventory.").partition("_")[0]
        asked, is_new = _ARGUMENTS.get(command.name, _NOTHING), command.name.endswith("_make")
        target = None if is_new else ours[kind]
        assert store.refused(command, asked, target, by="master").code == "FORBIDDEN"
        assert store.refused(command, asked, target, by=narrow).code == "FORBIDDEN"
        if not is_new:
            for name in (ids[kind], uuid4(), "nothing"):
                assert store.refused(command, asked, name).code.endswith("_NOT_FOUND")


@pytest.mark.parametrize(
    ("model", "wrong"),
    [
        *((NewItem, {"serial_number": "BIKE1"}), (NewItem, {"serial_number": "RM-0101", "status": "lost"})),
        *((NewItem, {"serial_number": "RM-0101", "colour": "red"}), (NewItem, {})),
        *(
            (ItemChange, {}),
            (ItemChange, {"name": None}),
            (ItemChange, {"name": " "}),
            (ItemChange, {"state": "ready"}),
        ),
        *((ItemChange, {"serial_number": "x"}), (NewCategory, {"name": ""}), (NewCategory, {"name": "a\nb"})),
        *(
            (NewStockPart, {"name": "x"}),
            (PartChange, {}),
            (PartChange, {"is_active": "yes"}),
            (PartChange, {"name": None}),
        ),
    ],
)
def test_what_is_asked_for_is_checked_whole(model: type[Any], wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        model(**wrong)


def test_every_command_is_a_row_of_the_table() -> None:
    assert all(isinstance(one, Command) for one in COMMANDS)
    assert len({one.name for one in COMMANDS}) == len(COMMANDS) == 10
