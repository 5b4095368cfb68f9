from dataclasses import replace

import pytest
import torch
from sklearn.linear_model import LogisticRegression

from textualize.baselines.batch import Batch
from textualize.baselines.jca import (
    JCA,
    WIRINGS,
    JointCrossAttention,
    attend,
    joint_correlation,
)
from textualize.baselines.task import Task
from textualize.errors import TextualizeError

D = torch.float64
X_A = torch.tensor([[[1, 0], [0, 2]]], dtype=D)
X_V = torch.tensor([[[0.5, -1], [1, 1]]], dtype=D)
W_J = torch.tensor([[1, 0.5], [0, 1]], dtype=D)
W_C = torch.tensor([[0.1, 0.2, 0, -0.1], [0, 0.3, 0.1, 0], [0.2, 0, 0, 0.1]], dtype=D)
W_A = torch.tensor([[0.5, 0], [0, 0.5], [0.25, 0.25]], dtype=D)
W_H = torch.tensor([[0.1, 0, 0.2], [0, 0.3, 0.1]], dtype=D)


def random_batch(n=6, steps=4, visual=3, audio=5, classes=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    return Batch(
        {
            "visual": torch.randn(n, steps, visual, generator=g),
            "audio": torch.randn(n, steps, audio, generator=g),
        },
        {m: torch.rand(n, steps, generator=g) < 0.7 for m in ("visual", "audio")},
        torch.randn(n, 7, generator=g),
        torch.randint(classes, (n,), generator=g),
        torch.rand(n, generator=g) + 0.5,
        summaries={
            "visual": torch.randn(n, 2 * visual, generator=g),
            "audio": torch.randn(n, 2 * audio, generator=g),
        },
    )


def network(*, dropout=0.0, steps=4, classes=3, per_step=False, seed=0, **options):
    torch.manual_seed(seed)
    task = Task(per_step=per_step, outputs=classes)
    options = {"hidden": 8, "attention": 4, **options}
    widths = options.pop("widths", {"visual": 3, "audio": 5})
    return JCA(widths, task, steps=steps, dropout=dropout, **options)


def test_hand_case_agrees_to_1e_6():
    joint = torch.cat([X_A, X_V], 1)
    c = joint_correlation(X_A, joint, W_J)
    expected_c = [
        [0.46211716, 0.46211716, 0, 0.63514895],
        [0, 0.96402758, -0.76159416, 0.76159416],
    ]
    assert torch.allclose(c[0], torch.tensor(expected_c, dtype=D), atol=1e-6)
    out = attend(X_A, joint, W_J, W_C, W_A, W_H)
    expected = torch.tensor([[1.13869969, 0.08218438], [0.12689649, 2.42153060]], dtype=D)
    assert torch.allclose(out[0], expected, atol=1e-6)


def test_without_output_weights_a_stream_passes_unchanged():
    joint = torch.cat([X_A, X_V], 1)
    assert torch.equal(attend(X_A, joint, W_J, W_C, W_A, 0 * W_H), X_A)


def test_joint_weights_carry_all_influence_of_the_other_stream():
    for scale, flows in ((0.0, False), (1.0, True)):
        visual = X_V.clone().requires_grad_()
        joint = torch.cat([X_A, visual], 1)
        attend(X_A, joint, scale * W_J, W_C, W_A, W_H).sum().backward()
        assert bool(visual.grad.abs().sum() > 0) == flows


def test_correlations_stay_inside_the_open_interval():
    g = torch.Generator().manual_seed(1)
    x, joint = (torch.randn(4, d, 5, generator=g, dtype=D) for d in (3, 6))
    c = joint_correlation(x, joint, torch.randn(5, 5, generator=g, dtype=D))
    assert c.shape == (4, 3, 6)
    assert c.abs().max() < 1


def test_swapping_streams_and_weights_swaps_outputs():
    torch.manual_seed(0)
    block = JointCrossAttention(steps=4, width=3, attention=5)
    swapped = JointCrossAttention(steps=4, width=3, attention=5)
    swapped.visual.load_state_dict(block.audio.state_dict())
    swapped.audio.load_state_dict(block.visual.state_dict())
    for own, other in ((swapped.visual, block.audio), (swapped.audio, block.visual)):
        with torch.no_grad():  # J is [X_a ; X_v]: its halves change places too
            own.w_corr.copy_(other.w_corr.roll(3, dims=1))
    visual, audio = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    v, a = block(visual, audio)
    a2, v2 = swapped(audio, visual)
    assert torch.allclose(v, v2, atol=1e-6)
    assert torch.allclose(a, a2, atol=1e-6)


def test_the_vanilla_block_correlates_a_stream_with_the_other_one():
    torch.manual_seed(0)
    block = JointCrossAttention(steps=4, width=3, attention=5, vanilla=True)
    visual, audio = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
    own = block.visual
    assert own.w_corr.shape == (5, 3)
    expected = attend(visual, audio, own.w_joint, own.w_corr, own.w_stream, own.w_out)
    assert torch.equal(block(visual, audio)[0], expected)


def test_a_loop_over_clips_gives_what_the_batch_gives():
    net = network()
    visual, audio = (torch.randn(6, 8, 4) for _ in range(2))
    together = torch.cat(net.block(visual, audio), 1)
    for i in range(6):
        joint = torch.cat([audio[i], visual[i]])
        parts = []
        for x, own in ((visual[i], net.block.visual), (audio[i], net.block.audio)):
            c = torch.tanh(x @ own.w_joint @ joint.T / 4.0)  # sqrt of d_J 16
            h = torch.relu(c @ own.w_corr.T + x @ own.w_stream.T)
            parts.append(h @ own.w_out.T + x)
        assert torch.allclose(together[i], torch.cat(parts), atol=1e-5)


# --- the network ----------------------------------------------------------------------------------


def swapped_stream(batch, name):
    return replace(batch, streams={**batch.streams, name: batch.streams[name] + 1})


@pytest.mark.parametrize("wiring", WIRINGS)
@pytest.mark.parametrize(("steps", "per_step"), [(1, False), (4, False), (4, True), (16, True)])
def test_every_wiring_takes_any_number_of_steps(wiring, steps, per_step):
    net = network(wiring=wiring, steps=steps, per_step=per_step).eval()
    shape = (6, steps, 3) if per_step else (6, 3)
    assert net(random_batch(steps=steps)).shape == shape


def test_the_released_wiring_hears_audio_only_through_the_attended_video():
    batch = random_batch()
    for wiring in WIRINGS:
        net = network(wiring=wiring).eval()
        assert not torch.allclose(net(batch), net(swapped_stream(batch, "audio")))
        with torch.no_grad():
            net.block.visual.w_out.zero_()  # the attended visual stream is now the visual one
        deaf = torch.allclose(net(batch), net(swapped_stream(batch, "audio")))
        assert deaf == (wiring == "released")


def test_the_wirings_differ_in_what_the_head_reads():
    def width(wiring):
        return network(wiring=wiring).answer.heads[0][0].in_features

    assert [width(w) for w in WIRINGS] == [16, 16, 11, 16]  # released: 3 raw features, 8 attended
    assert [network(wiring=w).answer.skip is None for w in WIRINGS] == [False, True, True, False]


def test_the_first_stream_is_the_visual_one_whatever_it_is_called():
    net = network(widths={"face.au": 3, "voice": 5}, wiring="released")
    assert net.answer.heads[0][0].in_features == 3 + 8


@pytest.mark.parametrize("names", [["visual"], ["visual", "audio", "text"]])
def test_other_than_two_streams_are_one_clear_line(names):
    with pytest.raises(TextualizeError, match="jca fuses two streams; given") as caught:
        network(widths=dict.fromkeys(names, 3))
    assert "\n" not in str(caught.value)


def test_an_unknown_wiring_is_one_clear_line():
    with pytest.raises(TextualizeError, match="paper2.*paper"):
        network(wiring="paper2")


@pytest.mark.parametrize("wiring", WIRINGS)
def test_a_clip_does_not_depend_on_its_batch(wiring):
    batch, net = random_batch(), network(wiring=wiring).eval()
    alone = torch.cat([net(batch.take(torch.tensor([i]))) for i in range(len(batch))])
    assert torch.allclose(net(batch), alone, atol=1e-6)


@pytest.mark.parametrize("wiring", WIRINGS)
def test_what_is_masked_changes_nothing(wiring):
    batch, net = random_batch(), network(wiring=wiring).eval()
    noise = {
        m: torch.where(batch.steps[m].unsqueeze(-1), x, torch.full_like(x, 1e3))
        for m, x in batch.streams.items()
    }
    noise["audio"][~batch.steps["audio"]] = float("nan")
    assert torch.equal(net(batch), net(replace(batch, streams=noise)))


def test_a_clip_without_any_step_has_finite_logits():
    batch = random_batch()
    nothing = {m: torch.zeros_like(x) for m, x in batch.steps.items()}
    summaries = {m: torch.zeros_like(x) for m, x in batch.summaries.items()}
    logits = network().eval()(replace(batch, steps=nothing, summaries=summaries))
    assert torch.isfinite(logits).all()
    assert torch.allclose(logits, logits[:1].expand_as(logits))


@pytest.mark.parametrize("wiring", WIRINGS)
def test_every_parameter_is_reached_by_the_loss_or_frozen(wiring):
    net = network(wiring=wiring)
    net.begin("train")
    net.loss(random_batch(32)).backward()
    dead = {n for n, p in net.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    assert dead == net.frozen()
    assert {n.split(".")[1] for n in dead} == ({"audio"} if wiring == "released" else set())


def product_of_latents(n, seed, steps=4):
    """Label = sign of the product of one visual and one audio latent, noise around both."""
    g = torch.Generator().manual_seed(seed)
    v, a = (torch.randint(0, 2, (n,), generator=g) * 2.0 - 1 for _ in range(2))
    visual = v[:, None, None] + 0.3 * torch.randn(n, steps, 3, generator=g)
    audio = a[:, None, None] + 0.3 * torch.randn(n, steps, 3, generator=g)
    mask = torch.rand(n, steps, generator=g) < 0.8
    mask[:, 0] = True
    return Batch(
        {"visual": visual, "audio": audio},
        {"visual": mask, "audio": torch.ones(n, steps, dtype=torch.bool)},
        torch.cat([visual.mean(1), audio.mean(1)], 1),
        (v * a > 0).long(),
        torch.ones(n),
        summaries={"visual": visual.mean(1).repeat(1, 2), "audio": audio.mean(1).repeat(1, 2)},
    )


def accuracy_after_training(net, steps=80):
    train, test = product_of_latents(200, 0), product_of_latents(200, 1)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        net.loss(train).backward()
        optimizer.step()
    net.eval()
    return float((net(test).argmax(-1) == test.targets).float().mean())


@pytest.mark.parametrize("wiring", ["fixed", "paper", "vanilla"])
def test_a_product_of_modalities_needs_more_than_a_linear_layer(wiring):
    jca = network(widths={"visual": 3, "audio": 3}, classes=2, wiring=wiring)
    assert accuracy_after_training(jca) > 0.9
    train, test = product_of_latents(200, 0), product_of_latents(200, 1)
    linear = LogisticRegression().fit(train.functionals, train.targets)
    assert linear.score(test.functionals, test.targets) < 0.65
