"""`fieldpost parse`: one JSON object per file, in order, and an error in the place of one that cannot be read."""

from __future__ import annotations

import json
from pathlib import Path

from tests.adapters.mail import letter
from tests.cli.conftest import Command

_FIELDS = [
    "file", "subject", "from", "to", "cc", "reply_to", "date", "message_id", "in_reply_to", "references", "list_id",
    "reported", "delivery", "text", "fresh", "forwarded_from", "html", "attachments", "recipient", "flags",
]  # fmt: skip


def test_each_file_gives_one_object_in_order(fieldpost: Command, tmp_path: Path) -> None:
    files = [tmp_path / "b.eml", tmp_path / "a.eml"]
    for number, path in enumerate(files):
        path.write_bytes(letter(number))
    result = fieldpost("parse", *files, "--json")
    found = [json.loads(line) for line in result.out.splitlines()]
    assert result.code == 0
    assert [list(one) for one in found] == [_FIELDS, _FIELDS]
    assert [one["file"] for one in found] == [str(path) for path in files]
    assert [one["subject"] for one in found] == ["number 0", "number 1"]


def test_a_file_that_cannot_be_read_has_an_error_and_the_others_go_on(fieldpost: Command, tmp_path: Path) -> None:
    good, empty = tmp_path / "good.eml", tmp_path / "empty.eml"
    good.write_bytes(letter(1))
    empty.write_bytes(b"\n")
    result = fieldpost("parse", tmp_path / "missing.eml", empty, tmp_path, good, "--json")
    found = [json.loads(line) for line in result.out.splitlines()]
    assert result.code == 1
    assert [sorted(one) for one in found[:3]] == [["error", "file"]] * 3
    assert found[3]["message_id"] == "<1@example.org>"


def test_a_name_that_is_no_utf8_does_not_break_the_json(fieldpost: Command, tmp_path: Path) -> None:
    path = tmp_path / "caf\udce9.eml"
    path.write_bytes(letter(1))
    assert fieldpost("parse", path, "--json").json["subject"] == "number 1"


def test_people_get_names_and_values(fieldpost: Command, tmp_path: Path) -> None:
    path = tmp_path / "a.eml"
    path.write_bytes(letter(7, "The [bold] pump leaks.\n"))
    result = fieldpost("parse", path)
    assert result.code == 0
    assert "number 7" in result.out
    assert "The [bold] pump leaks." in result.out
