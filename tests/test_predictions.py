import numpy as np
import pytest

from textualize.errors import TextualizeError
from textualize.predictions import read_predictions, write_predictions
from textualize.types import Prediction, Track

ROWS = np.array([[0.25, -1.0], [1 / 3, 0.5]], np.float32)
GIVEN = [
    Prediction("a", "m", "glad", {"glad": 0.9, "sad": 0.1}, "glad\n“so”"),
    Prediction("b", "m", None, {}, "?"),
    Prediction("c", "m", -0.5),
    Prediction("d", "m", None, series=Track(ROWS, 2.5, 1.0, ("v", "a"), "named", "jca")),
]


def test_what_is_written_is_read_back(tmp_path):
    write_predictions(tmp_path / "p.jsonl", GIVEN)
    again = read_predictions(tmp_path / "p.jsonl")
    assert again == GIVEN
    series = again[3].series
    assert np.array_equal(series.values, ROWS) and series.values.dtype == np.float32
    assert (series.rate_hz, series.start, series.names) == (2.5, 1.0, ("v", "a"))
    assert [p.series for p in again[:3]] == [None] * 3
    assert len((tmp_path / "p.jsonl").read_text("utf-8").splitlines()) == 4


@pytest.mark.parametrize(
    "line",
    [
        "{",
        '{"clip_id": "a", "method": "m"}',
        '{"clip_id": "a", "method": "m", "label": null, "series": {"names": ["v"]}}',
        '{"clip_id": "a", "method": "m", "label": null, "series": {"names": [], "values": []}}',
    ],
)
def test_a_damaged_line_is_named(tmp_path, line):
    path = tmp_path / "p.jsonl"
    write_predictions(path, GIVEN[:1])
    path.write_text(path.read_text("utf-8") + line + "\n", "utf-8")
    with pytest.raises(TextualizeError, match=r"p\.jsonl:2 is damaged"):
        read_predictions(path)


def test_no_file_is_one_line(tmp_path):
    with pytest.raises(TextualizeError, match="no predictions at"):
        read_predictions(tmp_path / "none.jsonl")
