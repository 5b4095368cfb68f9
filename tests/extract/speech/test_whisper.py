"""Whisper three ways: from a folder, in batches, with doubts, and without packages or weights."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from textualize.errors import TextualizeError
from textualize.extract.sensor import Reading, Sensor, make_sensor, read
from textualize.extract.sound import SAMPLE_RATE, Stretch, stretches
from textualize.extract.speech import voice_activity
from textualize.extract.speech.listening import (
    CHUNK_S,
    WHISPER_MAX_CONFIDENCE,
    Listener,
    Said,
    doubted,
    speech_chunks,
)
from textualize.extract.speech.whisper import (
    FasterWhisper,
    OpenAIWhisper,
    TransformersWhisper,
    digest,
    whisper_folder,
)
from textualize.types import Float32, Span, Utterance, Word

pytest.importorskip("faster_whisper")


def load(path: Path) -> Float32:
    resampler = av.AudioResampler("flt", "mono", SAMPLE_RATE)
    parts = []
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            parts += [part.to_ndarray()[0] for part in resampler.resample(frame)]
    parts += [part.to_ndarray()[0] for part in resampler.resample(None)]
    return np.asarray(np.concatenate(parts), np.float32)


def hear(sensor: Sensor, audio: Float32, start: float = 0.0) -> Reading:
    media: Any = SimpleNamespace(sound=lambda: stretches([(0, audio)], start, len(audio)))
    return read(sensor, media)


@pytest.fixture(scope="module")
def speech(assets: Path) -> Float32:
    return load(assets / "data/speech/jfk.flac")


@pytest.fixture(scope="module")
def thrice(speech: Float32) -> Float32:
    """Speech that makes three chunks: the pauses between are long."""
    quiet = np.zeros(7 * SAMPLE_RATE, np.float32)
    loud = [part for gain in (1.0, 0.6, 0.9) for part in (speech * gain, quiet)]
    return np.concatenate(loud, dtype=np.float32)


# --- random weights in three layouts -----------------------------------------------------------


def save_random_whisper(folder: Path, positions: int) -> None:
    """A Whisper of random weights with a byte vocabulary, in Hugging Face's layout."""
    import torch
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, WhisperConfig, WhisperForConditionalGeneration
    from transformers.models.whisper.tokenization_whisper import LANGUAGES

    languages = list(LANGUAGES)[:99]
    tasks = "translate transcribe startoflm startofprev nospeech notimestamps".split()
    special = ["endoftext", "startoftranscript", *languages, *tasks]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    letters.append("")  # what CTranslate2 knows a multilingual vocabulary by
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(f"<|{token}|>", special=True) for token in special])
    times = [f"<|{i * 0.02:.2f}|>" for i in range(1501)]
    tokenizer.add_tokens([AddedToken(token, special=False) for token in times])
    torch.manual_seed(3)
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
        max_target_positions=positions,
        init_std=0.3,  # far from a tie between tokens
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        decoder_start_token_id=end + 1,
        suppress_tokens=[],
        begin_suppress_tokens=[end],
    )
    model = WhisperForConditionalGeneration(config)
    about = model.generation_config
    about._from_model_config = False  # else transformers drops what follows
    about.suppress_tokens, about.begin_suppress_tokens = [], [end]
    about.lang_to_id = {f"<|{code}|>": end + 2 + i for i, code in enumerate(languages)}
    about.no_timestamps_token_id = end + len(special) - 1
    model.save_pretrained(folder)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>")
    fast.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"feature_size": 80, "sampling_rate": 16000, "n_fft": 400, "hop_length": 160})
    )


@pytest.fixture(scope="module")
def ct2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    converters = pytest.importorskip("ctranslate2.converters")
    folder = tmp_path_factory.mktemp("whisper")
    save_random_whisper(folder / "hf", positions=448)
    converters.TransformersConverter(
        str(folder / "hf"), copy_files=["tokenizer.json", "preprocessor_config.json"]
    ).convert(str(folder / "ct2"), quantization="int8")
    return folder / "ct2"


@pytest.fixture(scope="module")
def hf_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whisper") / "hf"
    save_random_whisper(folder, positions=40)
    return folder


@pytest.fixture(scope="module")
def pt_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("whisper", reason="openai-whisper is not installed")
    import torch
    from whisper.model import ModelDimensions, Whisper

    torch.manual_seed(3)
    sizes = dict(n_mels=80, n_audio_ctx=1500, n_audio_state=32, n_audio_head=2, n_audio_layer=1)
    dims = ModelDimensions(
        **sizes, n_vocab=51865, n_text_ctx=40, n_text_state=32, n_text_head=2, n_text_layer=2
    )
    path = tmp_path_factory.mktemp("whisper") / "random.pt"
    model = Whisper(dims)
    torch.nn.init.normal_(model.decoder.positional_embedding, std=0.02)  # left as memory was
    torch.save({"dims": vars(dims), "model_state_dict": model.state_dict()}, path)
    return path


MAKERS: dict[str, Callable[[pytest.FixtureRequest], Sensor]] = {
    "whisper": lambda r: FasterWhisper(str(r.getfixturevalue("ct2_folder")), beam=2),
    "transformers-whisper": lambda r: TransformersWhisper(
        str(r.getfixturevalue("hf_folder")), beam=2
    ),
    "openai-whisper": lambda r: OpenAIWhisper(str(r.getfixturevalue("pt_file")), beam=1),
}


@pytest.fixture(scope="module", params=MAKERS)
def sensor(request: pytest.FixtureRequest) -> Sensor:
    return MAKERS[request.param](request)


def test_all_give_the_same_shape(sensor: Sensor, speech: Float32) -> None:
    reading = hear(sensor, speech, start=50.0)
    assert reading.status.state == "observed"
    assert reading.status.reason.startswith("language ")
    assert len(sensor.weights) == 16
    end = 50.0 + len(speech) / SAMPLE_RATE
    for said in reading.utterances:
        assert said.source == sensor.name
        assert said.language in reading.status.reason
        assert said.text
        assert 50.0 <= said.span.start <= said.span.end <= end
        assert all(50.0 <= w.span.start <= w.span.end <= end for w in said.words)
        assert said.avg_logprob is not None
        assert said.avg_logprob <= 0
        assert said.no_speech_prob is not None
        assert 0 <= said.no_speech_prob <= 1
        assert said.confidence is not None
        assert 0 <= said.confidence <= 1
        assert bool(said.doubt) == (said.confidence == 0)


def test_nobody_speaks_in_silence_tone_and_noise(sensor: Sensor) -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(32_000) / SAMPLE_RATE).astype(np.float32)
    noise = np.random.default_rng(0).normal(size=32_000).astype(np.float32)
    for sound in (0 * tone, 0.3 * tone, 0.1 * noise):
        reading = hear(sensor, sound)
        assert (reading.status.state, reading.utterances) == ("absent", ())
        assert reading.status.reason == "no speech in 2.0 s of audio"
    assert hear(sensor, noise[:0]).status.reason == "no audio stream"


def test_a_stretch_is_recognised_as_if_alone(sensor: Sensor, speech: Float32) -> None:
    reader = sensor.begin(None)  # type: ignore[arg-type]
    for at in (0.0, 300.0):
        reader.sound(Stretch(at, speech))
    both = reader.finish().utterances
    first = both[: len(both) // 2]
    assert [u.text for u in both[len(first) :]] == [u.text for u in first]
    for early, late in zip(first, both[len(first) :], strict=True):
        assert late.span.start - early.span.start == pytest.approx(300.0)
        assert late.confidence == early.confidence


@pytest.mark.parametrize("kind", ["whisper", "transformers-whisper"])
def test_a_batch_is_the_same_as_one_by_one(
    kind: str, request: pytest.FixtureRequest, thrice: Float32
) -> None:
    name = "ct2_folder" if kind == "whisper" else "hf_folder"
    folder = request.getfixturevalue(name)
    readings = []
    for batch in (1, 2, 8):
        made = make_sensor(f"{kind}={folder}:batch={batch}:beam=1")
        readings.append(hear(made, thrice))
        assert "batch" not in made.options
    alone = readings[0].utterances
    assert len({int(u.span.start / 18) for u in alone}) >= 2  # random weights can say nothing
    for reading in readings[1:]:
        assert [u.text for u in reading.utterances] == [u.text for u in alone]
        for one, other in zip(alone, reading.utterances, strict=True):
            assert other.span.start == pytest.approx(one.span.start, abs=0.021)
            assert other.avg_logprob == pytest.approx(one.avg_logprob, abs=1e-3)
            assert other.confidence == pytest.approx(one.confidence, rel=1e-3, abs=1e-9)


@pytest.mark.parametrize("kind", ["whisper", "transformers-whisper"])
def test_a_language_given_is_the_language_used(
    kind: str, request: pytest.FixtureRequest, speech: Float32
) -> None:
    folder = request.getfixturevalue("ct2_folder" if kind == "whisper" else "hf_folder")
    for code in ("en", "de"):
        made = make_sensor(f"{kind}={folder}:language={code}:beam=1")
        assert made.options["language"] == code
        assert {u.language for u in hear(made, speech).utterances} == {code}
    with pytest.raises(TextualizeError, match="no language of this whisper model named 'xx'"):
        make_sensor(f"{kind}={folder}:language=xx")


# --- chunks --------------------------------------------------------------------------------------

ENDS = st.lists(st.integers(0, 3000), min_size=2, max_size=20, unique=True).map(sorted)


@settings(deadline=None, max_examples=25)
@given(ENDS)
def test_chunks_cover_speech_in_order_and_fit_the_window(ends: list[int]) -> None:
    spans = [Span(a / 10, b / 10) for a, b in zip(ends[::2], ends[1::2], strict=False)]
    noise = LONG_NOISE
    chunks = speech_chunks(noise, spans)
    assert all(0 < c.duration <= CHUNK_S + 0.01 for c in chunks)
    assert all(a.end <= b.start + 0.0101 for a, b in zip(chunks, chunks[1:], strict=False))
    for span in spans:
        covered = sum((span & c).duration for c in chunks)
        assert covered >= span.duration - 0.03 * (1 + span.duration / CHUNK_S)
    assert all(any(c & s for s in spans) for c in chunks)


LONG_NOISE = np.random.default_rng(0).normal(size=300 * SAMPLE_RATE).astype(np.float32) * 0.1


def test_overlapping_spans_are_heard_once() -> None:
    chunks = speech_chunks(LONG_NOISE, [Span(1, 20), Span(15, 40), Span(2, 3)])
    assert sum(c.duration for c in chunks) == pytest.approx(39.0, abs=0.05)


# --- doubt ---------------------------------------------------------------------------------------


def says(text: str, **numbers: Any) -> Callable[[Float32, list[Span]], Iterator[Said]]:
    """A recogniser that says the same over each chunk it is shown."""

    def recognise(samples: Float32, chunks: list[Span]) -> Iterator[Said]:
        for chunk in chunks:
            words = (Word(chunk, text, 0.9),)
            yield Said(chunk, Utterance(chunk, text, words, language="en", **numbers))

    return recognise


SURE = {"avg_logprob": -0.1, "no_speech_prob": 0.01}


def listened(sound: Float32, recognise: Any) -> Reading:
    media: Any = SimpleNamespace(sound=lambda: stretches([(0, sound)], 0.0, len(sound)))
    sensor: Any = SimpleNamespace(reads=("sound",), begin=lambda _: Listener("x", recognise))
    return read(sensor, media)


@pytest.mark.parametrize(
    ("numbers", "text", "doubt"),
    [
        ({"avg_logprob": -0.5, "no_speech_prob": 0.1}, "thanks", ""),
        ({"avg_logprob": -0.5, "no_speech_prob": 0.9}, "thanks", ""),  # likely words
        ({"avg_logprob": -1.5, "no_speech_prob": 0.1}, "thanks", ""),
        ({"avg_logprob": -1.5, "no_speech_prob": 0.9}, "thanks", "probably not speech"),
        ({"avg_logprob": -0.1, "no_speech_prob": 0.1}, "thank you. " * 20, "repeats itself"),
    ],
)
def test_invented_words_are_kept_without_confidence(
    speech: Float32, numbers: dict[str, float], text: str, doubt: str
) -> None:
    reading = listened(speech, says(text, **numbers))
    (said,) = reading.utterances
    assert (said.text, said.doubt) == (text, doubt)
    assert said.confidence == (0.0 if doubt else pytest.approx(np.exp(numbers["avg_logprob"])))
    counted = "language en; 1 of 1 utterances doubted" if doubt else "language en"
    assert reading.status.reason == counted


def test_words_over_music_are_doubted() -> None:
    from .test_voice_activity import melody

    notes = np.asarray(melody(), np.float32)
    assert voice_activity.has_voice(notes)  # Silero is fooled by an attack; the doubt must not be
    reading = listened(notes, says("Thank you for watching.", **SURE))
    assert reading.utterances
    for said in reading.utterances:
        assert (said.doubt, said.confidence) == ("over music", 0.0)


def test_words_beside_the_voice_are_doubted(speech: Float32) -> None:
    noise = np.random.default_rng(0).normal(size=6 * SAMPLE_RATE).astype(np.float32) * 0.02
    sound = np.concatenate([speech, noise])
    there = Utterance(Span(13.0, 16.0), "Thank you.", **SURE)
    whole = Span(0.0, len(sound) / SAMPLE_RATE)
    assert doubted(there, whole, sound, []).doubt == "no voice heard"
    assert doubted(there, whole, sound, []).confidence == 0
    spoken = doubted(Utterance(Span(3.0, 6.0), "ask not", **SURE), whole, sound, [])
    assert (spoken.doubt, spoken.confidence) == ("", pytest.approx(np.exp(-0.1)))


def test_whispered_words_are_kept_with_low_confidence(speech: Float32) -> None:
    from .test_voice_activity import whispered

    whisper = whispered(speech) * np.float32(0.05)
    assert voice_activity.voice_activity(whisper) == []
    reading = listened(whisper, says("ask not", **SURE))
    assert reading.status.state == "observed"
    for said in reading.utterances:
        assert said.text == "ask not"
        assert said.doubt == "whispered, or not speech"
        assert said.confidence == WHISPER_MAX_CONFIDENCE


TIMES = st.floats(-5, 60, allow_nan=False)


@settings(deadline=None, max_examples=50)
@given(TIMES, TIMES, st.floats(0, 10), st.floats(0.5, 20))
def test_times_stay_inside_the_chunk(start: float, end: float, at: float, length: float) -> None:
    chunk = Span(at, at + length)
    word = Word(Span(start, end), "x", 0.5)
    said = doubted(
        Utterance(Span(start, end), "x", (word,), **SURE), chunk, LONG_NOISE[: 20 * SAMPLE_RATE], []
    )
    for span in (said.span, said.words[0].span):
        assert chunk.start <= span.start <= span.end <= chunk.end
    assert said.doubt  # noise
    assert said.confidence == 0
    if start >= chunk.end and end > start:
        assert said.doubt == "beyond the sound"


def test_without_a_detector_all_sound_is_recognised(
    speech: Float32, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voice_activity, "installed", lambda: False)
    monkeypatch.setattr(voice_activity, "voice_probability", None)
    (said,) = listened(speech, says("ask not", **SURE)).utterances
    assert said.doubt == ""
    assert said.span.duration > 10


# --- words and times through transformers ------------------------------------------------------


def test_words_begin_at_spaces_or_at_letters() -> None:
    from textualize.extract.speech.whisper_torch import words_of

    table = {
        0: b" he",
        1: b"llo",
        2: b",",
        3: b" you",
        4: b"\xe3",
        5: b"\x81\x82",
        6: "い".encode(),
    }

    def decode(tokens: list[int]) -> str:
        return b"".join(table[t] for t in tokens).decode(errors="replace")

    assert words_of([0, 1, 2, 3], decode, spaced=True) == [[0, 1, 2], [3]]
    assert words_of([4, 5, 6, 2], decode, spaced=False) == [[4, 5], [6, 2]]
    assert words_of([], decode, spaced=True) == []


def test_times_follow_attention() -> None:
    from textualize.extract.speech.whisper_torch import aligned

    frames, prompt, begins = 400, 3, [10, 60, 110, 250]
    attention = np.full((2, prompt + 1 + len(begins) + 1, frames), 1e-4, np.float32)
    for i, (a, b) in enumerate(zip(begins, [*begins[1:], 330], strict=True)):
        attention[:, prompt + i, a:b] = 1.0  # the row before a token says where it is
    attention[:, prompt + len(begins), 330:] = 1.0
    times = aligned(attention, prompt)
    assert len(times) == len(begins) + 1
    assert times[1:] == pytest.approx([t * 0.02 for t in [*begins[1:], 330]], abs=0.08)


# --- what is missing -----------------------------------------------------------------------------


def test_missing_weights_are_one_line_at_once(tmp_path: Path) -> None:
    begun = time.monotonic()
    (tmp_path / "file.bin").write_bytes(b"x")
    for spec, message in [
        ("whisper=tiny", "whisper weights 'tiny' are not on this machine: give whisper=PATH"),
        ("whisper=me/mine", "unset HF_HUB_OFFLINE to allow the download"),
        ("whisper=bace", "did you mean base"),
        (f"whisper={tmp_path}", "no model.bin"),
        (f"whisper={tmp_path}/gone", "there is no folder"),
        (f"whisper={tmp_path}/file.bin", "there is no folder"),
        ("transformers-whisper=me/mine", "are not on this machine: give transformers-whisper=PATH"),
        (f"transformers-whisper={tmp_path}", "has no model.safetensors"),
        (f"transformers-whisper={tmp_path}/gone", "there is no folder"),
    ]:
        with pytest.raises(TextualizeError) as caught:
            make_sensor(spec)
        assert message in str(caught.value), spec
        assert "\n" not in str(caught.value)
    assert time.monotonic() - begun < 5


def test_damaged_weights_are_one_line(hf_folder: Path, ct2_folder: Path, tmp_path: Path) -> None:
    for kind, folder in (("transformers-whisper", hf_folder), ("whisper", ct2_folder)):
        copy = tmp_path / kind
        copy.mkdir()
        for file in folder.iterdir():
            (copy / file.name).write_bytes(file.read_bytes())
        weights = next(p for p in copy.iterdir() if p.name in ("model.bin", "model.safetensors"))
        weights.write_bytes(weights.read_bytes()[:1000])
        with pytest.raises(TextualizeError, match="do not load"):
            make_sensor(f"{kind}={copy}")


def test_openai_weights_missing(tmp_path: Path) -> None:
    pytest.importorskip("whisper", reason="openai-whisper is not installed")
    (tmp_path / "damaged.pt").write_bytes(b"no pickle")
    for spec, message in [
        ("openai-whisper=bace", "did you mean base"),
        (f"openai-whisper={tmp_path}/gone.pt", "there is no file"),
        (f"openai-whisper={tmp_path}/damaged.pt", "do not load"),
    ]:
        with pytest.raises(TextualizeError, match=message):
            make_sensor(spec)


def test_openai_offline_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("whisper", reason="openai-whisper is not installed")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(TextualizeError, match="'tiny' are not on this machine"):
        make_sensor("openai-whisper=tiny")


@pytest.mark.parametrize(
    ("package", "spec", "install"),
    [
        ("faster_whisper", "whisper", "pip install 'textualize[extract]'"),
        ("whisper", "openai-whisper", "pip install openai-whisper"),
        ("huggingface_hub", "transformers-whisper", "pip install 'textualize[finetune]'"),
    ],
)
def test_missing_packages_are_one_line(
    package: str, spec: str, install: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(TextualizeError) as caught:
        make_sensor(spec)
    assert str(caught.value).endswith(install)


def test_digest_is_of_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"1")
    (tmp_path / "c").write_bytes(b"2")
    a, b, c = (tmp_path / n for n in "abc")
    assert digest([a]) == digest([b]) != digest([c])
    assert digest([a, c]) != digest([c, a])


def test_sizes_are_known_names() -> None:
    with pytest.raises(TextualizeError, match="known: base"):
        whisper_folder("large-v9")
