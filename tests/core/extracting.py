"""What the rules of words alone find in a mail."""

from __future__ import annotations

from pipeline.core.asset_names import AssetIndex
from pipeline.core.extractions import Extraction
from pipeline.core.signals import Known, read


def extract(subject: str, text: str, known: Known | AssetIndex) -> list[Extraction]:
    """Return one extraction per known asset that a mail names, or that a pattern finds."""
    reading = read(subject, text, known if isinstance(known, Known) else Known(known))
    return [] if reading is None else reading.extractions()
