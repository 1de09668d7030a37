"""Texts of mails: a report about assets, an answer, a quoted mail below a new one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random

from deploy.demo.people import Person
from deploy.demo.phrases import ANSWERS, BOOKS, DESK_GREETINGS
from deploy.demo.specs import AssetSpec
from deploy.demo.wording import Report, Wording

_QUOTED_LINES = 60


def report(rng: Random, writer: Person, said: Sequence[tuple[AssetSpec, Report]], at: datetime) -> tuple[str, str]:
    """Return subject and text of a mail in which `writer` says something about one asset or several."""
    book = BOOKS[writer.language]
    first, about = said[0]
    subject = fill(rng.choice(book.subjects[about]), book, first, rng, at)
    lines = [_sentence(rng, book, asset, state, at) for asset, state in said]
    lines += rng.sample(book.details, rng.randrange(min(4, len(book.details))))
    return subject, letter(rng, writer, " ".join(lines[:2]), *lines[2:])


def _sentence(rng: Random, book: Wording, asset: AssetSpec, state: Report, at: datetime) -> str:
    choices = book.trouble[state] + book.trouble_of.get((asset.kind, state), ()) * 2
    return fill(rng.choice(choices), book, asset, rng, at)


def small_talk(
    rng: Random, writer: Person, pairs: Sequence[tuple[str, str]], asset: AssetSpec, at: datetime
) -> tuple[str, str]:
    """Return subject and text of a question or a thank-you out of `pairs`."""
    book = BOOKS[writer.language]
    number, template = f"NL-{at:%Y}-{rng.randrange(10000):04d}", rng.choice(pairs)
    subject, text = (fill(phrase, book, asset, rng, at, number=number) for phrase in template)
    return subject, letter(rng, writer, text)


def fill(phrase: str, book: Wording, asset: AssetSpec, rng: Random, at: datetime, *, number: str = "") -> str:
    """Return `phrase` with its gaps filled; now and then a tag is written the way people type it."""
    tag = asset.tag
    if rng.random() < 0.08:
        tag = rng.choice((tag.lower(), tag.replace("_", "-"), tag.replace("_", " ")))
    day = f"{at + timedelta(days=rng.randrange(2, 9)):%Y-%m-%d}"
    return phrase.format(
        tag=tag, site=asset.name.rpartition(f" {asset.kind}")[0], noun=book.nouns[asset.kind], number=number, day=day
    )


def letter(rng: Random, writer: Person, *paragraphs: str) -> str:
    """Return the paragraphs between a greeting and a signature."""
    book = BOOKS[writer.language]
    parts = [rng.choice(book.greetings), *paragraphs, rng.choice(book.closings)]
    if rng.random() < 0.75:
        parts.append(writer.signature)
    return "\n\n".join(parts) + "\n"


def follow_up(rng: Random, writer: Person) -> str:
    """Return what a customer writes next."""
    return letter(rng, writer, rng.choice(BOOKS[writer.language].follow_ups))


def answer(rng: Random, writer: Person, at: datetime) -> str:
    """Return what the service desk writes back."""
    text = rng.choice(ANSWERS).format(day=f"{at + timedelta(days=2):%Y-%m-%d}")
    return "\n\n".join((rng.choice(DESK_GREETINGS), text, "Kind regards", writer.signature)) + "\n"


def quoted(text: str, below: str, writer: Person, author: str, at: datetime) -> str:
    """Return `text` over the mail it answers, each line of that marked with ">" (RFC 3676 section 4.5)."""
    intro = BOOKS[writer.language].wrote.format(name=author, day=f"{at:%Y-%m-%d %H:%M}")
    lines = [f"> {line}".rstrip() for line in below.splitlines()[:_QUOTED_LINES]]
    return f"{text}\n{intro}\n" + "\n".join(lines) + "\n"
