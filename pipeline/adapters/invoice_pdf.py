"""An invoice as a page to print: the same invoice gives the same bytes.

Letters come from the Bitstream Vera fonts that reportlab ships (their licence lets them be embedded): Latin-1, some
more of Latin, and signs. A letter that they lack is written without its accent, else as a lozenge; the page says so.
"""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Sequence
from functools import cache
from io import BytesIO
from types import MappingProxyType
from typing import Any
from xml.sax.saxutils import escape

from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4, letter
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import KeepTogether, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

from models.queries.invoices import Invoice, InvoiceLine
from pipeline.core.invoicing import LineKind, Unit
from pipeline.core.money import written, written_number
from pipeline.core.text import normalised, one_line

_PLAIN, _BOLD = "Vera", "VeraBd"
_INK, _SOFT, _RULE = HexColor("#1d2530"), HexColor("#5b6675"), HexColor("#c9d0d9")
_MARGIN = 20 * mm
#: What the library keeps free inside of the margins, both sides together.
_INSET = 12
#: Where Letter is the paper of offices; everywhere else it is A4.
_LETTER = frozenset({"USD", "CAD", "MXN"})
#: A name is cut there: one row must fit on one page.
_LONGEST = 300
_INSTEAD, _ELLIPSIS = "\u25ca", "\u2026"
_CHANGED = f"Letters that this page cannot show are written without their accent, or as {_INSTEAD}."
#: The library keeps what a font has shown so far in the font, which all threads share.
_TURN = threading.Lock()

_BODY = ParagraphStyle("body", fontName=_PLAIN, fontSize=9, leading=12.5, textColor=_INK)
_STYLES = MappingProxyType(
    {
        "body": _BODY,
        "right": ParagraphStyle("right", _BODY, alignment=2),
        "soft": ParagraphStyle("soft", _BODY, fontSize=7.5, leading=10, textColor=_SOFT),
        "soft right": ParagraphStyle("soft right", _BODY, fontSize=7.5, leading=10, textColor=_SOFT, alignment=2),
        "bold": ParagraphStyle("bold", _BODY, fontName=_BOLD),
        "bold right": ParagraphStyle("bold right", _BODY, fontName=_BOLD, alignment=2),
        "issuer": ParagraphStyle("issuer", _BODY, fontName=_BOLD, fontSize=13, leading=17),
        "title": ParagraphStyle("title", _BODY, fontSize=20, leading=24, alignment=2),
    }
)


def render(invoice: Invoice) -> bytes:
    """Return the invoice as a PDF of one or more numbered pages; it never fails for what a name holds."""
    with _TURN:
        pages = _Pages(_known(), invoice)
        pages.build(total=0)
        return pages.build(total=pages.number)


@cache
def _known() -> frozenset[int]:
    """Return the characters that the fonts have; both are made known to the library, once."""
    fonts = [TTFont(name, f"{name}.ttf") for name in (_PLAIN, _BOLD)]
    for font in fonts:
        pdfmetrics.registerFont(font)
    return frozenset.intersection(*(frozenset(font.face.charToGlyph) for font in fonts))


class _Pages:
    """One invoice being laid out; built twice, since the first pass finds how many pages there are."""

    def __init__(self, known: frozenset[int], invoice: Invoice) -> None:
        self._known, self._invoice = known, invoice
        self._is_changed = False
        self.number = 0

    def build(self, total: int) -> bytes:
        """Lay the invoice out; each page names `total`."""
        invoice, out = self._invoice, BytesIO()
        document = SimpleDocTemplate(
            out,
            pagesize=letter if invoice.currency in _LETTER else A4,
            leftMargin=_MARGIN,
            rightMargin=_MARGIN,
            topMargin=_MARGIN,
            bottomMargin=_MARGIN + 6 * mm,
            title=f"Invoice {invoice.code}",
            author=self._shown(invoice.issuer),
            lang="en",
            invariant=1,
        )

        def footer(canvas: Any, _: object) -> None:
            self.number = canvas.getPageNumber()
            canvas.setFont(_PLAIN, 7.5)
            canvas.setFillColor(_SOFT)
            canvas.drawString(_MARGIN + _INSET / 2, 13 * mm, self._shown(f"Invoice {invoice.code}"))
            said = f"Page {self.number} of {total}"
            canvas.drawRightString(document.pagesize[0] - _MARGIN - _INSET / 2, 13 * mm, said)

        document.build(self._story(document.width - _INSET), onFirstPage=footer, onLaterPages=footer)
        return out.getvalue()

    def _story(self, width: float) -> list[Any]:
        story = [self._head(width), Spacer(1, 10 * mm), self._parties(width), Spacer(1, 10 * mm), self._lines(width)]
        # What is only said when a letter was changed comes last: by then all letters were looked at.
        story += [Spacer(1, 4 * mm), KeepTogether([self._sums(width), Spacer(1, 6 * mm), *self._notes()])]
        return story

    def _head(self, width: float) -> Table:
        row = [self._text(self._invoice.issuer, "issuer"), Paragraph("Invoice", _STYLES["title"])]
        return Table([row], colWidths=[width * 0.65, width * 0.35], style=_bare())

    def _parties(self, width: float) -> Table:
        invoice = self._invoice
        name, *place = invoice.customer.split("\n")
        customer = [self._soft("Bill to"), self._text(name, "bold"), *(self._text(line) for line in place)]
        facts = (
            *(("Invoice number", invoice.code), ("Date", invoice.issued_on.isoformat())),
            *(("Ticket", invoice.ticket_code), ("Currency", invoice.currency)),
        )
        rows = [[self._soft(label), self._text(said, "right")] for label, said in facts]
        told = Table(rows, colWidths=[width * 0.15, width * 0.25], style=_bare())
        widths = [width * share for share in (0.56, 0.04, 0.4)]
        return Table([[customer, "", told]], colWidths=widths, style=_bare())

    def _lines(self, width: float) -> Table:
        currency = self._invoice.currency
        heads = ("Description", "Quantity", "Price", f"Amount ({currency})")
        rows = [[self._soft(head, "soft right" if place else "soft") for place, head in enumerate(heads)]]
        rows += [self._line(line) for line in self._invoice.lines]
        widths = [width * share for share in (0.46, 0.18, 0.18, 0.18)]
        style = [("LINEBELOW", (0, 0), (-1, -1), 0.4, _RULE), ("LINEBELOW", (0, 0), (-1, 0), 0.8, _INK)]
        return Table(rows, colWidths=widths, repeatRows=1, style=_bare(*style, padding=4))

    def _line(self, line: InvoiceLine) -> list[Paragraph]:
        currency = self._invoice.currency
        price = "" if line.kind == LineKind.WRITE_OFF else written(line.unit_price_cents, currency)
        price += " / h" if line.unit == Unit.MINUTE else ""
        amount = written(line.amount_cents, currency)
        numbers = (_quantity(line), price, amount)
        return [self._text(line.text), *(self._text(said, "right") for said in numbers)]

    def _sums(self, width: float) -> Table:
        invoice, currency = self._invoice, self._invoice.currency
        tax = f"Tax ({written_number(invoice.tax_percent)} %)"
        sums = (("Subtotal", invoice.subtotal_cents), (tax, invoice.tax_cents))
        rows = [[self._text(label, "right"), self._text(written(cents, currency), "right")] for label, cents in sums]
        total = f"{currency} {written(invoice.total_cents, currency)}"
        rows.append([self._text("Total", "bold right"), self._text(total, "bold right")])
        style = _bare(("LINEABOVE", (0, -1), (-1, -1), 0.8, _INK), padding=3)
        return Table(rows, colWidths=[width * 0.22, width * 0.28], hAlign="RIGHT", style=style)

    def _notes(self) -> list[Paragraph]:
        invoice, notes = self._invoice, []
        if invoice.nte_cents:
            notes.append(f"Agreed limit: {invoice.currency} {written(invoice.nte_cents, invoice.currency)}.")
        if any(line.unit == Unit.MINUTE for line in invoice.lines):
            notes.append("Time is charged in the steps that were agreed; each step begun is charged whole.")
        if self._is_changed:
            notes.append(_CHANGED)
        return [self._soft(note) for note in notes]

    def _soft(self, said: str, style: str = "soft") -> Paragraph:
        return self._text(said, style)

    def _text(self, said: str, style: str = "body") -> Paragraph:
        return Paragraph(escape(self._shown(said)), _STYLES[style])

    def _shown(self, said: str) -> str:
        """Return text of which the fonts have every letter, on one line and of bounded length."""
        line = one_line(normalised(said))
        line = line if len(line) <= _LONGEST else line[: _LONGEST - 1] + _ELLIPSIS
        shown = "".join(one if ord(one) in self._known else self._instead(one) for one in line)
        self._is_changed = self._is_changed or shown != line
        return shown

    def _instead(self, letter: str) -> str:
        base = "".join(one for one in normalised(letter, "NFKD") if not unicodedata.combining(one))
        if unicodedata.combining(letter) or unicodedata.category(letter) == "Cf":
            return ""
        return base if base and all(ord(one) in self._known for one in base) else _INSTEAD


def _quantity(line: InvoiceLine) -> str:
    if line.unit == Unit.MINUTE:
        hours, minutes = divmod(int(line.quantity), 60)
        return " ".join([f"{hours} h"] * bool(hours) + [f"{minutes} min"] * bool(minutes or not hours))
    if line.unit == Unit.VISIT:
        return f"{int(line.quantity)} visit{'' if line.quantity == 1 else 's'}"
    return "" if line.unit == Unit.SUM else written_number(line.quantity)


def _bare(*commands: Sequence[Any], padding: float = 0) -> TableStyle:
    """Return the style of a table without frames."""
    sides = [(f"{side}PADDING", (0, 0), (-1, -1), 0) for side in ("LEFT", "RIGHT")]
    ends = [(f"{side}PADDING", (0, 0), (-1, -1), padding) for side in ("TOP", "BOTTOM")]
    return TableStyle([("VALIGN", (0, 0), (-1, -1), "TOP"), *sides, *ends, *commands])
