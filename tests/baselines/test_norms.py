import logging

import pytest
import torch
from torch import nn

from textualize.baselines.backbone import SMALL, Backbone
from textualize.baselines.dmsn import DMSN
from textualize.baselines.norms import normed_alone


def norm(channels=3, alone=True):
    torch.manual_seed(0)
    made = nn.Sequential(nn.BatchNorm2d(channels))
    made[0].running_mean.normal_()
    made[0].running_var.uniform_(0.5, 2)
    if alone:
        normed_alone(made)
    return made.train()


def test_more_than_one_value_is_normalised_as_ever():
    one, other = norm(), norm(alone=False)
    for shape in ((2, 3, 1, 1), (1, 3, 1, 2), (4, 3, 5, 5)):
        x = torch.randn(shape)
        assert torch.equal(one(x), other(x))
    assert all(torch.equal(v, other.state_dict()[k]) for k, v in one.state_dict().items())
    assert list(one.state_dict()) == list(other.state_dict())


def test_one_value_is_normalised_by_what_others_had(caplog):
    own, x = norm(), torch.randn(1, 3, 1, 1)
    before = {k: v.clone() for k, v in own.state_dict().items()}
    with caplog.at_level(logging.WARNING):
        found = own(x)
        own(x)
    expected = norm(alone=False).eval()(x)
    assert torch.equal(found, expected)
    assert all(torch.equal(v, before[k]) for k, v in own.state_dict().items())
    assert own[0].training and len(caplog.records) == 1
    own(torch.randn(4, 3, 1, 1))
    assert not torch.equal(own[0].running_mean, before["0.running_mean"])


@pytest.mark.parametrize("what", ["backbone", "dmsn"])
def test_networks_of_pictures_train_on_one_small_picture(what):
    torch.manual_seed(0)
    if what == "backbone":
        out = Backbone(SMALL, 4, large_maps=False).train()(torch.rand(1, 3, 32, 32))[-1]
    else:
        out = DMSN("c", stem=16).train()(torch.rand(1, 3, 1, 16, 16))
    out.sum().backward()
    assert torch.isfinite(out).all()
