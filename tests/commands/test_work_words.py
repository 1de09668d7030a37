"""What people write about work: no control characters, which would act in a terminal or a log that shows them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from pipeline.command import Command
from pipeline.table import COMMANDS

_ESCAPE = "a\x1b[2Jb"
#: Of step 7: everything that is done to orders, repairs and what belongs to them.
#: What our own code says after a file was judged, and a serial number that is only looked for: nothing of these is kept
#: as it was said.
_NOT_KEPT = {"work_order.add_photo", "work_order.begin_upload"}, {"serial_number"}
_OURS = ("work_order.", "workshop.", "inventory.", "xp.", "levels.", "rules.", "attendance.")


def _texts(model: type[BaseModel]) -> list[str]:
    """Return the names of the fields that take free text."""
    schema = model.model_json_schema()
    found = []
    for name, said in schema.get("properties", {}).items():
        kinds = [said, *said.get("anyOf", ())]
        if any(one.get("type") == "string" and "format" not in one and "enum" not in one for one in kinds):
            found.append(name)
    return found


@pytest.mark.parametrize(
    "command", [one for one in COMMANDS.values() if one.name.startswith(_OURS)], ids=lambda one: one.name
)
def test_no_text_of_a_command_takes_a_control_character(command: Command[Any, Any]) -> None:
    for name in _texts(command.arguments):
        if command.name in _NOT_KEPT[0] or name in _NOT_KEPT[1]:
            continue
        with pytest.raises(ValidationError) as caught:
            command.arguments.model_validate({name: _ESCAPE})
        assert name in {str(error["loc"][0]) for error in caught.value.errors()}, name
