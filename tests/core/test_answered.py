"""Whom an automatic answer counts for: the person under whatever address, the person's domain, everybody."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.answered import Answered, Had, Tally, person_of


@pytest.mark.parametrize(
    ("address", "person"),
    [
        ("ann@customer.example", "ann@customer.example"),
        ("ann+7@customer.example", "ann@customer.example"),
        ("ann+7+8@customer.example", "ann@customer.example"),
        ("+7@customer.example", "+7@customer.example"),
        ("auto@müller.example", "auto@xn--mller-kva.example"),
        ("auto@xn--mller-kva.example", "auto@xn--mller-kva.example"),
        ("root@localhost", "root@localhost"),
        ("root", "root"),
        ("", ""),
    ],
)
def test_a_person_is_the_address_in_ascii_without_its_tag(address: str, person: str) -> None:
    assert person_of(address) == person


def test_a_desk_that_writes_from_a_new_address_each_time_is_one_sender() -> None:
    tally = Tally(Answered(f"case+{number}@desk.example", 1, 2) for number in range(4))
    tally.add("other@desk.example")
    assert tally.had("case+99@desk.example") == Had(4, 8, 5, 9, 5)


def test_strangers_with_the_same_provider_are_not_one_sender() -> None:
    tally = Tally([Answered("ann@gmail.com", 3, 4)])
    assert tally.had("bob@gmail.com") == Had(all_in_hour=3)
    assert tally.had("ann@gmail.com") == Had(3, 4, 0, 0, 3)


@given(st.lists(st.sampled_from(["a@x.example", "a+1@x.example", "b@x.example", "ä@x.example", "c@gmail.com", "d"])))
def test_counting_on_is_the_same_as_counting_what_is_stored(addresses: list[str]) -> None:
    counted, stored = Tally(), Tally(Answered(one, 1, 1) for one in addresses)
    for one in addresses:
        counted.add(one)
    for one in addresses:
        assert counted.had(one) == stored.had(one)
        assert counted.had(one).all_in_hour == len(addresses)
