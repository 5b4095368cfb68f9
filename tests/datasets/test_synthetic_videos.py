import numpy as np
import pytest

from textualize.datasets.synthetic_videos import (
    LONG,
    SHORT,
    SIDE,
    SPEEDS,
    TOLD,
    draw_videos,
    video_tracks,
)


def drawn(same, seed=0, noise=0.0):
    return draw_videos(same, np.random.default_rng(seed), noise=noise)


def across(pixels):
    """How much more a picture changes from column to column than from row to row, -1 to 1."""
    grey = pixels.astype(float).mean(-1)
    columns, rows = (np.square(np.diff(grey, axis=a)).mean((1, 2)) for a in (2, 1))
    return (columns - rows) / (columns + rows)


def drift(pixels):
    """How far and where to the blobs go from each picture to the next, (T - 1, 2) in pixels."""
    waves = np.fft.fft2(pixels.astype(float).mean(-1))
    turned = np.angle(waves[1:] * waves[:-1].conj())
    return -np.stack([turned[:, 1, 0], turned[:, 0, 1]], 1) * SIDE / (2 * np.pi)


@pytest.mark.parametrize("same", [False, True])
def test_a_few_pictures_tell_the_class_and_no_other_does(same):
    for seed in range(10):
        found = drawn(same, seed)
        told = across(found.pixels["segment"])
        inside = np.arange(LONG) - found.told_from
        tells = (inside >= 0) & (inside < TOLD)
        assert (told[tells] > 0.9).all() if same else (told[tells] < -0.9).all()
        assert (np.abs(told[~tells]) < 0.3).all()


@pytest.mark.parametrize("same", [False, True])
def test_speed_and_size_are_the_classes_own(same):
    found = drawn(same, 1).pixels
    for name, speed in (("speed", SPEEDS[same]), ("size", SPEEDS[0])):
        assert np.hypot(*drift(found[name]).T) == pytest.approx(speed, abs=0.1)


def test_of_speed_a_picture_says_nothing_and_of_size_its_contrast_nothing():
    kinds = [[drawn(same, seed).pixels for seed in range(60)] for same in (False, True)]
    for name in ("speed", "size"):
        slow, fast = (np.mean([v[name].std() for v in own]) for own in kinds)
        assert slow == pytest.approx(fast, rel=0.02)

    def grain(pixels):  # how much neighbours differ
        return np.square(np.diff(pixels.astype(float), axis=2)).mean()

    for name, alike in (("speed", True), ("size", False)):
        small, large = (np.mean([grain(v[name]) for v in own]) for own in kinds)
        assert (large / small == pytest.approx(1.0, abs=0.1)) == alike


def test_the_same_draw_gives_the_same_tracks():
    one, two = (video_tracks("same", np.random.default_rng(3), "s") for _ in range(2))
    assert {n: t.values.shape[0] for n, t in one.items()} == {
        "segment": LONG, "speed": SHORT, "size": SHORT,
    }  # fmt: skip
    for name, track in one.items():
        assert track.unit == "pixels" and track.values.dtype == np.uint8
        assert np.array_equal(track.values, two[name].values)
        assert track.values.any((1, 2, 3)).all()
