import numpy as np
import pytest
import torch

from textualize.baselines.pseudo_labels import confident_labels, information, threshold_at

VIEWS = torch.tensor(
    [
        [[0.95, 0.05], [0.60, 0.40], [0.30, 0.70], [0.97, 0.03]],
        [[0.91, 0.09], [0.99, 0.01], [0.04, 0.96], [0.02, 0.98]],
    ],
    dtype=torch.float64,
)


@pytest.mark.parametrize(
    ("threshold", "agreement", "found"),
    [
        (0.9, False, [0, -1, -1, 1]),
        (0.93, False, [-1, -1, -1, 1]),  # the first is at .93, not above it
        (1.0, False, [-1, -1, -1, -1]),
        (0.0, False, [0, 0, 1, 1]),
        (0.9, True, [0, -1, -1, -1]),
        (0.0, True, [0, 0, 1, -1]),
    ],
)
def test_pseudo_labels_by_hand(threshold, agreement, found):
    assert confident_labels(VIEWS, threshold, agreement=agreement).tolist() == found


def test_the_surest_view_decides_and_of_equals_the_last():
    equal = torch.tensor([[[0.8, 0.2]], [[0.2, 0.8]]])
    assert confident_labels(equal, 0.5, agreement=False).tolist() == [1]
    assert confident_labels(equal.flip(0), 0.5, agreement=False).tolist() == [0]
    three = torch.tensor([[[0.6, 0.4]], [[0.1, 0.9]], [[0.7, 0.3]]])
    assert confident_labels(three, 0.5, agreement=False).tolist() == [1]
    assert confident_labels(three[:1], 0.5).tolist() == [0]


def test_the_threshold_falls_and_never_below_zero():
    levels = [threshold_at(e, 0.9, 0.02, 20) for e in range(1000)]
    assert levels[:20] == [0.9] * 20
    assert levels[20:40] == pytest.approx([0.88] * 20)
    assert levels[40] == pytest.approx(0.86)
    assert all(a >= b for a, b in zip(levels, levels[1:], strict=False))
    assert levels[-1] == 0.0


def test_what_is_kept_grows_as_the_threshold_falls():
    views = torch.randn(2, 200, 3, generator=torch.Generator().manual_seed(0)).softmax(-1)
    kept = [confident_labels(views, level) for level in (0.9, 0.7, 0.5, 0.3)]
    for strict, loose in zip(kept, kept[1:], strict=False):
        assert bool((loose[strict >= 0] == strict[strict >= 0]).all())
        assert (loose >= 0).sum() > (strict >= 0).sum()


def test_information_is_what_answers_tell_apart():
    sure = torch.eye(4, dtype=torch.float64)
    assert information(sure) == pytest.approx(np.log(4))
    assert information(sure[:1].repeat(9, 1)) == pytest.approx(0)  # sure, and always the same
    assert information(torch.full((9, 4), 0.25)) == pytest.approx(0)
    some = torch.tensor([[0.9, 0.1], [0.4, 0.6]], dtype=torch.float64)
    joint = some.numpy() / 2
    apart = joint.sum(1, keepdims=True) * joint.sum(0)
    assert information(some) == pytest.approx((joint * np.log(joint / apart)).sum())
