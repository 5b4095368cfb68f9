"""Class activation maps: the plain one in closed form, the others by captum's gradients."""

import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from textualize.baselines.activation import CAM_KINDS, activation
from textualize.baselines.attention_metrics import class_map
from textualize.baselines.backbone import Backbone
from textualize.errors import TextualizeError

D = torch.float64
every_kind = pytest.mark.parametrize("kind", CAM_KINDS)


def case(seed, count=4, channels=6, side=5, classes=3):
    """Features that are nowhere below 0, a head, and a class of each picture."""
    g = torch.Generator().manual_seed(seed)
    features = torch.randn(count, channels, side, side, generator=g, dtype=D).relu()
    head = nn.Linear(channels, classes, dtype=D)
    with torch.no_grad():
        for p in head.parameters():
            p.copy_(torch.randn(p.shape, generator=g, dtype=D))
    return features, head, torch.randint(classes, (count,), generator=g)


def plain(features, weights):
    """Return the sum of channels by their weights, (n, h, w)."""
    return torch.einsum("bkhw,bk->bhw", features, weights.detach())


def scaled(found):
    """Return a map brought to 0 and 1; 0 where it is the same everywhere."""
    low, high = found.amin((1, 2), keepdim=True), found.amax((1, 2), keepdim=True)
    return torch.where(high > low, (found - low) / (high - low).clamp(min=1e-30), 0.0)


def test_a_class_map_is_what_the_class_score_is_the_mean_of():
    features, head, classes = case(0)
    map_of = plain(features, head.weight[classes])
    scores = (head(features.mean((2, 3))) - head.bias).gather(1, classes[:, None])[:, 0]
    assert torch.allclose(map_of.mean((1, 2)), scores)
    found = class_map(features, head.weight, classes)
    assert torch.equal(found.amin((1, 2)), torch.zeros(4, dtype=D))
    assert torch.equal(found.flatten(1).argsort(1), map_of.flatten(1).argsort(1))


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000))
def test_of_a_linear_head_on_means_gradients_give_the_closed_forms(seed):
    """Grad-CAM is the plain map where that is above 0; the others weigh what is above 0 only."""
    pytest.importorskip("captum")
    features, head, classes = case(seed)
    weights = head.weight[classes]
    raising = weights.relu()
    plus = raising / (2 + raising * features.mean((2, 3)))
    closed = {
        "gradcam": plain(features, weights).relu(),
        "layercam": plain(features, raising),
        "gradcam++": plain(features, plus),
    }
    for kind, expected in closed.items():
        found = activation(features, head, classes, kind).detach()
        assert torch.allclose(found, scaled(expected), atol=1e-6), kind


def test_grad_cam_is_captum_s_of_the_whole_network():
    """From pixels, hooked on the backbone's last stage, and not on what follows it alone."""
    attr = pytest.importorskip("captum.attr")
    torch.manual_seed(0)
    backbone, head = Backbone("small", 8, large_maps=True).eval(), nn.Linear(64, 3)
    pixels, classes = torch.rand(4, 3, 48, 48), torch.tensor([0, 1, 2, 1])
    peer = attr.LayerGradCam(
        lambda x: head(backbone(x)[-1].mean((2, 3))), backbone.model.encoder.stages[-1]
    )
    for kind, rectified in (("cam", False), ("gradcam", True)):
        whole = peer.attribute(pixels, classes, relu_attributions=rectified)[:, 0]
        found = activation(backbone(pixels)[-1], head, classes, kind)
        assert torch.allclose(found, scaled(whole), atol=1e-4)


@every_kind
def test_a_map_is_of_its_own_picture_and_class_and_leaves_no_trace(kind):
    pytest.importorskip("captum")
    features, head, classes = case(3)
    with torch.inference_mode():  # as prediction runs
        found = activation(features, head, classes, kind)
    alone = [activation(features[i : i + 1], head, classes[i : i + 1], kind) for i in range(4)]
    assert torch.allclose(found, torch.cat(alone))
    assert found.shape == (4, 5, 5) and 0 <= found.min() and found.max() <= 1
    other = activation(features, head, (classes + 1) % 3, kind)
    assert not torch.allclose(found, other)
    assert all(p.grad is None for p in head.parameters())


def test_a_class_that_nothing_speaks_for_has_an_empty_map():
    pytest.importorskip("captum")
    features, head, classes = case(1)
    with torch.no_grad():
        head.weight.copy_(-head.weight.abs())
    for kind in ("gradcam", "gradcam++", "layercam"):
        assert not activation(features, head, classes, kind).any()


def test_what_cannot_be_drawn_is_said(monkeypatch):
    features, head, classes = case(2)
    with pytest.raises(TextualizeError, match="no class activation map named 'smooth'"):
        activation(features, head, classes, "smooth")
    below = features - 0.5
    with pytest.raises(TextualizeError, match="nowhere below 0"):
        activation(below, head, classes, "gradcam++")
    assert activation(below, head, classes, "layercam").any()
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(TextualizeError, match=r"needs captum: pip install 'textualize\[cam\]'"):
        activation(features, head, classes, "gradcam")
    assert activation(features, head, classes, "cam").any()
