"""Small PDF files, good and hostile."""

from __future__ import annotations

import zlib

_CATALOG = b"<< /Type /Catalog /Pages 2 0 R >>"
_PAGES = b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>"
_PAGE = (
    b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>"
)
_FONT = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"


def pdf(*lines: str) -> bytes:
    """Return a document of one page with these lines."""
    shown = " ".join(f"({line}) Tj 0 -14 Td" for line in lines)
    return _document(f"BT /F1 12 Tf 72 720 Td {shown} ET".encode(), b"")


def heavy_pdf() -> bytes:
    """Return a document of some kilobytes whose page takes a library minutes."""
    return _document(zlib.compress(b"BT /F1 12 Tf " + b"(a) Tj " * 9_000_000, 9), b"/Filter /FlateDecode ")


def _document(content: bytes, how: bytes) -> bytes:
    stream = b"<< %s/Length %d >>\nstream\n%s\nendstream" % (how, len(content), content)
    out, places = b"%PDF-1.4\n", []
    for number, part in enumerate((_CATALOG, _PAGES, _PAGE, stream, _FONT), 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, part)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    end = b"trailer << /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % len(out)
    return out + b"xref\n0 6\n0000000000 65535 f \n" + table + end
