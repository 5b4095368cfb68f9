"""What deletion and insertion curves say of a heat map, on scores whose cause is known."""

import numpy as np
import pytest
import torch

from textualize.baselines.deletion import STEPS, areas, blurred, like

SIDE = 24
D = torch.float64


def faces(count=3, seed=0):
    """Pictures with a checked square in the upper left quarter, and nothing elsewhere."""
    g = torch.Generator().manual_seed(seed)
    pixels = torch.full((count, 3, SIDE, SIDE), 0.5, dtype=D)
    y, x = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
    pixels[:, :, 4:12, 4:12] = ((x + y) % 2).to(D)
    return (pixels + 0.01 * torch.rand(pixels.shape, generator=g, dtype=D)).clamp(0, 1)


def checked(pixels):
    """Scores of two classes: how much is checked in the square, and 0."""
    found = 20 * (pixels[:, 0, 4:12, 4:12] - 0.5).square().mean((1, 2)) - 2.5
    return torch.stack([found, found * 0], 1)


def on_the_square():
    heat = torch.zeros(3, SIDE, SIDE, dtype=D)
    heat[:, 4:12, 4:12] = 1
    return heat


CLASS = torch.zeros(3, dtype=torch.long)


def test_the_cause_is_deleted_soon_and_inserted_soon():
    gone, back = areas(faces(), on_the_square(), CLASS, checked)
    off, late = areas(faces(), 1 - on_the_square(), CLASS, checked)
    chance = areas(faces(), like(on_the_square(), drawn()), CLASS, checked)
    assert (gone < chance[0]).all() and (chance[0] < off).all()
    assert (back > chance[1]).all() and (chance[1] > late).all()


def drawn(seed=0):
    return torch.Generator().manual_seed(seed)


def test_inserting_is_deleting_backwards():
    """What is sharp of a picture when the hottest share is in is what is left without the rest."""
    heat = torch.rand(3, SIDE, SIDE, generator=drawn(), dtype=D)
    one, two = areas(faces(), heat, CLASS, checked), areas(faces(), -heat, CLASS, checked)
    assert one[1] == pytest.approx(two[0], abs=0.02)  # shares are cut to whole points
    assert one[0] == pytest.approx(two[1], abs=0.02)


def test_only_the_order_of_the_heat_counts_and_each_picture_stands_alone():
    heat = torch.rand(3, 6, 6, generator=drawn(1), dtype=D)
    whole = areas(faces(), heat, CLASS, checked)
    assert np.allclose(whole, areas(faces(), 5 * heat - 2, CLASS, checked))
    for i in range(3):
        own = areas(faces()[i : i + 1], heat[i : i + 1], CLASS[:1], checked)
        assert np.allclose([x[i] for x in whole], [x[0] for x in own])


def test_scores_that_do_not_change_have_the_area_of_their_probability():
    def same(pixels):
        return torch.tensor([[0.0, np.log(3.0)]]).expand(len(pixels), 2)

    for found in areas(faces(), on_the_square(), CLASS, same):
        assert found == pytest.approx(0.25)
    for found in areas(faces(), on_the_square(), CLASS + 1, same):
        assert found == pytest.approx(0.75)


def test_a_curve_begins_with_the_picture_and_ends_with_its_blur():
    seen = []

    def kept(pixels):
        seen.append(pixels)
        return checked(pixels)

    areas(faces(), on_the_square(), CLASS, kept)
    assert len(seen) == 3 and {len(x) for x in seen} == {2 * (STEPS + 1)}
    for whole, soft, each in zip(faces(), blurred(faces()), seen, strict=True):
        assert torch.equal(each[0], whole) and torch.equal(each[STEPS], soft)  # deletion
        assert torch.equal(each[STEPS + 1], soft) and torch.equal(each[-1], whole)


def test_heat_at_random_is_as_fine_as_what_it_stands_beside():
    heat = torch.rand(2, 7, 7)
    found = like(heat, drawn())
    assert found.shape == heat.shape and torch.equal(found, like(heat, drawn()))
    assert not torch.equal(found, like(heat, drawn(1)))
