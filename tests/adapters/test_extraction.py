"""Text out of attachments, with PDF files in a process of their own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import psutil
import pytest

from models.enums import ExtractionState
from pipeline.adapters.extraction import DocumentTexts
from tests.adapters.pdfs import heavy_pdf, pdf

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
    monkeypatch.setenv("FIELDPOST_SECRET_KEY", "a secret")
    texts.extract("application/pdf", _GOOD)
    (child,) = children()
    assert "FIELDPOST_SECRET_KEY" not in psutil.Process(child).environ()


def test_closing_ends_the_process(texts: DocumentTexts) -> None:
    texts.extract("application/pdf", _GOOD)
    texts.close()
    assert children() == set()


def test_other_types_need_no_process(texts: DocumentTexts) -> None:
    assert texts.extract("text/html", b"<p>Hi</p>").text == "Hi"
    assert texts.extract("image/png", b"x").state is ExtractionState.UNSUPPORTED
    assert texts.extract("text/plain", b"x" * 5_000_000).state is ExtractionState.TOO_LARGE
    assert children() == set()
