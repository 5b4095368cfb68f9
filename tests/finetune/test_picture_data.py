import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from textualize.baselines.bank_history import read_history
from textualize.baselines.pictured import PictureMethod
from textualize.cli import run as cli
from textualize.datasets.synthetic_videos import draw_videos
from textualize.errors import TextualizeError
from textualize.finetune import baseline
from textualize.finetune.recipe import parse
from textualize.finetune.train import train
from textualize.labels import LabelSet
from textualize.types import Clip, Record, Track

LABELS = LabelSet("product", ("different", "same"), {})


def records(part, n, seed=0):
    rng = np.random.default_rng([seed, len(part)])
    found = []
    for i in range(n):
        pixels = draw_videos(bool(i % 2), rng).pixels["segment"][: 12 + i % 3, ::2, ::2]
        clip = Clip(f"{part}{i}", None, label=LABELS.labels[i % 2], group=f"{part}{i}")
        found.append(Record(clip, {"crops": Track(pixels, 8.0, 0.0, (), "pixels", "")}))
    return found


TRAIN, HELD = records("train", 12), records("held", 4)


def recipe(method="stochastic-softmax", **values):
    small = {"width": 4, "hidden": 8, "warm_up": 1, "exploration": 1}
    own = small if method == "stochastic-softmax" else {"stem": 16}
    base = {"method": method, "size": 16, "frames": 4, "epochs": 4, "batch_size": 5}
    return parse({**base, **own, **values}, "test")


def trained(out, given=None, **values):
    run = train(given or recipe(**values), TRAIN, HELD, out, labels=LABELS)
    return run, PictureMethod.load(run.path)


def weights(run):
    return (run.path / "model.safetensors").read_bytes()


def bank(run):
    return (run.path / "bank.safetensors").read_bytes()


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("pictures") / "run")


def test_a_run_is_whole(one):
    run, method = one
    assert run.complete and len(run.metrics()) == 4
    assert [line.get("effective_share") is not None for line in run.metrics()] == [False] + [
        True
    ] * 3
    assert run.environment["effective"]["pictures of a training clip"] == [12, 13, 14]
    assert {p.label for p in method.predict(HELD)} <= set(LABELS.labels)
    assert run.environment["summary"]["MACs per clip"] > 0


def test_threads_change_nothing(one, tmp_path):
    run = trained(tmp_path / "run", workers=3)[0]
    assert weights(run) == weights(one[0]) and bank(run) == bank(one[0])


def test_a_killed_run_goes_on_with_its_bank(one, tmp_path, monkeypatch):
    """The third epoch never ends: weights, scores and visits go on from the second."""

    def killed(*args):
        if len(args[1].lines) == 2:
            raise KeyboardInterrupt
        return before(*args)

    before = baseline._one_epoch
    monkeypatch.setattr(baseline, "_one_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "run")
    monkeypatch.undo()
    run = trained(tmp_path / "run")[0]
    assert weights(run) == weights(one[0]) and bank(run) == bank(one[0])


def test_the_bank_over_training_is_kept_and_drawn(one, tmp_path, capsys):
    run, _ = one
    videos = read_history(run.path)
    known = {r.clip.id: r for r in TRAIN}
    assert len(videos) == 4 and len({v.clip for v in videos}) == 4
    for video in videos:
        clip = known[video.clip]
        assert clip.clip.label == LABELS.labels[video.target]
        n = len(clip.tracks["crops"].values) - 4 + 1
        assert video.weights.shape == (4, n) and bool((video.starts >= 0).all())
        assert video.seconds.tolist() == [i / 8 for i in range(n)]
    path = tmp_path / "bank.png"
    assert cli(["explain", str(run.path), "--picture", str(path)]) == 0
    assert path.read_bytes()[:4] == b"\x89PNG"
    assert "where training looked" in capsys.readouterr().err


def test_what_has_no_bank_or_no_picture_is_said_in_one_line(tmp_path, capsys):
    even, _ = trained(tmp_path / "even", recipe(epochs=1, sampling="uniform"))
    crops = [r.tracks["crops"] for r in TRAIN]
    short = [
        replace(r, tracks={"crops": replace(c, values=c.values[:4])})
        for r, c in zip(TRAIN, crops, strict=True)
    ]
    single = train(recipe(epochs=1), short, HELD, tmp_path / "single", labels=LABELS)
    other, _ = trained(tmp_path / "other", recipe("dmsn", epochs=1))
    for run, why in (
        (even, "has no bank.safetensors"), (single, "has no bank.safetensors"),
        (other, "dmsn has no picture of its own"),
    ):  # fmt: skip
        assert not (run.path / "bank.safetensors").exists()
        assert cli(["explain", str(run.path), "--picture", str(tmp_path / "p.png")]) == 2
        told = capsys.readouterr().err.strip()
        assert why in told and "\n" not in told


def test_what_has_no_pictures_is_counted_and_never_trained_on(tmp_path):
    blind = Record(Clip("blind", None, label="same"))
    run = train(recipe(epochs=1), [*TRAIN, blind], HELD, tmp_path / "run", labels=LABELS)
    notes = run.environment["notes"]
    assert any("1 of 13 records left out: no track 'crops' (training)" in n for n in notes)
    assert run.environment["effective"]["training_clips"] == 12
    with pytest.raises(TextualizeError, match="none of 1 records has pictures"):
        train(recipe(), [blind], HELD, tmp_path / "other", labels=LABELS)


def test_dmsn_learns_numbers(tmp_path):
    numbers = [r.with_label(float(i % 2)) for i, r in enumerate(TRAIN)]
    held = [r.with_label(float(i % 2)) for i, r in enumerate(HELD)]
    run = train(recipe("dmsn", epochs=1), numbers, held, tmp_path / "run")
    said = PictureMethod.load(run.path).predict([*held, Record(Clip("blind", None))])
    assert all(0 <= p.label <= 1 for p in said)
    assert said[-1].label == 0.5 and said[-1].text == "the mean: no pictures: no track 'crops'"
    about = json.loads((run.path / "model.json").read_text())
    assert about["task"]["kind"] == "values"


def test_a_backbone_learns_at_its_own_rate(tmp_path):
    """At a rate of 0 it stays as it was made, after one epoch as after two; the head does not."""
    nets = [
        trained(tmp_path / str(n), recipe(epochs=n, backbone_rate=0.0))[1].network for n in (1, 2)
    ]
    same = {k: torch.equal(p, dict(nets[1].named_parameters())[k])
            for k, p in nets[0].named_parameters()}  # fmt: skip
    assert any(k.startswith("reader.") for k in same)
    assert all(alike == k.startswith("reader.") for k, alike in same.items())


def test_no_backbone_file_is_needed_to_read_a_run_back(tmp_path):
    from transformers import ResNetConfig, ResNetModel, ViTImageProcessor

    folder = tmp_path / "resnet"
    torch.manual_seed(0)
    shape = {"embedding_size": 4, "hidden_sizes": [4, 6], "depths": [1, 1], "layer_type": "basic"}
    ResNetModel(ResNetConfig(**shape)).save_pretrained(folder)
    ViTImageProcessor().save_pretrained(folder)
    run = trained(tmp_path / "run", recipe(epochs=1, backbone=str(folder)))[0]
    folder.rename(tmp_path / "gone")
    assert PictureMethod.load(run.path).predict(HELD[:1])[0].label in LABELS.labels
