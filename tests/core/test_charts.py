"""Pictures are SVG by themselves: well formed, with words at the axes, nothing from elsewhere, nothing injected."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.backtesting import Interval
from pipeline.core.calibration import Bin, diagram
from pipeline.core.charts import Bars, Series, picture

_SVG = "{http://www.w3.org/2000/svg}"
SERIES = [
    Series("formula", diagram([(70, True), (71, False), (93, True)])),
    Series("calibrated", diagram([(45, False)])),
]
COSTS = [Bars("Wasted visits", "visits", (("A", Interval(4886, 4700, 5000)), ("B", Interval(1632, 1500, 1700))))]


def drawn(heading: str = "a test", series: list[Series] = SERIES, costs: list[Bars] = COSTS) -> ET.Element:
    return ET.fromstring(picture(heading, series, costs))


def texts(root: ET.Element) -> list[str]:
    return [one.text or "" for one in root.iter(f"{_SVG}text")]


def test_axes_have_words_and_bars_their_numbers() -> None:
    said = texts(drawn())
    wanted = {"a test", "certainty, as the case said it", "share that was right", "as said", "Wasted visits", "cases"}
    assert wanted <= set(said)
    assert "4\u202f886" in said
    assert "1\u202f500 to 1\u202f700" in said


def test_nothing_comes_from_elsewhere_and_both_grounds_are_thought_of() -> None:
    svg = picture("a test", SERIES, COSTS)
    assert re.findall(r"(?:href|url\(|@import|<script|<image)", svg) == []
    assert "prefers-color-scheme:dark" in svg
    assert "sans-serif" in svg


def test_names_are_escaped() -> None:
    root = drawn('<script>"&', [Series("<b>", SERIES[0].bins)], [Bars("<i>", "&", (("<u>", Interval(1, 1, 1)),))])
    assert {'<script>"&', "<b>", "<i>", "&", "<u>"} <= set(texts(root))


def test_names_that_no_xml_may_hold_are_drawn_without_that() -> None:
    name = "a\x00b\x1b\udcff\uffff\nc"
    svg = picture(name, [Series(name, SERIES[0].bins)], [Bars(name, name, ((name, Interval(1, 1, 1)),))])
    assert "a b c" in texts(ET.fromstring(svg.encode()))


def test_nothing_measured_still_makes_a_picture() -> None:
    empty = drawn(series=[Series("none", ())], costs=[Bars("none", "", (("A", Interval(0, 0, 0)),))])
    assert "none" in texts(empty)


@given(
    bins=st.lists(
        st.builds(
            Bin, st.sampled_from([n / 10 for n in range(10)]), st.integers(1, 10**6), st.floats(0, 1), st.floats(0, 1)
        )
    ),
    values=st.lists(st.floats(0, 1e6), min_size=1, max_size=2),
)
def test_everything_that_is_drawn_stays_in_the_picture(bins, values) -> None:
    bars = tuple((str(number), Interval(value, value * 0.9, value * 1.1)) for number, value in enumerate(values))
    root = drawn(series=[Series("one", bins)], costs=[Bars("cost", "", bars)])
    width, height = float(root.get("width", "")), float(root.get("height", ""))
    for one in root.iter():
        for name, limit in (("x", width), ("cx", width), ("y", height), ("cy", height), ("x2", width), ("y2", height)):
            place = one.get(name)
            assert place is None or -1 <= float(place) <= limit + 1
    for box in root.iter(f"{_SVG}rect"):
        assert float(box.get("y", "0")) + float(box.get("height", "0")) <= height + 1
