"""The comparison of conversations with references alone: counts, and a reason for every difference."""

from __future__ import annotations

import gzip
import mailbox
from pathlib import Path

import pytest

from tests.bench import threads
from tests.factories import mail


@pytest.fixture
def mbox(tmp_path: Path) -> Path:
    box = mailbox.mbox(tmp_path / "mail.mbox")
    for raw in (
        mail("a", message_id="<a@x>"),
        mail("Re: a", in_reply_to="<a@x>"),
        mail("Re: a", sender="mallory@evil.example", in_reply_to="<a@x>"),
        mail("lost", sender="one@x.example", in_reply_to="<lost@x>"),
        mail("lost", sender="two@y.example", in_reply_to="<lost@x>"),
    ):
        box.add(mailbox.mboxMessage(raw))
    box.close()
    return tmp_path / "mail.mbox"


def test_every_difference_is_explained(mbox: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert threads.main([str(mbox)]) == 0
    said = capsys.readouterr().out
    assert "5 mails: 2 conversations by references alone, 4 here" in said
    assert "mallory@evil.example answers <a@x>, and is none of @customer.example, @acme.example" in said
    assert "one@x.example, two@y.example answer <lost@x>, which is not here: strangers to each other" in said


def test_a_compressed_mailbox_is_read_too(mbox: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packed = tmp_path / "mail.mbox.gz"
    packed.write_bytes(gzip.compress(mbox.read_bytes()))
    assert threads.main([str(packed)]) == 0
    assert "5 mails" in capsys.readouterr().out
