"""The cursor of an IMAP mailbox: what it remembers, and when counters prove that nothing changed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.imap_state import (
    Counters,
    FolderState,
    MailboxState,
    Progress,
    is_unchanged,
    mailbox_state,
    progress,
    where,
)

NAMES = st.text(min_size=1, max_size=10)
IDS = st.text("abcdefABCDEF0123456789_-", min_size=1, max_size=12)


@st.composite
def folders(draw: st.DrawFn, has_ids: bool) -> FolderState:
    uids = tuple(sorted(draw(st.sets(st.integers(1, 10_000), max_size=30))))
    digits = draw(st.integers(0, len(uids)))
    return FolderState(
        draw(st.integers(1, 2**32 - 1)),
        draw(st.integers(0, 2**32)),
        draw(st.none() | st.integers(1, 2**63 - 1)),
        draw(st.none() | st.integers(0, 9)),
        uids,
        tuple(draw(st.lists(IDS, min_size=len(uids), max_size=len(uids)))) if has_ids else (),
        draw(st.text("01234567", min_size=digits, max_size=digits)),
    )


@st.composite
def mailboxes(draw: st.DrawFn) -> MailboxState:
    kind = draw(st.sampled_from([None, "EMAILID", "X-GM-MSGID"]))
    states = draw(st.dictionaries(NAMES, folders(kind is not None), max_size=4))
    return MailboxState(kind, states, tuple(draw(st.lists(IDS, max_size=3))))


@given(mailboxes())
def test_a_cursor_is_read_as_it_was_written(state: MailboxState) -> None:
    assert mailbox_state(state.text()) == state
    assert "\x00" not in state.text()


@given(mailboxes(), st.lists(NAMES, max_size=3), st.lists(IDS, max_size=3))
def test_a_page_token_is_read_as_it_was_written(state: MailboxState, left: list[str], touched: list[str]) -> None:
    token = Progress(tuple(left), state.folders, tuple(left), tuple(touched), state.pending)
    assert progress(token.text()) == token


@pytest.mark.parametrize(
    "text",
    ["", "4711", "[]", "{}", '{"v":2,"folders":{}}', '{"v":1}', '{"v":1,"kind":null,"folders":{"a":{}},"pending":[]}',
     '{"v":1,"kind":null,"folders":{"a":{"validity":1,"next":2,"uids":"1:*"}},"pending":[]}',
     '{"v":1,"kind":null,"folders":{"a":{"validity":1,"next":2,"uids":"1","flags":"00"}},"pending":[]}',
     '{"v":1,"kind":"EMAILID","folders":{"a":{"validity":1,"next":2,"uids":"1","ids":"!"}},"pending":[]}',
     '{"v":1,"kind":"EMAILID","folders":{"a":{"validity":1,"next":2,"uids":"1","ids":"AAAA"}},"pending":[]}'],
)  # fmt: skip
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - also the standard library's own
        mailbox_state(text)


def test_a_large_mailbox_has_a_small_cursor() -> None:
    state = MailboxState(None, {"INBOX": FolderState(1, 100_001, 9, None, tuple(range(1, 100_001)))})
    assert len(state.text()) < 200
    assert json.loads(state.text())["folders"]["INBOX"]["uids"] == "1:100000"


STATE = FolderState(7, 20, 5, None, (1, 2, 9))
PLAIN = FolderState(7, 20, None, 1, (1, 2, 9), (), "010")


@pytest.mark.parametrize(
    ("state", "name", "counters", "is_same"),
    [
        (STATE, "INBOX", Counters(7, 20, 3, 5), True),
        (STATE, "INBOX", Counters(7, 20, 3, 6), False),
        (STATE, "INBOX", Counters(7, 20, 3, None), False),
        (STATE, "INBOX", Counters(7, 21, 3, 5), False),
        (STATE, "INBOX", Counters(7, 20, 2, 5), False),
        (STATE, "INBOX", Counters(8, 20, 3, 5), False),
        (STATE, "INBOX", Counters(7, None, None, None), False),
        (PLAIN, "Work", Counters(7, 20, 3, None, 1), True),
        (PLAIN, "Work", Counters(7, 20, 3, None, 2), False),
        (PLAIN, "Work", Counters(7, 20, 3, None, None), False),
        (PLAIN, "INBOX", Counters(7, 20, 3, None, 1), False),
    ],
)
def test_only_equal_counters_prove_that_nothing_changed(
    state: FolderState, name: str, counters: Counters, is_same: bool
) -> None:
    assert is_unchanged(name, state, counters) is is_same


def test_an_id_is_found_in_every_folder_it_lies_in() -> None:
    one, two = FolderState(1, 9, uids=(3, 4), ids=("a", "b")), FolderState(2, 9, uids=(7,), ids=("a",))
    assert where(["a", "z"], {"INBOX": one, "Work": two}) == {"a": [("INBOX", 3), ("Work", 7)], "z": []}


def test_a_message_in_two_folders_counts_once_where_that_can_be_told() -> None:
    one, two = FolderState(1, 9, uids=(3, 4), ids=("a", "b")), FolderState(2, 9, uids=(7,), ids=("a",))
    assert MailboxState("EMAILID", {"INBOX": one, "Work": two}).messages == 2
    assert MailboxState(None, {"INBOX": FolderState(1, 9, uids=(3, 4))}).messages == 2
