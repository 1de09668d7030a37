"""Assets out of CSV files: what is read, and what is told of each wrong line."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core import asset_files
from pipeline.core.asset_files import AssetRow, first_of, read_assets


def told(text: str) -> list[str]:
    return first_of(read_assets(text.splitlines(keepends=True)).problems)


def test_rows_are_read_by_the_columns_that_the_heading_names():
    found = read_assets(
        ["\ufeffTag,name , aliases,lat\n", "\n", 'A-1,"Gate, north","big gate; gate; gate",1.5\n', "A-2,,,\n"]
    )
    assert found.problems == []
    assert found.columns == {"tag", "name", "aliases", "lat"}
    assert found.rows == [
        AssetRow(3, "A-1", "Gate, north", ("big gate", "gate"), lat=1.5),
        AssetRow(4, "A-2"),
    ]


def test_every_wrong_line_is_told_and_then_no_row_is_given():
    text = "tag,name,lat\nA-1,x,1\n,y,1\nA-2,y\na_1,z,2\nA-3,b\x07,0\nA-4,y,north\nA-5,y,91\nA-6,y,nan\n"
    assert told(text) == [
        "line 3: has no tag",
        "line 4: has 2 cells where the heading has 3",
        "line 5: tells of a_1 again, which line 2 does",
        "line 6: name holds a control character",
        "line 7: lat is a number from -90 to 90, not 'north'",
        "line 8: lat is a number from -90 to 90, not '91'",
        "line 9: lat is a number from -90 to 90, not 'nan'",
    ]
    assert read_assets(text.splitlines(keepends=True)).rows == ()


def test_a_wrong_heading_is_told():
    assert told("name\nx\n") == [
        "line 1: names no column tag; the columns are tag, name, aliases, kind, zone, lat, lon, site"
    ]
    assert told("tag,colour\n")[0].startswith("line 1: names a column 'colour'")
    assert told("tag,tag\n") == ["line 1: names a column twice"]
    assert told("")[0].startswith("line 1: names no column tag")


def test_what_is_no_csv_is_told():
    assert told('tag\n"A-1" x\n')[0].startswith("line 2: is no CSV")


def test_a_file_has_a_most_of_rows_and_long_tales_are_cut(monkeypatch):
    monkeypatch.setattr(asset_files, "MOST_ROWS", 3)
    assert told("tag\n" + "".join(f"A-{n}\n" for n in range(4))) == [
        "line 5: is one too many: a file has at most 3 assets; split it"
    ]
    monkeypatch.setattr(asset_files, "MOST_ROWS", 100)
    assert told("tag,name\n" + ",x\n" * 25)[-1] == "and 5 more"


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=300))
def test_any_text_is_read_without_an_error(text):
    read_assets(text.splitlines(keepends=True))
    read_assets(f"tag,name,lat\n{text}".splitlines(keepends=True))
