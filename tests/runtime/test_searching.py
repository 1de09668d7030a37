"""Searching: what is found, in which order, page by page, and how the database looks for it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from random import Random
from uuid import UUID

import pytest
from sqlalchemy import text

from models.queries import search as queries
from models.queries.search import Asked
from pipeline.core.search_words import words
from pipeline.runtime import indexing
from pipeline.runtime.db import Database
from pipeline.runtime.errors import UserError
from pipeline.runtime.indexing import Document, Mail
from pipeline.runtime.searching import Answer, search
from pipeline.stages import index, parse, stitch
from tests import factories
from tests.factories import NOON, mail
from tests.stages.world import World


@pytest.fixture
def world(db: Database) -> World:
    return World(db)


def indexed(world: World, *raws: bytes) -> list[int]:
    """Let mails arrive a minute apart and be indexed; return the messages, in order."""
    occurrences = [world.arrive(raw, at=NOON + timedelta(minutes=number)) for number, raw in enumerate(raws)]
    steps = world.run(parse.STAGE, *occurrences)
    world.run(index.STAGE, *(key for stage, key in steps.next if stage == "index"))
    rows = world.rows("SELECT message_id FROM occurrences WHERE id = ANY(:ids) ORDER BY id", ids=occurrences)
    return [row.message_id for row in rows]


def ask(world: World, question: str, *, org_id: UUID | None = None, limit: int = 50) -> Answer:
    with world.db.begin() as connection:
        return search(connection, org_id or world.org_id, question, limit=limit)


def ids(answer: Answer) -> list[int]:
    return [hit.message_id for hit in answer.hits]


def test_all_words_a_phrase_either_and_without(world: World) -> None:
    one, two, three = indexed(
        world,
        mail("Charger", "It does not start since Monday"),
        mail("Refund", "The charger starts, I do not want it"),
        mail("Hello", "Nothing to say"),
    )
    assert set(ids(ask(world, "charger not"))) == {one, two}
    assert ids(ask(world, '"does not start"')) == [one]
    assert ids(ask(world, "charger -refund")) == [one]
    assert set(ids(ask(world, "monday or nothing"))) == {one, three}
    assert set(ids(ask(world, "start*"))) == {one, two}


def test_people_parts_files_and_days_narrow(world: World) -> None:
    one, two = indexed(
        world,
        mail("Broken", "by ann", sender="Bob <bob@one.example>", attachment=b"x"),
        mail(
            "Hello", "broken by bob", sender="Ann <ann@two.example>", to="Help <help@acme.example>", Cc="bob@x.example"
        ),
    )
    assert ids(ask(world, "from:ann")) == [two]
    assert ids(ask(world, "from:bob broken")) == [one]
    assert ids(ask(world, "to:bob")) == [two]
    assert set(ids(ask(world, "to:help@acme.example"))) == {one, two}
    assert ids(ask(world, "subject:broken")) == [one]
    assert ids(ask(world, "broken -has:attachment")) == [two]
    assert ids(ask(world, f"broken before:{NOON:%Y-%m-%d}")) == []
    assert len(ids(ask(world, f"broken after:{NOON:%Y-%m-%d}"))) == 2


def test_subjects_outrank_bodies_and_newer_ones_come_first_among_equals(world: World) -> None:
    body, subject, newer = indexed(
        world,
        mail("Hello", "charger"),
        mail("Charger", "hello"),
        mail("Charger", "hello"),
    )
    assert ids(ask(world, "charger")) == [newer, subject, body]
    found = {hit.message_id: hit.matched_in for hit in ask(world, "charger").hits}
    assert (found[body], found[subject]) == (("body",), ("subject",))


def test_a_hit_names_its_ticket_and_follows_a_merge(world: World) -> None:
    world.stitched(mail("Charger one", "hello"), mail("Charger two", "hello"))
    for message_id in [row.id for row in world.rows("SELECT id FROM messages")]:
        world.run(index.STAGE, message_id)
    first, second = ask(world, "charger two").hits[0], ask(world, "charger one").hits[0]
    assert first.ticket_code != second.ticket_code
    world.rows(
        "UPDATE tickets SET status = 'merged', merged_into = :into, closed_at = now() WHERE id = :id",
        into=second.ticket_id, id=first.ticket_id,
    )  # fmt: skip
    assert ask(world, "charger two").hits[0].ticket_code == second.ticket_code


def test_a_message_without_a_ticket_is_found_all_the_same(world: World) -> None:
    indexed(world, mail("Quarantined", "hello"))
    (hit,) = ask(world, "quarantined").hits
    assert (hit.ticket_id, hit.ticket_code, hit.ticket_status) == (None, None, None)


def test_the_piece_is_the_attachments_when_only_they_answer(world: World) -> None:
    (message_id,) = indexed(world, mail("Hello", "See the file", attachment=b"x"))
    with world.db.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO attachment_texts (org_id, sha256, state, content, version)"
                " SELECT org_id, sha256, 'done', 'the long lost serial number', 1 FROM attachments"
                " ON CONFLICT (org_id, sha256) DO UPDATE SET state = 'done', content = excluded.content"
            )
        )
    world.run(index.STAGE, message_id)
    (hit,) = ask(world, "serial").hits
    assert hit.matched_in == ("attachments",)
    assert "long lost serial number" in hit.piece.text


def test_nothing_of_another_organization_is_found(world: World) -> None:
    indexed(world, mail("Charger"))
    with world.db.begin() as connection:
        other = factories.organization(connection)
    assert ids(ask(world, "charger", org_id=other)) == []


@pytest.mark.parametrize("question", ["", "-refund", "from:", "after:2026-01-01", "has:luck"])
def test_a_question_without_an_answer_is_refused_in_words(world: World, question: str) -> None:
    with pytest.raises(UserError):
        ask(world, question)


def test_pages_hold_every_message_once_though_mail_arrives_meanwhile(world: World) -> None:
    raws = [mail(f"Charger {number % 3}", "charger " * (number % 5)) for number in range(17)]
    everything = indexed(world, *raws)
    found: list[int] = []
    after = None
    for page in range(20):
        with world.db.begin() as connection:
            answer = search(connection, world.org_id, "charger", limit=4, after=after)
        found += ids(answer)
        after = answer.last
        if after is None:
            break
        if page == 0:
            indexed(world, mail("Charger charger", "charger charger"))
    assert len(found) == len(set(found)) == 17
    assert sorted(found) == sorted(everything)


def test_of_a_frequent_word_only_the_newest_are_ranked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "MOST_RANKED", 5)
    messages = indexed(world, *(mail(f"Charger {number}") for number in range(8)))
    answer = ask(world, "charger")
    assert answer.is_capped
    assert answer.total == 5
    # One more is read, to know that there is one.
    assert set(messages[-5:]) <= set(ids(answer)) <= set(messages[-6:])


def many(db: Database, org_id: UUID, count: int, chance: Random) -> None:
    """Index generated messages, without raw mail behind them."""
    vocabulary = [f"word{number}" for number in range(5_000)]
    with db.begin() as connection:
        rows = connection.execute(
            text("""
                INSERT INTO messages (org_id, fingerprint, signature, subject, subject_norm, received_at, snippet,
                                      raw_sha256, parser_version)
                SELECT :org, sha256(convert_to(CAST(n AS text), 'UTF8')), '\\x00', 's', 's', now(), '', '\\x00', 1
                  FROM generate_series(1, :count) AS n RETURNING id
            """),
            {"org": org_id, "count": count},
        ).scalars()
        pairs: Sequence[tuple[Mail, Document]] = [
            (
                Mail(message_id, org_id, NOON, "", "", (), ()),
                Document("the subject", "", words(" ".join(chance.choices(vocabulary, k=30))), "", ("f:ann",), {}),
            )
            for message_id in rows
        ]
        for begin in range(0, count, 2_000):
            indexing.save(connection, pairs[begin : begin + 2_000])


def test_the_index_is_used_and_no_table_is_read_from_end_to_end(world: World) -> None:
    chance = Random(7)
    many(world.db, world.org_id, 20_000, chance)
    factories.rows(world.db, "ANALYZE message_search")
    for asked in (
        Asked("'word17'", "", "'word17'"),
        Asked("'word17' & 'word18'", "", "'word17'"),
        Asked("('word17' <-> 'word18') | 'word19':*", "'f:ann'", "'word17'"),
    ):
        with world.db.begin() as connection:
            plan = queries.plan(connection, world.org_id, asked)
        assert "ix_message_search_document" in plan, plan
        assert "Seq Scan" not in plan, plan


def test_stitching_is_no_condition_for_being_found(world: World) -> None:
    first = world.parsed(mail("Charger"))
    (row,) = world.rows("SELECT message_id FROM occurrences WHERE id = :id", id=first)
    world.run(index.STAGE, row.message_id)
    world.run(stitch.STAGE, first)
    assert ask(world, "charger").hits[0].ticket_id == world.ticket_of(first).id


def test_no_question_is_malformed_for_the_database(world: World) -> None:
    indexed(world, mail("Charger", "a b"))
    chance = Random(5)
    pieces = [*"ab-*:&|!()'\"\\é東  \x00\udc80\u3000", "or", "from:", "to:", "subject:", "has:attachment", "<->"]
    pieces += ["@x.example", "after:2026-01-01"]
    answered = 0
    for _ in range(400):
        question = "".join(chance.choices(pieces, k=chance.randint(1, 9)))
        try:
            ask(world, question)
        except UserError:
            continue
        answered += 1
    assert answered > 100
