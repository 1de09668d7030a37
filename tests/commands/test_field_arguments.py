"""Times in bodies of contract 000 are text with a time zone, wherever they stand."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from pipeline.commands.assignment_arguments import Recommendation
from pipeline.commands.billing_arguments import InvoiceWish, NewTime
from pipeline.commands.closing import Check
from pipeline.commands.schedule_arguments import Confirmation, HoldBody
from pipeline.commands.visits import CheckIn

A, B = "2026-03-02T09:00:00Z", "2026-03-02T10:00:00+01:00"
WINDOW = {"start": A, "end": "2026-03-02T11:00:00Z"}


@pytest.mark.parametrize(
    ("form", "said", "place"),
    [
        (Recommendation, {"window": WINDOW}, ("window", "start")),
        (Confirmation, WINDOW, ("start",)),
        (HoldBody, {"hold_reason": "CUSTOMER_PENDING", "confirmation_window": WINDOW}, ("confirmation_window", "end")),
        (CheckIn, {"timestamp": A}, ("timestamp",)),
        (Check, {"timestamp": B, "result": "pass"}, ("timestamp",)),
        (NewTime, {"kind": "travel", "began_at": A, "ended_at": WINDOW["end"]}, ("ended_at",)),
        (InvoiceWish, {"issued_on": "2026-03-02"}, ("issued_on",)),
    ],
)
@pytest.mark.parametrize("wrong", [1, 1772442000, 1.5, True])
def test_a_number_is_no_time(
    form: type[BaseModel], said: dict[str, Any], place: tuple[str, ...], wrong: object
) -> None:
    form.model_validate(said)
    inner = said if len(place) == 1 else said[place[0]]
    changed = {**inner, place[-1]: wrong}
    with pytest.raises(ValidationError, match="write it as text"):
        form.model_validate(changed if len(place) == 1 else {**said, place[0]: changed})


@pytest.mark.parametrize(
    ("start", "end"), [("0001-01-01T00:00:00Z", "0001-01-01T01:00:00Z"), (A, A), (A, "2026-03-04T09:00:00Z")]
)
def test_a_window_that_nobody_can_be_sent_in_is_not_tried(start: str, end: str) -> None:
    with pytest.raises(ValidationError):
        Recommendation.model_validate({"window": {"start": start, "end": end}})
