"""Intakes: equal ones have equal signatures, and what is unsure is held up in contract 000's order."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.enums import DispatchPriority, DispatchState
from pipeline.core import intakes
from pipeline.core.field_work import MINUTES
from pipeline.core.intakes import IntakePolicy, Sureness, Told
from pipeline.core.policies import OrganizationPolicy

TOLD = Told(UUID(int=1), UUID(int=2), "Door stuck", "DOOR_WONT_LATCH", "Ann Lee", "15551234567", "ann@x.example")
POLICY = IntakePolicy()
SURE = Sureness(85, 85, is_sop_required=True, is_sop_acknowledged=True)


def test_letter_case_and_space_at_the_ends_make_no_other_matter() -> None:
    same = replace(TOLD, summary="  door STUCK ", incident_type="door_wont_latch ", customer_name=" ANN lee")
    assert intakes.signature(same) == intakes.signature(TOLD)
    assert len(intakes.signature(TOLD)) == 64


@pytest.mark.parametrize(
    "change",
    [
        {"account_id": UUID(int=9)},
        {"site_id": UUID(int=9)},
        {"summary": "door  stuck"},
        {"incident_type": "OTHER"},
        {"customer_name": "Ann"},
        {"phone": None},
        {"email": "bo@x.example"},
        {"phone": "ann@x.example", "email": "15551234567"},
    ],
    ids=str,
)
def test_anything_else_does(change: dict[str, object]) -> None:
    assert intakes.signature(replace(TOLD, **change)) != intakes.signature(TOLD)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "digits"),
    [
        ("+1 (555) 123-4567", "15551234567"),
        ("1.555.123.4567", "15551234567"),
        ("123456", None),
        ("1234567", "1234567"),
        ("1" * 16, "1" * 16),
        ("1" * 17, None),
        ("call me", None),
        ("٣٤٥٦٧٨٩", None),
    ],
)
def test_a_phone_number_is_its_7_to_16_digits(said: str, digits: str | None) -> None:
    assert intakes.phone_digits(said) == digits


@pytest.mark.parametrize(
    ("said", "email"),
    [(" Ann@X.Example ", "ann@x.example"), ("ann", None), ("a b@x.example", None), ("a@b@c", None), ("@", None)],
)
def test_an_address_has_an_at_sign_and_no_space(said: str, email: str | None) -> None:
    assert intakes.plain_email(said) == email


@pytest.mark.parametrize(
    ("sure", "code"),
    [
        (SURE, None),
        (replace(SURE, identity=84, classification=0, is_sop_acknowledged=False), "LOW_IDENTITY_CONFIDENCE"),
        (replace(SURE, classification=84, is_sop_acknowledged=False), "LOW_CLASSIFICATION_CONFIDENCE"),
        (replace(SURE, is_sop_acknowledged=False), "SOP_HANDOFF_REQUIRED"),
        (Sureness(None, None, is_sop_required=False, is_sop_acknowledged=False), None),
    ],
)
def test_what_is_unsure_is_said_in_the_order_of_the_contract(sure: Sureness, code: str | None) -> None:
    found = intakes.unsure(sure, POLICY)
    assert (found and found.code) == code
    assert intakes.state_of(sure, POLICY) == (DispatchState.TRIAGED if code else DispatchState.READY_TO_SCHEDULE)


@given(
    st.builds(Sureness, st.none() | st.integers(0, 100), st.none() | st.integers(0, 100), st.booleans(), st.booleans()),
    st.integers(0, 100),
)
def test_more_sureness_never_holds_up_what_went_on(sure: Sureness, more: int) -> None:
    raised = replace(sure, identity=None if sure.identity is None else max(sure.identity, more))
    if intakes.unsure(sure, POLICY) is None:
        assert intakes.unsure(raised, POLICY) is None


@given(st.integers(1, 200))
def test_a_cases_hours_are_kept_by_the_slowest_priority_that_keeps_them(hours: int) -> None:
    found = intakes.priority_of(hours)
    assert MINUTES[found] <= timedelta(hours=hours)
    slower = [one for one in DispatchPriority if MINUTES[one] > MINUTES[found]]
    assert all(MINUTES[one] > timedelta(hours=hours) for one in slower)


@pytest.mark.parametrize(
    "stored",
    [{"min_identity_confidence": 101}, {"min_classification_confidence": -1}, {"duplicate_intake_minutes": 0}],
    ids=str,
)
def test_a_policy_out_of_range_is_refused(stored: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(stored))} must be between"):
        OrganizationPolicy.read(stored)
