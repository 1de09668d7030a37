"""Ids and times are written in one way."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from pipeline.core.written import plain, read_id

AN_ID = UUID("0198c0de-0000-7000-8000-000000000001")


def test_a_time_of_any_zone_is_written_in_utc_with_a_z() -> None:
    assert plain(datetime(2026, 7, 1, 12, 30, tzinfo=ZoneInfo("Europe/Berlin"))) == "2026-07-01T10:30:00Z"


def test_ids_are_written_as_text_and_nothing_stays_nothing() -> None:
    assert plain(AN_ID) == "0198c0de-0000-7000-8000-000000000001"
    assert plain(None) is None


@pytest.mark.parametrize(
    ("said", "found"), [(str(AN_ID), AN_ID), (str(AN_ID).upper(), AN_ID), ("tkt-1234", None), ("", None)]
)
def test_an_id_is_read_from_any_form_of_it_and_from_nothing_else(said: str, found: UUID | None) -> None:
    assert read_id(said) == found
