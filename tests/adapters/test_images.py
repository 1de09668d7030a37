"""Uploaded files opened apart: pictures made anew from their pixels, and bombs that harm nobody."""

from __future__ import annotations

import io
import random
import sys
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

import psutil
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image, ImageChops

from pipeline.adapters.upload_child import MEMORY
from pipeline.adapters.upload_reader import ConfinedReader
from pipeline.core.uploads import LIMITS, Code, Kind, Picture, Position, Refused, examine
from pipeline.runtime.errors import ReaderBusy, Transient
from tests.adapters.pdfs import pdf
from tests.adapters.pictures import (
    CAMERA,
    HTML,
    LATITUDE,
    LONGITUDE,
    archive,
    chunk,
    encoded,
    gif,
    grey_16,
    halves,
    jpeg_of,
    photo,
    png,
)
from tests.deploy.probes import until

_RED, _BLUE = (220, 10, 10), (10, 10, 220)


@pytest.fixture(scope="module")
def reader() -> Iterator[ConfinedReader]:
    made = ConfinedReader()
    yield made
    made.close()


def taken(reader: ConfinedReader, content: bytes) -> Picture:
    """Return what a file becomes; it must be taken."""
    kind = examine(content, "")
    assert isinstance(kind, Kind), kind
    found = reader.picture(kind.content_type, content)
    assert isinstance(found, Picture), found
    return found


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def looks_like(image: Image.Image, place: tuple[float, float], colour: tuple[int, ...]) -> bool:
    """Say whether the picture has about this colour at a place, given as parts of its sides."""
    found = image.convert("RGB").getpixel((int(image.width * place[0]), int(image.height * place[1])))
    assert isinstance(found, tuple)
    return all(abs(mine - wanted) < 60 for mine, wanted in zip(found, colour, strict=True))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_a_photo_keeps_nothing_but_its_pixels_and_tells_when_and_where(reader: ConfinedReader, form: str) -> None:
    content = photo(form=form)
    found = taken(reader, content)
    assert found.taken_at == datetime(2026, 5, 1, 8, 11, 12, tzinfo=UTC)
    assert found.position == Position(LATITUDE, LONGITUDE)
    assert CAMERA in content
    for stored in (found.content, found.thumbnail):
        for trace in (CAMERA, b"Exif", b"2026:05:01", b"canary profile", b"ICC", b"GPS"):
            assert trace not in stored, trace
        image = opened(stored)
        assert dict(image.getexif()) == {}
        assert set(image.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density", "progressive", "progression"}
    assert found.content_type == "image/jpeg"


#: Where the red half is when a picture that lies as told is held upright (Exif 3.0, 4.6.5, Orientation).
_RED_AT = {
    1: (0.2, 0.5),
    2: (0.8, 0.5),
    3: (0.8, 0.5),
    4: (0.2, 0.5),
    5: (0.5, 0.2),
    6: (0.5, 0.2),
    7: (0.5, 0.8),
    8: (0.5, 0.8),
}


@pytest.mark.parametrize(("orientation", "place"), _RED_AT.items())
def test_a_picture_is_turned_upright(reader: ConfinedReader, orientation: int, place: tuple[float, float]) -> None:
    found = taken(reader, photo(orientation))
    assert (found.width, found.height) == ((48, 16) if orientation < 5 else (16, 48))
    for stored in (found.content, found.thumbnail):
        image = opened(stored)
        assert image.size == (found.width, found.height)
        assert looks_like(image, place, _RED)
        assert looks_like(image, (1 - place[0], 1 - place[1]), _BLUE)


@pytest.mark.parametrize("orientation", [0, 9, 65_535])
def test_an_orientation_that_is_none_turns_nothing(reader: ConfinedReader, orientation: int) -> None:
    assert looks_like(opened(taken(reader, photo(orientation)).content), (0.2, 0.5), _RED)


@pytest.mark.parametrize(
    "content",
    [
        encoded(halves("L"), "JPEG"),
        encoded(halves("CMYK"), "JPEG"),
        encoded(halves("1"), "PNG"),
        encoded(halves("P"), "PNG"),
        encoded(halves("RGBA"), "PNG"),
        encoded(halves(), "WEBP", lossless=True),
        gif(1),
    ],
)
def test_what_lets_nothing_shine_through_becomes_a_jpeg(reader: ConfinedReader, content: bytes) -> None:
    found = taken(reader, content)
    assert found.content_type == "image/jpeg"
    before, after = opened(content).convert("RGB"), opened(found.content).convert("RGB")
    darkest, brightest = zip(*ImageChops.difference(before, after).resize((6, 2)).getextrema(), strict=True)
    assert max(*darkest, *brightest) < 60


@pytest.mark.parametrize(
    ("form", "mode"), [("PNG", "RGBA"), ("PNG", "P"), ("PNG", "LA"), ("WEBP", "RGBA"), ("GIF", "RGBA")]
)
def test_what_lets_something_shine_through_becomes_a_png(reader: ConfinedReader, form: str, mode: str) -> None:
    image = halves("RGBA")
    image.putpixel((1, 1), (0, 0, 0, 0))
    content = encoded(image.convert(mode), form, **({} if form != "WEBP" else {"lossless": True}))
    assert opened(content).has_transparency_data
    found = taken(reader, content)
    stored = opened(found.content)
    assert (found.content_type, stored.mode) == ("image/png", "RGBA")
    assert stored.getpixel((1, 1))[3] == 0  # type: ignore[index]
    # Where nothing is, the thumbnail is white.
    assert opened(found.thumbnail).mode == "RGB"


def test_sixteen_bits_of_grey_are_scaled_and_not_cut_off(reader: ConfinedReader) -> None:
    stored = opened(taken(reader, grey_16()).content)
    assert stored.mode == "L"
    for at, wanted in enumerate((0, 128, 255)):
        found = stored.getpixel((at, 0))
        assert isinstance(found, int)
        assert abs(found - wanted) < 40


def test_a_thumbnail_is_small_and_a_small_picture_keeps_its_size(reader: ConfinedReader) -> None:
    large = taken(reader, encoded(halves(size=(3_000, 1_500)), "JPEG"))
    assert opened(large.thumbnail).size == (320, 160)
    thin = taken(reader, encoded(Image.new("RGB", (9_000, 2)), "PNG"))
    assert opened(thin.thumbnail).size == (320, 1)
    assert opened(taken(reader, photo()).thumbnail).size == (48, 16)


@pytest.mark.parametrize("tail", [HTML, archive(), pdf("Hidden"), b"GIF89a" + HTML], ids=["html", "zip", "pdf", "gif"])
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF"])
def test_of_a_file_that_is_two_only_the_pixels_stay(reader: ConfinedReader, form: str, tail: bytes) -> None:
    head = encoded(halves(), form)
    found = taken(reader, head + tail)
    for trace in (b"canary", b"%PDF", b"PK\x03\x04", b"<script"):
        assert trace not in found.content + found.thumbnail
    # What hangs on changes nothing: the same picture is the same content.
    assert found.content == taken(reader, head).content


def test_a_gif_that_is_an_archive_or_a_script_is_made_harmless(reader: ConfinedReader) -> None:
    """GIFAR: a ZIP archive behind a picture; and a comment that holds a script."""
    image = encoded(halves("P"), "GIF", comment=b"*/=1;alert('canary')//")
    assert b"canary" in image
    assert b"canary" not in taken(reader, image).content


@pytest.mark.parametrize(
    "content",
    [
        b"GIF89a" + pdf("Hidden"),
        b"\xff\xd8\xff\xe0" + pdf("Hidden"),
        photo()[:-200],
        encoded(halves(), "PNG")[:-40],
        encoded(halves(), "WEBP")[:-20],
        encoded(halves(size=(400, 400)), "GIF")[:300],
        png(20, 20, chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(80_000_000)))),
        png(20, 20, chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(80_000_000)))),
        jpeg_of(6_000, 6_000)[:-300],
    ],
    ids=["gif-pdf", "jpeg-pdf", "jpeg", "png", "webp", "gif", "ztxt-bomb", "iccp-bomb", "long-jpeg"],
)
def test_what_is_cut_off_or_a_bomb_is_refused_and_the_next_file_is_read(reader: ConfinedReader, content: bytes) -> None:
    kind = examine(content, "")
    found = reader.picture(kind.content_type, content) if isinstance(kind, Kind) else kind
    assert isinstance(found, Refused)
    assert found.code in {Code.UNREADABLE, Code.TOO_MANY_PIXELS}
    assert taken(reader, photo()).width == 48


def test_a_bomb_of_pixels_is_refused_by_the_child_too(reader: ConfinedReader) -> None:
    """As if its header had lied to whoever read it before."""
    for content_type, content in (("image/png", png(50_000, 50_000)), ("image/jpeg", jpeg_of(9_000, 5_000))):
        found = reader.picture(content_type, content)
        assert isinstance(found, Refused)
        assert found.code is Code.TOO_MANY_PIXELS


def test_of_moving_pictures_the_first_frame_is_kept(reader: ConfinedReader) -> None:
    moving = gif(10_000)
    assert opened(moving).n_frames == 10_000  # type: ignore[attr-defined]
    assert opened(taken(reader, moving).content).size == (8, 8)
    frames = [halves(), Image.new("RGB", (48, 16), (0, 200, 0))]
    for form in ("WEBP", "PNG", "GIF"):
        content = encoded(frames[0], form, save_all=True, append_images=frames[1:], duration=100)
        assert opened(content).n_frames == 2  # type: ignore[attr-defined]
        found = opened(taken(reader, content).content)
        assert looks_like(found, (0.2, 0.5), _RED)
        assert getattr(found, "n_frames", 1) == 1


def test_the_largest_picture_fits_into_the_memory_of_the_child() -> None:
    """40 megapixels, turned: a child above its limit would have failed. Its limits are asked of the system."""
    reader = ConfinedReader()
    content = encoded(
        Image.new("L", (8_000, 5_000), 200),
        "JPEG",
        exif=b"Exif\0\0MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0",
    )
    found = taken(reader, content)
    assert (found.width, found.height) == (5_000, 8_000)
    (child,) = children()
    assert child.rlimit(psutil.RLIMIT_AS) == (MEMORY, MEMORY)
    assert child.rlimit(psutil.RLIMIT_FSIZE) == (0, 0)
    reader.close()
    assert child_ids() == set()


def children() -> list[psutil.Process]:
    return [one for one in psutil.Process().children() if one.pid in child_ids()]


def child_ids() -> set[int]:
    """The children of this test: those of the shared reader began before."""
    return {one.pid for one in psutil.Process().children() if "upload_child" in " ".join(one.cmdline())} - _OTHERS


_OTHERS: set[int] = set()


@pytest.fixture(autouse=True)
def _know_the_others() -> None:
    _OTHERS.clear()
    _OTHERS.update({one.pid for one in psutil.Process().children() if "upload_child" in " ".join(one.cmdline())})


def child_that(does: str) -> tuple[str, ...]:
    """Return a command for the child with another function that reads; the rest is the product as it is."""
    code = f"import pipeline.adapters.upload_child as c\nread = c._read\n{does}\nc.main()"
    return (sys.executable, "-c", code)


@pytest.mark.parametrize(
    "does",
    [
        "c._read = lambda _: c.os_is_missing",
        "c._read = lambda _: (b'x',)",
        "c._read = lambda _: (b'{}\\n',)",
        "c._read = lambda _: (b'{\"size\": 9}\\nabc',)",
        "c._read = lambda _: (b'x' * 90_000_000,)",
        "c._read = lambda _: [bytearray(2_000_000_000)]",
        "import os; c._read = lambda _: os.kill(os.getpid(), 11)",
    ],
    ids=["raises", "no-line", "no-picture", "too-short", "too-long", "swells", "crashes"],
)
def test_whatever_becomes_of_the_child_is_a_refusal(does: str) -> None:
    reader = ConfinedReader(command=child_that(does))
    found = reader.picture("image/jpeg", photo())
    assert isinstance(found, Refused)
    assert found.code is Code.UNREADABLE
    reader.close()
    assert child_ids() == set()


def test_a_file_that_takes_too_long_ends_its_process_alone() -> None:
    reader = ConfinedReader(timedelta(milliseconds=300), child_that("import time; c._read = lambda _: time.sleep(99)"))
    assert isinstance(reader.picture("image/jpeg", photo()), Refused)
    assert child_ids() == set()


def test_memory_that_a_file_asks_for_in_vain_is_its_refusal_and_the_child_lives_on() -> None:
    does = "def hungry(*_):\n bytearray(2_000_000_000)\nc.images.picture = hungry"
    reader = ConfinedReader(command=child_that(does))
    for _ in range(2):
        found = reader.picture("image/jpeg", photo())
        assert isinstance(found, Refused)
        assert found.code is Code.UNREADABLE
    assert len(child_ids()) == 1
    reader.close()


def test_a_child_that_cannot_begin_is_not_the_files_fault() -> None:
    with pytest.raises(Transient, match="before it could begin"):
        ConfinedReader(command=(sys.executable, "-c", "raise SystemExit(1)")).picture("image/jpeg", photo())


def test_the_child_is_told_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIELDPOST_SECRET_KEY", "a secret")
    reader = ConfinedReader()
    taken(reader, photo())
    (child,) = children()
    assert "a secret" not in child.environ().values()
    reader.close()


#: A child that says when it has begun, and waits until it may go on.
_SLOW = """
import pathlib, time
def slow(asked):
    pathlib.Path({began!r}).touch()
    while not pathlib.Path({go!r}).exists():
        time.sleep(0.01)
    return read(asked)
c._read = slow
"""


def test_who_waits_too_long_for_a_turn_is_told_so(tmp_path: Path) -> None:
    began, go = tmp_path / "began", tmp_path / "go"
    reader = ConfinedReader(command=child_that(_SLOW.format(began=str(began), go=str(go))))
    first = Thread(target=taken, args=(reader, photo()))
    first.start()
    until(began.exists)
    with pytest.raises(ReaderBusy):
        reader.picture("image/jpeg", photo(), turn=timedelta())
    go.touch()
    first.join()
    reader.close()


def test_a_pdf_is_opened_and_a_locked_or_broken_one_is_refused(reader: ConfinedReader) -> None:
    assert reader.pdf(pdf("Receipt")) is None
    for content in (
        b"%PDF-1.4\n%%EOF",
        b"%PDF-1.4\nstartxref\n0\n%%EOF",
        pdf("x").replace(b"/Kids [3 0 R]", b"/Kids [9 0 R]"),
    ):
        found = reader.pdf(content)
        assert isinstance(found, Refused), content
        assert found.code is Code.UNREADABLE


_SEEDS = [photo(), encoded(halves(), "PNG"), encoded(halves("P"), "GIF"), encoded(halves(), "WEBP"), photo(form="WEBP")]


@hypothesis_settings(max_examples=150, deadline=None)
@given(st.sampled_from(_SEEDS), st.integers(0, 2**32), st.integers(1, 30))
def test_a_picture_that_was_changed_anywhere_is_taken_or_refused(
    reader: ConfinedReader, seed: bytes, luck: int, changes: int
) -> None:
    content = changed(seed, random.Random(luck), changes)
    kind = examine(content, "")
    if not isinstance(kind, Kind) or not kind.is_picture:
        return
    found = reader.picture(kind.content_type, content)
    if isinstance(found, Picture):
        assert found.width * found.height <= LIMITS.pixels
        assert opened(found.content).size == (found.width, found.height)


def changed(seed: bytes, chance: random.Random, changes: int) -> bytes:
    """Return a file with some bytes exchanged, taken out or put in."""
    content = bytearray(seed)
    for _ in range(changes):
        at, how = chance.randrange(len(content)), chance.randrange(3)
        content[at : at + (how > 0)] = chance.randbytes(how < 2)
    return bytes(content)
