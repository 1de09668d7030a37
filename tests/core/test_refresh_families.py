"""Families of refresh tokens against a model that knows only who holds what: any order of uses, any time between."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.refresh_families import (
    FAMILY_LIFETIME,
    GRACE,
    TOKEN_LIFETIME,
    Family,
    Step,
    Token,
    step,
    token_expiry,
)

_BEGAN = datetime(2030, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
#: Which token of those given out is presented, counted from the newest, and how long after the last time.
_USES = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.one_of(
            st.integers(0, 15).map(lambda n: n * _SECOND),
            st.sampled_from([GRACE, GRACE + _SECOND, TOKEN_LIFETIME - _SECOND, TOKEN_LIFETIME, FAMILY_LIFETIME]),
        ),
    ),
    max_size=40,
)


@dataclass
class Bank:
    """A family as the database keeps it; each token's successor is the one after it."""

    tokens: list[Token]
    family: Family

    def present(self, index: int, now: datetime) -> Step:
        successor = self.tokens[index + 1] if index + 1 < len(self.tokens) else None
        is_successor_used = successor is not None and successor.used_at is not None
        taken = step(replace(self.tokens[index], is_successor_used=is_successor_used), self.family, now)
        if taken is Step.ROTATE:
            self.tokens[index] = replace(self.tokens[index], used_at=now)
            self.tokens.append(Token(token_expiry(self.family.expires_at, now)))
        if taken is Step.END:
            self.family = replace(self.family, ended_at=now)
        return taken


def _bank() -> Bank:
    family = Family(_BEGAN + FAMILY_LIFETIME)
    return Bank([Token(token_expiry(family.expires_at, _BEGAN))], family)


@given(_USES)
def test_at_any_time_one_token_at_most_is_good_and_it_is_the_newest(uses) -> None:
    bank, now = _bank(), _BEGAN
    for back, pause in uses:
        now += pause
        index = max(len(bank.tokens) - 1 - back, 0)
        was_over = bank.family.ended_at is not None
        taken = bank.present(index, now)
        if was_over or now >= bank.family.expires_at:
            assert taken is Step.REFUSE
        unused = [token for token in bank.tokens if token.used_at is None]
        assert unused == bank.tokens[-1:]
        assert unused[0].expires_at <= _BEGAN + FAMILY_LIFETIME


@given(_USES, st.integers(2, 4), st.timedeltas(timedelta(0), timedelta(days=29)))
def test_a_token_whose_successor_was_used_ends_the_family_for_good(uses, depth: int, pause: timedelta) -> None:
    bank, now = _bank(), _BEGAN
    for number in range(depth):
        assert bank.present(number, now) is Step.ROTATE
    now += pause
    assert bank.present(depth - 2, now) is Step.END
    for back, wait in uses:
        now += wait
        assert bank.present(max(len(bank.tokens) - 1 - back, 0), now) is Step.REFUSE


@given(st.integers(0, 20_000), st.integers(1, 5))
def test_a_lost_reply_is_given_again_for_ten_seconds_and_no_longer(milliseconds: int, times: int) -> None:
    bank = _bank()
    assert bank.present(0, _BEGAN) is Step.ROTATE
    now = _BEGAN + timedelta(milliseconds=milliseconds)
    found = [bank.present(0, now) for _ in range(times)]
    assert len(bank.tokens) == 2
    if now - _BEGAN <= GRACE:
        assert found == [Step.REPEAT] * times
        assert bank.present(1, now) is Step.ROTATE
    else:
        assert found == [Step.END] + [Step.REFUSE] * (times - 1)


def test_a_token_lives_thirty_days_and_a_family_ninety() -> None:
    assert [one.days for one in (TOKEN_LIFETIME, FAMILY_LIFETIME)] == [30, 90]
    bank = _bank()
    assert bank.present(0, _BEGAN + TOKEN_LIFETIME) is Step.REFUSE
    now = _BEGAN
    for number in range(4):
        now = _BEGAN + number * timedelta(days=29, hours=23)
        assert bank.present(number, now) is Step.ROTATE
    assert bank.tokens[-1].expires_at == _BEGAN + FAMILY_LIFETIME
    assert bank.present(4, _BEGAN + FAMILY_LIFETIME) is Step.REFUSE
