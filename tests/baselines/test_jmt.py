from dataclasses import replace

import pytest
import torch
from torch import nn

from textualize.baselines.batch import Batch
from textualize.baselines.jmt import (
    AGGREGATIONS,
    JMT,
    JointTransformer,
    TokenFusion,
    modalities,
)
from textualize.baselines.task import Task
from textualize.errors import TextualizeError

WIDTHS = {"visual": 3, "audio": 5}


def random_batch(n=6, steps=4, widths=WIDTHS, classes=3, seed=0, seen=0.7):
    g = torch.Generator().manual_seed(seed)
    return Batch(
        {m: torch.randn(n, steps, d, generator=g) for m, d in widths.items()},
        {m: torch.rand(n, steps, generator=g) < seen for m in widths},
        torch.randn(n, 7, generator=g),
        torch.randint(classes, (n,), generator=g),
        torch.rand(n, generator=g) + 0.5,
        summaries={m: torch.randn(n, 2 * d, generator=g) for m, d in widths.items()},
    )


def network(task=None, *, widths=WIDTHS, steps=4, seed=0, **options):
    torch.manual_seed(seed)
    options = {"hidden": 8, "dropout": 0.0, **options}
    return JMT(widths, task or Task(outputs=3), steps=steps, **options)


def size(module):
    return sum(p.numel() for p in module.parameters())


def all_seen(b=2, steps=5):
    return torch.ones(b, steps).bool()


# --- the fusion -----------------------------------------------------------------------------------


def test_parameters_are_those_of_the_publication():
    assert size(JointTransformer(512)) == 11_039_232
    widths = {"visual": 512, "audio": 512}
    values = Task(kind="values", per_step=True, outputs=2, objective="ccc")
    net = network(values, widths=widths, hidden=512, skip=False)
    assert size(net.answer) == 131_586
    assert size(net) == 11_039_232 + 131_586


def test_parameters_explain_those_of_the_ports():
    attention, to_128, join = 4 * 128 * 128 + 4 * 128, 64 * 128 + 128, 256 * 128 + 128
    # the port has six cross-attentions where the publication shares three
    assert size(JointTransformer(128)) + 3 * attention + to_128 == 901_888
    # the port without joint branch keeps the joint projection, which nothing reads
    assert size(JointTransformer(128, joint=False)) + join + to_128 == 538_112


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_the_number_of_heads_changes_no_parameter_count(heads):
    assert size(JointTransformer(8, heads=heads)) == size(JointTransformer(8))


def test_queries_share_a_module_and_keys_do_not():
    net = JointTransformer(8)
    assert net.pairs == tuple((q, k) for q, k in ("va", "av", "jv", "vj", "ja", "aj"))
    assert set(net.cross) == {"v", "a", "j"}
    v, a = torch.randn(2, 5, 8), torch.randn(2, 5, 8)
    tokens, counts = net.tokens(v, a, all_seen(), all_seen())
    x = {"v": net.encoders["v"](v, all_seen()), "a": net.encoders["a"](a, all_seen())}
    x["j"] = net.encoders["j"](net.join(torch.cat([v, a], -1)), all_seen())
    for i, (q, k) in enumerate(net.pairs):
        own = net.cross[q].inner
        expected = own(x[q], x[k], x[k], need_weights=False)[0]
        assert torch.allclose(tokens[:, :, i], expected, atol=1e-6)
    assert counts.all()


def test_without_joint_is_with_joint_after_removing_its_tokens():
    whole, control = JointTransformer(8), JointTransformer(8, joint=False)
    own = control.state_dict()
    assert set(own) < set(whole.state_dict())
    control.load_state_dict({k: v for k, v in whole.state_dict().items() if k in own})
    v, a = torch.randn(2, 5, 8), torch.randn(2, 5, 8)
    tokens, counts = whole.tokens(v, a, all_seen(), all_seen())
    expected = whole.aggregate(tokens[:, :, :2], counts[:, :, :2])
    assert torch.allclose(control(v, a, all_seen(), all_seen()), expected, atol=1e-6)


def test_constant_audio_gives_visual_queries_the_same_answer_at_every_step():
    net = JointTransformer(8)
    v, a = torch.randn(2, 5, 8), torch.randn(2, 1, 8).expand(2, 5, 8)
    tokens, _ = net.tokens(v, a, all_seen(), all_seen())
    va, av = tokens[:, :, 0], tokens[:, :, 1]
    assert torch.allclose(va, va[:, :1].expand_as(va), atol=1e-6)
    assert torch.allclose(av, av[:, :1].expand_as(av), atol=1e-6)  # its query is constant
    jv = tokens[:, :, 2]
    assert not torch.allclose(jv, jv[:, :1].expand_as(jv), atol=1e-4)


def test_of_one_step_attention_is_the_linear_value_path():
    net = JointTransformer(8)
    v, a = torch.randn(2, 1, 8), torch.randn(2, 1, 8)
    tokens, _ = net.tokens(v, a, all_seen(2, 1), all_seen(2, 1))
    inner = net.cross["v"].inner
    x = net.encoders["a"](a, all_seen(2, 1))
    value = nn.functional.linear(x, inner.in_proj_weight[16:], inner.in_proj_bias[16:])
    assert torch.allclose(tokens[:, :, 0], inner.out_proj(value), atol=1e-6)


@pytest.mark.parametrize("how", AGGREGATIONS)
def test_tokens_that_do_not_count_change_nothing(how):
    torch.manual_seed(0)
    net = TokenFusion(8, 6, how)
    tokens, seen = torch.randn(2, 5, 6, 8), torch.rand(2, 5, 6) < 0.6
    seen[0, 0] = False
    noise = torch.where(seen.unsqueeze(-1), tokens, torch.full_like(tokens, float("nan")))
    out = net(tokens, seen)
    assert torch.equal(net(noise, seen), out)
    assert out.shape == (2, 5, net.width)
    assert torch.equal(out[0, 0], torch.zeros(net.width))


def test_last_is_the_last_seen_token():
    torch.manual_seed(0)
    net = TokenFusion(8, 6)
    tokens, seen = torch.randn(1, 1, 6, 8), torch.tensor([[[True, True, True, True, False, False]]])
    assert torch.allclose(net(tokens, seen), net(tokens[:, :, :4], seen[:, :, :4]), atol=1e-6)
    assert not torch.allclose(
        net(tokens, seen), net(tokens[:, :, [3, 1, 2, 0]], seen[:, :, :4]), atol=1e-4
    )


def test_mean_does_not_care_for_the_order_of_tokens_and_last_does():
    order = [5, 0, 3, 1, 2, 4]
    tokens, seen = torch.randn(2, 3, 6, 8), torch.ones(2, 3, 6).bool()
    for how, same in (("mean", True), ("cls", True), ("last", False), ("concat", False)):
        torch.manual_seed(0)
        net = TokenFusion(8, 6, how)
        out, turned = net(tokens, seen), net(tokens[:, :, order], seen)
        assert torch.allclose(out, turned, atol=1e-5) == same


# --- the network ----------------------------------------------------------------------------------

TASKS = [
    Task(outputs=3),
    Task(outputs=3, per_step=True),
    Task(kind="values", outputs=2, objective="mse"),
    Task(kind="values", outputs=2, per_step=True, objective="mse"),
]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_it_answers_every_task_by_every_aggregation(task, aggregation):
    net = network(task, aggregation=aggregation).eval()
    out = net(random_batch())
    assert out.shape == ((6, 4, task.outputs) if task.per_step else (6, task.outputs))


@pytest.mark.parametrize(
    "options", [{"aggregation": a} for a in AGGREGATIONS] + [{"joint": False}, {"layers": 2}]
)
def test_every_parameter_is_reached_by_the_loss(options):
    net = network(**options)
    net.loss(random_batch(32)).backward()
    dead = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert dead == []


@pytest.mark.parametrize("options", [{}, {"joint": False}, {"positions": True, "heads": 2}])
def test_a_clip_does_not_depend_on_its_batch(options):
    batch, net = random_batch(), network(**options).eval()
    alone = torch.cat([net(batch.take(torch.tensor([i]))) for i in range(len(batch))])
    assert torch.allclose(net(batch), alone, atol=1e-5)


def test_what_is_masked_changes_nothing():
    batch, net = random_batch(), network().eval()
    noise = {
        m: torch.where(batch.steps[m].unsqueeze(-1), x, torch.full_like(x, float("nan")))
        for m, x in batch.streams.items()
    }
    assert torch.equal(net(batch), net(replace(batch, streams=noise)))


def test_without_positions_steps_have_no_order_and_with_them_they_have():
    batch, order = random_batch(), [2, 0, 3, 1]
    turned = replace(
        batch,
        streams={m: x[:, order] for m, x in batch.streams.items()},
        steps={m: x[:, order] for m, x in batch.steps.items()},
    )
    for positions in (False, True):
        net = network(Task(outputs=3, per_step=True), positions=positions).eval()
        same = torch.allclose(net(batch)[:, order], net(turned), atol=1e-5)
        assert same == (not positions)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_a_clip_that_lacks_a_modality_is_still_answered_by_the_other(aggregation):
    batch = random_batch()
    steps = {"visual": batch.steps["visual"], "audio": torch.zeros_like(batch.steps["audio"])}
    deaf = replace(batch, steps=steps)
    net = network(aggregation=aggregation, skip=False).eval()
    out = net(deaf)
    assert torch.isfinite(out).all()
    assert not torch.allclose(out[0], out[1], atol=1e-4)
    blind = replace(batch, steps={m: torch.zeros_like(s) for m, s in batch.steps.items()})
    assert torch.allclose(net(blind), net(blind)[:1].expand(6, 3))


def test_steps_of_length_one_do_not_know_how_loud_they_were():
    batch = random_batch(widths={"visual": 8, "audio": 8})
    louder = replace(batch, streams={m: 3 * x for m, x in batch.streams.items()})
    for unit_length in (True, False):
        net = network(widths={"visual": 8, "audio": 8}, unit_length=unit_length, skip=False).eval()
        assert torch.allclose(net(batch), net(louder), atol=1e-5) == unit_length


def test_two_backbones_of_a_modality_are_fused_first():
    widths = {"r2plus1d": 4, "i3d": 3, "mel": 5}
    net = network(widths=widths, intra={"visual": ["r2plus1d", "i3d"]}).eval()
    assert net.modalities == (("r2plus1d", "i3d"), ("mel",))
    batch = random_batch(widths=widths)
    out = net(batch)
    for name in widths:
        moved = {**batch.streams, name: batch.streams[name] + 1}
        assert not torch.allclose(net(replace(batch, streams=moved)), out, atol=1e-4)
    net.train().loss(random_batch(32, widths=widths)).backward()
    dead = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert dead == []


def test_one_of_two_backbones_may_be_missing():
    widths = {"a": 4, "b": 3, "mel": 5}
    net = network(widths=widths, intra={"visual": ["a", "b"]}, skip=False).eval()
    batch = random_batch(widths=widths)
    without = replace(batch, steps={**batch.steps, "b": torch.zeros_like(batch.steps["b"])})
    out = net(without)
    assert torch.isfinite(out).all()
    assert not torch.allclose(out, net(batch), atol=1e-4)


@pytest.mark.parametrize(
    ("streams", "intra", "message"),
    [
        (["visual"], {}, "jmt fuses two modalities; given 1"),
        (["a", "b", "c"], {}, "jmt fuses two modalities; given 3"),
        (["a", "b"], {"v": ["a", "b"]}, "jmt fuses two modalities; given 1"),
        (["a", "b"], {"v": ["a", "d"]}, "names stream 'd'"),
        (["a", "b", "c"], {"v": ["a", "b"], "w": ["b", "c"]}, "names stream 'b' 2 times"),
    ],
)
def test_streams_that_are_not_two_modalities_are_one_clear_line(streams, intra, message):
    with pytest.raises(TextualizeError, match=message) as caught:
        modalities(streams, intra)
    assert "\n" not in str(caught.value)


def test_an_unknown_aggregation_is_one_clear_line():
    with pytest.raises(TextualizeError, match="last1.*last"):
        network(aggregation="last1")


def test_loss_falls_on_a_product_of_modalities():
    g = torch.Generator().manual_seed(0)
    v, a = (torch.randint(0, 2, (100,), generator=g) * 2.0 - 1 for _ in range(2))
    batch = random_batch(100, seen=0.9)
    data = replace(
        batch,
        streams={
            "visual": 0.3 * batch.streams["visual"] + v[:, None, None],
            "audio": 0.3 * batch.streams["audio"] + a[:, None, None],
        },
        targets=(v * a > 0).long(),
    )
    net = network(Task(outputs=2))
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    before = float(net.loss(data).detach())
    for _ in range(60):
        optimizer.zero_grad()
        net.loss(data).backward()
        optimizer.step()
    assert float(net.loss(data).detach()) < 0.4 * before
