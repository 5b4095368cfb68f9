import copy
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from textualize.baselines.adaptation import Adaptation
from textualize.baselines.augment import Augment
from textualize.baselines.discrepancy import mmd
from textualize.baselines.fusion import settings_of
from textualize.baselines.pictured import build_pictured
from textualize.baselines.pictures import PictureSource
from textualize.baselines.pseudo_labels import confident_labels
from textualize.baselines.reels import TrackReel
from textualize.baselines.subject_msda import SubjectMSDA
from textualize.baselines.subject_pictures import SubjectPictures
from textualize.baselines.task import Task
from textualize.errors import TextualizeError
from textualize.finetune.recipe import parse

CLASSES = Task("classes", False, 2, ("a", "b"))
VALUES = Task("values", False, 1, ("v",), objective="mse")
SIDE, FRAMES = 32, 2
backbones = pytest.mark.parametrize("backbone", ["small", "dmsn-a"])


def network(seed=0, task=CLASSES, frames=FRAMES, **options):
    torch.manual_seed(seed)
    small = {"width": 4 if options.get("backbone", "small") == "small" else 16, "hidden": 8}
    own = {"method": "subject-msda", "pictures": "crops", "dropout": 0.0}
    settings = settings_of("subject-msda", parse({**own, **small, **options}, "test"))
    return build_pictured("subject-msda", task, frames, settings)


def people(sizes=(8, 8, 8), target=10, seed=0, lengths=(2, 5), **options):
    """Clips of two classes, the second brighter; each person in their own light."""
    rng = np.random.default_rng(seed)
    reels, targets, who = [], [], []
    for k, n in enumerate((*sizes, target)):
        light = rng.uniform(0.6, 1.2)
        for i in range(n):
            t = int(rng.integers(lengths[0], lengths[1] + 1))
            pixels = light * rng.uniform(20, 120 + 60 * (i % 2), (t, SIDE, SIDE, 3))
            reels.append(_reel(pixels.clip(1, 255).astype(np.uint8)))
            targets.append(i % 2 if k < len(sizes) else -1)
            who.append(k if k < len(sizes) else -1)
    own = {"frames": FRAMES, "at_once": 4, **options}
    return PictureSource(
        reels, torch.tensor(targets), torch.ones(len(who)), subjects=torch.tensor(who), **own
    )


def _reel(pixels):
    at, times = np.arange(len(pixels)), np.arange(len(pixels)) / 5.0
    return TrackReel(pixels, at, times, None, SIDE, len(pixels))


def test_stages_drawing_and_losses_are_those_of_the_feature_form():
    shared = {"draw", "loss", "begin", "memory", "remember", "told", "criterion", "stages"}
    for kind in (SubjectMSDA, SubjectPictures):
        assert issubclass(kind, Adaptation)
        assert not shared & set(vars(kind))


def test_every_place_of_the_last_map_counts_alike():
    """The published pooling saw the upper left corner alone: 4 x 4 of 7 x 7 points."""
    batch = people().take(torch.arange(3))
    net, batch = network().eval(), replace(batch, pixels=torch.rand(3, 3, FRAMES, 112, 112))
    kept = []
    net.reader.backbone.register_forward_hook(lambda module, given, out: kept.append(out[-1]))
    features = net.parts(batch)[0]
    maps = kept[0]
    assert maps.shape[2:] == (4, 4)
    for unit in range(features.shape[1]):
        told = torch.autograd.grad(features[:, unit].sum(), maps, retain_graph=True)[0][:, unit]
        quadrants = told.view(-1, 2, 2, 2, 2).sum((0, 2, 4)).flatten()
        assert float(quadrants.min()) > 0 and torch.allclose(quadrants, quadrants[:1])
        assert torch.allclose(told, told[0, 0, 0].expand_as(told))


def test_a_clip_is_the_mean_of_its_own_pictures():
    data = people(lengths=(1, 4))
    net = network().eval()
    batch = next(data.whole(torch.arange(4)))
    with torch.no_grad():
        whole = net.parts(batch)[0]
        for i in range(4):
            pictures = batch.pixels[i].transpose(0, 1)[batch.seen[i]]
            each = net.reader.backbone(pictures)[-1].mean((2, 3))
            assert torch.allclose(whole[i], each.mean(0), atol=1e-5)


def test_the_other_view_is_the_mirror_image_and_nothing_is_drawn_for_it():
    net, batch = network(), people().take(torch.arange(4))
    before = torch.get_rng_state()
    other = net.other_view(batch)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(other.pixels, batch.pixels.flip(-1))
    assert torch.equal(net.other_view(other).pixels, batch.pixels)
    assert not torch.equal(other.pixels, batch.pixels)


@backbones
def test_pseudo_labels_are_of_all_whole_clips_as_prediction_reads_them(backbone):
    """Training moves its pictures and sees pieces of them; what it is sure of, it saw whole."""
    data = people(augment=Augment(), lengths=(3, 5))
    net = network(backbone=backbone, threshold=0.5, every=1, choose="information")
    net.begin("adapt")
    net.train()
    net.draw(data, torch.arange(12))
    found = net.memory()["labels"]
    net.eval()
    own = torch.where(data.subjects < 0)[0]
    with torch.no_grad():
        clips = [next(PictureSource([data.reels[i]], torch.zeros(1), torch.ones(1)).whole(
            torch.tensor([0]))) for i in own.tolist()]  # fmt: skip
        views = torch.stack(
            [
                torch.cat([net(c).softmax(-1) for c in clips]),
                torch.cat([net(replace(c, pixels=c.pixels.flip(-1))).softmax(-1) for c in clips]),
            ]
        )
    assert torch.equal(found[own], confident_labels(views, 0.5))
    assert torch.equal(found[data.subjects >= 0], data.targets[data.subjects >= 0])
    assert net.criterion() >= 0


def test_batches_are_balanced_over_people_and_pieces_know_theirs():
    data = people(sizes=(20, 4, 9))
    net = network(pseudo_labels=False)
    for stage, share in (("source", 6), ("adapt", 4)):
        net.begin(stage)
        for seed in range(5):
            torch.manual_seed(seed)
            batch = net.draw(data, torch.arange(12))
            who = Counter(batch.subjects.tolist())
            assert all(n == min(share, int((data.subjects == s).sum())) for s, n in who.items())
            assert (-1 in who) == (stage == "adapt")
            assert torch.equal(data.subjects[batch.rows], batch.subjects)
            assert torch.equal(data.targets[batch.rows], batch.targets)
            assert batch.pixels.shape[2] == FRAMES


@backbones
def test_the_losses_are_those_of_the_paper(backbone):
    data = people(lengths=(FRAMES, FRAMES))
    net = network(backbone=backbone, weight=0.3, target_weight=0.7).eval()
    first, second, target = (torch.where(data.subjects == s)[0][:4] for s in (0, 1, -1))
    three = data.take(torch.cat([first, second, target]))
    (fa, oa), (fb, ob), (ft, ot) = (net.parts(three.take(torch.arange(4) + at)) for at in (0, 4, 8))
    entropy = torch.nn.functional.cross_entropy
    wanted = entropy(oa, three.targets[:4]) + entropy(ob, three.targets[4:8])
    found = net.loss(three.take(torch.arange(8)))
    assert torch.allclose(found, wanted + 0.3 * mmd(fa, fb), atol=1e-5)
    net.begin("adapt")
    three.targets[8:10] = torch.tensor([0, 1])  # two of four have a pseudo-label
    wanted = entropy(torch.cat([oa, ob]), three.targets[:8]) + entropy(ot[:2], three.targets[8:10])
    apart = (mmd(fa, ft) + mmd(fb, ft)) / 2
    assert torch.allclose(net.loss(three), wanted + 0.7 * apart, atol=1e-5)


@backbones
def test_the_discrepancy_reaches_the_backbone_and_not_what_answers(backbone):
    batch = people(lengths=(FRAMES, FRAMES)).take(torch.arange(16))
    found = []
    for weight in (0.0, 1.0):
        net = network(backbone=backbone, weight=weight)
        net.loss(batch).backward()
        found.append({n: p.grad.clone() for n, p in net.named_parameters()})
    moved = {n for n in found[0] if not torch.allclose(found[0][n], found[1][n], atol=1e-8)}
    assert sum(n.startswith("reader.") for n in moved) > len(found[0]) / 2
    assert not any(n.startswith("head.") for n in moved)


def test_a_stage_goes_on_from_its_memory_to_the_last_bit():
    def run_epoch(net, data, seed):
        torch.manual_seed(seed)
        net.train()
        for rows in torch.randperm(len(data)).split(12):
            loss = net.loss(net.draw(data, rows))
            net.zero_grad()
            loss.backward()
            with torch.no_grad():
                for p in net.parameters():
                    p -= 1e-2 * p.grad

    data = people(augment=Augment())
    options = {"every": 2, "threshold": 0.4, "sources": 2}
    whole = network(**options)
    whole.begin("adapt")
    for epoch in range(4):
        run_epoch(whole, data, epoch)
        if epoch == 2:  # between two makings of pseudo-labels
            halved, memory = copy.deepcopy(whole.state_dict()), whole.memory()
    again = network(seed=9, **options)
    again.begin("adapt")
    again.load_state_dict(halved)
    again.remember(memory)
    run_epoch(again, data, 3)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    assert set(memory) == {"drawn", "labels", "chosen.-1"} and len(memory["chosen.-1"]) == 2


def test_values_are_answered_without_pseudo_labels_and_steps_are_not():
    net = network(task=VALUES, pseudo_labels=False)
    assert net(people().take(torch.arange(3))).shape == (3, 1)
    with pytest.raises(TextualizeError, match="pseudo_labels: false"):
        network(task=VALUES)
    with pytest.raises(TextualizeError, match="no vision model 'nowhere'"):
        network(backbone="nowhere")


def test_the_backbone_learns_at_its_share_and_the_rest_at_the_rate():
    net = network(backbone_rate=0.1)
    assert net.rates() == {"reader": 0.1}
    assert {n.partition(".")[0] for n, _ in net.named_parameters()} == {"reader", "head"}
