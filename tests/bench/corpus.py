"""The mail a benchmark runs on: a public corpus when it is at hand, else mail written by the demonstration."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

from deploy.demo.scenario import SMALLEST, Scenario, build
from pipeline.adapters.files import FileSource
from pipeline.ports import Fetched

#: Beside the checkout, where it is kept out of the repository.
PUBLIC = Path(__file__).resolve().parents[3] / "shared" / "corpora" / "public-3000.mbox.gz"
_START = datetime(2026, 1, 5, 6, 0, tzinfo=UTC)
_SEED = 7
_PAGE = 500
_FROM = re.compile(rb"^(>*From )", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Corpus:
    """Mail in plain mbox files, one for each process, with about as much in each; `messages` in all of them."""

    name: str
    messages: int
    parts: Sequence[Path]


def company() -> Scenario:
    """Return the company whose assets, teams and rules are in force."""
    return build(_SEED, SMALLEST, _START)


def prepare(folder: Path, messages: int, parts: int, given: Path | None) -> Corpus:
    """Write the corpus into `folder`: every message once, dealt out in turn."""
    source = _source(given)
    raws = read_raws(folder, messages, given)
    paths = [folder / f"part-{number}.mbox" for number in range(parts)]
    for number, path in enumerate(paths):
        path.write_bytes(b"".join(_mbox_entry(raw) for raw in raws[number::parts]))
    listed = sum(len(list(_ids(path, folder))) for path in paths)
    if listed != len(raws):
        raise AssertionError(f"{len(raws)} messages were written, {listed} are found again")
    return Corpus("written by the demo" if source is None else source.name, listed, paths)


def read_raws(folder: Path, messages: int, given: Path | None) -> list[bytes]:
    """Return up to `messages` different raw mails of the given file, the public corpus or the demonstration."""
    source = _source(given)
    return _written(messages) if source is None else _from_file(source, folder, messages)


def single_mails(folder: Path, count: int) -> list[Path]:
    """Write `count` small mails, each a file of its own and unlike any other; return their paths."""
    paths = []
    for number in range(count):
        mail = EmailMessage(policy=SMTP)
        mail["From"] = f"Guest {number} <guest{number}@customer.example.com>"
        mail["To"] = mail["Delivered-To"] = "idle@example.org"
        mail["Subject"] = f"AUS_0101 is down ({number})"
        mail["Message-ID"] = f"<idle-{number}@customer.example.com>"
        mail["Date"] = "Mon, 05 Jan 2026 06:00:00 +0000"
        mail.set_content(f"Charger AUS_0101 does not start. This is call number {number}.\n")
        path = folder / f"{number:03d}.eml"
        path.write_bytes(mail.as_bytes())
        paths.append(path)
    return paths


def _source(given: Path | None) -> Path | None:
    return given or (PUBLIC if PUBLIC.exists() else None)


def _written(messages: int) -> list[bytes]:
    unique = {mail.raw: None for mail in build(_SEED, max(messages, SMALLEST), _START).initial}
    return list(unique)[:messages]


def _from_file(path: Path, folder: Path, messages: int) -> list[bytes]:
    source = FileSource([path], folder / "spool")
    raws: list[bytes] = []
    cursor: str | None = None
    while len(raws) < messages:
        page = source.list_page(cursor, limit=_PAGE)
        raws += [found.raw for found in source.fetch(page.items) if isinstance(found, Fetched)]
        cursor = page.next_cursor
        if cursor is None:
            break
    source.close()
    return list(dict.fromkeys(raws))[:messages]


def _ids(path: Path, folder: Path) -> Iterator[str]:
    source = FileSource([path], folder / "spool")
    cursor: str | None = None
    while True:
        page = source.list_page(cursor, limit=_PAGE)
        yield from (item.provider_id for item in page.items)
        cursor = page.next_cursor
        if cursor is None:
            source.close()
            return


def _mbox_entry(raw: bytes) -> bytes:
    """Return one entry of an mboxrd file."""
    return b"From bench@localhost Mon Jan  5 06:00:00 2026\n" + _FROM.sub(rb">\1", raw) + b"\n\n"
