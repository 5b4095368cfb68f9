"""What every network of pictures must do; a new method is here by being registered."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from textualize.baselines.fusion import NETWORKS, PICTURED, network_class, settings_of
from textualize.baselines.pictured import PictureMethod, build_pictured
from textualize.baselines.pictures import Pictures
from textualize.baselines.reading import Reading
from textualize.baselines.reels import POINTS
from textualize.baselines.task import Task
from textualize.finetune.recipe import parse
from textualize.methods import METHODS
from textualize.types import Clip, Record, Track

CLASSES = Task("classes", False, 2, ("different", "same"))
VALUES = Task("values", False, 1, ("value",), objective="mse")
SMALL = {
    "stochastic-softmax": {"width": 4, "hidden": 8, "dropout": 0.0},
    "dmsn": {"stem": 16, "dropout": 0.0, "hidden": 8},
    "au-guided": {"width": 4, "actions": {"different": [1, 4], "same": [6, 12]}},
    "subject-msda": {"pictures": "crops", "width": 4, "hidden": 8, "dropout": 0.0},
}
PRESETS = {name: (name, {}) for name in PICTURED} | {
    "stochastic-softmax mean": ("stochastic-softmax", {"beta": 0.0}),
    "stochastic-softmax released": ("stochastic-softmax", {"padding": "zeros"}),
    "stochastic-softmax dmsn": ("stochastic-softmax", {"backbone": "dmsn-c", "width": 16}),
    "dmsn a": ("dmsn", {"block": "a"}),
    "subject-msda dmsn": ("subject-msda", {"backbone": "dmsn-a", "width": 16}),
    "dmsn one scale": ("dmsn", {"multiscale": False}),
    "au-guided two layers": ("au-guided", {"layers": [2, 5], "criterion": "kl"}),
    "au-guided unguided": ("au-guided", {"weight": 0.0}),
    "au-guided as released": ("au-guided", {"codebook": "as_released", "relative": False}),
}
FRAMES, SIDE = 4, 32
every = pytest.mark.parametrize("preset", PRESETS)


def make(preset, task=CLASSES, seed=0):
    name, options = PRESETS[preset]
    recipe = parse({"method": name, **SMALL.get(name, {}), **options}, "test")
    torch.manual_seed(seed)
    settings = settings_of(name, recipe)
    network = build_pictured(name, task, FRAMES, settings)
    return network, settings | network.resolved()


def batch_of(lengths, seed=0, task=CLASSES):
    """Clips of the classes in turn, the second brighter."""
    g = torch.Generator().manual_seed(seed)
    n, t = len(lengths), max(lengths)
    kinds = torch.arange(n) % 2
    pixels = torch.rand(n, 3, t, SIDE, SIDE, generator=g) * 0.6 + 0.3 * kinds.view(-1, 1, 1, 1, 1)
    seen = torch.arange(t) < torch.tensor(lengths).unsqueeze(1)
    points = torch.rand(n, t, POINTS, 2, generator=g) * SIDE
    targets = kinds if task.kind == "classes" else 2.0 * kinds.unsqueeze(1) - 1
    return Pictures(
        pixels * seen[:, None, :, None, None], seen, points, torch.arange(n),
        torch.zeros(n, dtype=torch.long), targets, torch.ones(n),
    )  # fmt: skip


def test_the_tables_of_methods_agree():
    both = set(PICTURED) & set(NETWORKS)
    assert set(PICTURED) - both == {n for n, e in METHODS.items() if e.reads == "pictures"}
    assert all(METHODS[n].load.endswith(":TracksOrPictures") for n in both)
    assert all(network_class(n, pictured=True).reads == "pictures" for n in PICTURED)


@every
def test_a_clip_depends_on_no_other_nor_on_what_comes_after_its_end(preset):
    net, batch = make(preset)[0].eval(), batch_of([9, 4, 9, 1, 6])
    blank = ~batch.seen[:, None, :, None, None]
    noisy = replace(batch, pixels=torch.where(blank, torch.rand_like(batch.pixels), batch.pixels))
    with torch.no_grad():
        whole, alone = net(batch), [net(batch.take(torch.tensor([i]))) for i in range(5)]
        assert whole.shape == (5, 2) and torch.isfinite(whole).all()
        assert torch.allclose(whole, torch.cat(alone), atol=1e-5)
        assert torch.allclose(whole, net(noisy), atol=1e-5)
        cut = replace(batch, pixels=batch.pixels[:, :, :4], seen=batch.seen[:, :4],
                      landmarks=batch.landmarks[:, :4])  # fmt: skip
        assert torch.allclose(whole[[1, 3]], net(cut)[[1, 3]], atol=1e-5)


@every
def test_every_parameter_is_trained_or_listed_frozen(preset):
    net, batch = make(preset)[0].train(), batch_of([4] * 8)
    net.loss(batch).backward()
    for name, p in net.named_parameters():
        moved = p.grad is not None and bool(p.grad.abs().sum() > 0)
        assert moved != (name in net.frozen()), name


@every
def test_the_loss_falls(preset):
    net, batch = make(preset)[0].train(), batch_of([4] * 8)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    losses = []
    for _ in range(10):
        loss = net.loss(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]


@every
def test_saved_and_loaded_it_predicts_the_same(preset, tmp_path):
    net, settings = make(preset)
    rng = np.random.default_rng(0)
    points = tuple(f"{axis}{i}_px" for i in range(POINTS) for axis in "xyz")
    records = [
        Record(Clip(f"c{i}", None), {
            "crops": Track(rng.integers(1, 255, (n, 16, 16, 3), dtype=np.uint8), 5.0, 0.0, (),
                           "pixels", ""),
            "landmarks": Track(rng.uniform(0, 50, (n, 3 * POINTS)).astype(np.float32), 5.0, 0.0,
                               points, "named", ""),
        })
        for i, n in enumerate((9, 2, 5))
    ]  # fmt: skip
    reading = Reading(size=SIDE)
    own = PictureMethod(PRESETS[preset][0], CLASSES, reading, FRAMES, net, settings)
    own.save(tmp_path)
    again = PictureMethod.load(tmp_path)
    said = own.predict([*records, Record(Clip("blind", None))])
    assert said == again.predict([*records, Record(Clip("blind", None))])
    assert said[:1] == own.predict(records[:1])
    assert [p.label is None for p in said] == [False] * 3 + [True]
    assert said[3].text == "no pictures: no track 'crops'"
    assert all(abs(sum(p.scores.values()) - 1) < 1e-9 for p in said[:3])


def test_dmsn_answers_values():
    net = make("dmsn", VALUES)[0].train()
    batch = batch_of([4] * 8, task=VALUES)
    net.loss(batch).backward()
    assert net.eval()(batch).shape == (8, 1)


def test_dmsn_answers_a_clip_by_the_mean_over_its_pieces():
    net, batch = make("dmsn")[0].eval(), batch_of([10])
    with torch.no_grad():
        parts = [
            net(replace(batch, pixels=batch.pixels[:, :, a : a + 4], seen=batch.seen[:, a : a + 4]))
            for a in (0, 4, 6)
        ]
        assert torch.allclose(net(batch), torch.stack(parts).mean(0), atol=1e-6)
