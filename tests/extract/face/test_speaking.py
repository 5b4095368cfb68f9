"""Who speaks, on lips and loudness that are made up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from textualize.extract.face.action_units import NAMES
from textualize.extract.face.people import Person, Sight
from textualize.extract.face.speaking import Loudness, choose, held, who_speaks
from textualize.extract.sound import Stretch

Values = NDArray[np.float64]


def envelope(seed: int, seconds: float) -> Values:
    """How open a speaker's mouth is every 20 ms: syllables, about four a second, and pauses."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal(round(seconds * 50))
    spectrum = np.fft.rfft(noise)
    hz = np.fft.rfftfreq(len(noise), 0.02)
    slow = np.fft.irfft(spectrum * np.exp(-(((hz - 3) / 2) ** 2)), len(noise))
    return np.asarray(np.maximum(slow / slow.std(), -0.5) + 0.5)


def loudness(opening: Values) -> Values:
    return np.asarray(1e-2 * (0.02 + opening) ** 2)


def person(number: int, opening: Values, rate: float, side: float = 100.0) -> Person:
    """Somebody whose lips open as said, a little unsteadily, seen `rate` times a second."""
    rng = np.random.default_rng(100 + number)
    one = Person(number)
    for i in range(int(len(opening) / 50 * rate)):
        lips = 0.5 + 0.1 * opening[int(i / rate * 50)] + 0.005 * rng.standard_normal()
        box = (200.0 * number, 50.0, side, side)
        raw, bones = np.zeros(len(NAMES)), np.zeros((30, 3))
        one.add(i, i / rate, 0, Sight(box, 0.9, np.zeros(3), float(lips), raw, bones))
    return one


def times(seconds: float, rate: float) -> Values:
    return np.arange(int(seconds * rate)) / rate


@pytest.mark.parametrize("rate", [10.0, 25.0])
@pytest.mark.parametrize("speaker", [0, 1, 2])
def test_the_speaker_is_found_among_three(rate: float, speaker: int) -> None:
    openings = [envelope(seed, 20.0) for seed in (1, 2, 3)]
    persons = [person(i + 1, o, rate) for i, o in enumerate(openings)]
    found = who_speaks(persons, times(20.0, rate), 0.0, loudness(openings[speaker]))
    assert found is not None
    assert (found.person == speaker).mean() > 0.9
    sure = [float(np.nanmean(p)) for p in found.probability]
    assert sure[speaker] > 0.8 and np.argmax(sure) == speaker


def test_turns_are_followed() -> None:
    first, second = envelope(1, 24.0), envelope(2, 24.0)
    persons = [person(1, first, 25.0), person(2, second, 25.0)]
    half = len(first) // 2
    power = loudness(np.concatenate([first[:half], second[half:]]))
    choice = choose(persons, times(24.0, 25.0), 0.0, power, "speaker")
    assert (choice.person[:275] == 0).mean() > 0.9 and (choice.person[325:] == 1).mean() > 0.9
    assert np.count_nonzero(np.diff(choice.person)) <= 3  # it does not flicker
    assert "the speaker was read" in choice.why


def test_sound_that_trails_the_picture_is_followed() -> None:
    openings = [envelope(1, 20.0), envelope(2, 20.0)]
    persons = [person(i + 1, o, 25.0) for i, o in enumerate(openings)]
    late = np.roll(loudness(openings[1]), 4)  # 80 ms
    found = who_speaks(persons, times(20.0, 25.0), 0.0, late)
    assert found is not None and (found.person == 1).mean() > 0.9


def test_a_voice_from_elsewhere_is_nobodys() -> None:
    persons = [person(i, envelope(i, 20.0), 25.0) for i in (1, 2)]
    found = who_speaks(persons, times(20.0, 25.0), 0.0, loudness(envelope(9, 20.0)))
    assert found is not None and (found.person == -1).mean() > 0.7
    assert all(np.nanmean(p) < 0.35 for p in found.probability)


def test_without_sound_the_largest_is_read_and_it_is_said() -> None:
    opening = envelope(1, 5.0)
    persons = [person(1, opening, 10.0), person(2, opening, 10.0, side=150.0)]
    at = times(5.0, 10.0)
    for power in (np.zeros(0), np.zeros(250)):
        assert who_speaks(persons, at, 0.0, power) is None
        choice = choose(persons, at, 0.0, power, "speaker")
        assert set(choice.person) == {1}
        assert choice.why == "the largest face was read: no sound tells who speaks"
        assert all(np.isnan(s).all() for s in choice.speaking)


def test_a_voice_that_no_lips_follow_leaves_the_largest() -> None:
    still = np.zeros(500)
    persons = [person(1, still, 10.0), person(2, still, 10.0, side=150.0)]
    choice = choose(persons, times(10.0, 10.0), 0.0, loudness(envelope(3, 10.0)), "speaker")
    assert set(choice.person) == {1}
    assert choice.why == "the largest face was read: no one's lips clearly follow the sound"


def test_other_policies_do_not_listen() -> None:
    opening = envelope(1, 5.0)
    persons = [person(1, opening, 10.0), person(2, np.zeros(250), 10.0, side=150.0)]
    choice = choose(persons, times(5.0, 10.0), 0.0, loudness(opening), "largest")
    assert set(choice.person) == {1} and choice.why == "the largest face was read"
    assert all(np.isnan(s).all() for s in choice.speaking)
    both = choose(persons, times(5.0, 10.0), 0.0, loudness(opening), "all")
    assert set(both.person) == {0}


def test_the_only_person_is_read_whatever_is_heard() -> None:
    one = person(1, envelope(1, 5.0), 10.0)
    choice = choose([one], times(5.0, 10.0), 0.0, loudness(envelope(2, 5.0)), "speaker")
    assert set(choice.person) == {0} and choice.why == ""


def test_silence_is_undecided() -> None:
    """Far from any sound nobody's speaking is told."""
    opening = envelope(1, 20.0)
    power = loudness(opening)
    power[500:] = 1e-9
    found = who_speaks([person(1, opening, 10.0)], times(20.0, 10.0), 0.0, power)
    assert found is not None
    assert np.isfinite(found.probability[0][:95]).all()
    assert np.isnan(found.probability[0][120:]).all() and (found.person[120:] == -1).all()


def test_a_span_starts_where_its_sound_does() -> None:
    openings = [envelope(1, 12.0), envelope(2, 12.0)]
    persons = [person(i + 1, o, 25.0) for i, o in enumerate(openings)]
    at = times(12.0, 25.0)
    here = who_speaks(persons, at, 0.0, loudness(openings[0]))
    later = who_speaks(persons, at + 300.0, 300.0, loudness(openings[0]))
    assert here is not None and later is not None
    assert later.person.tolist() == here.person.tolist()


def test_long_clips_are_decided_in_blocks() -> None:
    openings = [envelope(1, 250.0), envelope(2, 250.0)]
    persons = [person(i + 1, o, 10.0) for i, o in enumerate(openings)]
    found = who_speaks(persons, times(250.0, 10.0), 0.0, loudness(openings[1]))
    assert found is not None and (found.person == 1).mean() > 0.95


@given(st.lists(st.integers(0, 2000), min_size=1, max_size=8))
def test_loudness_does_not_depend_on_the_stretches(sizes: list[int]) -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, sum(sizes)).astype(np.float32)
    whole, parts = Loudness(), Loudness()
    whole.add(Stretch(0.0, samples))
    for at, size in zip(np.cumsum([0, *sizes]), sizes, strict=False):
        parts.add(Stretch(at / 16000, samples[at : at + size]))
    assert parts.power == pytest.approx(whole.power, rel=1e-6)
    assert len(whole.power) == len(samples) // 320


def test_loudness_is_power() -> None:
    sound = Loudness()
    sound.add(Stretch(0.0, np.concatenate([np.zeros(320), np.full(320, 0.5)]).astype(np.float32)))
    assert sound.power.tolist() == [0.0, 0.25]


@given(st.lists(st.integers(-1, 3), min_size=1))
def test_a_choice_is_held_until_the_next(person: list[int]) -> None:
    chosen = np.array(person, np.intp)
    out = held(chosen)
    assert (out[chosen >= 0] == chosen[chosen >= 0]).all()
    assert (out >= 0).all() == (chosen >= 0).any()
