import numpy as np
import pytest

from textualize.baselines.attended import look, measure
from textualize.baselines.pictured import PictureMethod
from textualize.datasets.synthetic_faces import face_tracks
from textualize.errors import TextualizeError
from textualize.finetune.recipe import parse
from textualize.finetune.train import train
from textualize.labels import LabelSet
from textualize.types import Clip, Record

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
    found = measure([look(method, record) for record in HELD])
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
    plain = parse({**RECIPE, "weight": 0}, "test")
    run = train(plain, without, HELD, tmp_path / "plain", labels=LABELS)
    assert all("with_map" not in line for line in run.metrics())
