"""Hostile structure: too many parts, too deep, too long headers, too large files."""

from __future__ import annotations

from collections.abc import Iterator

from tests.core.hostile.letters import Pen, file

Mails = Iterator[tuple[str, bytes]]


def many_parts(pen: Pen) -> Mails:
    """100,000 tiny parts, and fewer."""
    for count in (100_000, *(pen.some(500, 1_100, 3_000, 10_000) for _ in range(19))):
        head = pen.head(b'Content-Type: multipart/mixed; boundary="b"')
        yield f"{count} parts", head + b"\r\n--b\r\n\r\nx" * count + b"\r\n--b--\r\n"


def deep_nesting(pen: Pen) -> Mails:
    """Containers in containers."""
    for depth in (3_000, 900, *(pen.some(40, 60, 200, 900) for _ in range(16))):
        form = pen.rng.choice([b'boundary="n%d"', b"boundary=n%d", b"boundary*=us-ascii''n%d"])
        opening = b"".join(
            b"Content-Type: multipart/mixed; " + form % n + b"\r\n\r\n--n%d\r\n" % n for n in range(depth)
        )
        yield f"{depth} deep", pen.head() + opening + b"\r\n" + pen.text()


def contradicting_boundaries(pen: Pen) -> Mails:
    """Boundaries that are missing, empty, doubled, prefixes of each other, or never closed."""
    names = (b'""', b"b", b'"b b"', b'"' + b"x" * 200 + b'"', b"b; boundary=c", b'"b\\"q"', b"*", b"'b'")
    for name in names:
        head = pen.head(b"Content-Type: multipart/mixed; boundary=" + name)
        yield (
            f"boundary {name[:20]!r}",
            head + b"\r\n--b\r\n\r\none\r\n--bb\r\n\r\ntwo\r\n--b--\r\n--c\r\n\r\nthree\r\n",
        )
    for _ in range(6):
        lines = pen.rng.choices(
            [b"--b", b"--b--", b"--c", b"", b"text", b"Content-Type: multipart/mixed; boundary=c"], k=40
        )
        yield (
            "boundaries at random",
            pen.head(b"Content-Type: multipart/mixed; boundary=b") + b"\r\n" + b"\r\n".join(lines),
        )


def long_references(pen: Pen) -> Mails:
    """References of 200,000 ids, and fewer."""
    for count in (200_000, *(pen.some(200, 5_000, 20_000) for _ in range(15))):
        gap = pen.rng.choice([b" ", b"\r\n ", b"", b",\t"])
        yield f"{count} references", pen.letter(b"References: " + gap.join(b"<%d@x>" % n for n in range(count)))


def long_subjects(pen: Pen) -> Mails:
    """Subjects of thousands of encoded words."""
    words = (b"=?utf-8?q?caf=C3=A9?=", b"=?utf-8?b?Y2Fmw6k=?=", b"=?x?q?a?=", b"=?utf-8?q?a", b"=?", b"?=", b"\xff\xfe")
    for count in (8_000, *(pen.some(100, 2_000, 8_000) for _ in range(15))):
        subject = pen.rng.choice([b"\r\n ", b" ", b""]).join(pen.rng.choices(words, k=count))
        yield f"{count} encoded words", pen.letter(subject=subject)


def many_addresses(pen: Pen) -> Mails:
    """Thousands of recipients."""
    for count in (5_000, *(pen.some(300, 3_000, 5_000) for _ in range(13))):
        form = pen.rng.choice(
            [b"a%d@e.example", b'"Q, R" <a%d@e.example>', b"g%d: x@e.example;", b"(c) a%d", b"<a%d@[1.2.3.4]>"]
        )
        field = pen.rng.choice([b"Cc", b"Reply-To", b"Delivered-To", b"Bcc"])
        yield f"{count} addresses", pen.letter(field + b": " + b",\r\n ".join(form % n for n in range(count)))


def many_header_lines(pen: Pen) -> Mails:
    """200,000 header lines, values of megabytes."""
    for count in (200_000, *(pen.some(1_900, 5_000, 50_000) for _ in range(9))):
        yield f"{count} header lines", b"".join(b"X-%d: v\r\n" % n for n in range(count)) + pen.letter()
    for size in (4_000_000, *(pen.some(60_000, 70_000, 500_000) for _ in range(9))):
        filler = pen.rng.choice([b"v", b"v ", b"v\r\n ", b"(", b'"', b"=?utf-8?q?v?= "])
        yield f"header value of {size} bytes", pen.letter(b"X-Long: " + filler * (size // len(filler)))


def large_files(pen: Pen) -> Mails:
    """Attachments of 48 MB (encoded: as much as is kept of one mail), 25 MB, and a few of more ordinary sizes."""
    for size in (48_000_000, 25_000_000, *(pen.some(100_000, 1_000_000, 3_000_000) for _ in range(9))):
        content = pen.rng.randbytes(min(size, 1_000_000)) * -(-size // 1_000_000)
        part = file(
            content[:size], b"application/octet-stream", b'Content-Disposition: attachment; filename="plan.bin"'
        )
        yield f"attachment of {size} bytes", pen.mixed(b"\r\n" + pen.text(), part)
    for size in (20_000_000, 2_000_000):
        yield f"body of {size} bytes in one line", pen.letter(body=b"x" * size)
        yield f"body of {size} line ends", pen.letter(body=b"\n" * size)
        yield f"binary of {size} bytes", pen.letter(b"Content-Type: image/png", body=pen.rng.randbytes(size))


def large_bodies(pen: Pen) -> Mails:
    """Bodies beyond what a full text index takes."""
    for _ in range(10):
        size = pen.some(300_000, 1_100_000, 2_600_000)
        body = pen.rng.choice(
            [
                b"".join(b"word%d " % n for n in range(size // 9)),
                b"\xf0\x9f\x94\xa5" * (size // 4),
                pen.text(50) * (size // 300),
            ]
        )
        yield f"body of {size} bytes", pen.letter(b"Content-Type: text/plain; charset=utf-8", body=body)
