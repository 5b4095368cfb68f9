"""The affect sensor on tiny checkpoints: layouts, names, windows, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from safetensors.torch import load_file, save_file  # noqa: E402
from transformers import (  # noqa: E402
    ASTConfig,
    ASTFeatureExtractor,
    ASTForAudioClassification,
    HubertConfig,
    HubertForSequenceClassification,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForSequenceClassification,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMForSequenceClassification,
)

from textualize.errors import TextualizeError  # noqa: E402
from textualize.extract import sensor  # noqa: E402
from textualize.extract.sensor import Reading  # noqa: E402
from textualize.extract.sound import Stretch  # noqa: E402
from textualize.extract.voice import affect  # noqa: E402
from textualize.extract.voice.affect import AffectModel  # noqa: E402
from textualize.types import Float32, Span  # noqa: E402

RATE = 16_000
DIMENSIONS = ("arousal", "dominance", "valence")
MOODS = ("angry", "calm", "happy", "sad")
TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "conv_dim": (16, 16, 16),
    "conv_stride": (10, 8, 4),
    "conv_kernel": (10, 8, 4),
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
    "classifier_proj_size": 8,
    "vocab_size": 8,
    "initializer_range": 0.5,
}


@pytest.fixture(autouse=True)
def _undetected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(affect, "installed", lambda: False)


def named(names: tuple[str, ...], **more: Any) -> dict[str, Any]:
    return {**TINY, "id2label": dict(enumerate(names)), **more}


def saved(model: Any, folder: Path, normalise: bool = True) -> str:
    model.save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=normalise, return_attention_mask=True).save_pretrained(
        folder
    )
    return str(folder)


def classifier(folder: Path, names: tuple[str, ...] = MOODS, **more: Any) -> str:
    torch.manual_seed(0)
    return saved(Wav2Vec2ForSequenceClassification(Wav2Vec2Config(**named(names, **more))), folder)


def dimensional(
    folder: Path, names: tuple[str, ...] = DIMENSIONS, bias: float = 0.5, **more: Any
) -> str:
    """A checkpoint as audEERING publishes: wav2vec2.*, classifier.dense, classifier.out_proj."""
    torch.manual_seed(1)
    config = Wav2Vec2Config(
        **{**named(names), "problem_type": "regression", "pooling_mode": "mean", **more}
    )
    tensors = {f"wav2vec2.{k}": v for k, v in Wav2Vec2Model(config).state_dict().items()}
    size = config.hidden_size
    tensors["classifier.dense.weight"] = torch.randn(size, size) / 4
    tensors["classifier.dense.bias"] = torch.randn(size) / 4
    tensors["classifier.out_proj.weight"] = torch.randn(len(names), size) / 8
    tensors["classifier.out_proj.bias"] = torch.full((len(names),), bias)
    conv = "wav2vec2.encoder.pos_conv_embed.conv."
    for now, old in (("original0", "weight_g"), ("original1", "weight_v")):  # as older torch wrote
        tensors[conv + old] = tensors.pop(f"{conv}parametrizations.weight.{now}")
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config.architectures = ["Wav2Vec2ForSpeechClassification"]
    config.save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True).save_pretrained(folder)
    return str(folder)


def edited(folder: str, **changes: Any) -> str:
    path = Path(folder) / "config.json"
    config = json.loads(path.read_text())
    for key, value in changes.items():
        config.pop(key, None)
        if value is not None:
            config[key] = value
    path.write_text(json.dumps(config))
    return folder


def voice(seconds: float, seed: int = 0) -> Float32:
    rng = np.random.default_rng(seed)
    times = np.arange(round(seconds * RATE)) / RATE
    tone = np.sin(2 * np.pi * (120 + 40 * np.sin(times * 2)) * times)
    return np.asarray(0.2 * tone + rng.normal(0, 0.05, len(times)), np.float32)


def heard(
    built: AffectModel, audio: Float32, cuts: tuple[int, ...] = (), start: float = 0.0
) -> Reading:
    def sound() -> Any:
        at = 0
        for piece in np.split(audio, cuts):
            yield Stretch(start + at / RATE, piece)
            at += len(piece)

    media: Any = SimpleNamespace(sound=sound, span=Span(start, start + len(audio) / RATE))
    return sensor.read(built, media)


def values(reading: Reading) -> Float32:
    (track,) = reading.tracks.values()
    return track.values


# --- what comes out --------------------------------------------------------------------------


def test_the_dimensional_layout_is_computed_as_published(tmp_path: Path) -> None:
    folder = dimensional(tmp_path / "m")
    built = sensor.make_sensor(f"affect-model={folder}")
    audio = voice(3.0)
    reading = heard(built, audio, start=7.0)
    track = reading.tracks["affect"]
    assert (track.names, track.unit) == (DIMENSIONS, "named")
    assert (track.start, track.rate_hz) == (7.0, 0.5)

    tensors = load_file(Path(folder) / "model.safetensors")
    config = Wav2Vec2Config.from_pretrained(folder)
    network = Wav2Vec2Model(config).eval()
    renamed = {"weight_g": "original0", "weight_v": "original1"}
    own = {k.removeprefix("wav2vec2."): v for k, v in tensors.items() if "classifier" not in k}
    for old, now in renamed.items():
        key = f"encoder.pos_conv_embed.conv.{old}"
        own[f"encoder.pos_conv_embed.conv.parametrizations.weight.{now}"] = own.pop(key)
    network.load_state_dict(own)
    normal = (audio - audio.mean()) / np.sqrt(audio.var() + 1e-7)
    with torch.no_grad():
        mean = network(torch.tensor(normal)[None]).last_hidden_state.mean(1)
        dense = tensors["classifier.dense.weight"], tensors["classifier.dense.bias"]
        out = tensors["classifier.out_proj.weight"], tensors["classifier.out_proj.bias"]
        true = torch.tanh(mean @ dense[0].T + dense[1]) @ out[0].T + out[1]
    np.testing.assert_allclose(track.values, np.repeat(true.numpy(), 2, 0), atol=1e-5)


def test_dimensions_are_taken_by_name_whatever_their_order(tmp_path: Path) -> None:
    straight = dimensional(tmp_path / "a")
    turned = edited(
        dimensional(tmp_path / "b"),
        id2label={"0": "Valence", "1": "Arousal", "2": "Dominance"},
        label2id=None,
    )
    one, other = (heard(AffectModel(f), voice(1)).tracks["affect"] for f in (straight, turned))
    assert one.names == other.names == DIMENSIONS
    np.testing.assert_allclose(one.column("arousal"), other.column("valence"), atol=1e-6)
    np.testing.assert_allclose(one.column("dominance"), other.column("arousal"), atol=1e-6)


@pytest.mark.parametrize(
    ("config", "kind"),
    [
        (Wav2Vec2Config, Wav2Vec2ForSequenceClassification),
        (HubertConfig, HubertForSequenceClassification),
        (WavLMConfig, WavLMForSequenceClassification),
    ],
)
def test_classes_of_other_networks(tmp_path: Path, config: Any, kind: Any) -> None:
    torch.manual_seed(0)
    built = AffectModel(saved(kind(config(**named(MOODS))), tmp_path / "m"))
    track = heard(built, voice(5.0)).tracks["voice_emotions"]
    assert (track.names, track.unit) == (MOODS, "probability")
    np.testing.assert_allclose(track.values.sum(axis=1), 1, atol=1e-5)
    assert track.values.std(axis=1).min() > 1e-4


def test_labels_that_are_not_exclusive_have_probabilities_of_their_own(tmp_path: Path) -> None:
    folder = classifier(tmp_path / "m", problem_type="multi_label_classification")
    sums = values(heard(AffectModel(folder), voice(2.0))).sum(axis=1)
    assert abs(sums - 1).max() > 0.05


def test_names_can_be_given(tmp_path: Path) -> None:
    folder = edited(dimensional(tmp_path / "m"), id2label=None, label2id=None, problem_type=None)
    with pytest.raises(TextualizeError, match="does not name its 3 outputs.*labels=arousal"):
        AffectModel(folder)
    built = sensor.make_sensor(f"affect-model={folder}:labels=arousal/dominance/valence")
    assert heard(built, voice(1)).tracks["affect"].names == DIMENSIONS
    assert "voice_emotions" in heard(AffectModel(folder, labels="a/b/c"), voice(1)).tracks


def test_a_scale_that_is_not_0_to_1_is_said(tmp_path: Path) -> None:
    usual = heard(AffectModel(dimensional(tmp_path / "a")), voice(1)).status.reason
    assert "scale" not in usual
    strange = heard(AffectModel(dimensional(tmp_path / "b", bias=4.0)), voice(1)).status.reason
    assert "the model's scale is not 0-1" in strange


# --- windows -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return dimensional(tmp_path_factory.mktemp("affect") / "m")


@pytest.mark.parametrize(
    ("seconds", "rows"), [(0.2, 1), (2.0, 1), (2.1, 2), (4.0, 2), (5.0, 3), (11.0, 6)]
)
def test_every_hop_has_a_row(folder: str, seconds: float, rows: int) -> None:
    found = values(heard(AffectModel(folder), voice(seconds)))
    assert found.shape == (rows, 3) and found.dtype == np.float32
    assert np.isfinite(found).all()


def test_rows_are_of_the_window_around_them(folder: str) -> None:
    built, audio = AffectModel(folder), voice(11.0)
    found = values(heard(built, audio))
    for row, start in enumerate([0, 1, 3, 5, 7, 7]):  # moved inwards at both ends
        alone = audio[start * RATE : (start + 4) * RATE]
        np.testing.assert_allclose(found[row], built.heard([alone])[0], atol=1e-5)


@pytest.mark.parametrize("cuts", [(1,), (50_000, 50_001), tuple(range(5_000, 150_000, 7_001))])
@pytest.mark.parametrize("batch", [1, 3])
def test_neither_cuts_nor_the_batch_change_anything(
    folder: str, cuts: tuple[int, ...], batch: int
) -> None:
    audio = voice(10.3)
    whole = values(heard(AffectModel(folder, batch=64), audio))
    same = values(heard(AffectModel(folder, batch=batch), audio, cuts))
    np.testing.assert_allclose(same, whole, atol=1e-5)


@pytest.mark.parametrize(("window", "hop"), [(1.0, 1.0), (3.0, 0.5), (1.5, 1.0)])
def test_other_windows(folder: str, window: float, hop: float) -> None:
    found = heard(AffectModel(folder, window=window, hop=hop), voice(7.2)).tracks["affect"]
    assert found.rate_hz == pytest.approx(1 / hop)
    assert len(found.values) == int(np.ceil(7.2 / hop))


def test_only_one_stretch_and_a_window_are_held(folder: str) -> None:
    reader: Any = AffectModel(folder).begin(SimpleNamespace(span=Span(0, 60)))  # type: ignore[arg-type]
    for second in range(60):
        reader.sound(Stretch(float(second), voice(1.0, second)))
        assert len(reader._held) <= 5 * RATE


def test_digital_silence_is_not_judged(folder: str) -> None:
    built = AffectModel(folder)
    quiet = np.zeros(6 * RATE, np.float32)
    found = values(heard(built, np.concatenate([voice(4.0), quiet, voice(4.0)])))
    assert np.isnan(found).all(axis=1).tolist() == [False, False, False, True, False, False, False]
    assert heard(built, quiet).status.reason == "silence"
    assert heard(built, quiet[:0]).status.reason == "no sound"
    short = heard(built, voice(0.05)).status
    assert (short.state, short.reason) == ("absent", "0.05 s of sound is too short")


def test_whether_it_was_speech_is_said(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "not checked" in heard(AffectModel(folder), voice(2)).status.reason
    monkeypatch.setattr(affect, "installed", lambda: True)
    monkeypatch.setattr(affect, "voice_activity", lambda samples: [])
    assert "no speech found in 2.0 s" in heard(AffectModel(folder), voice(2)).status.reason
    monkeypatch.setattr(affect, "voice_activity", lambda samples: [Span(0, 1)])
    assert heard(AffectModel(folder), voice(2)).status.reason == ""


# --- what is refused, in one line ----------------------------------------------------------------


def untrained(folder: Path) -> str:
    return saved(Wav2Vec2Model(Wav2Vec2Config(**TINY)), folder)


def pickled(folder: Path) -> str:
    (Path(classifier(folder)) / "model.safetensors").rename(folder / "pytorch_model.bin")
    return str(folder)


def torn(folder: Path) -> str:
    weights = Path(classifier(folder)) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:500])
    return str(folder)


def gapped(folder: Path) -> str:
    weights = Path(classifier(folder)) / "model.safetensors"
    tensors = {k: v for k, v in load_file(weights).items() if "layers.1" not in k}
    save_file(tensors, weights, metadata={"format": "pt"})
    return str(folder)


def other_pooling(folder: Path) -> str:
    return dimensional(folder, pooling_mode="max")


def regression_of_something(folder: Path) -> str:
    return dimensional(folder, ("openness", "warmth"))


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (untrained, "no head that answers"),
        (pickled, "pickled weights"),
        (torn, "cannot read"),
        (gapped, "no weights for .* of its tensors"),
        (other_pooling, "known is the one over the mean of wav2vec2"),
        (regression_of_something, "estimates openness/warmth"),
        (lambda folder: classifier(folder, ("a", "b", "a")), "share a name"),
        (lambda folder: edited(classifier(folder), model_type="hubertish"), "does not load"),
        (lambda folder: str(folder / "nothing"), "there is no model folder"),
    ],
)
def test_refused_checkpoints(tmp_path: Path, made: Callable[[Path], str], message: str) -> None:
    with pytest.raises(TextualizeError, match=message) as raised:
        AffectModel(made(tmp_path / "m"))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("labels=a/b", "3 outputs; given 2 labels"),
        ("hop=9", "hop <= window"),
        ("window=90", "window <= 60"),
        ("batch=0", "at least 1"),
        ("device=abacus", "no device 'abacus'"),
    ],
)
def test_refused_options(folder: str, options: str, message: str) -> None:
    with pytest.raises(TextualizeError, match=message):
        sensor.make_sensor(f"affect-model={folder}:{options}")


def test_sound_a_network_would_cut_off_is_refused(tmp_path: Path) -> None:
    config = ASTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_length=200, id2label=dict(enumerate(MOODS)),
    )  # fmt: skip
    ASTForAudioClassification(config).save_pretrained(tmp_path)
    ASTFeatureExtractor(max_length=200).save_pretrained(tmp_path)
    with pytest.raises(TextualizeError, match="hears 2 s at once; given window=4"):
        AffectModel(str(tmp_path))
    built = AffectModel(str(tmp_path), window=2.0)
    assert values(heard(built, voice(3.0))).shape == (2, 4)


def test_a_hub_id_that_is_not_here_says_so_at_once() -> None:
    with pytest.raises(TextualizeError, match="'nobody/voice' is not a folder"):
        AffectModel("nobody/voice")


def test_the_key_follows_the_weights_and_the_windows(tmp_path: Path, folder: str) -> None:
    one, other = AffectModel(folder), AffectModel(dimensional(tmp_path / "m", bias=0.4))
    assert one.weights != other.weights
    assert AffectModel(folder, hop=1.0).options != one.options
    assert AffectModel(folder, batch=2).options == one.options  # the speed is no part of it
