"""Collision groups of old rows, marked in stretches."""

from __future__ import annotations

import hashlib
from random import Random

import pytest
from sqlalchemy import text

from pipeline.commands.collisions import backfill
from pipeline.runtime import collisions
from pipeline.runtime.collisions import Backfilled
from pipeline.runtime.db import Database
from tests import factories
from tests.factories import rows

_INSERT = text("""
    INSERT INTO messages (org_id, fingerprint, signature, subject, subject_norm, received_at, snippet, raw_sha256,
                          parser_version)
    SELECT :org, f, s, '', '', now(), '', s, 1
      FROM unnest(CAST(:fingerprints AS bytea[]), CAST(:signatures AS bytea[])) AS t(f, s)
""")


def test_every_stretch_is_looked_through_and_each_group_marked_whole(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collisions, "CHUNK", 7)
    chance = Random(11)
    with db.begin() as connection:
        ours, theirs = factories.organization(connection), factories.organization(connection)
        sizes = {number: chance.choice([1, 1, 2, 3]) for number in range(40)}
        for org_id in (ours, theirs):
            pairs = [(number, twin) for number, size in sizes.items() for twin in range(size)]
            values = {
                "fingerprints": [hashlib.sha256(b"%d" % number).digest() for number, _ in pairs],
                "signatures": [hashlib.sha256(b"%d %d" % pair).digest() for pair in pairs],
            }
            connection.execute(_INSERT, {"org": org_id} | values)
    groups = {number: size for number, size in sizes.items() if size > 1}
    with db.begin() as connection:
        assert backfill(connection, ours) == Backfilled(40, len(groups), sum(groups.values()))
    with db.begin() as connection:
        assert backfill(connection, ours) == Backfilled(40, 0, 0)
    found = rows(
        db,
        "SELECT count(*) AS count, count(DISTINCT fingerprint) AS fingerprints FROM messages"
        " WHERE collision_group_id IS NOT NULL GROUP BY collision_group_id",
    )
    assert sorted(row.count for row in found) == sorted(groups.values())
    assert {row.fingerprints for row in found} == {1}
    assert rows(
        db, "SELECT count(*) FROM messages WHERE org_id = :org AND collision_group_id IS NOT NULL", org=theirs
    ) == [(0,)]


def test_an_organization_without_mail_has_nothing_to_mark(db: Database) -> None:
    with db.begin() as connection:
        assert backfill(connection, factories.organization(connection)) == Backfilled()
