import torch
from torch import nn

from textualize.baselines.batch import Batch
from textualize.baselines.network import Network
from textualize.baselines.task import Task


class TwoStages(Network):
    stages = ("first", "second")

    def __init__(self, widths, task, *, steps=1):
        super().__init__(widths, task)
        self.body, self.head = nn.Linear(2, 2), nn.Linear(2, task.outputs)

    def begin(self, stage):
        super().begin(stage)
        self.body.requires_grad_(stage == "first")

    def forward(self, batch):
        return self.head(self.body(batch.functionals))


def test_a_network_stands_at_its_first_stage_and_is_scored_in_its_last():
    net = TwoStages({"a": 2}, Task())
    assert net.stage == "first"
    assert [net.scored(s) for s in net.stages] == [False, True]
    assert Network({"a": 2}, Task()).stages == ("train",)


def test_what_a_stage_leaves_alone_is_listed():
    net = TwoStages({"a": 2}, Task())
    assert net.frozen() == frozenset()
    net.begin("second")
    assert net.frozen() == {"body.weight", "body.bias"}
    assert net.stage == "second"


def test_by_default_the_loss_is_the_tasks():
    net = TwoStages({"a": 2}, Task())
    batch = Batch({}, {}, torch.randn(4, 2), torch.tensor([0, 1, 1, 0]), torch.ones(4))
    assert torch.equal(net.loss(batch), net.task.loss(net(batch), batch))
