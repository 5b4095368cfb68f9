import copy
import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from textualize.baselines.batch import Batch, fit
from textualize.baselines.fusion import FeatureMethod, build, settings_of
from textualize.baselines.layers import mean_over
from textualize.baselines.losses import structural_loss
from textualize.baselines.pkdot import PKDOT, GatedTransformer, visible_stream
from textualize.baselines.pooling import summarise
from textualize.baselines.task import Task
from textualize.errors import TextualizeError
from textualize.finetune.recipe import parse
from textualize.types import Clip, Record, Track

CLASSES = Task("classes", False, 3, ("a", "b", "c"))
WIDTHS = {"visual": 5, "bio": 4}
OPTIONS = {
    "method": "pkdot", "privileged": "bio", "hidden": 8, "dropout": 0.0, "hallucination": [8],
    "neighbours": 4,
}  # fmt: skip


def network(task=CLASSES, widths=WIDTHS, seed=0, **options):
    torch.manual_seed(seed)
    recipe = parse({**OPTIONS, **options}, "test")
    return PKDOT(widths, task, steps=6, **settings_of("pkdot", recipe))


def batch_of(n=16, seed=0, widths=WIDTHS, shown=0.0):
    """Random streams with holes; the class in the first columns of the privileged ones."""
    g = torch.Generator().manual_seed(seed)
    targets = torch.randint(3, (n,), generator=g)
    told = shown * torch.nn.functional.one_hot(targets, 3).float()
    streams, seen = {}, {}
    for m, width in widths.items():
        x = torch.randn(n, 6, width, generator=g)
        x[..., :3] += (told if m != "visual" else 0.3 * told).unsqueeze(1)
        seen[m] = torch.rand(n, 6, generator=g) < 0.7
        seen[m][:, 0] = True
        streams[m] = x * seen[m].unsqueeze(-1)
    summaries = {m: mean_over(x, seen[m]).repeat(1, 2) for m, x in streams.items()}
    return Batch(streams, seen, torch.zeros(n, 1), targets, torch.ones(n), summaries=summaries)


def train(net, batch, stage, updates=60, lr=1e-2):
    net.begin(stage)
    net.train()
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr)
    for _ in range(updates):
        optimizer.zero_grad()
        net.loss(batch).backward()
        optimizer.step()
    return net


def accuracy(net, batch):
    net.eval()
    with torch.no_grad():
        return float((net(batch).argmax(-1) == batch.targets).float().mean())


# the transformer


def test_where_one_sequence_is_unseen_the_gate_is_the_others():
    torch.manual_seed(0)
    block = GatedTransformer(8, 2, 1, 0.0).eval()
    a, b = torch.randn(2, 3, 5, 8)
    on, off = torch.ones(3, 5, dtype=torch.bool), torch.zeros(3, 5, dtype=torch.bool)
    other = torch.randn(3, 5, 8)
    assert torch.equal(block((a, b), (on, off)), block((a, other), (on, off)))
    assert torch.equal(block((a, b), (off, on)), block((other, b), (off, on)))
    assert (block((a, b), (off, off)) == 0).all()
    both = block((a, b), (on, on))
    assert not torch.allclose(both, block((a, other), (on, on)))
    assert not torch.allclose(both, block((other, b), (on, on)))


def test_the_fused_step_lies_between_the_two_attended_ones():
    torch.manual_seed(0)
    block = GatedTransformer(8, 2, 1, 0.0).eval()
    tokens, on = tuple(torch.randn(2, 3, 5, 8)), torch.ones(3, 5, dtype=torch.bool)
    ends = []
    for bias in (50.0, -50.0):
        one_sided = copy.deepcopy(block)
        with torch.no_grad():
            one_sided.gate.bias.fill_(bias)
            ends.append(one_sided(tokens, (on, on)))
    low, high = torch.minimum(*ends), torch.maximum(*ends)
    z = block(tokens, (on, on))
    assert ((z >= low - 1e-6) & (z <= high + 1e-6)).all()


def test_steps_of_a_clip_are_attended_and_other_clips_are_not():
    torch.manual_seed(0)
    block = GatedTransformer(8, 2, 1, 0.0).eval()
    a, b = torch.randn(2, 3, 5, 8)
    on = torch.ones(3, 5, dtype=torch.bool)
    changed = b.clone()
    changed[0, 4] += 1
    before, after = block((a, b), (on, on)), block((a, changed), (on, on))
    assert not torch.allclose(before[0, 0], after[0, 0])
    assert torch.equal(before[1:], after[1:])


# the student


def test_the_student_needs_no_privileged_stream():
    net, batch = network().eval(), batch_of()
    net.begin("student")
    bare = replace(
        batch,
        streams={"visual": batch.streams["visual"]},
        steps={"visual": batch.steps["visual"]},
    )
    blank = replace(
        batch, streams={**batch.streams, "bio": torch.full_like(batch.streams["bio"], torch.nan)}
    )
    with torch.no_grad():
        assert torch.equal(net(batch), net(bare))
        assert torch.equal(net(batch), net(blank))


def test_weight_0_is_the_plain_student_to_the_last_bit():
    plain, batch = network(weight=0.0), batch_of()
    plain.begin("student")
    plain.train()
    own = plain.loss(batch)
    assert torch.equal(own, CLASSES.loss(plain.student(batch)[0], batch))
    own.backward()
    broken = batch_of()
    broken.streams["bio"].fill_(torch.nan)  # nothing of the teacher is computed
    assert torch.equal(plain.loss(broken), own)
    other = network(weight=0.6)
    other.load_state_dict(plain.state_dict())
    other.begin("student")
    other.train()
    assert float(other.loss(batch).detach()) > float(own.detach())
    other.eval()
    assert torch.equal(other.loss(batch), own)  # what validates is the task


def test_the_loss_of_the_student_is_task_plus_lambda_times_structure():
    net, batch = network(weight=2.5, exclude_self=False), batch_of()
    net.begin("student")
    net.train()
    out, embedding = net.student(batch)
    target = net.teachers[0](batch)[1]
    expected = CLASSES.loss(out, batch) + 2.5 * structural_loss(target, embedding, k=4)
    assert float(net.loss(batch).detach()) == pytest.approx(float(expected.detach()), rel=1e-6)


def test_no_gradient_reaches_teachers_and_they_do_not_change():
    net, batch = network(dropout=0.5), batch_of()
    before = copy.deepcopy(net.teachers.state_dict())
    for stage in ("hallucination", "student"):
        train(net, batch, stage, updates=3)
        assert all(p.grad is None for p in net.teachers.parameters())
        assert not any(m.training for m in net.teachers.modules())
    after = net.teachers.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)
    net.begin("teacher")
    assert net.train().teachers.training


def test_hallucination_brings_the_t_net_to_the_teachers_tokens():
    net = network()
    batch = batch_of(64)
    # what can be regressed: the privileged stream is a function of the visual one
    batch.streams["bio"].copy_(batch.streams["visual"][..., :4])
    batch = replace(batch, steps={m: batch.steps["visual"] for m in batch.steps})
    train(net, batch, "teacher", 5)
    net.begin("hallucination")
    before = float(net.loss(batch).detach())
    train(net, batch, "hallucination", 150)
    assert float(net.loss(batch).detach()) < 0.1 * before
    assert not net.scored("hallucination") and net.scored("teacher") and net.scored("student")


def test_the_student_starts_as_its_teacher_once():
    net, batch = network(), batch_of()
    train(net, batch, "teacher", 3)
    train(net, batch, "hallucination", 3)
    net.begin("student")
    first, own = net.teachers[0], net.student
    seen = batch.steps["visual"]
    net.eval()
    with torch.no_grad():
        tokens = first.tokens(batch, 0), own.hallucinate(batch.streams["visual"])
        z = first.reader.transformer(tokens, (seen, seen))
        # the teacher's transformer on what the student hallucinates is the student
        x = batch.streams["visual"]
        assert torch.equal(z, own.reader.transformer((own.project(x), tokens[1]), (seen, seen)))
    train(net, batch, "student", 3)
    learned = copy.deepcopy(own.state_dict())
    net.begin("student")
    assert all(torch.equal(learned[k], v) for k, v in own.state_dict().items())


def test_clips_without_the_privileged_stream_are_left_out_of_what_is_distilled():
    net, batch = network(), batch_of()
    net.begin("student")
    net.train()
    rows = torch.arange(16) < 10
    steps = {**batch.steps, "bio": batch.steps["bio"] & rows.unsqueeze(1)}
    part = replace(batch, steps=steps)
    out, embedding = net.student(part)
    found = net._structure(part, embedding)
    few = batch.take(torch.arange(10))
    expected = net._structure(few, embedding[:10])
    assert float(found.detach()) == pytest.approx(float(expected.detach()), abs=1e-7)
    none = replace(batch, steps={**batch.steps, "bio": torch.zeros_like(steps["bio"])})
    assert torch.equal(net.loss(none), CLASSES.loss(out, batch))
    for stage in ("teacher", "hallucination"):
        net.begin(stage)
        assert torch.isfinite(net.loss(none))


@pytest.mark.parametrize("clips", [1, 2, 3, 5])
def test_a_small_batch_has_fewer_anchors(clips):
    net, batch = network(neighbours=30), batch_of(clips)
    net.begin("student")
    net.train()
    loss = net.loss(batch)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in net.student.parameters())


def test_a_teacher_that_sees_the_answer_beats_a_student_that_hardly_does():
    net, data, held = network(), batch_of(96, shown=2.0), batch_of(96, seed=1, shown=2.0)
    train(net, data, "teacher", 40)
    assert accuracy(net, held) > 0.95
    train(net, data, "hallucination", 40)
    train(net, data, "student", 40)
    assert 0.4 < accuracy(net, held) < 0.95


# several teachers

THREE = {"visual": 5, "bio": 4, "voice": 3}


def test_a_batch_learns_from_the_teacher_that_does_best_on_it():
    net, batch = network(widths=THREE, teachers=["voice"]), batch_of(widths=THREE)
    net.begin("student")
    for stream, other, which in (("bio", 1, 0), ("voice", 0, 1)):
        good = copy.deepcopy(net)
        with torch.no_grad():  # one that is sure of what is wrong
            sure = good.teachers[other].reader.answer.heads[0]
            sure.bias.copy_(torch.tensor([50.0, -50.0, 0.0]))
        found, target = good._target(batch)
        own = good.teachers[which](batch)[1]
        assert found == stream
        expected = good.adapters[0](own) if which else own
        assert torch.allclose(target, expected)


def test_adapters_turn_a_teachers_space_into_the_first_ones():
    net, batch = network(widths=THREE, teachers=["voice"]), batch_of(64, widths=THREE, shown=2.0)
    train(net, batch, "teacher", 30)
    before = float(net._alignment(batch).detach())
    train(net, batch, "hallucination", 80)
    assert float(net._alignment(batch).detach()) < 0.5 * before
    assert not network().adapters


# its streams


@pytest.mark.parametrize(
    ("widths", "privileged", "says"),
    [
        (WIDTHS, ["audio"], "name audio, 'groups' has visual, bio"),
        (WIDTHS, ["bio", "bio"], "each once"),
        (THREE, ["bio"], "the student reads one stream"),
        (WIDTHS, ["bio", "visual"], "the student reads one stream"),
    ],
)
def test_streams_that_do_not_fit_are_one_line(widths, privileged, says):
    with pytest.raises(TextualizeError, match=says) as error:
        visible_stream(widths, privileged)
    assert "\n" not in str(error.value)
    assert visible_stream(THREE, ["voice", "bio"]) == "visual"


def test_a_record_without_the_privileged_track_predicts_without_a_note(caplog):
    rng = np.random.default_rng(0)

    def track(width):
        names = tuple("ABCDE"[:width])
        values = rng.normal(size=(12, width)).astype(np.float32)
        return Track(values, 4.0, 0.0, names, "named", "test")

    records = [Record(Clip(f"c{i}", None), {"aus": track(5), "emg": track(4)}) for i in range(6)]
    recipe = parse(
        {**OPTIONS, "tracks": ["aus", "emg"], "groups": {"visual": ["aus"], "bio": ["emg"]}}, "test"
    )
    clips = [summarise(r, recipe.tracks, 6) for r in records]
    features = fit(
        clips, "pkdot", recipe.tracks, recipe.groups, 6, False, training_only=recipe.training_only
    )
    settings = settings_of("pkdot", recipe)
    method = FeatureMethod(CLASSES, features, build(features, CLASSES, settings), settings)
    bare = [Record(r.clip, {"aus": r.tracks["aus"]}) for r in records]
    with caplog.at_level(logging.WARNING):
        assert method.predict(bare) == method.predict(records)
    assert caplog.text == ""
    blind = [Record(r.clip, {"emg": r.tracks["emg"]}) for r in records]
    method.predict(blind)
    assert "track 'aus' missing in 6 of 6 records" in caplog.text
