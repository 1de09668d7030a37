"""Which attachments have a text."""

from __future__ import annotations

import pytest

from models.enums import ExtractionState
from pipeline.core.extraction import TEXT_LIMIT, Form, form_of, kept, read_text


@pytest.mark.parametrize(
    ("content_type", "form"),
    [
        ("text/plain", Form.TEXT),
        ("TEXT/CSV; charset=utf-8", Form.TEXT),
        ("application/json", Form.TEXT),
        ("text/html", Form.HTML),
        ("application/pdf", Form.PDF),
        ("image/png", None),
        ("application/zip", None),
        ("text/calendar", None),
        ("", None),
    ],
)
def test_the_type_says_how_an_attachment_is_read(content_type: str, form: Form | None) -> None:
    assert form_of(content_type) is form


def test_only_what_a_reader_sees_of_html_is_read() -> None:
    assert read_text(Form.HTML, b"<style>p{}</style><p>seen</p><script>hidden</script>").text == "seen"


def test_a_text_of_any_bytes_fits_the_database() -> None:
    found = read_text(Form.TEXT, b"caf\xe9 \x00 \xff\xfe end")
    assert found.state is ExtractionState.DONE
    assert "\x00" not in found.text
    found.text.encode()


def test_a_long_text_is_cut() -> None:
    assert len(kept("x" * (TEXT_LIMIT + 1)).text) == TEXT_LIMIT
