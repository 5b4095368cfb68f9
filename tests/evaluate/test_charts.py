"""pytest tests/evaluate/test_charts.py"""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textualize.evaluate import charts
from textualize.evaluate.metrics import Bin

NUMBERS = st.floats(-1e4, 1e4)


def parsed(markup):
    return ElementTree.fromstring(f"<div>{markup}</div>")


@settings(deadline=None)
@given(st.lists(NUMBERS, min_size=1, max_size=8))
def test_axis_holds_every_value_with_few_rising_ticks(values):
    axis = charts.axis_for(values)
    assert axis.low <= min(values) + 1e-6 and axis.high >= max(values) - 1e-6
    assert 2 <= len(axis.ticks) <= 12
    assert list(axis.ticks) == sorted(set(axis.ticks))
    assert all(0.0 <= axis.percent(v) <= 100.0 for v in values)


def test_downsampling_keeps_short_curves_gaps_and_peaks():
    assert charts.downsample([1.0, 2.0], 5).tolist() == [1.0, 2.0]
    long = np.zeros(10_000)
    long[4321] = 1.0
    assert len(charts.downsample(long)) == charts.MAX_POINTS
    assert charts.downsample(long, peak=True).max() == 1.0
    assert charts.downsample(long).max() < 1.0
    long[:5000] = np.nan
    found = charts.downsample(long)
    assert np.isnan(found[:100]).all() and np.isfinite(found[100:]).all()


def test_unseen_stretches_are_open_and_shaded():
    curve = np.array([0.1, np.nan, np.nan, 0.5, 0.9])
    drawn = parsed(charts.strip(curve, 0.0, 1.0))
    assert len(drawn.findall(".//path")) == 2
    (gap,) = drawn.findall(".//rect")
    assert (gap.get("x"), gap.get("width")) == ("200", "400")
    nothing = parsed(charts.strip(np.full(4, np.nan), 0.0, 1.0))
    assert not nothing.findall(".//path") and len(nothing.findall(".//rect")) == 1
    assert not parsed(charts.strip([], 0.0, 1.0)).findall(".//path")


def test_strip_draws_high_values_high():
    path = parsed(charts.strip([0.0, 1.0], 0.0, 1.0)).find(".//path").get("d")
    assert path == "M250,100 750,0"


def test_intervals_place_dots_and_escape_labels():
    marks = [charts.Mark("<b>a</b> & b", 0.1, -0.1, 0.3, "text", "+0.1")]
    drawn = parsed(charts.intervals(marks, "a < b", zero=True))
    assert drawn.find(".//th").text == "<b>a</b> & b"
    assert drawn.find(".//caption").text == "a < b"
    circle = drawn.find(".//circle")
    whisker, zero = (drawn.find(f".//line[@class='{c}']") for c in ("whisker", "zero"))
    at = [float(x.rstrip("%")) for x in (whisker.get("x1"), circle.get("cx"), whisker.get("x2"))]
    assert at == sorted(at) and at[0] < float(zero.get("x1").rstrip("%")) < at[1]
    assert charts.intervals([], "nothing") == ""


@pytest.mark.parametrize("start,end", [(0.0, 3.0), (12.5, 14.0), (2.0, 2.0)])
def test_time_axis_ticks_lie_inside(start, end):
    texts = [float(t.text) for t in parsed(charts.time_axis(start, end)).findall(".//text")]
    assert texts and all(start <= t <= end for t in texts)


def test_reliability_dots():
    bins = [Bin(0.5, 0.6, 0.55, 0.5, 4), Bin(0.9, 1.0, 0.95, 1.0, 16)]
    low, high = parsed(charts.reliability(bins, "text")).findall(".//circle")
    assert float(low.get("r")) < float(high.get("r"))
    assert (high.get("cx"), high.get("cy")) == ("95.0", "0.0")


def test_blocks_lie_in_time():
    first, second = parsed(charts.blocks([(0.0, 1.0), (2.0, 4.0)], 0.0, 4.0)).findall(".//rect")
    assert (first.get("x"), first.get("width")) == ("0.0%", "25.0%")
    assert (second.get("x"), second.get("width")) == ("50.0%", "50.0%")
