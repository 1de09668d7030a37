"""Which list a mail came through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import lists
from pipeline.core.lists import LIST_ID_LENGTH
from pipeline.core.mime import parse


def list_id(header: str) -> str | None:
    return parse(b"From: a@x.example\n" + header.encode("utf-8", "surrogateescape") + b"\n\nHi\n").list_id


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("List-Id: Lena's List <Lena.Lists.Example.org>", "lena.lists.example.org"),
        ("List-ID: <a.b.example>", "a.b.example"),
        ("List-Id: a.b.example", "a.b.example"),
        ('List-Id: "Ann <ann>" <real.example>', "real.example"),
        ("List-Id: owner/repo <repo.owner.hub.example>\n", "repo.owner.hub.example"),
        ("List-Id: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\n <folded.example>", "folded.example"),
        ("List-Id: words without an identifier", None),
        ("List-Id: <>", None),
        ("List-Id: <" + "a" * 300 + ">", None),
        ("Mailing-List: list support@Groups.example; contact support-owner@groups.example", "support@groups.example"),
        ("X-Mailing-List: <dev@lists.example> archive/1", "dev@lists.example"),
        ("X-BeenThere: users@lists.example", "users@lists.example"),
        ("X-BeenThere: users@lists.example\nList-Id: <users.lists.example>", "users.lists.example"),
        ("List-Post: <mailto:a@b.example>", None),
        ("Subject: no list", None),
    ],
)
def test_a_list_is_named_by_its_identifier(header: str, expected: str | None):
    assert list_id(header) == expected


@given(st.sampled_from(["List-Id", "Mailing-List", "X-Mailing-List", "X-BeenThere"]), st.text(max_size=400))
def test_a_list_id_can_always_be_stored(name: str, value: str):
    found = list_id(f"{name}: {value}".encode("utf-8", "replace").decode())
    assert found is None or (0 < len(found.encode()) <= LIST_ID_LENGTH and "\0" not in found)


def test_a_word_without_an_end_is_looked_at_once():
    """A search that begins anew at each of its letters would take an hour."""
    assert lists._ADDRESS.findall("a" * 3_000_000) == []
    assert lists._ADDRESS.findall("x, ann@a.example; b@@c <dev@lists.example>") == [
        "ann@a.example",
        "dev@lists.example",
    ]
