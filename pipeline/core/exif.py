"""What a camera wrote beside the pixels: when and where (Exif 3.0, CIPA DC-008). Any value may be of any kind."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from pipeline.core.uploads import Position

ORIENTATION = 0x0112
#: The folders of tags, as Pillow names them.
EXIF_FOLDER, GPS_FOLDER = 0x8769, 0x8825
_TAKEN, _OFFSET = 0x9003, 0x9011
_LATITUDE_SIDE, _LATITUDE, _LONGITUDE_SIDE, _LONGITUDE, _TIME, _DATE = 1, 2, 3, 4, 7, 29

Tags = Mapping[int, object]


def taken_at(exif: Tags, gps: Tags) -> datetime | None:
    """Return the moment the shutter opened, in UTC: by the camera's clock and zone, else by its satellites' time.

    None where neither is told: a clock without a zone names no moment.
    """
    said = _text(exif.get(_TAKEN)) + _text(exif.get(_OFFSET))
    try:
        return datetime.strptime(said, "%Y:%m:%d %H:%M:%S%z").astimezone(UTC)
    except (ValueError, OverflowError):
        return _by_satellite(gps)


def position(gps: Tags) -> Position | None:
    """Return where the camera was, to a tenth of a metre; None when it does not say, or names no place on earth."""
    latitude = _degrees(gps.get(_LATITUDE), _text(gps.get(_LATITUDE_SIDE)), "NS", 90)
    longitude = _degrees(gps.get(_LONGITUDE), _text(gps.get(_LONGITUDE_SIDE)), "EW", 180)
    # Devices without a fix write zeros.
    if latitude is None or longitude is None or latitude == longitude == 0:
        return None
    return Position(latitude, longitude)


def _by_satellite(gps: Tags) -> datetime | None:
    time = _numbers(gps.get(_TIME))
    if time is None or not all(0 <= part < most for part, most in zip(time, (24, 60, 60), strict=True)):
        return None
    hours, minutes, seconds = map(int, time)
    try:
        day = datetime.strptime(_text(gps.get(_DATE)) + "Z", "%Y:%m:%d%z")
        return day + timedelta(hours=hours, minutes=minutes, seconds=seconds)
    except (ValueError, OverflowError):
        return None


def _degrees(value: object, side: str, sides: str, most: int) -> float | None:
    parts = _numbers(value)
    if parts is None or side not in set(sides):
        return None
    degrees = parts[0] + parts[1] / 60 + parts[2] / 3600
    if not 0 <= degrees <= most:
        return None
    return round(-degrees if side == sides[1] else degrees, 6)


def _numbers(value: object) -> tuple[float, float, float] | None:
    """Return three finite numbers; rationals of a library may divide by zero."""
    if not isinstance(value, tuple | list) or len(value) != 3:
        return None
    try:
        first, second, third = (float(part) for part in value)
    except (TypeError, ValueError, ArithmeticError):
        return None
    return (first, second, third) if all(map(math.isfinite, (first, second, third))) else None


def _text(value: object) -> str:
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace")
    return value.partition("\0")[0].strip() if isinstance(value, str) else ""
