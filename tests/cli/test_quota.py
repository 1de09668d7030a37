"""`fieldpost quota`: limits that hold, limits that are refused, and a project that is asked again."""

from __future__ import annotations

import json
from datetime import timedelta
from uuid import uuid4

from pipeline.runtime import budgets
from pipeline.runtime.budgets import Account
from pipeline.runtime.db import Database
from pipeline.runtime.errors import Reach
from pipeline.runtime.settings import Settings
from tests.cli.conftest import Command
from tests.factories import mailbox, organization, value


def test_a_project_has_the_limits_of_its_profile_except_those_that_were_set(
    fieldpost: Command, served: Settings, db: Database
) -> None:
    done = fieldpost("quota", "set", "acme", "--profile", "before_2026_05", "--concurrency", "6", "--json")
    assert done.code == 0
    (found,) = json.loads(done.out)
    assert (found["units_per_user_minute"], found["concurrency"], found["units_today"]) == (15_000, 6, 0)
    assert fieldpost("quota", "set", "acme", "--units-per-user-minute", "9000", "--concurrency", "0").code == 0
    (found,) = json.loads(fieldpost("quota", "list", "--json").out)
    assert (found["profile"], found["units_per_user_minute"], found["concurrency"]) == ("before_2026_05", 9_000, 4)
    assert found["changed_by"]


def test_a_limit_with_which_no_mail_could_be_fetched_is_refused(fieldpost: Command, served: Settings) -> None:
    done = fieldpost("quota", "set", "acme", "--units-per-user-minute", "50")
    assert done.code == 2
    assert "at least 1,000" in done.err
    assert fieldpost("quota", "set", "acme", "--concurrency", "11").code == 2


def test_projects_that_pay_for_mailboxes_are_listed_and_asked_again_when_set(
    fieldpost: Command, served: Settings, db: Database
) -> None:
    with db.begin() as connection:
        box = mailbox(connection, organization(connection))
        budgets.note_project(connection, box, "acme")
        budgets.take(connection, Account(box, "acme"), "messages.get", 3, is_live=True)
        budgets.refuse(connection, Account(uuid4(), "acme"), Reach.PROJECT, timedelta(hours=5), "no", is_told=True)
    listed = fieldpost("quota", "list")
    assert "acme" in listed.out
    assert " 60 " in listed.out
    assert fieldpost("quota", "set", "acme", "--units-per-day", "100000000").code == 0
    assert value(db, "SELECT rest_until <= now() FROM budgets WHERE scope = 'project:acme'")
