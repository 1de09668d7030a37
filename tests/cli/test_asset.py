"""The registry by hand: entered, changed, imported; and patterns; and learning states from a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.runtime.db import Database
from pipeline.runtime.settings import Settings
from tests.cli.conftest import Command
from tests.stages.world import World


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


def test_assets_and_patterns_are_entered_changed_and_listed(fieldpost: Command, served: Settings, world: World):
    made = fieldpost("asset", "add", "AUS_0123", "--name", "South lot", "--alias", "bakery", "--json").json
    assert (made["tag"], made["aliases"]) == ("AUS_0123", ["bakery"])
    assert fieldpost("asset", "change", "AUS_0123", "--kind", "charger", "--zone", "").code == 0
    assert "charger" in fieldpost("asset", "list", "--q", "south").out
    assert fieldpost("asset", "add", "aus-0123").err.startswith("fieldpost: aus-0123 is another spelling of AUS_0123")
    assert fieldpost("asset", "change", "X", "--name", "y").code == 2
    pattern = fieldpost("asset", "pattern", "add", r"pole (\d+)", r"AUS_\1", "--json").json
    assert fieldpost("asset", "pattern", "change", pattern["id"], "--off").code == 0
    assert "off" in fieldpost("asset", "pattern", "list").out
    assert "cannot be compiled" in fieldpost("asset", "pattern", "add", "(", "x").err


def test_an_import_writes_all_or_nothing_and_again_changes_nothing(
    fieldpost: Command, served: Settings, world: World, tmp_path: Path
):
    file = tmp_path / "assets.csv"
    file.write_text("tag,name,aliases\nA-1,Gate,big gate;gate one\nA-2,Door,\n")
    for expected in ({"added": 2, "changed": 0, "unchanged": 0}, {"added": 0, "changed": 0, "unchanged": 2}):
        assert fieldpost("asset", "import", file, "--json").json == expected
    fieldpost("asset", "change", "A-2", "--kind", "door")
    file.write_text("tag,name\nA-2,Back door\nA-3,Lift\n")
    assert fieldpost("asset", "import", file, "--json").json == {"added": 1, "changed": 1, "unchanged": 0}
    rows = {one.tag: one for one in world.rows("SELECT * FROM assets")}
    assert (rows["A-2"].name, rows["A-2"].kind, rows["A-2"].slug) == ("Back door", "door", "a_2")
    assert (rows["A-1"].aliases, rows["A-3"].slug) == (["big gate", "gate one"], "a_3")
    file.write_text("tag,site\nA-4,\na_1,\nA-5,Nowhere\n")
    refused = fieldpost("asset", "import", file)
    assert refused.code == 2
    assert "line 3: 'a_1' is another spelling of 'A-1', which is there" in refused.err
    assert "line 4: your organization has no site 'Nowhere'" in refused.err
    file.write_text("tag,lat\nA-4,x\n")
    refused = fieldpost("asset", "import", file)
    assert (refused.code, "line 2: lat is a number" in refused.err) == (2, True)
    assert world.value("SELECT count(*) FROM assets") == 3
