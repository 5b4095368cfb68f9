import numpy as np
import pytest
import torch

from textualize import speakers
from textualize.baselines.batch import LIMIT, fit
from textualize.baselines.pooling import pool, summarise
from textualize.errors import TextualizeError
from textualize.types import Clip, Record, Span, Track

NAMES = ("AU01", "AU12", "AU45")


def track(values, rate=10.0, start=0.0, names=NAMES):
    return Track(np.asarray(values, np.float32), rate, start, names, "intensity", "test")


def record(name, rng, subject=None, rows=23, offset=0.0, **tracks):
    own = {"aus": track(rng.normal(offset, 1, (rows, 3)))} | tracks
    return Record(Clip(name, None, subject=subject), own)


def prepared(records, relative=False, steps=4, tracks=("aus",), groups=None):
    clips = [summarise(r, tracks, steps) for r in records]
    groups = groups or {"visual": tracks}
    features = fit(clips, "jca", tracks, groups, steps, relative)
    return features, clips


@pytest.mark.parametrize("rows", [4, 5, 8, 37])
def test_pooling_keeps_every_row_once(rows):
    values = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)
    mean, std = pool(track(values), 1, 0.0, rows / 10)
    assert np.allclose(mean[0], values.mean(0))
    assert np.allclose(std[0], values.std(0))
    mean, _ = pool(track(values), 4, 0.0, rows / 10)
    assert np.all(np.diff(mean, axis=0) > 0)
    if rows % 4 == 0:
        assert np.allclose(mean, values.reshape(4, -1, 3).mean(1))


def test_one_row_is_the_same_at_every_step_whatever_its_rate():
    for rate in (0.01, 1.0, 100.0):
        mean, std = pool(track([[1, 2, np.nan]], rate), 5, 0.0, 3.0)
        assert np.array_equal(mean, [[1, 2, np.nan]] * 5, equal_nan=True)
        assert np.nan_to_num(std).sum() == 0


def test_steps_follow_time_and_unseen_steps_are_nan():
    mean, _ = pool(track(np.ones((10, 3)), start=1.0), 4, 0.0, 4.0)
    assert np.isfinite(mean).all(1).tolist() == [False, True, False, False]


def test_unseen_rows_are_left_out_of_a_step():
    values = np.ones((8, 3))
    values[1] = np.nan
    values[4:6] = np.nan
    mean, _ = pool(track(values), 4, 0.0, 0.8)
    assert np.isfinite(mean).all(1).tolist() == [True, True, False, True]


def test_a_span_bounds_the_pooling():
    values = np.arange(20.0)[:, None] * np.ones(3)
    own = Record(Clip("a", None, span=Span(1.0, 2.0)), {"aus": track(values)})
    sequence = summarise(own, ["aus"], 2)["aus"].sequence["raw"]
    assert sequence[:, 0].tolist() == [12.0, 17.0]


def test_training_functionals_are_standardised_and_finite():
    rng = np.random.default_rng(0)
    records = [record(str(i), rng, offset=5) for i in range(50)]
    features, clips = prepared(records)
    batch, notes = features.batch(clips)
    assert batch.functionals.shape == (50, features.width)
    assert batch.streams["visual"].shape == (50, 4, features.widths["visual"])
    means = batch.functionals[:, :15].mean(0)
    assert means.abs().max() < 0.1
    assert batch.functionals.abs().max() <= LIMIT
    assert notes == []


def test_statistics_come_from_training_records_only():
    rng = np.random.default_rng(0)
    features, _ = prepared([record(str(i), rng) for i in range(20)])
    held = [summarise(record("far", rng, offset=3.0), ["aus"], 4)]
    batch, _ = features.batch(held)
    assert batch.functionals[0, :3].min() > 2


def test_a_column_never_seen_is_zero_and_marked():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(23, 3))
    values[:, 1] = np.nan
    records = [record(str(i), rng) for i in range(9)] + [record("x", rng, aus=track(values))]
    features, clips = prepared(records)
    batch, _ = features.batch(clips)
    d = 3
    assert batch.functionals[-1, 1 : 5 * d : d].tolist() == [0.0] * 5
    assert batch.functionals[-1, 5 * d + 1] < batch.functionals[0, 5 * d + 1]
    assert batch.streams["visual"][-1, :, 2 * d :].tolist() == [[1.0, 0.0, 1.0]] * 4


def test_a_missing_track_is_zeros_masked_and_counted():
    rng = np.random.default_rng(0)
    records = [record(str(i), rng) for i in range(9)]
    features, clips = prepared(records)
    batch, notes = features.batch([*clips, {}])
    assert notes == ["jca: track 'aus' missing in 1 of 10 records"]
    assert not batch.steps["visual"][-1].any()
    assert batch.streams["visual"][-1].abs().sum() == 0


def test_a_track_missing_everywhere_is_an_error_that_says_what_to_run():
    rng = np.random.default_rng(0)
    with pytest.raises(TextualizeError, match="none of 1 training records has 'prosody'"):
        prepared([record("a", rng)], tracks=("aus", "prosody"))


def test_other_columns_than_in_training_are_refused():
    rng = np.random.default_rng(0)
    features, _ = prepared([record(str(i), rng) for i in range(9)])
    odd = record("x", rng, aus=track(np.ones((5, 3)), names=("AU01", "AU12", "AU99")))
    with pytest.raises(TextualizeError, match="AU45, AU99"):
        features.batch([summarise(odd, ["aus"], 4)])


def test_relative_features_do_not_see_who_speaks():
    rng = np.random.default_rng(0)
    one = [record(f"a{i}", rng, "a") for i in range(12)]
    other = [
        Record(
            Clip(f"b{i}", None, subject="b"),
            {"aus": track(r.tracks["aus"].values * 3 + 40)},
        )
        for i, r in enumerate(one)
    ]
    known = speakers.attach(one + other)
    features, clips = prepared(known, relative=True)
    batch, notes = features.batch(clips)
    assert notes == []
    assert torch.allclose(batch.functionals[:12], batch.functionals[12:], atol=1e-3)
    a, b = batch.streams["visual"].split(12)
    assert torch.allclose(a, b, atol=1e-3)


def test_records_without_speaker_statistics_are_counted():
    rng = np.random.default_rng(0)
    known = speakers.attach([record(str(i), rng, "a" if i < 8 else None) for i in range(10)])
    features, clips = prepared(known, relative=True)
    batch, notes = features.batch(clips)
    assert notes == [
        "jca: no speaker statistics for track 'aus', training statistics used in 2 of 10 records"
    ]
    assert torch.isfinite(batch.functionals).all()


def test_a_track_that_never_has_a_value_is_refused_and_one_record_of_it_counted():
    rng = np.random.default_rng(0)
    nothing = track(np.full((5, 3), np.nan))
    data = [record(str(i), rng) for i in range(4)]
    with pytest.raises(TextualizeError, match="'aus' has no value in any of 1 training records"):
        prepared([record("a", rng, aus=nothing)])
    features, clips = prepared([*data, record("x", rng, aus=nothing)])
    batch, notes = features.batch(clips)
    assert notes == ["jca: track 'aus' without any value in 1 of 5 records"]
    assert not batch.steps["visual"][-1].any()


def test_an_infinite_value_is_refused():
    rng = np.random.default_rng(0)
    values = np.ones((5, 3))
    values[2, 1] = np.inf
    with pytest.raises(TextualizeError, match="record 'a': track 'aus' has infinite values"):
        summarise(record("a", rng, aus=track(values)), ["aus"], 4)


def test_beyond_the_end_of_a_shorter_track_is_masked_and_counted():
    rng = np.random.default_rng(0)
    long, short = (
        Record(
            Clip(name, None),
            {"aus": track(rng.normal(size=(n, 3))), "prosody": track(rng.normal(size=(20, 3)))},
        )
        for name, n in (("long", 20), ("short", 10))
    )
    tracks, groups = ("aus", "prosody"), {"visual": ["aus"], "audio": ["prosody"]}
    features, clips = prepared([long, short], tracks=tracks, groups=groups)
    batch, notes = features.batch(clips)
    assert notes == ["jca: track 'aus' shorter than the clip, the rest masked, in 1 of 2 records"]
    assert batch.steps["visual"].tolist() == [[True] * 4, [True, True, False, False]]
    assert batch.steps["audio"].all()
    assert batch.streams["visual"][1, 2:].abs().sum() == 0


def test_without_normalisation_numbers_are_as_they_were():
    rng = np.random.default_rng(0)
    clips = [summarise(record(str(i), rng), ["aus"], 4) for i in range(3)]
    features = fit(clips, "jca", ["aus"], {"visual": ["aus"]}, 4, False, standard=False)
    batch, _ = features.batch(clips)
    raw = clips[0]["aus"].sequence["raw"]
    assert np.allclose(batch.streams["visual"][0, :, : raw.shape[1]].numpy(), raw)


def test_streams_hidden_by_chance_leave_one_and_are_zero():
    rng = np.random.default_rng(0)
    data = [
        Record(Clip(str(i), None), {m: track(rng.normal(size=(8, 3))) for m in ("a", "b", "c")})
        for i in range(60)
    ]
    features, clips = prepared(
        data, tracks=("a", "b", "c"), groups={m: [m] for m in ("a", "b", "c")}
    )
    batch, _ = features.batch(clips)
    torch.manual_seed(0)
    hidden = batch.without_streams(0.7)
    shown = torch.stack([hidden.steps[m].any(1) for m in hidden.steps])
    assert shown.any(0).all()
    assert 0.3 < float(shown.float().mean()) < 0.7
    for m, x in hidden.streams.items():
        gone = ~hidden.steps[m].any(1)
        assert not x[gone].any()
        assert torch.equal(x[~gone], batch.streams[m][~gone])
    same = batch.without_streams(0.0)
    assert all(torch.equal(same.streams[m], x) for m, x in batch.streams.items())


def test_tracks_of_training_only_are_not_missed_in_prediction():
    rng = np.random.default_rng(0)
    data = [
        Record(Clip(str(i), None), {m: track(rng.normal(size=(8, 3))) for m in ("aus", "eda")})
        for i in range(5)
    ]
    clips = [summarise(r, ["aus", "eda"], 4) for r in data]
    groups = {"visual": ["aus"], "body": ["eda"]}
    features = fit(clips, "pkdot", ["aus", "eda"], groups, 4, False, training_only=["body"])
    assert features.needed == ["aus"]
    batch, notes = features.batch([{"aus": c["aus"]} for c in clips], predicting=True)
    assert notes == [] and not batch.steps["body"].any()
    _, counted = features.batch([{"aus": c["aus"]} for c in clips])
    assert counted == ["pkdot: track 'eda' missing in 5 of 5 records"]
