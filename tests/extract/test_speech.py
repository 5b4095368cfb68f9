"""Speech sensors: given words, the bundled recogniser on real recordings, Whisper's loading."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest

from textualize.errors import TextualizeError
from textualize.extract.speech import (
    SAMPLE_RATE,
    FasterWhisper,
    PocketSphinx,
    Sidecar,
    as_pcm16,
    frame_levels,
    speech_pieces,
    whisper_folder,
    whisper_utterance,
)
from textualize.extract.word_error_rate import normalised_words, word_error_rate, word_errors
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
        audio=audio, has_audio=len(audio) > 0, span=span, clip=Clip("c", None, **clip)
    )


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
    (said,) = Sidecar().read(both).utterances
    assert (said.text, said.source, said.confidence) == ("from the clip", "sidecar", None)
    assert said.span == both.span
    (said,) = Sidecar().read(media(NOTHING, sidecars={"transcript": str(path)})).utterances
    assert said.text == "from the file"


def test_sidecar_says_why_it_has_nothing(tmp_path: Path) -> None:
    reading = Sidecar().read(media(NOTHING))
    assert (reading.status.state, reading.status.reason) == ("absent", "no transcript given")
    path = tmp_path / "a.srt"
    path.write_text("1\n00:00:50,000 --> 00:00:51,000\nlater\n")
    reading = Sidecar().read(media(np.zeros(16000, np.float32), sidecars={"transcript": str(path)}))
    assert reading.status.state == "absent"
    assert "span" in reading.status.reason
    with pytest.raises(TextualizeError, match="no transcript at"):
        Sidecar().read(media(NOTHING, sidecars={"transcript": str(tmp_path / "gone.srt")}))


# --- voice activity and level ----------------------------------------------------------------


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
    reading = recogniser.read(media(audio, start=100.0))
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
    alone = PocketSphinx().read(media(second))
    recogniser.read(media(first[16_000:32_000]))
    after = recogniser.read(media(second))
    assert after.utterances == alone.utterances


def test_word_times_agree_with_the_corpus(recogniser: PocketSphinx, assets: Path) -> None:
    audio = load(assets / "data/grid/swwp2s.mpg")
    rows = (assets / "data/grid/swwp2s.align").read_text().split("\n")
    true_end = max(int(row.split()[1]) for row in rows if row and "sil" not in row) / 25_000
    true_start = min(int(row.split()[0]) for row in rows if row and "sil" not in row) / 25_000
    words = [word for u in recogniser.read(media(audio)).utterances for word in u.words]
    assert words[0].span.start == pytest.approx(true_start, abs=0.35)
    assert words[-1].span.end == pytest.approx(true_end, abs=0.35)


def test_nothing_heard_is_absent_with_a_reason(recogniser: PocketSphinx) -> None:
    assert recogniser.read(media(NOTHING)).status.reason == "no audio stream"
    silent = recogniser.read(media(np.zeros(24_000, np.float32)))
    assert silent.status.state == "absent"
    assert silent.status.reason in {
        "no speech in 1.5 s of audio",
        "no words recognised in 1.5 s of audio",  # without a voice activity detector
    }
    assert recogniser.read(media(np.ones(7, np.float32))).status.state == "absent"


def test_noise_has_no_words_where_the_detector_is_there(
    recogniser: PocketSphinx, assets: Path
) -> None:
    pytest.importorskip("faster_whisper")
    assert recogniser.options["voice_activity"] == "silero"
    for name in ("no_face.mp4", "single_face.mp4"):  # both have sound, neither has speech
        audio = load(assets / "data/pyfeat" / name)
        reading = recogniser.read(media(audio))
        assert (reading.status.state, reading.utterances) == ("absent", ()), name
        assert reading.status.reason.startswith("no speech in")


# --- Whisper ---------------------------------------------------------------------------------


def save_random_whisper(folder: Path) -> None:
    """A Whisper of random weights with a byte vocabulary, in Hugging Face's layout."""
    import torch
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, WhisperConfig, WhisperForConditionalGeneration

    special = (
        "<|endoftext|> <|startoftranscript|> <|en|> <|de|> <|translate|> <|transcribe|> "
        "<|startoflm|> <|startofprev|> <|nospeech|> <|notimestamps|>"
    ).split()
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(letters)}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    times = [f"<|{i * 0.02:.2f}|>" for i in range(1501)]
    tokenizer.add_tokens([AddedToken(token, special=False) for token in times])
    torch.manual_seed(0)
    end = len(letters)
    config = WhisperConfig(
        vocab_size=end + len(special) + len(times),
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        decoder_start_token_id=end + 1,
        suppress_tokens=[],
        begin_suppress_tokens=[end],
    )
    model = WhisperForConditionalGeneration(config)
    model.generation_config.suppress_tokens = []
    model.generation_config.begin_suppress_tokens = [end]
    model.generation_config.lang_to_id = {"<|en|>": end + 2, "<|de|>": end + 3}
    model.save_pretrained(folder)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>")
    fast.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"feature_size": 80, "sampling_rate": 16000, "n_fft": 400, "hop_length": 160})
    )


@pytest.fixture(scope="module")
def whisper_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    converters = pytest.importorskip("ctranslate2.converters")
    pytest.importorskip("faster_whisper")
    folder = tmp_path_factory.mktemp("whisper")
    save_random_whisper(folder / "hf")
    converters.TransformersConverter(
        str(folder / "hf"), copy_files=["tokenizer.json", "preprocessor_config.json"]
    ).convert(str(folder / "ct2"), quantization="int8")
    return folder / "ct2"


def test_whisper_runs_from_a_folder(whisper_weights: Path, assets: Path) -> None:
    audio = load(assets / "data/speech/jfk.flac")
    sensor = FasterWhisper(str(whisper_weights))
    assert len(sensor.weights) == 16
    reading = sensor.read(media(audio, start=50.0))
    assert reading.status.state == "observed"
    assert reading.status.reason.startswith("language ")
    end = 50.0 + len(audio) / SAMPLE_RATE
    for utterance in reading.utterances:
        assert 50.0 <= utterance.span.start <= utterance.span.end <= end
        assert utterance.confidence is not None
        assert 0.0 <= utterance.confidence <= 1.0
        assert utterance.confidence == 0.0 or utterance.span  # a time past the end is invented
    again = sensor.read(media(audio, start=50.0))
    assert again.utterances == reading.utterances


@pytest.mark.parametrize(
    ("no_speech", "logprob", "ratio", "start", "confidence"),
    [
        (0.1, -0.5, 1.3, 1.0, np.exp(-0.5)),
        (0.9, -0.5, 1.3, 1.0, np.exp(-0.5)),  # unlikely speech, likely words
        (0.9, -1.5, 1.3, 1.0, 0.0),
        (0.1, -0.5, 3.0, 1.0, 0.0),  # loops
        (0.1, -0.5, 1.3, 11.0, 0.0),  # begins after the end
    ],
)
def test_invented_segments_are_kept_without_confidence(
    no_speech: float, logprob: float, ratio: float, start: float, confidence: float
) -> None:
    word = SimpleNamespace(start=start, end=start + 1, word=" thanks", probability=0.8)
    segment = SimpleNamespace(
        start=start,
        end=start + 1,
        text=" thanks",
        words=[word],
        no_speech_prob=no_speech,
        avg_logprob=logprob,
        compression_ratio=ratio,
    )
    said = whisper_utterance(segment, Span(20.0, 30.0))
    assert said.text == "thanks"
    assert said.confidence == pytest.approx(confidence)
    assert 20 <= said.span.start <= said.span.end <= 30
    assert said.words[0].span == said.span


def test_whisper_hears_nothing_in_silence(whisper_weights: Path) -> None:
    sensor = FasterWhisper(str(whisper_weights))
    assert sensor.read(media(NOTHING)).status.reason == "no audio stream"
    silent = sensor.read(media(np.zeros(32_000, np.float32)))
    assert (silent.status.state, silent.utterances) == ("absent", ())
    assert "2.0 s" in silent.status.reason


def test_missing_weights_are_one_line(tmp_path: Path) -> None:
    pytest.importorskip("faster_whisper")
    with pytest.raises(TextualizeError, match="whisper weights 'tiny' are not on this machine"):
        whisper_folder("tiny")
    with pytest.raises(TextualizeError, match="did you mean base"):
        whisper_folder("bace")
    with pytest.raises(TextualizeError, match=r"no model\.bin"):
        FasterWhisper(str(tmp_path))
