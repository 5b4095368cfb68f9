"""Attention that is led to action units: what leads it, the network, and what measures it."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import ViTConfig, ViTImageProcessor, ViTModel

from textualize.baselines.activation import CAM_KINDS
from textualize.baselines.attended import Look, look
from textualize.baselines.attention_measured import COLUMNS, measure
from textualize.baselines.attention_metrics import (
    CRITERIA,
    above_floor,
    alignment,
    floor_cosine,
    log_barrier,
    map_cosine,
    others,
    pointing,
    region,
)
from textualize.baselines.au_guided import AuGuided, attention_of
from textualize.baselines.au_map import heat_maps
from textualize.baselines.backbone import Backbone
from textualize.baselines.pictured import PictureMethod
from textualize.baselines.pictures import Pictures
from textualize.baselines.reading import Reading
from textualize.baselines.task import Task
from textualize.datasets.synthetic_faces import face_tracks, striped, template
from textualize.errors import TextualizeError
from textualize.extract.face.ibug import MESH, OF_MESH
from textualize.finetune.baseline import macs
from textualize.types import Clip, Record

TASK = Task("classes", False, 3, ("neutral", "happiness", "surprise"))
SIDE = 48
D = torch.float64
every_criterion = pytest.mark.parametrize("criterion", CRITERIA)


def make(task=TASK, seed=0, **options):
    torch.manual_seed(seed)
    return AuGuided({}, task, steps=1, **{"width": 8, **options})


def batch_of(clips=6, frames=2, targets=None, seed=0):
    """Random pictures, the template's landmarks shifted a little; odd clips have one picture."""
    g = torch.Generator().manual_seed(seed)
    seen = torch.ones(clips, frames, dtype=torch.bool)
    seen[1::2, 1:] = False
    landmarks = torch.full((clips, frames, MESH, 2), torch.nan)
    points = torch.from_numpy(template()).float().expand(clips, frames, -1, -1)
    landmarks[:, :, list(OF_MESH)] = SIDE * (
        points + 0.01 * torch.randn(clips, frames, 68, 2, generator=g)
    )
    pixels = torch.rand(clips, 3, frames, SIDE, SIDE, generator=g) * seen[:, None, :, None, None]
    answers = torch.arange(clips) % 3 if targets is None else torch.tensor(targets)
    zero = torch.zeros(clips, dtype=torch.long)
    return Pictures(pixels, seen, landmarks, torch.arange(clips), zero, answers, torch.ones(clips))


def maps_of(count, seed=0, size=12):
    g = torch.Generator().manual_seed(seed)
    return torch.rand(count, size, size, generator=g, dtype=D)


# --- what leads attention -----------------------------------------------------------------------


def test_the_hand_value():
    attention = torch.tensor([[[1.0, 2], [3, 4]]], dtype=D)
    aim = torch.tensor([[[0, 0], [0.5, 1]]], dtype=D)
    loss = alignment(attention, aim, torch.tensor([True]), "cosine")
    assert float(loss) == pytest.approx(0.1018537610, abs=1e-10)
    assert float(map_cosine(attention, aim)) == pytest.approx(0.8981462390, abs=1e-10)


@pytest.mark.parametrize("criterion", ["cosine", "standardised_cosine"])
def test_a_cosine_does_not_mind_scale_is_0_for_like_and_1_for_unlike(criterion):
    attention, aim = maps_of(5), maps_of(5, seed=1)
    drawn = torch.ones(5, dtype=torch.bool)
    plain = alignment(attention, aim, drawn, criterion)
    assert torch.allclose(alignment(7 * attention, 0.3 * aim, drawn, criterion), plain)
    assert float(alignment(3 * aim, aim, drawn, criterion)) == pytest.approx(0, abs=1e-9)
    apart = torch.zeros(1, 4, 4, dtype=D)
    apart[0, :2, :2] = 1
    opposite = apart.flip(1)
    unlike = float(alignment(apart, opposite, torch.tensor([True]), "cosine"))
    assert unlike == pytest.approx(1)


@every_criterion
def test_a_criterion_is_least_for_attention_that_is_the_map(criterion):
    aim = maps_of(1)
    aim = (aim - aim.min()) / (aim.max() - aim.min())
    drawn = torch.tensor([True])
    like = {"kl": aim.clamp(min=1e-12).log()}.get(criterion, aim)  # its attention is in logits
    best = float(alignment(like, aim, drawn, criterion))
    assert best == pytest.approx(0, abs=1e-6)
    for seed in range(1, 6):
        assert float(alignment(maps_of(1, seed), aim, drawn, criterion)) > best


def test_the_log_barrier_is_smooth_rises_and_nears_a_wall():
    z = torch.linspace(-1, 1, 4001, dtype=torch.float64, requires_grad=True)
    found = log_barrier(z, 5.0)
    (slope,) = torch.autograd.grad(found.sum(), z)
    assert torch.isfinite(slope).all() and (slope > 0).all()
    assert float(found.detach().diff().max()) < 2 * 5.0 * 2 / 4000  # no jump at -1/t^2
    assert float(slope.diff().abs().max()) < 0.1 and float(slope.max()) == pytest.approx(5.0)
    kept, broken = torch.tensor([-0.5]).double(), torch.tensor([0.1]).double()
    assert float(log_barrier(kept, 1000.0)) < 1e-3 and float(log_barrier(broken, 1000.0)) > 100


@every_criterion
def test_pictures_without_a_map_do_not_count(criterion):
    attention, aim = maps_of(4).requires_grad_(), maps_of(4, seed=1)
    some = torch.tensor([True, False, True, False])
    both = alignment(attention, aim, some, criterion)
    each = [alignment(attention[i : i + 1], aim[i : i + 1], some[:1], criterion) for i in (0, 2)]
    assert torch.allclose(both, torch.stack(each).mean())
    both.backward()
    assert (attention.grad[~some] == 0).all() and (attention.grad[some] != 0).any()
    assert alignment(attention, aim, some & False, criterion).detach() == 0


def test_an_unknown_criterion_or_a_map_that_is_no_square_is_refused():
    with pytest.raises(TextualizeError, match="criterion"):
        alignment(maps_of(1), maps_of(1), torch.tensor([True]), "hinge")
    with pytest.raises(TextualizeError, match="square"):
        alignment(torch.rand(1, 3, 4), maps_of(1), torch.tensor([True]), "cosine")


# --- what measures it ---------------------------------------------------------------------------


def test_even_attention_scores_the_floor_and_the_map_itself_1():
    maps = heat_maps(
        torch.from_numpy(template())[None].float(), make().class_actions[1:2], 64
    ).values
    for attention, above in ((torch.ones(1, 7, 7), 0.0), (maps, 1.0)):
        cosine = map_cosine(attention, maps)
        assert float(above_floor(cosine, maps)) == pytest.approx(above, abs=1e-6)
    assert float(floor_cosine(maps)) == pytest.approx(
        float(maps.mean() / maps.square().mean().sqrt())
    )


def test_attention_below_0_is_raised_and_only_its_scale_is_free():
    attention, maps = maps_of(3) - 0.5, maps_of(3, seed=1)
    raised = attention - attention.amin((1, 2), keepdim=True)
    assert torch.allclose(map_cosine(attention, maps), map_cosine(raised, maps))
    assert torch.allclose(map_cosine(5 * attention, maps), map_cosine(attention, maps))
    positive = maps_of(3)
    assert not torch.allclose(map_cosine(positive + 1, maps), map_cosine(positive, maps))


def test_pointing_hits_the_region_of_the_highest_point():
    attention = torch.zeros(2, 8, 8)
    attention[0, 2, 5] = attention[1, 7, 0] = 1
    regions = torch.zeros(2, 8, 8, dtype=torch.bool)
    regions[:, 2, 5] = True
    assert pointing(attention, regions).tolist() == [True, False]
    assert region(attention)[0].sum() == 1


def test_each_face_gets_another_one():
    for count in (2, 3, 9):
        found = others(count, torch.Generator().manual_seed(count))
        assert sorted(found.tolist()) == list(range(count))
        assert (found != torch.arange(count)).all()
    assert others(1).tolist() == [0]


# --- the network --------------------------------------------------------------------------------


def gradients(net, loss):
    net.zero_grad(set_to_none=True)
    loss.backward()
    return {n: p.grad.clone() for n, p in net.named_parameters() if p.grad is not None}


def test_without_weight_the_gradients_are_those_of_plain_classification():
    net, batch = make(weight=0.0).train(), batch_of()
    state = {k: v.clone() for k, v in net.state_dict().items()}
    mine = gradients(net, net.loss(batch))
    net.load_state_dict(state)
    plain = gradients(net, TASK.loss(net(batch), batch))
    assert mine.keys() == plain.keys()
    assert all(torch.equal(mine[n], plain[n]) for n in plain)
    assert net.told() == {}


def test_the_control_draws_each_map_on_another_picture_s_landmarks_while_training():
    batch = batch_of(4, 1, targets=[1, 1, 1, 1])
    plain = make().train().maps(batch).values
    control = make(shuffled=True)
    mixed = control.train().maps(batch).values
    assert sorted(x.sum().item() for x in mixed) == sorted(x.sum().item() for x in plain)
    assert not any(torch.equal(x, y) for x, y in zip(mixed, plain, strict=True))
    assert torch.equal(control.eval().maps(batch).values, plain)


def test_a_neutral_batch_is_classified_only():
    batch = batch_of(targets=[0] * 6)
    guided, plain = make().train(), make(weight=0.0).train()
    mine, theirs = gradients(guided, guided.loss(batch)), gradients(plain, plain.loss(batch))
    assert all(torch.equal(mine[n], theirs[n]) for n in theirs)


def test_clips_without_an_annotation_or_landmarks_are_not_aligned():
    net, batch = make().train(), batch_of()
    assert net.maps(batch).drawn.tolist() == [c % 3 > 0 for c in net.attend(batch).clips.tolist()]
    unknown = replace(batch, targets=torch.full((6,), -1))
    assert not net.maps(unknown).drawn.any()
    blind = replace(batch, landmarks=batch.landmarks * torch.nan)
    assert torch.equal(net.eval().loss(blind), TASK.loss(net(blind), blind))


@pytest.mark.parametrize("layer", [1, 2, 3, 4, 5])
def test_aligning_a_layer_moves_only_what_is_at_or_below_it(layer):
    net, batch = make(layers=[layer]).train(), batch_of()
    maps = net.maps(batch)
    layers = net.backbone(batch.pixels.transpose(1, 2)[batch.seen])
    loss = alignment(attention_of(layers[net.layers[0]]), maps.values, maps.drawn, "cosine")
    moved = {n for n, g in gradients(net, loss).items() if g.abs().sum() > 0}
    stages = {int(n.split("stages.")[1][0]) + 2 for n in moved if "stages." in n}
    assert stages == set(range(2, layer + 1))
    assert any("embedder" in n for n in moved)
    assert not any(n.startswith("head") for n in moved)


def test_training_brings_attention_onto_the_map():
    def cosine(weight):
        net, batch = make(weight=weight).train(), batch_of(6, 1)
        optimizer = torch.optim.Adam(net.parameters(), 3e-3)
        for _ in range(15):
            optimizer.zero_grad()
            net.loss(batch).backward()
            optimizer.step()
        maps = net.maps(batch, SIDE)
        net.requires_grad_(False)
        return float(
            map_cosine(net.attend(batch).attention[maps.drawn], maps.values[maps.drawn]).mean()
        )

    assert cosine(0.0) + 0.1 < cosine(4.0)


def test_a_clip_depends_on_no_other_nor_on_pictures_it_does_not_have():
    net, batch = make().eval(), batch_of()
    noise = torch.where(batch.seen[:, None, :, None, None], batch.pixels, torch.nan)
    with torch.no_grad():
        whole = net(batch)
        alone = torch.cat([net(batch.take(torch.tensor([i]))) for i in range(6)])
        assert torch.allclose(whole, alone, atol=1e-5)
        assert torch.allclose(whole, net(replace(batch, pixels=noise)), atol=1e-5)
        first = net(replace(batch, seen=batch.seen & torch.tensor([True, False])))
        second = net(replace(batch, seen=batch.seen & torch.tensor([False, True])))
    assert torch.allclose(whole[::2], (first + second)[::2] / 2, atol=1e-5)  # the mean of two
    assert torch.isfinite(second).all()  # of clips that have none left, too


def test_prediction_reads_pixels_alone():
    net, batch = make().eval(), batch_of()
    hidden = replace(batch, landmarks=batch.landmarks * torch.nan, targets=batch.targets * 0)
    assert torch.equal(net(batch), net(hidden))


def test_an_epoch_is_told_once_and_one_without_any_map_is_refused():
    net, batch = make().train(), batch_of()
    net.loss(batch)
    net.loss(batch)
    told = net.told()
    assert 0 < told["alignment"] < 1
    assert told["with_map"] == pytest.approx(float(net.maps(batch).drawn.float().mean()))
    assert net.told() == {}
    net.loss(replace(batch, landmarks=batch.landmarks * torch.nan))
    with pytest.raises(TextualizeError, match="none of 9 pictures of an epoch has landmarks"):
        net.told()


def test_large_maps_keep_the_size_of_the_last_two_stages():
    pictures = torch.rand(1, 3, 224, 224)
    sizes = {
        large: [x.shape[-1] for x in Backbone("small", 4, large_maps=large)(pictures)]
        for large in (True, False)
    }
    assert sizes == {True: [56, 56, 28, 28, 28], False: [56, 56, 28, 14, 7]}


def test_other_labels_bring_their_own_actions():
    task = replace(TASK, names=("no pain", "pain", "other"))
    with pytest.raises(TextualizeError, match="no action units of no pain, pain, other"):
        make(task)
    net = make(task, actions={"pain": [4, 6, 7, 9, 10, 43]})
    assert net.class_actions.sum(1).tolist() == [0, 6, 0]
    assert make(task, weight=0.0).class_actions.sum() == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"layers": [6]}, "'layers' should be 1 to 5"),
        ({"layers": [0]}, "'layers' should be 1 to 5"),
        ({"criterion": "hinge"}, "criterion"),
        ({"codebook": "own"}, "codebook"),
        ({"actions": {"joy": [6]}}, "label in recipe key 'actions'"),
        ({"actions": {"happiness": [99]}}, "AU 99 has no place"),
        ({"backbone": "/nowhere/at-all"}, "no vision model '/nowhere/at-all'"),
        ({"task": Task("values", False, 1, ("v",), objective="mse")}, "classes of clips"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(options, said):
    with pytest.raises(TextualizeError, match=said) as error:
        make(**options)
    assert "\n" not in str(error.value)


# --- with records -------------------------------------------------------------------------------


def record(i, label="happiness"):
    tracks = face_tracks(
        {"happiness": "same"}.get(label, "different"), np.random.default_rng(i), ""
    )
    return Record(Clip(f"c{i}", None, label=label), tracks)


def method_of(net):
    return PictureMethod("au-guided", net.task, Reading(size=SIDE), 1, net, settings_of(net))


def settings_of(net):
    kept = {k: getattr(net, k) for k in ("weight", "codebook", "relative")}
    return {**kept, "layers": [-1], "width": 8, "large_maps": True, **net.resolved()}


def test_a_transformer_from_a_folder_is_guided_saved_and_needs_the_folder_no_more(tmp_path):
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        image_size=SIDE, patch_size=8,
    )  # fmt: skip
    source = tmp_path / "vit"
    ViTModel(config).save_pretrained(source)
    ViTImageProcessor(image_mean=[0.5] * 3, image_std=[0.25] * 3).save_pretrained(source)
    net = make(backbone=str(source))
    assert net.backbone.mean.flatten().tolist() == [0.5] * 3
    batch = batch_of()
    assert net.attend(batch).attention.shape == (9, 6, 6)
    assert (net.attend(batch).attention > 0).all()  # of tokens, the size of values
    trained = gradients(net.train(), net.loss(batch))
    assert set(trained) == {n for n, _ in net.named_parameters()} - net.frozen()
    own = method_of(net)
    (tmp_path / "run").mkdir()
    own.save(tmp_path / "run")
    for path in source.iterdir():
        path.unlink()
    again = PictureMethod.load(tmp_path / "run")
    for one, two in zip(own.predict([record(0)]), again.predict([record(0)]), strict=True):
        assert one == two


def test_looks_are_measured_and_what_is_pointed_at_is_counted():
    net = make(weight=4.0)
    method = method_of(net)
    records = [record(i, ("happiness", "surprise", "neutral")[i % 3]) for i in range(6)]
    looks = [look(method, r) for r in records]
    assert all(isinstance(x, Look) for x in looks)

    def everywhere(record, points, size):
        return torch.ones(len(points), size, size, dtype=torch.bool)

    found = measure(method, looks, everywhere)
    assert found.clips == ("c0", "c1", "c3", "c4")
    assert found.left_out == 2  # neutral has no map
    assert found.mean("pointing") == found.mean("pointing_by_chance") == 1
    assert 0 < found.mean("floor") < 1
    assert -1 <= found.mean("att_cos") <= 1
    assert math.isnan(measure(method, looks).mean("pointing"))  # no sensor saw an action unit
    assert found.values.shape == (4, len(COLUMNS))


def test_what_the_answer_rests_on_is_measured_of_every_kind_of_activation_map():
    pytest.importorskip("captum")
    method = method_of(make())
    records = [record(i, ("happiness", "surprise")[i % 2]) for i in range(4)]
    curves = ("deletion", "insertion", "cam_deletion", "cam_insertion")
    found = {kind: measure(method, [look(method, r, kind) for r in records]) for kind in CAM_KINDS}
    for kind, own in found.items():
        values = np.array([own.mean(c) for c in (*curves, "cam_cos")])
        assert ((values > 0) & (values <= 1)).all(), kind
    for column in COLUMNS:  # only what is of the map differs between its kinds
        means = {round(own.mean(column), 9) for own in found.values()}
        assert math.isnan(min(means)) or (len(means) > 1) == column.startswith("cam_"), column


def test_a_clip_without_a_face_or_of_another_label_is_said():
    method = method_of(make())
    assert look(method, Record(Clip("x", None, label="happiness"), {})) == "no track 'crops'"
    with pytest.raises(TextualizeError, match="has label 'fear'"):
        look(method, record(0, "fear"))
    with pytest.raises(TextualizeError, match="this run is of"):
        look(object(), record(0))


def test_the_striped_regions_of_synthetic_faces_are_where_the_stripes_are():
    """A face of each class, drawn from one seed, differs from the other's there alone."""
    points = template()
    for label in ("same", "different"):
        inside = striped(points, label, SIDE)
        assert 0.02 < inside.mean() < 0.25
    assert not (striped(points, "same", SIDE) & striped(points, "different", SIDE)).any()


@pytest.mark.parametrize(("width", "side"), [(8, 48), (16, 112)])
def test_parameters_and_products_are_those_of_the_formulas(width, side):
    """A 7 x 7 stem, then stages of two 3 x 3 convolutions and, but in the first, a 1 x 1 beside."""
    net = make(width=width)
    stem, wide = 7 * 7 * 3 * width, [width, width, 2 * width, 4 * width, 8 * width]
    sizes = [side // 4, side // 8, side // 8, side // 8]  # large maps: the last two are not halved
    parameters, products = stem + 2 * width, stem * (side // 2) ** 2
    for given, out, size in zip(wide, wide[1:], sizes, strict=False):
        beside = given * out if given != out else 0
        weights = 9 * given * out + 9 * out * out + beside
        parameters += weights + 2 * out * (3 if beside else 2)  # of the batch norms
        products += weights * size**2
    head = wide[-1] * 3
    assert sum(p.numel() for p in net.parameters()) == parameters + head + 3
    one = replace(
        batch_of(1, 1), pixels=torch.rand(1, 3, 1, side, side), seen=torch.ones(1, 1).bool()
    )
    assert macs(net, one) == products + head
