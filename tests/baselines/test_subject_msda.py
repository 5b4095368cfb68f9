import copy
from collections import Counter

import numpy as np
import pytest
import torch

from textualize.baselines.batch import Batch
from textualize.baselines.discrepancy import mmd
from textualize.baselines.domains import Domains, ranked
from textualize.baselines.fusion import settings_of
from textualize.baselines.pseudo_labels import information
from textualize.baselines.subject_msda import SubjectMSDA
from textualize.baselines.task import Task
from textualize.datasets.synthetic_people import people_tracks
from textualize.errors import TextualizeError
from textualize.finetune.recipe import parse

CLASSES = Task("classes", False, 2, ("a", "b"))
SOURCES, EACH, WIDTH = 6, 30, 6


def network(seed=0, task=CLASSES, width=WIDTH, **options):
    torch.manual_seed(seed)
    recipe = parse({"method": "subject-msda", "hidden": 16, "dropout": 0.0, **options}, "test")
    return SubjectMSDA({"functionals": width}, task, **settings_of("subject-msda", recipe))


def people(seed=0, shift=1.0, sizes=(EACH,) * SOURCES, target=40):
    """Clips of two classes, each person at a place of their own; of the last no label is known."""
    g = torch.Generator().manual_seed(seed)
    x, y, who = [], [], []
    for k, n in enumerate((*sizes, target)):
        own = torch.randint(2, (n,), generator=g)
        z = torch.randn(n, WIDTH, generator=g)
        z[:, :2] += 2.0 * own[:, None] - 1.0
        x.append(z + shift * torch.randn(WIDTH, generator=g))
        y.append(own)
        who += [k if k < len(sizes) else -1] * n
    subjects, truth = torch.tensor(who), torch.cat(y)
    known = torch.where(subjects >= 0, truth, -1)
    return Batch({}, {}, torch.cat(x), known, torch.ones(len(who)), subjects), truth


def train(net, data, epochs=10, size=48, lr=5e-3, seed=0, stages=("source", "adapt")):
    for stage in stages:
        net.begin(stage)
        optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr)
        for epoch in range(epochs):
            run_epoch(net, data, optimizer, seed * 100 + epoch, size)
    return net.eval()


def run_epoch(net, data, optimizer, seed, size=48):
    torch.manual_seed(seed)
    net.train()
    for rows in torch.randperm(len(data)).split(size):
        optimizer.zero_grad()
        net.loss(net.draw(data, rows)).backward()
        optimizer.step()


def same_weights(one, two):
    return all(
        torch.equal(a, b)
        for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    )


# pseudo-labels


def test_pseudo_labels_are_made_again_of_all_clips_and_only_when_it_is_their_turn():
    data, _ = people()
    options = {"every": 3, "threshold": 0.9, "fall": 0.15, "align": 1}
    net = train(network(**options), data, stages=("source",), epochs=2)
    net.begin("adapt")
    still = torch.optim.SGD(net.parameters(), 0.0)  # the same answers, asked with less sureness
    kept = []
    run_epoch(net, data, still, 9)
    assert "labels" not in net.memory()  # the first epoch aligns alone
    for epoch in range(7):
        run_epoch(net, data, still, epoch)
        kept.append(net.memory()["labels"][data.subjects < 0])
    for i in (1, 2, 4, 5):
        assert torch.equal(kept[i], kept[i - 1])
    counts = [int((k >= 0).sum()) for k in kept]
    assert counts[0] < counts[3] < counts[6] == net.told()["pseudo-labels"]
    assert torch.equal(net.memory()["labels"][data.subjects >= 0], data.targets[data.subjects >= 0])


def test_a_clip_that_was_kept_can_be_dropped_again():
    data, _ = people()
    net = train(network(every=1, threshold=0.7, fall=0.0), data, stages=("source",))
    net.begin("adapt")
    still = torch.optim.SGD(net.parameters(), 0.0)
    run_epoch(net, data, still, 0)
    before = net.told()["pseudo-labels"]
    with torch.no_grad():
        for p in net.parameters():
            p *= 0.1  # unsure of all
    run_epoch(net, data, still, 1)
    assert before > 0 == net.told()["pseudo-labels"]


# the sampler


def test_batches_are_of_two_people_whatever_their_number_of_clips():
    data, _ = people(sizes=(100, 10, 30, 30))
    net = network()
    net.train()
    met, pairs = Counter(), Counter()
    for seed in range(300):
        torch.manual_seed(seed)
        batch = net.draw(data, torch.arange(20))
        who = Counter(batch.subjects.tolist())
        assert len(who) == 2
        assert set(who.values()) == {10}
        assert len(set(map(tuple, batch.functionals.tolist()))) == 20
        met.update(who.keys())
        pairs.update([frozenset(who)])
    assert set(met) == {0, 1, 2, 3}
    assert min(met.values()) > 0.75 * 150  # each in half of the batches
    assert len(pairs) == 6


def test_while_adapting_a_third_is_of_the_target_without_its_label():
    data, truth = people()
    net = network(pseudo_labels=False)
    net.begin("adapt")
    for seed in range(5):
        torch.manual_seed(seed)
        batch = net.draw(data, torch.arange(30))
        assert sorted(Counter(batch.subjects.tolist()).values()) == [10, 10, 10]
        own = batch.subjects < 0
        assert int(own.sum()) == 10
        assert bool((batch.targets[own] == -1).all())
        assert bool((batch.targets[~own] >= 0).all())
    assert (truth[data.subjects < 0] >= 0).all()


def test_small_batches_and_small_subjects_are_drawn_whole():
    data, _ = people(sizes=(3, 2), target=1)
    net = network()
    assert len(net.draw(data, torch.arange(1))) == 4
    assert sorted(Counter(net.draw(data, torch.arange(50)).subjects.tolist()).values()) == [2, 3]
    net.begin("adapt")
    assert torch.isfinite(net.loss(net.draw(data, torch.arange(50))))


def test_the_last_clips_of_an_epoch_are_enough_for_covariances():
    data, _ = people()
    net = network(discrepancy="coral", pseudo_labels=False)
    net.begin("adapt")
    batch = net.draw(data, torch.arange(1))
    assert sorted(Counter(batch.subjects.tolist()).values()) == [2, 2, 2]
    assert torch.isfinite(net.loss(batch))
    assert len(network(pseudo_labels=False).draw(data, torch.arange(1))) == 4


def test_one_source_or_no_subjects_are_refused():
    data, _ = people(sizes=(10,))
    with pytest.raises(TextualizeError, match="two subjects or more; 1 in training"):
        network().draw(data, torch.arange(4))
    nameless = Batch({}, {}, data.functionals, data.targets, data.weights)
    with pytest.raises(TextualizeError, match="whose every clip is"):
        network().draw(nameless, torch.arange(4))


@pytest.mark.parametrize(
    ("task", "wanted"),
    [
        (Task("classes", True, 2, ("a", "b")), "leave out per_step"),
        (Task("values", False, 1, ("v",), objective="mse"), "pseudo_labels: false"),
    ],
)
def test_what_it_cannot_answer_is_refused(task, wanted):
    with pytest.raises(TextualizeError, match=wanted):
        network(task=task)


# the epoch


def test_information_chooses_while_adapting_and_reads_the_target_alone():
    data, _ = people()
    net = train(network(choose="information"), data, epochs=1)
    own = data.functionals[data.subjects < 0]
    one = Batch({}, {}, own, torch.zeros(len(own)), torch.ones(len(own)))
    with torch.no_grad():
        assert net.criterion() == pytest.approx(information(net(one).softmax(-1)))
    net.begin("source")
    assert net.criterion() is None
    assert train(network(), data, epochs=1).criterion() is None


# the ranking of sources


def test_only_the_chosen_sources_are_adapted_from():
    data, _ = people(shift=3.0)
    net = network(sources=2, pseudo_labels=False)
    net.begin("adapt")
    seen = set()
    for seed in range(40):
        torch.manual_seed(seed)
        seen |= set(net.draw(data, torch.arange(30)).subjects.tolist())
    domains = Domains.of(data)
    with torch.no_grad():
        features = {s: net.parts(data.take(r))[0] for s, r in domains.sources.items()}
        target = net.parts(data.take(domains.targets[-1]))[0]
    assert seen == {-1, *ranked(target, features, "mmd")[:2]}


# the loss


def test_the_losses_are_those_of_the_paper():
    data, _ = people()
    net = network(weight=0.3, target_weight=0.7).eval()
    first, second, target = (torch.where(data.subjects == s)[0][:8] for s in (0, 1, -1))
    entropy = torch.nn.functional.cross_entropy

    def parts(rows):
        return net.parts(data.take(rows))

    (fa, oa), (fb, ob), (ft, ot) = parts(first), parts(second), parts(target)
    pair = data.take(torch.cat([first, second]))
    wanted = entropy(oa, data.targets[first]) + entropy(ob, data.targets[second])
    assert torch.allclose(net.loss(pair), wanted + 0.3 * mmd(fa, fb), atol=1e-6)
    net.begin("adapt")
    three = data.take(torch.cat([first, second, target]))
    three.targets[-8:-3] = torch.tensor([0, 1, 1, 0, 1])  # five of eight have a pseudo-label
    wanted = entropy(torch.cat([oa, ob]), pair.targets) + entropy(ot[:5], three.targets[-8:-3])
    apart = (mmd(fa, ft) + mmd(fb, ft)) / 2
    assert torch.allclose(net.loss(three), wanted + 0.7 * apart, atol=1e-6)


def test_the_discrepancy_reaches_the_weights():
    data, _ = people()
    rows = torch.cat([torch.where(data.subjects == s)[0][:8] for s in (0, 1)])
    found = []
    for weight in (0.0, 1.0):
        net = network(weight=weight)
        net.loss(data.take(rows)).backward()
        found.append({n: p.grad.clone() for n, p in net.named_parameters()})
    moved = [n for n in found[0] if not torch.allclose(found[0][n], found[1][n])]
    assert {"linear.weight", "mlp.0.weight"} <= set(moved)
    assert "head.weight" not in moved  # what answers is not what is compared


def test_descent_on_the_loss_lowers_the_discrepancy():
    data, _ = people(shift=2.0)
    net = network(target_weight=5.0, pseudo_labels=False)
    train(net, data, stages=("source",))
    net.begin("adapt")
    optimizer = torch.optim.AdamW(net.parameters(), 5e-3)
    told = []
    for epoch in range(8):
        run_epoch(net, data, optimizer, epoch)
        told.append(net.told()["discrepancy"])
    assert told[-1] < 0.7 * told[0]


def test_without_weights_and_pseudo_labels_it_is_training_on_the_sources():
    data, _ = people()
    off = {"weight": 0.0, "target_weight": 0.0, "pseudo_labels": False}
    own = train(network(**off), data, epochs=3)
    other = copy.deepcopy(data)
    other.functionals[data.subjects < 0] = 100.0
    assert same_weights(own, train(network(**off), other, epochs=3))
    changed = train(network(target_weight=0.5, pseudo_labels=False), other, epochs=3)
    assert not same_weights(own, changed)


# going on


def test_a_stage_goes_on_from_its_memory_to_the_last_bit():
    data, _ = people()
    start = train(network(every=3, threshold=0.6, sources=3), data, stages=("source",))
    start.begin("adapt")
    whole = copy.deepcopy(start)
    still = torch.optim.SGD(whole.parameters(), 1e-2)
    for epoch in range(5):
        run_epoch(whole, data, still, epoch)
        if epoch == 3:
            halved, memory = copy.deepcopy(whole.state_dict()), whole.memory()
    again = network(seed=9, every=3, threshold=0.6, sources=3)
    again.begin("adapt")
    again.load_state_dict(halved)
    again.remember(memory)
    run_epoch(again, data, torch.optim.SGD(again.parameters(), 1e-2), 4)
    assert same_weights(whole, again)
    assert set(memory) == {"drawn", "labels", "chosen.-1"}


def test_a_new_stage_starts_without_the_old_memory():
    data, _ = people()
    net = train(network(threshold=0.5), data, epochs=2)
    assert "labels" in net.memory()
    net.begin("source")
    assert set(net.memory()) == {"drawn"}
    assert net.told() == {}


# a known answer: people who are turned and moved against each other (synthetic_people.py)

PEOPLE, STRANGERS, CLIPS = 8, 3, 60


def shown(seed, track):
    """Clips (N, D), classes and people of `PEOPLE` to learn from and `STRANGERS` to be tested."""
    x, y, who = [], [], []
    for person in range(PEOPLE + STRANGERS):
        rng = np.random.default_rng([seed, person])
        for i in range(CLIPS):
            tracks = people_tracks(("different", "same")[i // 2 % 2], person, seed, rng, "test")
            x.append(tracks[track].values.mean(0))
            y.append(i // 2 % 2)
            who.append(person)
    found = torch.from_numpy(np.stack(x)), torch.tensor(y), torch.tensor(who)
    known = found[2] < PEOPLE
    return (found[0] - found[0][known].mean(0)) / found[0][known].std(0), *found[1:]


def right(seed, track="people", oracle=False, **options):
    """Accuracy on half of the strangers' clips; `oracle` gives the classes of the other half."""
    x, y, who = shown(seed, track)
    strange = who >= PEOPLE
    half = torch.arange(len(x)) % 2 == 0
    learned, asked = torch.where(~strange | half)[0], torch.where(strange & ~half)[0]
    hidden = strange[learned] & (not oracle)
    targets = torch.where(hidden, -1, y[learned])
    subjects = torch.where(hidden, PEOPLE - 1 - who[learned], who[learned])
    data = Batch({}, {}, x[learned], targets, torch.ones(len(learned)), subjects)
    net = train(network(seed, width=16, **options), data, epochs=12, size=144, seed=seed)
    one = Batch({}, {}, x[asked], y[asked], torch.ones(len(asked)))
    with torch.no_grad():
        return float((net(one).argmax(1) == y[asked]).float().mean())


def test_adapting_to_people_beats_learning_from_others_alone():
    off = {"weight": 0.0, "target_weight": 0.0, "pseudo_labels": False}
    seeds = range(3)
    alone, adapted, told, aligned = (
        np.mean([right(seed, **options) for seed in seeds])
        for options in (
            off,
            {"target_weight": 2.0, "align": 5, "every": 3},
            {**off, "oracle": True},
            {**off, "track": "people_aligned"},
        )
    )
    assert alone + 0.03 < adapted < aligned
    assert alone < told < aligned
