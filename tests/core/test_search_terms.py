"""Questions, read into what the database compares."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.search_terms import BadQuery, address_terms, read


@pytest.mark.parametrize(
    ("question", "text", "exact"),
    [
        ("charger broken", "((('charger') & ('broken')))", ""),
        ('"does not start" -refund', "((('does' <-> 'not' <-> 'start') & !('refund')))", ""),
        ("a or b c", "((('a')) | (('b') & ('c')))", ""),
        ("OR", None, None),
        ("Müller", "((('muller')))", ""),
        ("AUS-01*", "((('aus' <-> '01':*)))", ""),
        ("x*", "((('x')))", ""),
        ("subject:broken charger", "((('charger'))) & ('broken':A)", ""),
        ("-subject:broken charger", "((('charger'))) & !('broken':A)", ""),
        ("from:Ann@Customer.example", "", "('f:ann@customer.example')"),
        ("from:@customer.example", "", "('f:customer' & 'f:example')"),
        ('to:"Ann Lee" has:attachment', "", "('t:ann' & 't:lee') & ('has:attachment')"),
        ("from:ann* x", "((('x')))", "('f:ann':*)"),
        ("-from:bob hi", "((('hi')))", "!('f:bob')"),
        ("from:ann -refund", "((!('refund')))", "('f:ann')"),
        ("from:o'brien", "", "('f:o' & 'f:brien')"),
        ("re: hello http://x.example", "((('re') & ('hello') & ('http' <-> 'x' <-> 'example')))", ""),
        ('"left open', "((('left' <-> 'open')))", ""),
        ("-", None, None),
        ("-refund", None, None),
        ("charger or -refund", None, None),
        ("from:", None, None),
        ("from: ann", None, None),
        ("has:luck", None, None),
        ("before:tomorrow x", None, None),
        ("after:2026-01-01", None, None),
        ("", None, None),
        ("... !!!", None, None),
        ("x" * 501, None, None),
        ("a " * 65, None, None),
    ],
)
def test_a_question_is_read_or_refused_in_words(question: str, text: str | None, exact: str | None) -> None:
    if text is None:
        with pytest.raises(BadQuery):
            read(question)
    else:
        found = read(question)
        assert (found.text, found.exact) == (text, exact)


def test_days_bound_the_whole() -> None:
    found = read("after:2026-01-01 before:2026-03-31 charger")
    assert (found.after, found.before) == (date(2026, 1, 1), date(2026, 3, 31))


def test_a_day_given_twice_is_refused() -> None:
    with pytest.raises(BadQuery, match="once"):
        read("x after:2026-01-01 after:2026-02-01")


def test_a_hit_is_shown_by_what_was_asked_for_and_not_by_what_was_excluded() -> None:
    assert read('one "two three" -four subject:five six*').words == ("one", "two", "three", "five", "six*")


def test_a_person_is_found_by_each_word_and_by_the_whole_address() -> None:
    found = address_terms("f:", "Ann.Lee@customer.example", "Ann Lee, ACME")
    assert set(found) == {"f:ann", "f:lee", "f:customer", "f:example", "f:acme", "f:ann.lee@customer.example"}


@given(st.text(st.sampled_from("ab \"'\\-:*()|&!<>orfromsubject@.\x00é東")))
def test_no_question_breaks_the_reader(question: str) -> None:
    try:
        found = read(question)
    except BadQuery:
        return  # refused in words, as the cases above show
    assert found.text or found.exact
