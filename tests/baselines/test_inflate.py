import pytest
import torch
from torch import nn

from textualize.baselines.backbone import Backbone
from textualize.baselines.inflate import Inflated, TimeConv
from textualize.errors import TextualizeError


class Vectors(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x).mean((2, 3))


class Last(nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone

    def forward(self, x):
        return self.backbone(x)[-1].mean((2, 3))


def plain():
    """As VGG begins: 3x3 convolutions with bias, pooling in between."""
    torch.manual_seed(0)
    return Vectors(
        nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(6, 8, 3, padding=1, stride=2, groups=2), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 5, 1),
        )
    )  # fmt: skip


def residual():
    torch.manual_seed(0)
    return Last(Backbone("small", 8, large_maps=False))


@pytest.mark.parametrize("make", [plain, residual])
@pytest.mark.parametrize("padding", ["replicate", "zeros"])
def test_a_repeated_picture_has_the_answer_of_the_flat_network(make, padding):
    flat, video = make().eval(), Inflated(make(), padding).eval()
    pictures = torch.rand(2, 3, 33, 31)
    with torch.no_grad():
        expected = flat(pictures)
        found = video(pictures.unsqueeze(2).repeat(1, 1, 60, 1, 1))
    assert found.shape == (2, 60, expected.shape[1])
    inside = found[:, 26:34]
    assert torch.allclose(inside, expected.unsqueeze(1).expand_as(inside), atol=1e-5)
    ends = torch.allclose(found, expected.unsqueeze(1).expand_as(found), atol=1e-5)
    assert ends == (padding == "replicate")


def test_it_is_a_convolution_over_time():
    torch.manual_seed(0)
    own = TimeConv(nn.Conv2d(2, 3, 3, padding=1), "zeros")
    with torch.no_grad():
        own.weight += torch.randn_like(own.weight)
    over = nn.Conv3d(2, 3, 3, padding=1)
    over.load_state_dict(own.state_dict())
    videos = torch.randn(4, 2, 5, 6, 7)
    own.frames = 5
    found = own(videos.transpose(1, 2).flatten(0, 1)).view(4, 5, 3, 6, 7).transpose(1, 2)
    assert torch.allclose(found, over(videos), atol=1e-5)


def test_a_picture_sees_its_neighbours_of_its_own_video_only():
    video = Inflated(plain()).eval()
    one = torch.rand(2, 3, 12, 8, 8)
    other = one.clone()
    other[0, :, 6] = 0.0
    with torch.no_grad():
        moved = (video(one) - video(other)).abs().sum(-1) > 1e-7
    assert moved[0, 4:9].all() and not moved[0, :4].any() and not moved[0, 9:].any()
    assert not moved[1].any()


def test_weights_of_every_time_train():
    video = Inflated(plain())
    video(torch.rand(1, 3, 4, 8, 8)).square().sum().backward()
    for one in video.inflated:
        assert bool((one.weight.grad.abs().sum((0, 1, 3, 4)) > 0).all())


@pytest.mark.parametrize(
    "layer", [nn.Conv2d(3, 4, 3, padding="same"), nn.Conv2d(3, 4, 3, padding=1,
                                                            padding_mode="reflect")]
)  # fmt: skip
def test_what_cannot_be_inflated_is_said(layer):
    with pytest.raises(TextualizeError, match="cannot be inflated"):
        Inflated(Vectors(nn.Sequential(layer)))


def test_nothing_to_inflate_is_said():
    with pytest.raises(TextualizeError, match="no convolution wider"):
        Inflated(Vectors(nn.Sequential(nn.Conv2d(3, 4, 1))))
