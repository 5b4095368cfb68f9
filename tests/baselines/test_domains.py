import pytest
import torch

from textualize.baselines.batch import Batch
from textualize.baselines.domains import Domains, ranked, rows_of
from textualize.errors import TextualizeError


def of(subjects):
    n = len(subjects)
    return Batch({}, {}, torch.zeros(n, 2), torch.zeros(n), torch.ones(n), torch.tensor(subjects))


def test_every_clip_is_of_one_domain_and_nobody_is_both():
    found = Domains.of(of([1, -1, 0, 1, -2, 0, -1]))
    assert {s: r.tolist() for s, r in found.sources.items()} == {0: [2, 5], 1: [0, 3]}
    assert {s: r.tolist() for s, r in found.targets.items()} == {-2: [4], -1: [1, 6]}
    assert not set(found.sources) & set(found.targets)
    rows = torch.cat([*found.sources.values(), *found.targets.values()])
    assert sorted(rows.tolist()) == list(range(7))
    assert list(rows_of(torch.tensor([3, 1, 3]))) == [1, 3]


@pytest.mark.parametrize("subjects", [[0, 0, -1], [-1, -2]])
def test_fewer_than_two_people_with_labels_are_refused(subjects):
    with pytest.raises(TextualizeError, match="two subjects or more; [01] in training"):
        Domains.of(of(subjects))


@pytest.mark.parametrize("by", ["mmd", "cosine"])
def test_the_nearest_source_comes_first(by):
    g = torch.Generator().manual_seed(0)
    centre = {0: 4.0, 1: 0.0, 2: 2.0}
    way = torch.tensor([1.0, -1.0, 0.0])
    sources = {
        s: torch.randn(50, 3, generator=g) + at * way + torch.tensor([0.0, 0, 3])
        for s, at in centre.items()
    }
    target = torch.randn(20, 3, generator=g) + torch.tensor([0.0, 0, 3])
    assert ranked(target, sources, by) == [1, 2, 0]
    assert ranked(target, {5: target, 3: target}, by) == [3, 5]
    assert ranked(target[:1], {0: sources[0], 1: sources[1][:1]}, by) == [1, 0]
