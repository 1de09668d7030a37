"""Pictures as SVG: how true certainties are, and beside it what policies cost; readable on light and dark ground.

Nothing is loaded from elsewhere, fonts are generic, and text is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from pipeline.core.backtesting import Interval
from pipeline.core.calibration import Bin

_STYLE = """
.ground{fill:#ffffff}.ink{fill:#1d2733}.soft{fill:#5b6773}.line{stroke:#c3cad2;stroke-width:1;fill:none}
.ideal{stroke:#7c8894;stroke-width:1.5;stroke-dasharray:5 4;fill:none}.whisker{stroke:#1d2733;stroke-width:1.5}
.fill0{fill:#c9711c}.fill1{fill:#1f6fb2}.path0{stroke:#c9711c}.path1{stroke:#1f6fb2}.path{stroke-width:2;fill:none}
text{font-family:system-ui,-apple-system,"Segoe UI",Arial,sans-serif;font-size:13px}
.heading{font-size:19px;font-weight:600}.title{font-size:14px;font-weight:600}.small{font-size:11px}
@media (prefers-color-scheme:dark){.ground{fill:#14191f}.ink{fill:#e8edf2}.soft{fill:#a4b0bc}.line{stroke:#3a4550}
.ideal{stroke:#8b97a3}.whisker{stroke:#e8edf2}.fill0{fill:#e8964a}.fill1{fill:#57a3e0}
.path0{stroke:#e8964a}.path1{stroke:#57a3e0}}
"""
_WIDTH, _HEIGHT = 1040, 560
#: What XML does not take, or UTF-8: controls, halves of a pair, and two that are no characters.
_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]+")


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a reliability diagram."""

    name: str
    bins: Sequence[Bin]


@dataclass(frozen=True, slots=True)
class Bars:
    """What several policies cost of one thing, each with its interval; `unit` stands at the axis."""

    title: str
    unit: str
    bars: Sequence[tuple[str, Interval]]


@dataclass(frozen=True, slots=True)
class _Area:
    """A part of the picture, in pixels, with how far its two axes reach."""

    left: float
    top: float
    width: float
    height: float
    most_x: float = 1.0
    most_y: float = 1.0

    def x(self, value: float) -> float:
        """Return where a value stands from the left."""
        return round(self.left + self.width * value / self.most_x, 1)

    def y(self, value: float) -> float:
        """Return where a value stands from the top."""
        return round(self.top + self.height * (1 - value / self.most_y), 1)


def picture(heading: str, reliability: Sequence[Series], costs: Sequence[Bars]) -> str:
    """Return the picture: at most two lines of reliability, and at most three things that cost."""
    parts = [
        f'<rect class="ground" width="{_WIDTH}" height="{_HEIGHT}"/>',
        _text(28, 34, heading, "ink heading"),
        _text(_WIDTH - 28, _HEIGHT - 20, "whiskers: 95 % intervals", "soft small", "end"),
        *_reliability(_Area(80, 100, 360, 300), reliability),
    ]
    width = 480 / max(1, len(costs))
    for place, bars in enumerate(costs):
        parts += _bars(_Area(560 + place * width, 100, width - 70, 300), bars)
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" '
        f'role="img"><title>{_words(heading)}</title><style>{_STYLE}</style>\n{body}\n</svg>\n'
    )


def _reliability(area: _Area, series: Sequence[Series]) -> list[str]:
    parts = [_text(area.left - 52, area.top - 38, "How often it was right, by how certain it was", "ink title")]
    parts += _grid(area)
    parts.append(_line(area.x(0), area.y(0), area.x(1), area.y(1), "ideal"))
    parts.append(_text(area.x(0.14), area.y(0.06), "as said", "soft small"))
    for number, one in enumerate(series[:2]):
        parts += _series(area, one, number)
        parts.append(_dot(area.left + 8 + 190 * number, area.top - 14, f"fill{number}"))
        parts.append(_text(area.left + 18 + 190 * number, area.top - 10, one.name, "ink"))
    parts += _counts(_Area(area.left, area.top + area.height + 8, area.width, 54), series[:2])
    parts.append(_text(area.x(0.5), area.top + area.height + 106, "certainty, as the case said it", "soft", "middle"))
    parts.append(_text(28, area.y(0.5), "share that was right", "soft", "middle", turned=True))
    return parts


def _grid(area: _Area) -> list[str]:
    parts = []
    for tenth in range(0, 11, 2):
        share = tenth / 10
        parts.append(_line(area.x(0), area.y(share), area.x(1), area.y(share), "line"))
        parts.append(_text(area.left - 8, area.y(share) + 4, f"{share:.1f}", "soft small", "end"))
        parts.append(_text(area.x(share), area.top + area.height + 82, f"{share:.1f}", "soft small", "middle"))
    return parts


def _series(area: _Area, series: Series, number: int) -> list[str]:
    places = [(area.x(one.said), area.y(one.was)) for one in series.bins]
    joined = " ".join(f"{x},{y}" for x, y in places)
    path = [f'<polyline class="path path{number}" points="{joined}"/>'] if len(places) > 1 else []
    return path + [_dot(x, y, f"fill{number}") for x, y in places]


def _counts(area: _Area, series: Sequence[Series]) -> list[str]:
    """Draw how many there were in each tenth of the last line, with the number above."""
    bins, number = (series[-1].bins, len(series) - 1) if series else ((), 0)
    most = max((one.count for one in bins), default=1)
    scaled = _Area(area.left, area.top + 12, area.width, area.height - 12, 1.0, most)
    parts = [_line(area.left, area.top + area.height, area.left + area.width, area.top + area.height, "line")]
    for one in bins:
        top = scaled.y(one.count)
        height = scaled.top + scaled.height - top
        parts.append(_box(scaled.x(one.low) + 3, top, 0.1 * area.width - 6, height, f"fill{number}"))
        parts.append(_text(scaled.x(one.low + 0.05), top - 3, _short(one.count), "soft small", "middle"))
    parts.append(_text(area.left - 8, area.top + area.height, "cases", "soft small", "end"))
    return parts


def _bars(area: _Area, bars: Bars) -> list[str]:
    most = _round_up(max((interval.high for _, interval in bars.bars), default=1.0))
    scaled = _Area(area.left, area.top, area.width, area.height, 1.0, most)
    parts = [_text(area.left - 40, area.top - 38, bars.title, "ink title")]
    parts.append(_text(area.left - 40, area.top - 16, bars.unit, "soft small"))
    for quarter in range(5):
        value = most * quarter / 4
        parts.append(_line(area.left, scaled.y(value), area.left + area.width, scaled.y(value), "line"))
        parts.append(_text(area.left - 6, scaled.y(value) + 4, _short(value), "soft small", "end"))
    wide = area.width / max(1, len(bars.bars))
    for number, (name, interval) in enumerate(bars.bars):
        parts += _bar(
            _Area(area.left + number * wide, area.top, wide, area.height, 1.0, most), name, interval, number % 2
        )
    return parts


def _bar(area: _Area, name: str, interval: Interval, number: int) -> list[str]:
    middle, top = area.x(0.5), area.y(interval.value)
    low, high = area.y(interval.low), area.y(interval.high)
    return [
        _box(area.x(0.18), top, area.width * 0.64, area.top + area.height - top, f"fill{number}"),
        _line(middle, low, middle, high, "whisker"),
        _line(middle - 6, low, middle + 6, low, "whisker"),
        _line(middle - 6, high, middle + 6, high, "whisker"),
        _text(middle, high - 7, _short(interval.value), "ink", "middle"),
        _text(middle, area.top + area.height + 20, name, "ink", "middle"),
        _text(
            middle, area.top + area.height + 38, f"{_short(interval.low)} to {_short(interval.high)}", "soft small",
            "middle",
        ),
    ]  # fmt: skip


def _round_up(value: float) -> float:
    """Return the next of 1, 2, 4, 8, 10 times a power of ten: quarters of it read well. Room for a word is kept."""
    wanted, power = max(value * 1.08, 1e-9), 1.0
    while power * 10 < wanted:
        power *= 10
    while power > wanted:
        power /= 10
    return next(power * step for step in (1, 2, 4, 6, 8, 10) if power * step >= wanted)


def _short(value: float) -> str:
    if value >= 100 or value == int(value):
        return f"{value:,.0f}".replace(",", "\u202f")
    return f"{value:.1f}"


def _words(said: str) -> str:
    """Return what may stand between tags."""
    return escape(_UNFIT.sub(" ", said))


def _text(x: float, y: float, said: str, kind: str, anchor: str = "start", *, turned: bool = False) -> str:
    turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{turn}>{_words(said)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _box(x: float, y: float, width: float, height: float, kind: str) -> str:
    return f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{max(0, height):.1f}"/>'


def _dot(x: float, y: float, kind: str) -> str:
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>'
