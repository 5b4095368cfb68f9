"""The rules of the repository itself."""

import ast
import importlib
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from textualize import assets
from textualize.evaluate.settings import is_prompt_suite, load_prompt_suite, template_of
from textualize.evaluate.suite import load_suite
from textualize.finetune.recipe import load_recipe, parse
from textualize.methods import METHODS
from textualize.prompt import load_template

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "textualize"
MODULES = sorted(PACKAGE.rglob("*.py"))

# a module may import from its own layer or any earlier one
LAYERS = [
    {"errors", "types", "labels"},
    {"speakers", "files", "store", "assets", "datasets", "extract", "wording", "describe",
     "methods", "surroundings", "weights", "windows"},
    {"sandbox", "template_files", "variables", "prompt", "predictions"},
    {"text", "baselines", "explain"},
    {"finetune", "evaluate", "serve", "studio"},
    {"doctor", "demo", "corpus", "console", "cli"},
]  # fmt: skip
ONLY_IN = {
    "feat": {"extract/face/py_feat.py"},
    "faster_whisper": {"extract/speech/whisper.py", "extract/speech/voice_activity.py"},
    "whisper": {"extract/speech/whisper.py"},
    "mediapipe": {"extract/face/mediapipe.py"},
    "ray": {"extract/on_ray.py"},
    "pickle": set(),
    "vllm": set(),
}
# shared layers below the text and feature methods reach into these parts of finetune/evaluate
SHARED = {"textualize.finetune.recipe", "textualize.finetune.run_folder",
          "textualize.evaluate.metrics"}  # fmt: skip


def layer(name: str) -> int:
    return next(i for i, names in enumerate(LAYERS) if name in names)


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{a.name}" for a in node.names}
            modules = {
                n for n in inner if (ROOT / n.replace(".", "/")).with_suffix(".py").is_file()
            }
            found |= modules or {node.module}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own in ("__init__", "__main__"):
        return
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "textualize" and len(parts) > 1 and name not in SHARED:
            assert layer(parts[1]) <= layer(own), f"{own} imports {name}"
        if parts[0] in ONLY_IN:
            assert str(path.relative_to(PACKAGE)) in ONLY_IN[parts[0]], f"{path} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_modules_stay_small_and_say_why_they_exist(path):
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= 500
    assert ast.get_docstring(ast.parse(text))
    assert not re.search(r"\b(TODO|FIXME|XXX|NotImplementedError)\b", text)


@pytest.mark.parametrize("folder", ["prompts", "finetune", "eval"])
def test_edited_folders_hold_no_python(folder):
    assert not list((ROOT / folder).rglob("*.py"))


def test_every_recipe_parses_and_names_its_command():
    names = assets.names("finetune", ".yaml")
    assert set(METHODS) <= set(names)
    for name in names:
        assert load_recipe(name).method in METHODS
        head = (ROOT / "finetune" / f"{name}.yaml").read_text("utf-8")
        assert head.startswith("#") and f"textualize train {name}" in head.split("method:")[0]


def test_every_recipe_round_trips_through_its_resolved_form():
    for name in assets.names("finetune", ".yaml"):
        recipe = load_recipe(name)
        written = yaml.safe_load(yaml.safe_dump(recipe.model_dump(mode="json")))
        assert parse(written, "copy") == recipe


def test_every_suite_parses_and_its_recipes_exist():
    for name in assets.names("eval", ".yaml"):
        if is_prompt_suite(name):
            for setting in load_prompt_suite(name).settings:
                template_of(setting)
            continue
        suite = load_suite(name)
        for method in suite.methods:
            suite.recipe(method)
        load_template(suite.template)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_imports_and_stands_in_the_readme(name):
    for target in (METHODS[name].load, METHODS[name].train):
        module, _, attribute = target.partition(":")
        assert hasattr(importlib.import_module(module), attribute)
    assert f"`{name}`" in (ROOT / "README.md").read_text("utf-8")


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 250


def test_the_wheel_has_one_top_level_name():
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]
    targets = wheel["targets"]["wheel"]
    assert targets["packages"] == ["textualize"]
    assert all(v.startswith("textualize/") for v in targets["force-include"].values())
