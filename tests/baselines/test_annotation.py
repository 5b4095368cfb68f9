import numpy as np
import pytest
import torch

from textualize.baselines.annotation import (
    annotated_values,
    classes_per_step,
    clip_targets,
    standardised,
    step_targets,
    values_per_step,
)
from textualize.baselines.task import Task
from textualize.errors import TextualizeError
from textualize.labels import NUMBERS
from textualize.types import Clip, Record, Span, Track

NAN = float("nan")


def track(rows, rate_hz=1.0, start=0.0):
    values = np.asarray(rows, np.float32).reshape(len(rows), -1)
    return Track(values, rate_hz, start, ("v", "a")[: values.shape[1]], "named", "by hand")


def record(rows=None, label=None):
    tracks = {} if rows is None else {"said": track(rows)}
    return Record(Clip("c", None, Span(0.0, 4.0), label=label), tracks)


def test_a_step_is_the_mean_of_its_annotated_rows():
    found = values_per_step(track([1, 2, -5, 4, NAN, NAN, 3, 5]), 4, 0.0, 8.0, -5.0)
    assert found[:, 0].tolist() == pytest.approx([1.5, 4.0, NAN, 4.0], nan_ok=True)
    kept = values_per_step(track([1, 2, -5, 4]), 2, 0.0, 4.0, None)
    assert kept[:, 0].tolist() == [1.5, -0.5]


def test_a_step_beyond_the_annotation_has_none():
    found = values_per_step(track([1, 2]), 4, 0.0, 4.0, -5.0)
    assert found[:, 0].tolist() == pytest.approx([1, 2, NAN, NAN], nan_ok=True)
    ids = classes_per_step(track([1, 2]), 4, 0.0, 4.0, 3)
    assert ids.tolist() == [1, 2, -1, -1]


def test_a_step_is_its_commonest_class_and_of_equals_the_lowest():
    rows = [2, 2, 1, -1, 1, 0, NAN, -1]
    assert classes_per_step(track(rows), 2, 0.0, 8.0, 3).tolist() == [2, 0]
    assert classes_per_step(track(rows), 4, 0.0, 8.0, 3).tolist() == [2, 1, 0, -1]


@pytest.mark.parametrize(("rows", "match"), [([0, 3], "0 to 2; given 3"), ([0.5, 1], "given 0.5")])
def test_ids_outside_the_classes_are_refused(rows, match):
    with pytest.raises(TextualizeError, match=match):
        classes_per_step(track(rows), 2, 0.0, 2.0, 3)
    with pytest.raises(TextualizeError, match="one column"):
        classes_per_step(track([[0, 1]]), 1, 0.0, 1.0, 3)


def test_records_without_annotation_are_masked_not_repeated():
    data = [record([1, 2, 3, 4]), record(None), record([1, 2])]
    values = step_targets(data, "said", Task("values", True, 1, objective="mse"), 4, (), -5.0)
    assert values.shape == (3, 4, 1)
    assert values.isnan().sum(1).flatten().tolist() == [0, 4, 2]
    ids = step_targets(data, "said", Task("classes", True, 5), 4, (), None)
    assert ids.tolist() == [[1, 2, 3, 4], [-1] * 4, [1, 2, -1, -1]]


def test_numbers_of_clips_are_values_and_nothing_else_is():
    task = Task("values", False, 1, objective="mse")
    assert clip_targets([record(label=2), record(label=-0.5)], task, NUMBERS).tolist() == [
        [2.0],
        [-0.5],
    ]
    for label in ("glad", None, NAN):
        with pytest.raises(TextualizeError, match="clip 'c' is labelled .* expected a number"):
            clip_targets([record(label=label)], task, NUMBERS)


def test_standardised_values_have_mean_0_and_spread_1_over_what_is_annotated():
    rows = torch.tensor([[1.0, 0.0], [3.0, NAN], [5.0, 4.0]])
    values = annotated_values(rows)
    found = standardised(rows, values)
    assert found.nanmean(0).tolist() == pytest.approx([0, 0], abs=1e-6)
    assert float(found[:, 0].std(correction=0)) == pytest.approx(1)
    task = Task("values", False, 2, objective="mse", values=values)
    assert task.numbers(found) == pytest.approx(rows.numpy(), nan_ok=True)


@pytest.mark.parametrize(("rows", "match"), [([2.0, 2.0], "always 2"), ([NAN, NAN], "nowhere")])
def test_values_with_nothing_to_learn_are_refused(rows, match):
    with pytest.raises(TextualizeError, match=match):
        annotated_values(torch.tensor([rows]).T)
