"""What a method of pictures rests on, and where it looks: parts taken away, attention drawn."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from textualize.baselines import attention_picture
from textualize.baselines.attended import look
from textualize.baselines.attention_picture import draw_attention, draw_each_label, draw_looks
from textualize.baselines.au_guided import AuGuided
from textualize.baselines.face_parts import PARTS, without_each_part
from textualize.baselines.pictured import PictureMethod
from textualize.baselines.reading import Reading
from textualize.baselines.task import Task
from textualize.datasets.synthetic_faces import SIDE, face_tracks, template
from textualize.errors import TextualizeError
from textualize.explain import explain
from textualize.types import Clip, Record, Status

READING = Reading(size=SIDE)
TASK = Task("classes", False, 2, ("happiness", "surprise"))


def record(label="happiness", rows=1):
    parts = [face_tracks("same", np.random.default_rng(i), "") for i in range(rows)]
    tracks = {
        name: replace(parts[0][name], values=np.concatenate([p[name].values for p in parts]))
        for name in parts[0]
    }
    return Record(Clip("c", None, label=label), tracks)


def method():
    torch.manual_seed(0)
    net = AuGuided({}, TASK, steps=1, width=8)
    return PictureMethod("au-guided", TASK, READING, 1, net, {})


def changed(before, after):
    """Where pixels differ, (T, S, S) bool."""
    return (before.tracks["crops"].values != after.tracks["crops"].values).any(-1)


def test_a_part_is_blurred_where_it_is_and_nowhere_else():
    whole = record(rows=3)
    found = dict(without_each_part(whole, READING))
    assert list(found) == [*(f"crops: {p}" for p in PARTS), "crops: what is around the face"]
    places = {"brows": 19, "eyes": 37, "cheeks": 41, "nose": 31, "mouth": 57, "chin": 8}
    for name, point in places.items():
        where = changed(whole, found[f"crops: {name}"])
        assert where.any((1, 2)).all(), name
        x, y = np.round(template()[point] * SIDE).astype(int)
        near = where[:, max(0, y - 9) : y + 9, max(0, x - 6) : x + 6]
        assert near.any(), name
        assert where.mean() < 0.25, name
    around = changed(whole, found["crops: what is around the face"])
    assert around[:, 0].mean() > 0.8 and not around[:, 24, 24].any()


def test_a_row_without_a_face_stays_blank_and_one_without_landmarks_as_it_is():
    whole = record(rows=3)
    crops, points = (whole.tracks[k].values.copy() for k in ("crops", "landmarks"))
    crops[0], points[1] = 0, np.nan
    tracks = {
        "crops": replace(whole.tracks["crops"], values=crops),
        "landmarks": replace(whole.tracks["landmarks"], values=points),
    }
    holey = replace(whole, tracks=tracks)
    for _, other in without_each_part(holey, READING):
        where = changed(holey, other).any((1, 2))
        assert where.tolist() == [False, False, True]


def test_without_crops_or_landmarks_it_says_what_to_extract():
    whole = record()
    for lost, why in (("crops", "no track 'crops'"), ("landmarks", "no landmarks")):
        less = replace(whole, tracks={k: v for k, v in whole.tracks.items() if k != lost})
        with pytest.raises(TextualizeError, match=f"{why}; .*landmarks=true"):
            list(without_each_part(less, READING))
    faceless = replace(whole, tracks={}, status={"face": Status("absent", "test")})
    with pytest.raises(TextualizeError, match="clip 'c': no face; to explain"):
        list(without_each_part(faceless, READING))
    blind = whole.tracks["landmarks"]
    blind = replace(blind, values=blind.values * np.nan)
    with pytest.raises(TextualizeError, match="landmarks=true"):
        list(
            without_each_part(replace(whole, tracks={**whole.tracks, "landmarks": blind}), READING)
        )


def test_explain_takes_parts_away_from_what_reads_pictures():
    found = explain(method(), record())
    assert len(found.effects) == len(PARTS) + 1
    assert {e.what.split(": ")[0] for e in found.effects} == {"crops"}
    assert any(e.change != 0 for e in found.effects)
    assert found.prompt == ""


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_attention_is_drawn_for_every_clip(tmp_path, suffix):
    path = tmp_path / f"attention{suffix}"
    draw_attention(method(), [record(), record("surprise", rows=2)], path)
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG") if suffix == ".png" else b"</svg>" in data
    assert len(list(tmp_path.iterdir())) == 1


def test_what_cannot_be_drawn_is_said(tmp_path):
    with pytest.raises(TextualizeError, match="should end in .png"):
        draw_attention(method(), [record()], tmp_path / "attention.txt")
    with pytest.raises(TextualizeError, match="this run is of"):
        draw_attention(object(), [record()], tmp_path / "a.png")
    with pytest.raises(TextualizeError, match="no track 'crops'"):
        draw_attention(method(), [replace(record(), tracks={})], tmp_path / "a.png")
    with pytest.raises(TextualizeError, match="no clip"):
        draw_attention(method(), [], tmp_path / "a.png")


def test_one_face_of_each_label_is_drawn_and_what_was_not_trained_on_comes_first(
    tmp_path, monkeypatch
):
    shown = []

    def kept(looks, *others):
        shown.append([each.record.clip.id for each in looks])
        draw_looks(looks, *others)

    monkeypatch.setattr(attention_picture, "draw_looks", kept)

    def named(name, label, **lost):
        whole = record(label)
        clip = replace(whole.clip, id=name)
        return replace(whole, clip=clip, tracks={**whole.tracks, **lost})

    pixels, points = (record().tracks[k] for k in ("crops", "landmarks"))
    records = [
        named("unknown", "dread"),
        named("blind", "surprise", crops=replace(pixels, values=pixels.values * 0)),
        named("bare", "surprise", landmarks=replace(points, values=points.values * np.nan)),
        named("learned", "surprise"),
        named("other", "surprise"),
    ]
    path = tmp_path / "a.png"
    told = draw_each_label(method(), records, path, trained={"learned"})
    assert told == "one face of each of 1 labels; no face with landmarks of happiness"
    more = [*records[:4], named("glad", "happiness")]
    told = draw_each_label(method(), more, path, trained={"learned"})
    assert told == "one face of each of 2 labels, 1 of them trained on"
    assert shown == [["other"], ["glad", "learned"]] and path.stat().st_size > 0
    with pytest.raises(TextualizeError, match="no clip with a face to draw"):
        draw_each_label(method(), records[:3], path)


def test_the_picture_drawn_of_a_clip_is_the_middle_one_that_has_landmarks():
    whole = record(rows=5)
    points = whole.tracks["landmarks"].values.copy()
    points[2:4] = np.nan
    tracks = {**whole.tracks, "landmarks": replace(whole.tracks["landmarks"], values=points)}
    assert attention_picture._shown(look(method(), whole)) == 2
    assert attention_picture._shown(look(method(), replace(whole, tracks=tracks))) == 1
