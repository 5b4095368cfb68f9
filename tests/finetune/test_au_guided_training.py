from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from textualize.baselines.attended import look
from textualize.baselines.attention_measured import measure
from textualize.baselines.landmarked import landmark_notes
from textualize.baselines.pictured import PictureMethod
from textualize.baselines.reading import Reading, open_reel
from textualize.baselines.reels import POINTS
from textualize.cli import run as cli
from textualize.datasets.synthetic import Synthetic, write_synthetic
from textualize.datasets.synthetic_faces import face_tracks
from textualize.errors import TextualizeError
from textualize.extract.face.ibug import OF_MESH
from textualize.finetune.recipe import parse
from textualize.finetune.train import train
from textualize.labels import LABEL_SETS, LabelSet
from textualize.types import Clip, Record, Status

LABELS = LabelSet("product", ("different", "same"), {})
RECIPE = {
    "method": "au-guided", "actions": {"same": [6, 12], "different": [1, 2, 17]}, "size": 32,
    "width": 4, "epochs": 2, "batch_size": 4,
}  # fmt: skip


def records(part, n):
    found = []
    for i in range(n):
        label = LABELS.labels[i % 2]
        tracks = face_tracks(label, np.random.default_rng([i, len(part)]), "")
        found.append(Record(Clip(f"{part}{i}", None, label=label, group=f"{part}{i}"), tracks))
    return found


TRAIN, HELD = records("train", 10), records("held", 4)


def test_a_run_tells_its_alignment_and_is_measured(tmp_path):
    run = train(parse(RECIPE, "test"), TRAIN, HELD, tmp_path / "run", labels=LABELS)
    lines = run.metrics()
    assert [line["with_map"] for line in lines] == [1.0, 1.0]
    assert all(0 < line["alignment"] < 1 for line in lines)
    method = PictureMethod.load(run.path)
    assert method.settings["actions"] == RECIPE["actions"]
    found = measure(method, [look(method, record) for record in HELD])
    assert len(found.values) == 4 and found.left_out == 0


def test_faces_without_landmarks_cannot_be_guided_and_some_are_counted(tmp_path):
    def blind(record):
        return Record(record.clip, {"crops": record.tracks["crops"]})

    without = [blind(r) for r in TRAIN]
    with pytest.raises(TextualizeError, match="none of 10 pictures of an epoch has landmarks"):
        train(parse(RECIPE, "test"), without, HELD, tmp_path / "none", labels=LABELS)
    some = [*TRAIN[:6], *without[6:]]
    run = train(parse(RECIPE, "test"), some, HELD, tmp_path / "some", labels=LABELS)
    assert [line["with_map"] for line in run.metrics()] == [0.6, 0.6]
    told = "4 of 10 pictures have no landmarks, in 4 of 10 clips: they are classified only"
    assert f"au-guided: {told} (training)" in run.environment["notes"]
    assert told in (run.path / "README.md").read_text("utf-8")
    plain = parse({**RECIPE, "weight": 0}, "test")
    run = train(plain, without, HELD, tmp_path / "plain", labels=LABELS)
    assert all("with_map" not in line for line in run.metrics())
    assert not any("landmarks" in note for note in run.environment["notes"])


def test_a_clip_the_sensor_found_no_face_in_is_left_out_as_such(tmp_path):
    faceless = Record(Clip("f", None, label="same"), {}, (), {"face": Status("absent", "test")})
    bare = Record(Clip("b", None, label="same"))
    run = train(
        parse({**RECIPE, "epochs": 1}, "test"), [*TRAIN, faceless, bare], HELD, tmp_path / "run",
        labels=LABELS,
    )  # fmt: skip
    notes = " / ".join(run.environment["notes"])
    assert "1 of 12 records left out: no face (training)" in notes
    assert "1 of 12 records left out: no track 'crops' (training)" in notes


def test_pictures_of_a_clip_without_landmarks_are_counted_one_by_one():
    whole = HELD[0]
    many = {
        name: replace(track, values=np.repeat(track.values, 3, 0))
        for name, track in whole.tracks.items()
    }
    points = many["landmarks"].values
    unused = next(i for i in range(POINTS) if i not in OF_MESH)  # no map needs it
    points[1, 3 * unused] = np.nan
    points[2, 3 * OF_MESH[30]] = np.nan  # x of the tip of the nose
    kept = open_reel(Record(whole.clip, many), Reading(size=32))
    bare = open_reel(Record(whole.clip, {"crops": many["crops"]}), Reading(size=32))
    assert landmark_notes([kept, kept])[0].startswith(
        "2 of 6 pictures have no landmarks, in 2 of 2"
    )
    assert landmark_notes([kept, bare])[0].startswith(
        "4 of 6 pictures have no landmarks, in 2 of 2"
    )
    assert landmark_notes([open_reel(whole, Reading(size=32))]) == []


FILES = RECIPE | {"pictures": "file", "cut": "middle", "weight": 0, "epochs": 1}


def pictures(folder):
    """Files of one picture in several modes, one of a single pixel, and one that is none."""
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (40, 30), dtype=np.uint8)
    grey = Image.fromarray(pixels)
    made = {
        "grey": grey,
        "rgb": grey.convert("RGB"),
        "rgba": grey.convert("RGBA"),
        "palette": grey.convert("P"),
        "point": Image.new("RGB", (1, 1), (200, 100, 50)),
    }
    made["rgba"].putalpha(Image.fromarray(255 - pixels))
    for name, picture in made.items():
        picture.save(folder / f"{name}.png")
    (folder / "broken.png").write_bytes((folder / "rgb.png").read_bytes()[:60])
    return [
        Record(Clip(f"{folder.name} {name}", folder / f"{name}.png", label=LABELS.labels[i % 2]))
        for i, name in enumerate([*made, "broken"])
    ]


def test_any_kind_of_picture_is_read_and_what_is_none_is_left_out(tmp_path):
    records, held = pictures(tmp_path / "train"), pictures(tmp_path / "held")[:2]
    reading = Reading("file", "middle", size=32)
    shown = [open_reel(record, reading) for record in records[:5]]
    pixels = [reel.read(0, 1)[0][0] for reel in shown]
    for other in pixels[1:4]:  # transparency is not seen, colours are those of the grey
        assert float((other - pixels[0]).abs().max()) < 0.02
    colour = pixels[4].flatten(1)
    assert colour.std(1).max() == 0
    assert colour.mean(1).tolist() == pytest.approx([200 / 255, 100 / 255, 50 / 255], abs=0.02)
    run = train(parse(FILES, "test"), records, held, tmp_path / "run", labels=LABELS)
    (note,) = [n for n in run.environment["notes"] if "left out" in n]
    assert note.startswith("au-guided: 1 of 6 records left out:") and "broken.png" in note
    said = PictureMethod.load(run.path).predict(records)
    assert [p.label is None for p in said] == [False] * 5 + [True]
    assert said[5].text.startswith("no pictures: ") and "\n" not in said[5].text


def test_training_on_one_class_or_on_classes_without_action_units_is_refused(tmp_path):
    own = LabelSet("own", ("neutral", "other"), {})
    plain = {k: v for k, v in RECIPE.items() if k != "actions"}
    learned, held = (
        [r.with_label(own.labels[i % 2]) for i, r in enumerate(part)] for part in (TRAIN, HELD)
    )
    with pytest.raises(TextualizeError, match="knows no action units of neutral, other"):
        train(parse(plain, "test"), learned, held, tmp_path / "a", labels=own)
    basic = LABEL_SETS["basic7"]
    learned, held = ([r.with_label("neutral") for r in part] for part in (TRAIN, HELD))
    with pytest.raises(TextualizeError, match="neutral") as error:
        train(parse(plain, "test"), learned, held, tmp_path / "b", labels=basic)
    assert "\n" not in str(error.value)


def test_one_command_draws_a_face_of_each_label(tmp_path, capsys):
    corpus = write_synthetic(tmp_path / "corpus", Synthetic(0, 8, 4, 2, 1))
    parts = {s: [r for r in corpus.records() if r.clip.split == s] for s in ("train", "validation")}
    run = train(
        parse({**RECIPE, "epochs": 1}, "test"), parts["train"], parts["validation"],
        tmp_path / "run", labels=LABELS,
    )  # fmt: skip
    asked = ["explain", str(run.path), "--picture", str(tmp_path / "look.png")]
    assert cli([*asked, "--corpus", str(corpus.folder)]) == 0
    assert "attention on one face of each of 2 labels in" in capsys.readouterr().err
    assert (tmp_path / "look.png").read_bytes()[:4] == b"\x89PNG"
    assert cli(asked) == 2
    assert "give --corpus" in capsys.readouterr().err
    assert cli(["explain", str(run.path), "--corpus", str(corpus.folder)]) == 2
    assert "give --corpus and --clip" in capsys.readouterr().err
