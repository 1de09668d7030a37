"""The steps that can be done again, by their word."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from models.enums import ReprocessKind
from pipeline.runtime.reparsing import Reparsing
from pipeline.runtime.reprocessing import Kind
from pipeline.runtime.rerouting import Rerouting
from pipeline.runtime.restitching import Restitching

KINDS: Mapping[ReprocessKind, Kind] = MappingProxyType(
    {ReprocessKind.PARSE: Reparsing(), ReprocessKind.STITCH: Restitching(), ReprocessKind.ROUTING: Rerouting()}
)
