"""Two help desks that answer each other stop after a few mails: quarantined with its cause, released by an operator.

The mailboxes live at a real HTTP Gmail, the whole engine works behind them, and a postman carries what leaves.
"""

from __future__ import annotations

from collections.abc import Iterator
from email.message import Message
from itertools import count
from pathlib import Path

import pytest

from pipeline.commands import quarantine
from pipeline.core.loops import LOOP_HEADER
from pipeline.runtime.db import Database
from pipeline.runtime.settings import Settings
from tests import factories
from tests.engine import Engine
from tests.flow.desks import Desk, Post, Robot, letter, stripped
from tests.gmail_server.server import GmailServer

ACME, GLOBEX = "help@acme.example", "desk@globex.example"
MARKS = ("Auto-Submitted", "X-Auto-Response-Suppress", "Precedence", LOOP_HEADER, "X-Fieldpost-Message")
THREADING = ("In-Reply-To", "References", "Reply-To", "Message-ID")
#: Automatic answers to one sender within an hour.
LIMIT = 5


@pytest.fixture
def server() -> Iterator[GmailServer]:
    """A Gmail of this test's own."""
    with GmailServer(seed=7) as found:
        yield found


@pytest.fixture
def engine(db: Database, settings: Settings) -> Iterator[Engine]:
    """The whole engine in this thread."""
    with Engine(db, settings) as found:
        yield found


@pytest.fixture
def acme(server: GmailServer, db: Database, settings: Settings, tmp_path: Path) -> Desk:
    """A Fieldpost desk that answers automatically."""
    return Desk(server, db, settings, tmp_path, ACME)


@pytest.fixture
def globex(server: GmailServer, db: Database, settings: Settings, tmp_path: Path) -> Desk:
    """Another Fieldpost desk, of an organization of its own."""
    return Desk(server, db, settings, tmp_path, GLOBEX)


def release_all(desk: Desk) -> int:
    """Do as an operator who lets everything go on; return how many there were."""
    with desk.db.begin() as connection:
        ids = [quarantine_id for quarantine_id, _ in desk.held()]
        done = quarantine.release(connection, ids, org_id=desk.org_id, actor="eve@acme.example", reason="I looked")
    return len(done.quarantine_ids)


def unmarked() -> Robot:
    """A desk that answers whatever comes with a fresh mail: new subject, no mark, no reference."""
    numbers = count(1)

    def answer(_: Message) -> bytes:
        number = next(numbers)
        text = f"Thank you for contacting Globex. Your request {number} was received. Our team will look into it soon."
        return letter(f"[Globex #{number}] We have your request", text, GLOBEX, ACME)

    return answer


def in_thread(mail: Message) -> bytes:
    """A desk that answers in the thread, to where it is asked to, without any mark."""
    return letter(
        str(mail["Subject"]), "Thank you, we look into it.", GLOBEX, str(mail["Reply-To"] or mail["From"]),
        In_Reply_To=str(mail["Message-ID"]), References=str(mail["Message-ID"]),
    )  # fmt: skip


def test_a_desk_that_answers_everything_with_a_fresh_unmarked_mail_is_stopped_and_released(
    acme: Desk, engine: Engine
) -> None:
    post = Post(engine, [acme], {GLOBEX: unmarked()})
    post.put(acme, letter("Broken pump", "The pump on our roof is broken since Monday.", GLOBEX, ACME))
    carried = post.until_silence()
    assert acme.count("outbound", "kind = 'acknowledgement'") == LIMIT
    # The person's mail, five answers of ours and the robot's five to those: the last of them ends it.
    assert carried == 1 + 2 * LIMIT
    ((quarantine_id, cause),) = acme.held()
    assert cause == "answers_back"
    assert acme.count("tickets", "status = 'new'") == LIMIT
    assert post.until_silence() == carried

    assert release_all(acme) == 1
    assert post.until_silence() == carried
    assert acme.held() == []
    assert acme.count("tickets", "status = 'new'") == LIMIT + 1
    assert acme.count("outbound") == LIMIT
    row = factories.rows(acme.db, "SELECT released_by FROM quarantines WHERE id = :id", id=quarantine_id)[0]
    assert row.released_by == "eve@acme.example"


def test_the_same_desk_is_quiet_for_good_within_a_day_however_often_it_is_woken(acme: Desk, engine: Engine) -> None:
    post = Post(engine, [acme], {GLOBEX: unmarked()})
    for hour in range(6):
        post.put(acme, letter(f"Matter {hour}", f"Something else happened, it is matter {hour}.", GLOBEX, ACME))
        post.until_silence()
        factories.rows(acme.db, "UPDATE outbound SET created_at = created_at - interval '61 minutes'")
        factories.rows(acme.db, "UPDATE messages SET created_at = created_at - interval '61 minutes'")
    assert acme.count("outbound") == 20  # the day's limit for one sender
    assert len(post.carried) <= 2 * 20 + 6


def test_a_desk_that_answers_in_the_thread_gets_no_second_answer(acme: Desk, engine: Engine) -> None:
    post = Post(engine, [acme], {GLOBEX: in_thread})
    post.put(acme, letter("Broken pump", "The pump on our roof is broken since Monday.", GLOBEX, ACME))
    assert post.until_silence() == 3
    assert acme.count("tickets") == 1
    assert acme.count("ticket_messages") == 3
    assert acme.held() == []


def test_two_fieldposts_exchange_one_answer(acme: Desk, globex: Desk, engine: Engine) -> None:
    post = Post(engine, [acme, globex], {})
    post.put(acme, letter("Broken pump", "The pump on our roof is broken since Monday.", GLOBEX, ACME))
    assert post.until_silence() == 2
    assert (acme.count("outbound"), globex.count("outbound")) == (1, 0)
    assert factories.value(acme.db, "SELECT status FROM tickets WHERE org_id = :org", org=globex.org_id) == "closed"
    assert acme.held() == globex.held() == []


def test_two_fieldposts_behind_a_relay_that_takes_every_mark_away_stop_by_what_they_say(
    acme: Desk, globex: Desk, engine: Engine
) -> None:
    post = Post(engine, [acme, globex], {}, stripped(*MARKS, *THREADING))
    post.put(acme, letter("Broken pump", "The pump on our roof is broken since Monday.", GLOBEX, ACME))
    carried = post.until_silence()
    assert carried == 5
    assert [cause for desk in (acme, globex) for _, cause in desk.held()] == ["answers_back"]
    assert release_all(acme) + release_all(globex) == 1
    assert post.until_silence() == carried
    assert acme.held() == globex.held() == []


def test_two_fieldposts_behind_a_relay_that_keeps_the_threads_stop_by_those(
    acme: Desk, globex: Desk, engine: Engine
) -> None:
    post = Post(engine, [acme, globex], {}, stripped(*MARKS))
    post.put(acme, letter("Broken pump", "The pump on our roof is broken since Monday.", GLOBEX, ACME))
    assert post.until_silence() == 3
    assert acme.count("outbound") == globex.count("outbound") == 1


def test_our_own_answer_that_is_sent_back_to_us_is_quarantined(acme: Desk, engine: Engine) -> None:
    def mirror(mail: Message) -> bytes:
        """Send back what comes as a mail of one's own, all other headers kept."""
        for name, value in (("From", GLOBEX), ("To", ACME), ("Message-ID", "<mirror@globex.example>")):
            mail.replace_header(name, value)
        return mail.as_bytes()

    post = Post(engine, [acme], {GLOBEX: mirror})
    post.put(acme, letter("Broken pump", "The pump on our roof is broken since Monday.", GLOBEX, ACME))
    assert post.until_silence() == 3
    assert [cause for _, cause in acme.held()] == ["loop"]
    assert release_all(acme) == 1
    assert post.until_silence() == 3
    assert acme.count("outbound") == 1
