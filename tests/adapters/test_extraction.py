"""Text out of attachments, with PDF files in a process of their own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from models.enums import ExtractionState
from pipeline.adapters.extraction import DocumentTexts
from pipeline.runtime.errors import Transient
from tests.adapters.pdfs import heavy_pdf, pdf

SECRETS = ("FIELDPOST_SECRET_KEY", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "ALLOW_DEV_LOGIN", "SOME_TOKEN")
_GOOD = pdf("Invoice 4711", "The charger does not start")


@pytest.fixture
def texts() -> Iterator[DocumentTexts]:
    made = DocumentTexts()
    yield made
    made.close()


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children() if "extraction_child" in " ".join(child.cmdline())}


def test_a_pdf_file_is_read_by_one_process_after_the_other_file(texts: DocumentTexts) -> None:
    assert texts.extract("application/pdf", _GOOD).text.split() == [
        "Invoice",
        "4711",
        "The",
        "charger",
        "does",
        "not",
        "start",
    ]
    first = children()
    assert texts.extract("application/pdf", _GOOD).state is ExtractionState.DONE
    assert children() == first
    assert len(first) == 1


@pytest.mark.parametrize("content", [b"", b"%PDF-1.4 nothing more", _GOOD[:300], b"\x00" * 10_000])
def test_what_is_no_document_fails_and_the_next_one_is_read(texts: DocumentTexts, content: bytes) -> None:
    assert texts.extract("application/pdf", content).state is ExtractionState.FAILED
    assert texts.extract("application/pdf", _GOOD).state is ExtractionState.DONE


def test_a_document_that_takes_too_long_ends_its_process_alone() -> None:
    texts = DocumentTexts(patience=timedelta(milliseconds=600))
    try:
        assert texts.extract("application/pdf", heavy_pdf()).state is ExtractionState.FAILED
        assert children() == set()
    finally:
        texts.close()


def test_the_process_is_told_no_secret(texts: DocumentTexts, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS:
        monkeypatch.setenv(name, "a secret")
    texts.extract("application/pdf", _GOOD)
    (child,) = children()
    told = psutil.Process(child).environ()
    assert "a secret" not in told.values()
    assert told["PATH"]


def test_closing_ends_the_process(texts: DocumentTexts) -> None:
    texts.extract("application/pdf", _GOOD)
    texts.close()
    assert children() == set()


def test_other_types_need_no_process(texts: DocumentTexts) -> None:
    assert texts.extract("text/html", b"<p>Hi</p>").text == "Hi"
    assert texts.extract("image/png", b"x").state is ExtractionState.UNSUPPORTED
    assert texts.extract("text/plain", b"x" * 5_000_000).state is ExtractionState.TOO_LARGE
    assert children() == set()


def test_a_process_that_was_killed_while_it_waited_is_not_the_next_documents_fault(texts: DocumentTexts) -> None:
    texts.extract("application/pdf", _GOOD)
    (waiting,) = [psutil.Process(pid) for pid in children()]
    waiting.kill()
    assert texts.extract("application/pdf", _GOOD).state is ExtractionState.DONE


def test_a_process_that_cannot_begin_is_not_the_documents_fault() -> None:
    texts = DocumentTexts(command=(sys.executable, "-c", "raise SystemExit(1)"))
    with pytest.raises(Transient, match="before it could begin"):
        texts.extract("application/pdf", _GOOD)
    with pytest.raises(Transient, match="could be started"):
        DocumentTexts(command=("/there/is/no/such/program",)).extract("application/pdf", _GOOD)


def child_that(does: str) -> tuple[str, ...]:
    """Return a command for the child with another function that reads; the rest is the product as it is."""
    code = f"import pipeline.adapters.extraction_child as c\nread = c._read\n{does}\nc.main()"
    return (sys.executable, "-c", code)


def test_what_a_library_prints_does_not_stand_between_answers() -> None:
    says = "def said(content):\n print('a warning' * 9, flush=True)\n return read(content)\nc._read = said"
    texts = DocumentTexts(command=child_that(says))
    assert texts.extract("application/pdf", _GOOD).text.startswith("Invoice")
    assert texts.extract("application/pdf", _GOOD).state is ExtractionState.DONE
    texts.close()


@pytest.mark.parametrize("answer", ["b'+' * 10_000_000", "b''"])
def test_an_answer_that_is_none_is_not_believed(answer: str) -> None:
    texts = DocumentTexts(command=child_that(f"c._read = lambda _: {answer}"))
    assert texts.extract("application/pdf", _GOOD).state is ExtractionState.FAILED
    assert children() == set()


def test_a_document_of_which_a_second_process_dies_has_failed() -> None:
    texts = DocumentTexts(command=child_that("import os\nc._read = lambda x: os._exit(1) if x == b'bad' else read(x)"))
    assert texts.extract("application/pdf", _GOOD).state is ExtractionState.DONE
    assert texts.extract("application/pdf", b"bad").state is ExtractionState.FAILED
    assert texts.extract("application/pdf", _GOOD).state is ExtractionState.DONE
    texts.close()


def test_a_file_where_the_worker_runs_is_no_module(
    texts: DocumentTexts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pypdf.py").write_text("raise SystemExit(1)")
    monkeypatch.chdir(tmp_path)
    assert texts.extract("application/pdf", _GOOD).state is ExtractionState.DONE
