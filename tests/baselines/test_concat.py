import torch

from textualize.baselines.batch import Batch
from textualize.baselines.concat import Concat
from textualize.baselines.task import Task

TASK = Task("classes", False, 3)


def net_of(hidden, dropout=0.0, width=6):
    return Concat({"functionals": width}, TASK, hidden=hidden, dropout=dropout)


def batch(n=64, width=6, classes=3, seed=0, shift=0.0):
    g = torch.Generator().manual_seed(seed)
    targets = torch.randint(classes, (n,), generator=g)
    x = torch.randn(n, width, generator=g)
    x[torch.arange(n), targets] += shift
    return Batch({}, {}, x, targets, torch.ones(n))


def test_without_hidden_units_it_is_linear():
    net = net_of(0)
    one, two = batch(seed=1), batch(seed=2)
    middle = Batch({}, {}, (one.functionals + two.functionals) / 2, one.targets, one.weights)
    assert torch.allclose(net(middle), (net(one) + net(two)) / 2, atol=1e-5)
    assert sum(p.numel() for p in net.parameters()) == 6 * 3 + 3


def test_loss_falls_on_a_shift_between_classes():
    torch.manual_seed(0)
    data, net = batch(shift=2.0), net_of(8, 0.1)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    before = float(net.loss(data).detach())
    for _ in range(60):
        optimizer.zero_grad()
        net.loss(data).backward()
        optimizer.step()
    assert float(net.loss(data).detach()) < 0.6 * before
    held = batch(seed=9, shift=2.0)
    assert float((net.eval()(held).argmax(-1) == held.targets).float().mean()) > 0.6


def test_every_parameter_is_reached_by_the_loss():
    net = net_of(8)
    net.loss(batch()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_a_weight_of_zero_removes_a_clip_from_the_loss():
    net, data = net_of(8), batch(4)
    weights = torch.tensor([1.0, 1.0, 0.0, 2.0])
    whole = Batch({}, {}, data.functionals, data.targets, weights)
    rest = whole.take(torch.tensor([0, 1, 3]))
    assert torch.allclose(net.loss(whole), net.loss(rest))


def test_per_step_it_reads_that_step_alone():
    g = torch.Generator().manual_seed(0)
    x = {m: torch.randn(3, 4, d, generator=g) for m, d in (("face", 2), ("voice", 5))}
    seen = {m: torch.rand(3, 4, generator=g) < 0.7 for m in x}
    data = Batch(x, seen, torch.zeros(3, 0), torch.zeros(3, 4), torch.ones(3))
    net = Concat({"face": 2, "voice": 5}, Task("classes", True, 3), hidden=8, dropout=0.0).eval()
    out = net(data)
    assert out.shape == (3, 4, 3)
    changed = {m: v.clone() for m, v in x.items()}
    changed["face"][:, 2] += 1.0
    other = net(Batch(changed, seen, data.functionals, data.targets, data.weights))
    moved = (other - out).abs().sum(-1) > 0
    assert torch.equal(moved, torch.nn.functional.one_hot(torch.tensor(2), 4) * seen["face"] > 0)
