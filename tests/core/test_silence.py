"""Silence: mail that was found and never announced, for a quarter of an hour; nothing else."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pipeline.core.silence import PATIENCE, SLACK, Heard, Judgement, judge
from tests.factories import NOON

MINUTE, SECOND = timedelta(minutes=1), timedelta(seconds=1)
YESTERDAY = NOON - timedelta(days=1)
QUIET = Heard(renewed_at=YESTERDAY, pushed_at=None, unannounced_since=None)


def _reads(heard: Heard, *, found_new: bool = True, previous_at=NOON - 5 * MINUTE) -> Judgement:
    return judge(heard, found_new=found_new, previous_at=previous_at, now=NOON)


def test_mail_that_nobody_announced_since_the_previous_reading_is_noted_now():
    assert _reads(QUIET) == Judgement(NOON, is_silent=False)
    assert _reads(Heard(YESTERDAY, NOON - 30 * MINUTE, None)) == Judgement(NOON, is_silent=False)


def test_mail_that_was_announced_since_the_previous_reading_is_not():
    assert _reads(Heard(YESTERDAY, NOON - 2 * MINUTE, None)) == Judgement(None, is_silent=False)


def test_a_reading_without_new_mail_notes_nothing():
    assert _reads(QUIET, found_new=False) == Judgement(None, is_silent=False)


@pytest.mark.parametrize(("before", "is_noted"), [(SLACK - SECOND, False), (SLACK, False), (SLACK + SECOND, True)])
def test_an_announcement_just_before_the_previous_reading_may_have_been_for_this_mail(
    before: timedelta, is_noted: bool
):
    heard = Heard(YESTERDAY, NOON - 5 * MINUTE - before, None)
    assert (_reads(heard).unannounced_since is not None) is is_noted


def test_mail_older_than_the_watch_could_not_be_announced():
    assert _reads(Heard(NOON - MINUTE, None, None)) == Judgement(None, is_silent=False)
    assert _reads(Heard(None, None, None)) == Judgement(None, is_silent=False)
    assert _reads(QUIET, previous_at=None) == Judgement(None, is_silent=False)


@pytest.mark.parametrize("found_new", [True, False])
@pytest.mark.parametrize(("since", "is_silent"), [(PATIENCE - SECOND, False), (PATIENCE, True), (5 * PATIENCE, True)])
def test_after_a_quarter_of_an_hour_without_an_announcement_the_watch_is_silent(
    since: timedelta, is_silent: bool, found_new: bool
):
    heard = Heard(YESTERDAY, None, NOON - since)
    assert _reads(heard, found_new=found_new) == Judgement(NOON - since, is_silent)
