import importlib.util
import json
import os
import subprocess
import sys

import pytest

from textualize import assets
from textualize.cli import run
from textualize.doctor import OF_SENSORS, PACKAGES, examine
from textualize.extract.sensor import PRESETS, SENSORS
from textualize.weights.table import WEIGHTS

SECTIONS = (
    "machine", "packages", "programs", "decoders", "weights", "sensors", "presets", "recipes",
    "shipped",
)  # fmt: skip


@pytest.fixture(autouse=True)
def empty_caches(monkeypatch, tmp_path):
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TEXTUALIZE_CACHE", str(tmp_path / "own"))


@pytest.fixture
def without(monkeypatch):
    """Make packages look missing."""

    def hide(*names):
        from importlib.util import find_spec

        monkeypatch.setattr(
            "importlib.util.find_spec", lambda name: None if name in names else find_spec(name)
        )

    return hide


def named(section):
    return {f.name: f for f in examine()[section]}


def test_every_package_is_looked_for_and_a_missing_one_says_how_to_get_it():
    found = named("packages")
    for distribution, _, wanted in PACKAGES.values():
        finding = found[distribution]
        assert finding.there or finding.remedy == f"pip install '{wanted}'"
    assert "compound" in named("shipped")["prompts"].found


def test_the_extras_that_are_named_exist():
    import tomllib
    from pathlib import Path

    content = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text("utf-8"))
    extras = content["project"]["optional-dependencies"]
    for distribution, _, wanted in PACKAGES.values():
        if wanted.startswith("textualize["):
            assert wanted[len("textualize[") : -1] in extras
        else:
            assert wanted == distribution


def test_a_package_that_is_not_there_is_found_missing(monkeypatch):
    monkeypatch.setitem(PACKAGES, "no_such_package", ("no-such", "nothing", "textualize[extract]"))
    missing = named("packages")["no-such"]
    assert not missing.there and missing.remedy == "pip install 'textualize[extract]'"


@pytest.mark.parametrize("value", ["1", "true"])
def test_offline_is_told(monkeypatch, value):
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    hub = named("machine")["model hub"]
    assert not hub.there and "offline" in hub.found
    monkeypatch.delenv("HF_HUB_OFFLINE")
    assert named("machine")["model hub"].there


def test_every_sensor_preset_recipe_and_row_of_weights_is_told():
    assert set(named("sensors")) == set(SENSORS) == set(OF_SENSORS)
    assert set(named("presets")) == set(PRESETS)
    assert set(named("recipes")) == set(assets.names("finetune", ".yaml"))
    assert set(named("weights")) == set(WEIGHTS)
    assert {p for names in OF_SENSORS.values() for p in names} <= set(PACKAGES)


def test_whoever_does_not_run_says_what_is_missing_and_the_commands_in_order(without):
    without("mediapipe", "feat", "faster_whisper", "torch")
    sensors, presets = named("sensors"), named("presets")
    assert sensors["sidecar"].there and not sensors["mediapipe"].there
    assert sensors["mediapipe"].remedy == "pip install 'textualize[extract]'"
    assert sensors["py-feat"].more["commands"] == [
        "pip install 'textualize[py-feat]'",
        "textualize fetch py-feat-faces",
        "textualize fetch py-feat-multitask --yes",
    ]
    assert not sensors["vision-model"].there
    assert presets["embedded"].more["missing"] == ["mediapipe"]
    assert presets["full"].more["missing"] == ["py-feat", "whisper"]
    commands = presets["full"].more["commands"]
    assert len(commands) == len(set(commands)) and presets["full"].remedy == " && ".join(commands)
    recipes = named("recipes")
    assert recipes["majority"].there and not recipes["text-encoder"].there
    assert recipes["bert-base"].more["missing"] == ["torch", "weights bert-base-uncased"]


def test_a_sensor_that_takes_any_model_runs_without_ours():
    for name in ("vision-model", "audio-model", "text-model", "affect-model"):
        finding = named("sensors")[name]
        needed = all(importlib.util.find_spec(p) for p in OF_SENSORS[name])
        assert finding.there == needed
        assert not finding.there or "model of yours" in finding.found


def test_weights_of_another_revision_are_told(tmp_path):
    row = WEIGHTS["whisper-base"]
    repository = tmp_path / "huggingface" / "hub" / "models--Systran--faster-whisper-base"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("c" * 40)
    for name in row.files:
        file = repository / "snapshots" / ("c" * 40) / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
    found = named("weights")["whisper-base"]
    assert found.there and f"not the pinned {row.revision[:12]}" in found.found
    assert "not checked" in found.found
    (file.parent / "model.bin").unlink()
    assert named("weights")["whisper-base"].more["state"] == "partly here"


def test_the_report_as_json_has_a_stable_shape(capsys):
    assert run(["doctor", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert tuple(content) == ("schema", *SECTIONS) and content["schema"] == 1
    for section in SECTIONS:
        for line in content[section]:
            assert {"name", "there", "found", "remedy"} <= set(line)
    for line in content["weights"]:
        assert {"state", "licence", "noncommercial", "gated", "pinned", "folder"} <= set(line)


def test_the_report_for_people_names_every_section(capsys):
    assert run(["doctor"]) == 0
    told = capsys.readouterr().out
    assert all(section in told for section in SECTIONS)
    assert "CC-BY-NC-SA-4.0" in told and "textualize fetch whisper-base" in told


def test_nothing_heavy_is_imported():
    heavy = "torch transformers mediapipe feat pandas sklearn huggingface_hub librosa ray".split()
    code = (
        "import sys; from textualize.doctor import examine; examine();"
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True
    )
    assert done.stdout.strip() == "[]"
