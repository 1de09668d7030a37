"""Small pictures, good and hostile, as the bytes of files."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

from PIL import Image
from PIL.TiffImagePlugin import IFDRational

#: Where and when every photo of `photo` was taken.
LATITUDE, LONGITUDE = 48.137222, -11.575556
CAMERA = b"Canary Camera"
HTML = b"<html><script>alert('canary')</script></html>"


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    """Return a picture as a file."""
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def halves(mode: str = "RGB", size: tuple[int, int] = (48, 16)) -> Image.Image:
    """Return a picture whose left half is red and whose right half is blue."""
    image = Image.new("RGB", size, (220, 10, 10))
    image.paste((10, 10, 220), (size[0] // 2, 0, *size))
    return image.convert(mode)


def photo(orientation: int = 1, form: str = "JPEG", size: tuple[int, int] = (48, 16), **options: Any) -> bytes:
    """Return a photo as a telephone takes it: with its place, its time, its maker and a profile of colours."""
    image = halves(size=size)
    exif = image.getexif()
    exif[0x0112], exif[0x010F] = orientation, CAMERA.decode()
    exif.get_ifd(0x8769).update({0x9003: "2026:05:01 10:11:12", 0x9011: "+02:00"})
    exif.get_ifd(0x8825).update(
        {1: "N", 2: rationals(48, 8, 14), 3: "W", 4: rationals(11, 34, 32), 7: rationals(8, 11, 9), 29: "2026:05:01"}
    )
    return encoded(image, form, exif=exif.tobytes(), icc_profile=b"canary profile" * 20, **options)


def rationals(*numbers: int) -> tuple[IFDRational, ...]:
    return tuple(IFDRational(number, 1) for number in numbers)


def png(width: int, height: int, *more: bytes, depth: int = 1, colour: int = 0, data: bytes | None = None) -> bytes:
    """Return a PNG file of one colour, whatever its size: a bit for a pixel, and chunks between."""
    row = b"\0" + bytes((width + 7) // 8)
    packed = zlib.compress(row * min(height, 8)) if data is None else zlib.compress(data)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def grey_16() -> bytes:
    """Return a PNG with 16 bits of grey: black, a half, white."""
    return png(3, 1, depth=16, data=b"\0" + struct.pack(">HHH", 0, 0x8000, 0xFFFF))


def gif(frames: int, size: tuple[int, int] = (8, 8)) -> bytes:
    """Return a moving picture with that many equal frames."""
    whole = encoded(Image.new("P", size), "GIF")
    head, frame = whole[:-1].split(b",", 1)
    return head + (b"," + frame) * frames + b";"


def jpeg_of(width: int, height: int) -> bytes:
    """Return a JPEG file whose header says another size than its pixels have."""
    small = bytearray(encoded(halves(), "JPEG"))
    at = small.index(b"\xff\xc0") + 5
    small[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(small)


def archive(content: bytes = HTML) -> bytes:
    """Return a ZIP file without compression."""
    name = b"a.html"
    about = struct.pack("<HHHHHIIIHH", 10, 0, 0, 0, 0, zlib.crc32(content), len(content), len(content), len(name), 0)
    local = b"PK\x03\x04" + about + name + content
    central = b"PK\x01\x02" + struct.pack("<H", 10) + about + struct.pack("<HHHII", 0, 0, 0, 0, 0) + name
    return local + central + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local), 0)
