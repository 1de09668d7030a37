"""Reading mail apart: the same result as here, and a mail that kills its reader harms nobody else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from unittest.mock import Mock

import psutil
import pytest

from pipeline.adapters.parsing import IsolatingParser, Limits
from pipeline.adapters.parsing_answer import READY
from pipeline.core import mime
from pipeline.runtime.errors import ParserDied, ReaderBusy, Transient
from tests.factories import mail

_CHECKOUT = Path(__file__).resolve().parents[2]
_HARMLESS = mail("The charger", "It burns.\n", message_id="<m@x>", attachment=b"%PDF-1.7 a plan")


@pytest.fixture
def parser() -> Iterator[IsolatingParser]:
    found = IsolatingParser()
    yield found
    found.close()


@pytest.fixture
def mortal(monkeypatch: pytest.MonkeyPatch) -> Iterator[IsolatingParser]:
    """Return a parser whose child does what a mail's X-Death says, within small limits."""
    monkeypatch.setenv("PYTHONPATH", str(_CHECKOUT))
    monkeypatch.setenv("FIELDPOST_SECRET_KEY", "a secret")
    limits = Limits(memory_bytes=300_000_000, cpu=timedelta(seconds=1), wall=timedelta(seconds=60))
    found = IsolatingParser(limits, child="tests.failing_parser")
    yield found
    found.close()


def _deadly(how: str) -> bytes:
    return b"X-Death: " + how.encode() + b"\r\n" + _HARMLESS


def _children() -> list[psutil.Process]:
    return psutil.Process().children()


def test_what_is_read_apart_is_the_same_as_what_is_read_here(parser: IsolatingParser):
    assert parser.parse(_HARMLESS, isolated=True) == mime.parse(_HARMLESS) == parser.parse(_HARMLESS)


def test_ordinary_mail_needs_no_child_and_a_suspicious_one_gets_a_warm_one(parser: IsolatingParser):
    before = len(_children())
    parser.parse(_HARMLESS)
    assert len(_children()) == before
    parser.parse(b"X: v\r\n" * 20_000 + _HARMLESS)
    first = _children()
    parser.parse(b"X: v\r\n" * 20_000 + _HARMLESS)
    assert [child.pid for child in _children()] == [child.pid for child in first]
    assert len(first) == before + 1


def test_a_mail_above_ten_megabytes_is_read_apart_with_its_contents(
    parser: IsolatingParser, monkeypatch: pytest.MonkeyPatch
):
    payload = os.urandom(12 * 1024 * 1024)
    raw = mail("Photos", "See below.\n", attachment=payload)
    expected = mime.parse(raw)
    assert expected.attachments[0].payload == payload
    monkeypatch.setattr(mime, "parse", Mock(side_effect=AssertionError("read here")))
    assert parser.parse(raw) == expected


def test_an_empty_mail_is_unreadable_there_too(parser: IsolatingParser):
    with pytest.raises(mime.Unreadable, match="empty"):
        parser.parse(b"\r\n", isolated=True)
    assert parser.parse(_HARMLESS, isolated=True).subject == "The charger"


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("segv", "ended by SIGSEGV"),
        ("exit", "exit code 3"),
        ("burn", "more than 1 s of CPU"),
        ("swell", "out of memory"),
        ("raise", "ZeroDivisionError: by nothing"),
        ("write", "OSError"),
    ],
)
def test_a_mail_that_kills_its_reader_is_told_of_and_the_next_one_is_read(
    mortal: IsolatingParser, how: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParserDied, match=said):
        mortal.parse(_deadly(how), isolated=True)
    assert mortal.parse(_HARMLESS, isolated=True) == mime.parse(_HARMLESS)


def test_a_reader_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONPATH", str(_CHECKOUT))
    parser = IsolatingParser(Limits(wall=timedelta(seconds=0.5)), child="tests.failing_parser")
    with pytest.raises(ParserDied, match=r"longer than 0\.5 s"):
        parser.parse(_deadly("hang"), isolated=True)
    parser.close()


def test_what_a_library_prints_does_not_stand_between_answers(mortal: IsolatingParser):
    assert mortal.parse(_deadly("babble"), isolated=True).subject == "The charger"
    assert mortal.parse(_HARMLESS, isolated=True) == mime.parse(_HARMLESS)


def test_the_reader_knows_no_secret(mortal: IsolatingParser):
    with pytest.raises(ParserDied, match=r"settings: \[\]"):
        mortal.parse(_deadly("secrets"), isolated=True)


def test_the_reader_is_told_what_it_needs_by_name(parser: IsolatingParser, monkeypatch: pytest.MonkeyPatch):
    for name in ("AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "SOME_TOKEN"):
        monkeypatch.setenv(name, "a secret")
    before = {child.pid for child in _children()}
    parser.parse(_HARMLESS, isolated=True)
    (child,) = [one for one in _children() if one.pid not in before]
    assert "a secret" not in child.environ().values()
    assert child.environ()["PATH"]


def test_whoever_cannot_wait_for_its_turn_is_told_so(mortal: IsolatingParser):
    mortal._turn.acquire()
    with pytest.raises(ReaderBusy):
        mortal.parse(_HARMLESS, isolated=True, patience=timedelta(milliseconds=10))
    assert mortal.parse(_HARMLESS, patience=timedelta(0)) == mime.parse(_HARMLESS)
    mortal._turn.release()
    assert mortal.parse(_HARMLESS, isolated=True, patience=timedelta(seconds=60)) == mime.parse(_HARMLESS)


def test_a_reader_that_cannot_begin_is_not_the_mails_fault():
    parser = IsolatingParser(child="tests.there_is_no_such_module")
    with pytest.raises(Transient, match="before it could begin") as caught:
        parser.parse(_HARMLESS, isolated=True)
    assert not isinstance(caught.value, ParserDied)


def test_many_threads_share_one_reader(parser: IsolatingParser):
    raws = [mail(f"number {number}") for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda raw: parser.parse(raw, isolated=True).subject, raws))
    assert found == [f"number {number}" for number in range(40)]


def test_the_reader_ends_with_the_parser(parser: IsolatingParser):
    before = {child.pid for child in _children()}
    parser.parse(_HARMLESS, isolated=True)
    (child,) = [one for one in _children() if one.pid not in before]
    parser.close()
    assert not child.is_running()


def test_a_reader_whose_worker_is_gone_ends_by_itself():
    argv = (sys.executable, "-m", "pipeline.adapters.parsing_child", "1000000000", "5")
    ended = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, READY)
