"""pytest tests/evaluate/test_charts.py"""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from textualize.evaluate import charts
from textualize.evaluate.metrics import Bin


def parsed(markup):
    return ElementTree.fromstring(f"<div>{markup}</div>")


def texts(markup):
    return [t.text for t in parsed(markup).iter("text")]


def points(path):
    numbers = [float(x) for x in re.findall(r"-?[\d.]+", path.get("d"))]
    return np.array(numbers).reshape(-1, 2)


def inked(markup, name):
    return [p for p in parsed(markup).iter("path") if f"fill: var(--{name})" in p.get("style", "")]


def test_downsampling_keeps_short_curves_gaps_and_peaks():
    assert charts.downsample([1.0, 2.0], 5).tolist() == [1.0, 2.0]
    long = np.zeros(10_000)
    long[4321] = 1.0
    assert len(charts.downsample(long)) == charts.MAX_POINTS
    assert charts.downsample(long, peak=True).max() == 1.0
    assert charts.downsample(long).max() < 1.0
    long[:5000] = np.nan
    found = charts.downsample(long)
    half = charts.MAX_POINTS // 2
    assert np.isnan(found[:half]).all() and np.isfinite(found[half:]).all()


def timeline(curve, spans=(), **options):
    band = charts.Band("AU12 lip corner puller", curve, 0.0, 1.0, "0.90", **options)
    return charts.timeline([band], spans, 2.0, 7.0, "a clip over time")


def test_unseen_stretches_are_open_and_shaded():
    drawn = timeline(np.array([0.1, np.nan, np.nan, 0.5, 0.9]))
    (gap,) = inked(drawn, "line")
    assert len(inked(drawn, "features")) == 2
    width = 72 * charts.WIDTH
    left, right = (width * (charts.LEFT + charts.SHARE * x) for x in (0.2, 0.6))
    assert points(gap)[:, 0].min() == pytest.approx(left, abs=0.1)
    assert points(gap)[:, 0].max() == pytest.approx(right, abs=0.1)
    nothing = timeline(np.full(4, np.nan))
    assert not inked(nothing, "features") and len(inked(nothing, "line")) == 1


def test_areas_draw_high_values_high_and_one_value_holds_for_the_whole_clip():
    (area,) = inked(timeline([0.0, 1.0]), "features")
    x, y = points(area).T
    assert y[x == x.max()].min() < y[x == x.min()].min()
    (whole,) = inked(timeline([0.7]), "features")
    low, high = points(whole)[:, 0].min(), points(whole)[:, 0].max()
    assert high - low == pytest.approx(72 * charts.WIDTH * charts.SHARE, abs=0.2)


def test_lines_are_as_many_as_stretches_heard():
    drawn = parsed(timeline([0.1, 0.2, np.nan, 0.4], filled=False))
    lines = [p for p in drawn.iter("path") if "stroke: var(--features)" in p.get("style", "")]
    assert len(lines) == 2


def test_timeline_names_bands_words_and_seconds():
    told = texts(timeline([0.5, 0.9], spans=[(2.5, 3.0), (6.0, 9.0)]))
    assert {"AU12 lip corner puller", "0.90", "words", "2"} <= set(told)
    ticks = [float(t) for t in told if re.fullmatch(r"[\d.]+", t) and t not in ("0.90", "2")]
    assert ticks and all(2.0 <= t <= 7.0 for t in ticks)
    assert len(inked(timeline([0.5], spans=[(2.5, 3.0), (6.0, 9.0)]), "text")) == 2
    assert charts.timeline([], [], 0.0, 1.0, "nothing") == ""


def test_intervals_place_dots_and_escape_labels():
    marks = [charts.Mark("<b>$a$</b> & b", 0.1, -0.1, 0.3, "text", "+0.1 日本")]
    markup = charts.intervals(marks, "a < b", zero=True)
    drawn = parsed(markup)
    assert drawn.find(".//figcaption").text == "a < b"
    assert {"<b>$a$</b> & b", "+0.1 日本"} <= set(texts(markup))
    assert "<b>$a$</b> & b +0.1 日本" in drawn.find(".//svg").get("aria-label")
    (dot,) = [u for u in drawn.iter("use") if "var(--text)" in u.get("style")]
    (whisker,) = [p for p in drawn.iter("path") if "stroke: var(--text)" in p.get("style", "")
                  and "id" not in p.attrib]  # fmt: skip
    low, high = sorted(points(whisker)[:, 0])
    assert low < float(dot.get("x")) < high
    assert charts.intervals([], "nothing") == ""


def test_reliability_dots_grow_with_their_count():
    bins = [Bin(0.5, 0.6, 0.55, 0.5, 4), Bin(0.9, 1.0, 0.95, 1.0, 16)]
    markup = charts.reliability(bins, "text", "bert")
    low, high = inked(markup, "text")
    widths = [np.ptp(points(p)[:, 0]) for p in (low, high)]
    assert widths[0] < widths[1]
    assert points(high)[:, 1].mean() < points(low)[:, 1].mean()
    label = parsed(markup).find("svg").get("aria-label")
    assert "bert" in label and "0.95, accuracy 1.00, 16 clips" in label


def test_charts_are_the_same_twice_need_nothing_and_share_no_ids():
    one, again = timeline([0.1, 0.9]), timeline([0.1, 0.9])
    other = charts.timeline([charts.Band("x", [1.0], 0, 1, "")], [], 0, 1, "another clip")
    assert one == again
    ids = [set(re.findall(r'\bid="([^"]+)"', markup)) for markup in (one, other)]
    assert ids[0] and not ids[0] & ids[1]
    assert set(re.findall(r'href="#([^"]+)"', one)) <= ids[0]
    assert "//" not in one and "<style" not in one and "font-family" not in one
    svg = parsed(one).find("svg")
    assert svg.get("role") == "img" and svg.get("aria-label") == "a clip over time"
    assert "width" not in svg.attrib
