"""Speech sensors: given words, the bundled recogniser on real recordings, Whisper's loading."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest

from textualize.errors import TextualizeError
from textualize.extract.sensor import Reading, Sensor, read
from textualize.extract.sound import SAMPLE_RATE, Stretch, stretches
from textualize.extract.speech.recogniser import (
    PocketSphinx,
    Sidecar,
    as_pcm16,
    frame_levels,
    speech_pieces,
)
from textualize.extract.speech.word_error_rate import normalised_words, word_error_rate, word_errors
from textualize.types import Clip, Float32, Span


def load(path: Path) -> Float32:
    resampler = av.AudioResampler("flt", "mono", SAMPLE_RATE)
    parts = []
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            parts += [part.to_ndarray()[0] for part in resampler.resample(frame)]
    parts += [part.to_ndarray()[0] for part in resampler.resample(None)]
    return np.asarray(np.concatenate(parts), np.float32)


def media(audio: Float32, start: float = 0.0, **clip: Any) -> Any:
    span = Span(start, start + len(audio) / SAMPLE_RATE)
    return SimpleNamespace(
        sound=lambda: stretches([(0, audio)], start, len(audio)),
        has_audio=len(audio) > 0,
        span=span,
        clip=Clip("c", None, **clip),
    )


def hear(sensor: Sensor, audio: Float32, start: float = 0.0, **clip: Any) -> Reading:
    return read(sensor, media(audio, start, **clip))


NOTHING = np.zeros(0, np.float32)


# --- word error rate -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "heard", "rate"),
    [
        ("one two three four", "one two three four", 0.0),
        ("one two three four", "", 1.0),
        ("one two three four", "one three four", 0.25),  # deletion
        ("one two three four", "one two too three four", 0.25),  # insertion
        ("one two three four", "one too three for", 0.5),  # substitutions
        ("Don't, please!", "DON\u2019T please", 0.0),
        ("a", "b c d", 3.0),
        ("", "", 0.0),
        ("", "noise", float("inf")),
    ],
)
def test_word_error_rate_by_hand(said: str, heard: str, rate: float) -> None:
    assert word_error_rate(said, heard) == rate


def test_word_errors_are_symmetric_and_bounded() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        a, b = (" ".join(rng.choice(list("abc"), rng.integers(0, 7))) for _ in range(2))
        there, back = word_errors(a, b)[0], word_errors(b, a)[0]
        assert there == back
        lengths = len(a.split()), len(b.split())
        assert abs(lengths[0] - lengths[1]) <= there <= max(lengths)


def test_normalised_words_keep_digits_and_letters_of_other_scripts() -> None:
    assert normalised_words("«Çа va» 42_x") == ["çа", "va", "42", "x"]


# --- sidecar ---------------------------------------------------------------------------------


def test_transcript_of_the_clip_comes_before_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("from the file")
    both = media(NOTHING, 3.0, transcript=" from\n the clip ", sidecars={"transcript": str(path)})
    (said,) = read(Sidecar(), both).utterances
    assert (said.text, said.source, said.confidence) == ("from the clip", "sidecar", None)
    assert said.span == both.span
    (said,) = hear(Sidecar(), NOTHING, sidecars={"transcript": str(path)}).utterances
    assert said.text == "from the file"


def test_sidecar_says_why_it_has_nothing(tmp_path: Path) -> None:
    reading = hear(Sidecar(), NOTHING)
    assert (reading.status.state, reading.status.reason) == ("absent", "no transcript given")
    path = tmp_path / "a.srt"
    path.write_text("1\n00:00:50,000 --> 00:00:51,000\nlater\n")
    reading = hear(Sidecar(), np.zeros(16000, np.float32), sidecars={"transcript": str(path)})
    assert reading.status.state == "absent"
    assert "span" in reading.status.reason
    with pytest.raises(TextualizeError, match="no transcript at"):
        hear(Sidecar(), NOTHING, sidecars={"transcript": str(tmp_path / "gone.srt")})


def test_sidecar_says_how_an_odd_file_was_read(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("Grüße".encode("cp1252"))
    reading = hear(Sidecar(), NOTHING, sidecars={"transcript": str(path)})
    assert reading.utterances[0].text == "Grüße"
    assert reading.status.reason == "not UTF-8: read as Windows-1252"


# --- level -------------------------------------------------------------------------------------


def noise(seconds: float, level: float, seed: int = 0) -> Float32:
    samples = np.random.default_rng(seed).normal(size=round(seconds * SAMPLE_RATE))
    return np.asarray(samples * level, np.float32)


def test_frame_levels_of_known_signals() -> None:
    square = np.where(np.arange(1600) % 32 < 16, 0.1, -0.1).astype(np.float32)
    assert frame_levels(square) == pytest.approx(-20.0, abs=1e-3)
    assert np.all(frame_levels(np.zeros(1600, np.float32)) == -100.0)


def test_pieces_drop_silence_and_cover_the_sound() -> None:
    quiet = np.zeros(SAMPLE_RATE, np.float32)
    audio = np.concatenate([quiet, noise(2.0, 0.1), quiet])
    assert speech_pieces(audio) == [Span(1.0, 3.0)]
    assert speech_pieces(quiet) == []
    assert speech_pieces(NOTHING) == []


def test_long_sound_is_cut_at_a_pause_without_losing_any() -> None:
    parts = [noise(7.0, 0.1), noise(0.6, 1e-4), noise(9.0, 0.1), noise(1.0, 1e-4)] * 3
    audio = np.concatenate(parts)
    pieces = speech_pieces(audio, max_s=20.0)
    assert len(pieces) >= 3
    assert all(0 < piece.duration <= 20.0 for piece in pieces)
    assert all(a.end == b.start for a, b in zip(pieces, pieces[1:], strict=False))
    levels = frame_levels(audio)
    assert all(levels[round(piece.end * 100)] < -60 for piece in pieces[:-1])
    steady = speech_pieces(noise(70.0, 0.1), max_s=20.0)  # no pause anywhere
    assert steady[0].start == 0
    assert steady[-1].end == 70
    assert all(piece.duration <= 20.0 for piece in steady)


@pytest.mark.parametrize("gain", [1e-3, 0.05, 1.0])
def test_pcm_has_one_level_and_never_clips(gain: float) -> None:
    burst = noise(1.0, 0.3)
    pcm = np.frombuffer(as_pcm16(burst * gain), "<i2").astype(np.int32)
    reference = np.frombuffer(as_pcm16(burst), "<i2").astype(np.int32)
    assert np.abs(pcm - reference).max() <= 2
    assert np.abs(pcm).max() < 32767
    assert len(pcm) == len(burst) + 2 * 3200


# --- PocketSphinx ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recogniser() -> PocketSphinx:
    return PocketSphinx()


def test_pocketsphinx_on_a_known_speech(recogniser: PocketSphinx, assets: Path) -> None:
    audio = load(assets / "data/speech/jfk.flac")
    said = (assets / "data/speech/jfk.txt").read_text()
    reading = hear(recogniser, audio, start=100.0)
    assert reading.status.state == "observed"
    assert word_error_rate(said, " ".join(u.text for u in reading.utterances)) < 0.3
    for utterance in reading.utterances:
        assert utterance.source == "pocketsphinx"
        assert utterance.confidence is not None
        assert 0 < utterance.confidence <= 0.5
        assert utterance.text == " ".join(word.text for word in utterance.words)
        starts = [word.span.start for word in utterance.words]
        assert starts == sorted(starts)
        assert all(word.span.start < word.span.end for word in utterance.words)
        assert starts[0] >= 100.0
        assert utterance.words[-1].span.end <= 100.0 + len(audio) / SAMPLE_RATE


def test_a_clip_does_not_change_the_next(recogniser: PocketSphinx, assets: Path) -> None:
    with (assets / "data/grid/transcripts.csv").open() as stream:
        names = [row["clip"] for row in csv.DictReader(stream)][:2]
    first, second = (load(assets / "data/grid" / f"{name}.mpg") for name in names)
    alone = hear(PocketSphinx(), second)
    hear(recogniser, first[16_000:32_000])
    after = hear(recogniser, second)
    assert after.utterances == alone.utterances


def test_word_times_agree_with_the_corpus(recogniser: PocketSphinx, assets: Path) -> None:
    audio = load(assets / "data/grid/swwp2s.mpg")
    rows = (assets / "data/grid/swwp2s.align").read_text().split("\n")
    true_end = max(int(row.split()[1]) for row in rows if row and "sil" not in row) / 25_000
    true_start = min(int(row.split()[0]) for row in rows if row and "sil" not in row) / 25_000
    words = [word for u in hear(recogniser, audio).utterances for word in u.words]
    assert words[0].span.start == pytest.approx(true_start, abs=0.35)
    assert words[-1].span.end == pytest.approx(true_end, abs=0.35)


def test_nothing_heard_is_absent_with_a_reason(recogniser: PocketSphinx) -> None:
    assert hear(recogniser, NOTHING).status.reason == "no audio stream"
    silent = hear(recogniser, np.zeros(24_000, np.float32))
    assert silent.status.state == "absent"
    assert silent.status.reason in {
        "no speech in 1.5 s of audio",
        "no words recognised in 1.5 s of audio",  # without a voice activity detector
    }
    assert hear(recogniser, np.ones(7, np.float32)).status.state == "absent"


def test_noise_has_no_words_where_the_detector_is_there(
    recogniser: PocketSphinx, assets: Path
) -> None:
    pytest.importorskip("faster_whisper")
    assert recogniser.options["voice_activity"] == "silero"
    for name in ("no_face.mp4", "single_face.mp4"):  # both have sound, neither has speech
        audio = load(assets / "data/pyfeat" / name)
        reading = hear(recogniser, audio)
        assert (reading.status.state, reading.utterances) == ("absent", ()), name
        assert reading.status.reason.startswith("no speech in")


def test_stretches_are_recognised_one_by_one(recogniser: PocketSphinx, assets: Path) -> None:
    audio = load(assets / "data/grid/swwp2s.mpg")
    silence = np.zeros(SAMPLE_RATE, np.float32)
    alone = hear(recogniser, audio, start=10.0).utterances
    reader = recogniser.begin(media(audio))
    for time, samples in ((0.0, silence), (10.0, audio), (310.0, audio)):
        reader.sound(Stretch(time, samples))
    both = reader.finish().utterances
    assert both[: len(alone)] == alone
    assert [u.text for u in both[len(alone) :]] == [u.text for u in alone]
    for early, late in zip(alone, both[len(alone) :], strict=True):
        assert late.span.start - early.span.start == pytest.approx(300.0)
