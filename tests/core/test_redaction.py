"""What may stand in the audit trail, and that no canary gets there; and the one form of JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.canonical_json import canonical, sha256_of, sha256_of_body
from pipeline.core.redaction import HIDDEN, redacted

_CANARY = "canary-Zx81-q"
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=20,
)


class Colour(StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    "name",
    ["password", "newPassword", "passcode", "refresh_token", "accessToken", "client_secret", "Authorization",
     "cookie", "api_key", "access_code", "otp", "body_markdown", "body_text", "raw_content", "phone",
     "contact_phone", "mobile", "email", "identifier_email", "address1", "ssn", "dob", "birth_date",
     "full_name", "iban", "card"],
)  # fmt: skip
@pytest.mark.parametrize("value", [_CANARY, 4711, [_CANARY], {"to": _CANARY}])
def test_a_secret_name_hides_whatever_stands_under_it(name: str, value: object) -> None:
    found = json.dumps(redacted({name: value, "changes": {name: {"after": value}}}))
    assert _CANARY not in found
    assert "4711" not in found


@pytest.mark.parametrize(
    "said",
    ["ann@customer.example", "fpt_0123456789abcdef", "Bearer abc.def", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.sig",
     "+49 170 1234567", "(0512) 555 0199 22", "a1" * 30],
)  # fmt: skip
def test_a_secret_inside_of_text_that_is_kept_is_cut_out(said: str) -> None:
    found = redacted({"reason": f"she said {said} twice"})["reason"]
    assert said not in found
    assert found.startswith("she said ")
    assert found.endswith(" twice")


def test_text_under_a_name_that_nobody_allowed_is_hidden_and_ids_and_numbers_are_kept() -> None:
    ticket = UUID(int=7)
    given_ = {"remark": _CANARY, "ticket": ticket, "note_id": str(ticket), "length": 12, "is_new": True, "left": None}
    assert redacted(given_) == {
        "remark": HIDDEN, "ticket": str(ticket), "note_id": str(ticket), "length": 12, "is_new": True, "left": None,
    }  # fmt: skip


def test_what_changed_is_kept_as_words() -> None:
    at = datetime(2026, 3, 2, tzinfo=UTC)
    changes = {"status": {"before": "new", "after": Colour.RED}, "tags": ["a", "b"], "closed_at": at, "n": 0.5}
    assert redacted({"changes": changes}) == {
        "changes": {"status": {"before": "new", "after": "red"}, "tags": ["a", "b"], "closed_at": at.isoformat(),
                    "n": "0.5"}
    }  # fmt: skip
    assert redacted({"wait": timedelta(hours=1), "odd": object(), "big": 2**70, "set": {3, 1}}) == {
        "wait": "1:00:00", "odd": HIDDEN, "big": str(2**70), "set": [1, 3],
    }  # fmt: skip


@given(st.dictionaries(st.text(max_size=20), _JSON, max_size=6))
def test_what_is_kept_is_bounded_and_comes_back_from_json_as_it_was(details: dict[str, object]) -> None:
    found = redacted(details)
    assert json.loads(canonical(found)) == found
    assert "\x00" not in canonical(found).decode("utf-8")


def test_depth_and_sizes_are_bounded() -> None:
    deep: dict[str, object] = {"status": "end"}
    for _ in range(50):
        deep = {"changes": deep}
    many = {"tags": ["x" * 1000] * 1000, "changes": {f"state{n}_id": n for n in range(1000)}}
    assert len(canonical(redacted(deep))) < 200
    assert len(canonical(redacted(many))) < 70_000


@given(_JSON)
def test_equal_values_have_equal_bytes_whatever_order_they_were_written_in(value: object) -> None:
    def turned(found: object) -> object:
        if isinstance(found, dict):
            return {name: turned(found[name]) for name in reversed(list(found))}
        return [turned(one) for one in found] if isinstance(found, list) else found

    assert canonical(turned(value)) == canonical(value)
    assert json.loads(canonical(value).decode("utf-8", "surrogatepass")) == value


def test_a_body_is_hashed_by_what_it_says_and_one_that_is_no_json_by_its_bytes() -> None:
    assert sha256_of_body(b'{"a": 1, "b": [2]}') == sha256_of_body(b'{ "b":[2],"a":1}') == sha256_of({"a": 1, "b": [2]})
    assert sha256_of_body(b"") == sha256_of_body(b"{}") == sha256_of_body(b" { } ")
    assert len({sha256_of_body(body) for body in (b"{", b"}", b"NaN", b"[" * 100_000, b'{"a":1}', b'{"a":2}')}) == 6
