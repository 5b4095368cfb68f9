import re
from typing import get_args

import pytest
import yaml

from textualize import assets
from textualize.baselines.fusion import NETWORKS, PICTURED, settings_of
from textualize.errors import TextualizeError
from textualize.finetune.feature_recipes import FeatureRecipe, NetworkRecipe, TrackRecipe
from textualize.finetune.options import Recipe
from textualize.finetune.picture_recipes import AugmentOptions, PictureAnyRecipe, PictureRecipe
from textualize.finetune.recipe import load_recipe, parse
from textualize.labels import NUMBERS, label_set

BASIC7 = label_set("basic7")


def of(method="jca", **values):
    return parse({"method": method, **values}, "test")


def shown(value) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=1000)
    return text.removesuffix("\n").removesuffix("\n...")


def test_there_is_a_class_of_recipes_and_a_shipped_one_for_every_method():
    of_tracks, of_pictures = (
        {get_args(k.model_fields["method"].annotation)[0]: k for k in get_args(known)}
        for known in (TrackRecipe, PictureAnyRecipe)
    )
    assert (set(of_tracks), set(of_pictures)) == (set(NETWORKS), set(PICTURED))
    for name, kind in (*of_tracks.items(), *of_pictures.items()):
        both = name in of_tracks and kind is of_pictures.get(name)
        recipe = load_recipe(f"{name}-pictures" if both else name)
        assert type(recipe) is kind
        assert settings_of(name, recipe).keys() <= kind.model_fields.keys()


def test_the_readme_tells_every_key_of_a_feature_recipe_with_its_default():
    text = (assets.folder("finetune") / "README.md").read_text("utf-8")
    for kind in (FeatureRecipe, *get_args(TrackRecipe)):
        for key, field in kind.model_fields.items():
            if key in (Recipe if kind is FeatureRecipe else FeatureRecipe).model_fields:
                continue
            assert re.search(re.escape(f"`{key}: {shown(field.default)}`"), text), key


def test_the_readme_tells_every_key_of_a_picture_recipe_with_its_default():
    text = (assets.folder("finetune") / "README.md").read_text("utf-8")
    for kind in (PictureRecipe, *get_args(PictureAnyRecipe)):
        above = NetworkRecipe if kind is PictureRecipe else PictureRecipe
        for key, field in kind.model_fields.items():
            same = key in above.model_fields and field.default == above.model_fields[key].default
            if same or key in ("method", "augment"):
                continue
            assert f"`{key}: {shown(field.default)}`" in text, (kind.__name__, key)
    for key, field in AugmentOptions.model_fields.items():
        assert f"`{key}` {field.default:g}" in text, key


def test_classes_leave_a_recipe_as_it_is():
    recipe = of()
    assert recipe.resolved(BASIC7) is recipe


def test_numbers_make_it_a_task_of_values():
    found = of().resolved(NUMBERS)
    assert (found.task, found.loss, found.select) == ("values", "mse", "ccc")
    kept = of(loss="mae", select="rmse").resolved(NUMBERS)
    assert (kept.loss, kept.select) == ("mae", "rmse")
    steps = of(task="values", per_step="va").resolved(BASIC7)
    assert (steps.loss, steps.select) == ("ccc", "ccc")
    assert steps.resolved(BASIC7) == steps == parse(steps.model_dump(), "stored").resolved(BASIC7)


@pytest.mark.parametrize(
    ("values", "labels", "match"),
    [
        ({"select": "ccc"}, BASIC7, "'select' is ccc, which is not for classes"),
        ({"loss": "mse"}, BASIC7, "'loss' is mse, which is not for classes"),
        ({"select": "macro_f1"}, NUMBERS, "'select' is macro_f1, which is not for values"),
        ({"loss": "cross_entropy"}, NUMBERS, "not for values: give ccc or mse or mae"),
    ],
)
def test_scores_and_losses_of_the_other_kind_are_refused(values, labels, match):
    with pytest.raises(TextualizeError, match=match):
        of(**values).resolved(labels)


@pytest.mark.parametrize(
    ("method", "values", "match"),
    [
        ("jca", {"per_step": "va"}, "needs task"),
        ("jca", {"per_step": "aus", "task": "values"}, "cannot be read, too"),
        ("jca", {"per_step": "va", "task": "values", "rows": "richet2024"}, "whole clips"),
        ("jca", {"smooth_s": 1.0}, "values predicted per step"),
        ("concat", {"drop_stream": 0.1}, "no streams to drop"),
        ("concat", {"wiring": "paper"}, "unknown key 'wiring'"),
        ("dmsn", {"augment": {"flips": 1}}, "unknown key 'augment.flips'"),
        ("dmsn", {"stem": 20}, "stem: input should be a multiple of 16"),
        ("stochastic-softmax", {"tracks": ["aus"]}, "unknown key 'tracks'"),
        ("subject-msda", {"pictures": "crops", "tracks": ["aus"]}, "'tracks' beside 'pictures'"),
        ("subject-msda", {"pictures": "crops", "noise": 0.1}, "'noise' beside 'pictures'; known"),
        ("subject-msda", {"backbone": "dmsn-c"}, "unknown key 'backbone' without 'pictures'"),
        ("subject-msda", {"pictures": "crops", "frame": 2}, "did you mean frames"),
        ("subject-msda", {"pictures": "crops", "task": "values"}, "pseudo_labels are classes"),
        ("text-llm", {"select": "ccc"}, "select ccc is of values"),
    ],
)
def test_keys_that_contradict_each_other_are_one_line(method, values, match):
    with pytest.raises(TextualizeError, match=match) as caught:
        of(method, **values)
    assert len(str(caught.value)) < 700 and "\n" not in str(caught.value)


def test_what_only_training_reads():
    assert of("pkdot", privileged="audio", teachers=["text"]).training_only == ("audio", "text")
    assert of("jmt").training_only == ()
