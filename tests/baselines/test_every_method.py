"""What every feature network must do, whatever the paper; a new method is here by being registered.

`NETWORKS` is the table methods are trained from; `PRESETS` adds the ways a method can be wired.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from textualize.baselines.batch import Batch, fit
from textualize.baselines.fusion import NETWORKS, FeatureMethod, build, network_class, settings_of
from textualize.baselines.layers import mean_over
from textualize.baselines.pooling import summarise
from textualize.baselines.task import Task
from textualize.finetune.recipe import parse
from textualize.methods import METHODS
from textualize.types import Clip, Record, Track

PRESETS: dict[str, tuple[str, dict]] = {name: (name, {}) for name in NETWORKS} | {
    "concat linear": ("concat", {"hidden": 0}),
    "jca paper": ("jca", {"wiring": "paper"}),
    "jca released": ("jca", {"wiring": "released"}),
    "jca vanilla": ("jca", {"wiring": "vanilla"}),
    "jmt mean": ("jmt", {"aggregation": "mean", "positions": True}),
    "jmt cls": ("jmt", {"aggregation": "cls", "layers": 2}),
    "jmt concat": ("jmt", {"aggregation": "concat", "heads": 2}),
    "jmt without joint": ("jmt", {"joint": False}),
    "jmt as published": ("jmt", {"skip": False}),
    "jmt two backbones": ("jmt", {"intra": {"sight": ["visual", "face"], "sound": ["audio"]}}),
    "lfan as published": ("lfan", {"skip": False, "leader": "audio"}),
    "can as published": ("can", {"skip": False}),
    "pkdot index aware": ("pkdot", {"index_aware": True, "anchors": "random"}),
    "pkdot without transport": ("pkdot", {"weight": 0.0}),
    "pkdot two teachers": ("pkdot", {"teachers": ["face"]}),
}
THREE = {"jmt two backbones", "pkdot two teachers"}  # streams they need
ONE_LENGTH = {n for n, (m, _) in PRESETS.items() if m == "jca"}  # weights that are L wide
WHOLE = {"linear", "subject-msda"}  # no answer per step
TASKS = {
    "classes": Task("classes", False, 3, ("a", "b", "c")),
    "values": Task("values", False, 2, ("v", "a"), objective="mse"),
    "classes per step": Task("classes", True, 3, ("a", "b", "c")),
    "values per step": Task("values", True, 2, ("v", "a"), objective="ccc"),
}
WIDTHS = {"visual": 5, "audio": 4, "face": 6}
SMALL = {"hidden": 8, "dropout": 0.0}


def recipe_of(preset):
    method, options = PRESETS[preset]
    own = SMALL if method != "linear" else {}
    own = own | ({"channels": [8, 4]} if method in ("lfan", "can") else {})
    own |= {"neighbours": 4, "hallucination": [8]} if method == "pkdot" else {}
    own |= {"pseudo_labels": False} if method == "subject-msda" else {}  # they are classes
    return parse({"method": method, **own, **options}, "test")


def streams_of(preset):
    return list(WIDTHS) if preset in THREE else ["visual", "audio"]


def make(preset, task, steps=6, seed=0):
    recipe = recipe_of(preset)
    torch.manual_seed(seed)
    made = network_class(recipe.method)
    widths = {m: WIDTHS[m] for m in streams_of(preset)}
    if made.reads == "functionals" and not task.per_step:
        widths = {"functionals": 7}
    return made(widths, task, steps=steps, **settings_of(recipe.method, recipe))


def batch_of(preset, task, n=8, steps=6, seed=0, shift=0.0):
    """Random streams with holes; with a shift, the answer is in the first columns of each."""
    g = torch.Generator().manual_seed(seed)
    shape = (n, steps) if task.per_step else (n,)
    classes = torch.randint(task.outputs, shape, generator=g)
    values = torch.randn(*shape, task.outputs, generator=g)
    told = torch.nn.functional.one_hot(classes, task.outputs).float()
    told = shift * (told if task.kind == "classes" else values)
    streams, seen = {}, {}
    for m in streams_of(preset):
        x = torch.randn(n, steps, WIDTHS[m], generator=g)
        x[..., : task.outputs] += told if task.per_step else told.unsqueeze(1)
        seen[m] = torch.rand(n, steps, generator=g) < 0.7
        streams[m] = x * seen[m].unsqueeze(-1)
    flat = torch.randn(n, 7, generator=g)
    flat[:, : task.outputs] += told.mean(1) if task.per_step else told
    targets = classes if task.kind == "classes" else values
    summaries = {m: mean_over(x, seen[m]).repeat(1, 2) for m, x in streams.items()}
    weights = torch.rand(n, generator=g) + 0.5
    return Batch(streams, seen, flat, targets, weights, summaries=summaries)


every_preset = pytest.mark.parametrize("preset", PRESETS)
# every task of every method; of its other wirings the two that differ most
every_task = pytest.mark.parametrize(
    ("preset", "task"),
    [
        pytest.param(preset, task, id=f"{preset}, {name}")
        for preset in PRESETS
        for name, task in TASKS.items()
        if preset in NETWORKS or name in ("classes", "values per step")
        if not (preset in WHOLE and task.per_step)
    ],
)


def test_the_tables_of_methods_agree():
    trained_here = {n for n, e in METHODS.items() if e.reads == "tracks"}
    assert set(NETWORKS) == trained_here == {method for method, _ in PRESETS.values()}


@every_task
def test_a_clip_depends_on_no_other_and_order_is_kept(preset, task):
    net, batch = make(preset, task).eval(), batch_of(preset, task)
    with torch.no_grad():
        whole = net(batch)
        alone = torch.cat([net(batch.take(torch.tensor([i]))) for i in range(len(batch))])
        back = net(batch.take(torch.arange(len(batch)).flip(0))).flip(0)
    shape = (8, 6, task.outputs) if task.per_step else (8, task.outputs)
    assert whole.shape == shape
    assert torch.isfinite(whole).all()
    assert torch.allclose(whole, alone, atol=1e-5)
    assert torch.allclose(whole, back, atol=1e-5)


@every_task
def test_what_is_masked_changes_nothing(preset, task):
    net, batch = make(preset, task).eval(), batch_of(preset, task)
    noisy = replace(
        batch,
        streams={
            m: torch.where(batch.steps[m].unsqueeze(-1), x, torch.full_like(x, float("nan")))
            for m, x in batch.streams.items()
        },
    )
    with torch.no_grad():
        assert torch.allclose(net(batch), net(noisy), atol=1e-5)


def longer_of(batch):
    """Three steps more that nobody saw."""
    streams, steps = batch.streams.items(), batch.steps.items()
    return replace(
        batch,
        streams={m: torch.cat([x, torch.randn(8, 3, x.shape[-1])], 1) for m, x in streams},
        steps={m: torch.cat([x, torch.zeros(8, 3, dtype=bool)], 1) for m, x in steps},
    )


@every_task
def test_padding_changes_nothing(preset, task):
    net, batch = make(preset, task).eval(), batch_of(preset, task)
    if preset in ONE_LENGTH:
        with pytest.raises(RuntimeError):
            net(longer_of(batch))
        return
    with torch.no_grad():
        whole, padded = net(batch), net(longer_of(batch))
    assert torch.allclose(whole, padded[:, :6] if task.per_step else padded, atol=1e-5)


@every_task
def test_every_parameter_is_trained_or_listed_frozen(preset, task):
    net, batch = make(preset, task), batch_of(preset, task, n=32)
    trained = set()
    for stage in net.stages:
        net.begin(stage)
        net.train()
        net.zero_grad(set_to_none=True)
        net.loss(batch).backward()
        for name, p in net.named_parameters():
            moved = p.grad is not None and bool(p.grad.abs().sum() > 0)
            assert moved != (name in net.frozen()), (stage, name)
            trained |= {name} if moved else set()
    assert trained


@every_preset
def test_the_loss_falls_on_a_shift_in_every_stage(preset):
    other = "values" if preset in WHOLE else "values per step"
    for task in [TASKS["classes"], *([TASKS[other]] if preset in NETWORKS else [])]:
        net, batch = make(preset, task, steps=3), batch_of(preset, task, n=24, steps=3, shift=2.0)
        for stage in net.stages:
            net.begin(stage)
            net.train()
            trained = [p for p in net.parameters() if p.requires_grad]
            optimizer = torch.optim.Adam(trained, 2e-2)
            losses = []
            for step in range(20):
                torch.manual_seed(step % 2)  # random anchors: compare like with like
                optimizer.zero_grad()
                loss = net.loss(batch)
                loss.backward()
                optimizer.step()
                losses.append(float(loss.detach()))
            assert losses[-2] < 0.9 * losses[0], (stage, task.kind)


@every_task
def test_one_step_one_clip_blind_clips_and_other_precisions(preset, task):
    short, batch = make(preset, task, steps=1), batch_of(preset, task, steps=1)
    one = batch.take(torch.tensor([0]))
    net = make(preset, task).eval()
    full = batch_of(preset, task)
    blind = replace(full, steps={m: torch.zeros_like(x) for m, x in full.steps.items()})
    with torch.no_grad():
        assert torch.isfinite(short.eval()(batch)).all()
        assert torch.isfinite(short(one)).all()
        assert torch.isfinite(net(blind)).all()
        with torch.autocast("cpu", torch.bfloat16):
            coarse = net(full).float()
        assert torch.allclose(coarse, net(full), atol=0.25)
        exact = replace(
            full,
            streams={m: x.double() for m, x in full.streams.items()},
            functionals=full.functionals.double(),
            summaries={m: x.double() for m, x in full.summaries.items()},
        )
        assert torch.allclose(
            net.double()(exact).float(), make(preset, task).eval()(full), atol=1e-4
        )


@every_task
def test_nothing_annotated_is_no_loss_and_no_gradient(preset, task):
    net, batch = make(preset, task).train(), batch_of(preset, task)
    nothing = torch.full_like(batch.targets, -1 if task.kind == "classes" else float("nan"))
    loss = task.loss(net(batch), replace(batch, targets=nothing))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(p.grad is None or not p.grad.abs().sum() > 0 for p in net.parameters())


@every_preset
def test_what_only_training_has_is_not_read_to_predict(preset):
    hidden = recipe_of(preset).training_only
    for task in (t for t in TASKS.values() if not (preset in WHOLE and t.per_step)):
        net, batch = make(preset, task).eval(), batch_of(preset, task)
        lost = {m: torch.full_like(x, float("nan")) for m, x in batch.streams.items()}
        streams = {m: lost[m] if m in hidden else x for m, x in batch.streams.items()}
        seen = {m: ~x if m in hidden else x for m, x in batch.steps.items()}
        with torch.no_grad():
            assert torch.equal(net(batch), net(replace(batch, streams=streams, steps=seen)))


# --- with records -------------------------------------------------------------------------------


def records(preset, n=6):
    rng = np.random.default_rng(0)
    found = []
    for i in range(n):
        tracks = {
            m: Track(rng.normal(size=(12, 2)).astype(np.float32), 4.0, 0.0, ("A", "B"), "named", "")
            for m in streams_of(preset)
        }
        found.append(Record(Clip(f"c{i}", None), tracks))
    return found


@every_task
def test_saved_and_loaded_it_predicts_the_same(preset, task, tmp_path):
    recipe, data = recipe_of(preset), records(preset)
    names = streams_of(preset)
    flat = network_class(recipe.method).reads == "functionals" and not task.per_step
    groups = {} if flat else {m: [m] for m in names}
    clips = [summarise(r, names, 6) for r in data]
    features = fit(
        clips, recipe.method, names, groups, 6, False, training_only=recipe.training_only
    )
    settings = settings_of(recipe.method, recipe)
    own = FeatureMethod(task, features, build(features, task, settings), settings)
    own.network.begin(own.network.stages[-1])
    own.save(tmp_path)
    again = FeatureMethod.load(tmp_path)
    assert again.task == task
    for one, two in zip(own.predict(data), again.predict(data), strict=True):
        assert one == two
        assert (one.series is None) == (two.series is None) == (not task.per_step)
        if one.series is not None and two.series is not None:
            assert np.array_equal(one.series.values, two.series.values)
            assert one.series.values.shape == (6, task.outputs)
            assert (one.series.rate_hz, one.series.start) == (2.0, 0.0)
