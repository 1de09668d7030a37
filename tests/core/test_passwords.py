"""What may be a password, what somebody signs in by, and what the app shows whom."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.enums import NoticeKind
from models.permissions import BUILT_IN, Permission
from pipeline.core import contacts, navigation, notices, passwords

_ANN = ("ann.archer@example.org", "+4930123456", "Ann Archer")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("x7#Kq9!vB2", "at least 12"),
        ("correct horse battery staple " * 5, "at most 128"),
        ("password1234", "easy to guess"),
        ("aaaaaaaaaaaaaaaaaaaa", "easy to guess"),
        ("ann.archer@example.org", "what you sign in by"),
        ("ANN.ARCHER@EXAMPLE.ORG", "what you sign in by"),
        ("archer example ann", "leave out your name"),
        ("velvet\tcomet harbour", "control"),
    ],
)
def test_a_weak_password_is_refused_in_words(said: str, why: str) -> None:
    assert why in (passwords.problem(said, _ANN) or "")


@pytest.mark.parametrize(
    "said", ["velvet comet harbour 88", "Zwölf Boxkämpfer jagen", "r4Nd0m-qX!v-92pL", "滑稽な猫が屋根で踊っている朝"]
)
def test_a_long_one_of_any_script_is_good(said: str) -> None:
    assert passwords.problem(said, _ANN) is None


@given(st.text(max_size=200))
def test_no_text_breaks_the_judgement(said: str) -> None:
    found = passwords.problem(said, _ANN)
    assert found is None or found
    if not passwords.SHORTEST <= len(passwords.prepared(said)) <= passwords.LONGEST:
        assert found


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("Ann@Example.ORG ", "ann@example.org"),
        ("+49 (30) 123-456", "+4930123456"),
        ("0049 30/123.456", "+4930123456"),
        ("030 123456", None),
        ("+0 30 123456", None),
        ("ann", None),
        ("a@b@c", None),
        ("ann@exa mple.org", None),
        ("@example.org", None),
        ("+4930123456789012", None),
    ],
)
def test_an_identifier_has_one_form(said: str, found: str | None) -> None:
    assert contacts.identifier(said) == found


@given(st.text(max_size=60))
def test_an_identifier_read_again_is_the_same(said: str) -> None:
    found = contacts.identifier(said)
    assert found is None or contacts.identifier(found) == found


def test_everybody_has_at_most_five_places_and_none_that_is_refused() -> None:
    for role in BUILT_IN:
        found = navigation.slots(role.permissions)
        assert (found[0].key, found[-2].key, found[-1].key) == ("dashboard", "notifications", "profile")
        assert 3 <= len(found) <= navigation.SLOTS
        if Permission.WORK_ORDERS_READ not in role.permissions:
            assert "work_orders" not in {slot.key for slot in found}
    (technician,) = [role for role in BUILT_IN if role.code == "technician"]
    assert [slot.screen for slot in navigation.slots(technician.permissions)][:2] == ["TECH-DASH", "TECH-WO-TODAY"]


def test_a_notice_leads_to_the_console_or_holds_the_code() -> None:
    with_link = notices.reset_words("https://desk.example.org/", "tok")
    assert "https://desk.example.org/reset-password#token=tok" in with_link.body
    assert "\ntok\n" in notices.reset_words(None, "tok").body
    assert "tok" not in notices.invitation_words("https://desk.example.org", "Acme", None).body
    assert set(notices.VALID) == set(NoticeKind)
