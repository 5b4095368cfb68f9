import numpy as np
import pytest

from textualize.demo.check import CHECKED_AUS, check_sensors, truth
from textualize.demo.run import SHIPPED
from textualize.store import Corpus


@pytest.fixture(scope="module")
def checked():
    return check_sensors(Corpus(SHIPPED))


def test_the_shipped_clips_were_read_as_they_were_made(checked):
    assert checked.clips == 70
    assert checked.face_rate >= 0.98
    # over all twelve people every one is above 0.8; these five alone are a little below in one
    assert {au: rho for au, rho in checked.correlations.items() if rho < 0.75} == {}
    assert np.mean(list(checked.correlations.values())) > 0.85
    assert set(checked.correlations) == set(CHECKED_AUS)
    assert checked.pitch_agreement >= 0.9 and checked.rate_agreement >= 0.9
    assert 0 < checked.word_error_rate < 0.5


def test_truth_covers_every_clip_with_a_curve_per_frame():
    made = truth()
    assert len(made) == 168
    for clip in made.values():
        lengths = {len(curve) for curve in clip["aus"].values()}
        assert len(lengths) == 1
        assert all(0 <= np.min(c) and np.max(c) <= 1 for c in clip["aus"].values())
