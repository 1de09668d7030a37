"""The hostile set: every mail is understood, within the limits of the process that reads it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import orjson
import pytest

from pipeline.adapters.parsing import IsolatingParser
from pipeline.core import mime, minimal
from pipeline.core.mime import Parsed
from pipeline.core.suspicion import is_suspicious
from tests.core.hostile.catalogue import ROWS, SEED, samples

_UNSAFE = ("\x00", "\ud800", "\udfff")


@pytest.fixture(scope="module")
def parser() -> Iterator[IsolatingParser]:
    """Return the parser with its real limits: 1 GB of address space, 20 s of CPU and 30 s for one mail."""
    found = IsolatingParser()
    yield found
    found.close()


def _text_of(parsed: Parsed) -> str:
    told = orjson.dumps(parsed, default=lambda _: "")  # it takes no lone surrogate
    return orjson.dumps(orjson.loads(told)).decode()


def test_the_set_covers_every_row_and_its_mails_differ() -> None:
    counted = Counter(sample.row for sample in samples())
    assert sum(counted.values()) >= 500
    assert min(counted[row] for row in ROWS) >= 10
    assert len({sample.raw for sample in samples()}) == sum(counted.values())


@pytest.mark.fault("F-31")
def test_every_mail_is_read_apart_within_the_limits_and_nothing_unsafe_comes_out(parser: IsolatingParser) -> None:
    """A child above 1 GB or 20 s is killed, and `ParserDied` fails this test."""
    seconds: list[tuple[float, str]] = []
    empty = 0
    for sample in samples(SEED):
        started_at = time.perf_counter()
        try:
            parsed = parser.parse(sample.raw, isolated=True)
        except mime.Unreadable:
            empty += 1
            assert not sample.raw.strip(), (sample.row, sample.what)
            continue
        finally:
            seconds.append((time.perf_counter() - started_at, f"{sample.row}, {sample.what}"))
        assert "\\u0000" not in _text_of(parsed), (sample.row, sample.what)
        assert sum(part.size for part in parsed.attachments) <= len(sample.raw)
    assert 0 < empty < 10
    _tell(seconds)


def test_what_is_not_suspicious_is_the_same_when_it_is_read_here(parser: IsolatingParser) -> None:
    ordinary = [sample for sample in samples() if sample.raw.strip() and not is_suspicious(sample.raw)]
    assert len(ordinary) > 400
    for sample in ordinary:
        assert mime.parse(sample.raw) == parser.parse(sample.raw, isolated=True), (sample.row, sample.what)


def test_the_header_of_every_mail_can_be_understood_alone() -> None:
    for sample in samples():
        assert minimal.understand(sample.raw).text == minimal.BODY, (sample.row, sample.what)


def _tell(seconds: list[tuple[float, str]]) -> None:
    seconds.sort()
    at = {
        name: seconds[min(int(len(seconds) * part), len(seconds) - 1)] for name, part in (("p50", 0.5), ("p99", 0.99))
    }
    print(f"seed {SEED}, {len(seconds)} mails:", *(f"{name} {found[0]:.3f} s" for name, found in at.items()))
    print(f"slowest: {seconds[-1][0]:.3f} s ({seconds[-1][1]})")
