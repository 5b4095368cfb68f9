"""The wheel by itself: what it installs, and that it runs without the clone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The wheel, built offline and unpacked into a folder of its own."""
    made, target = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(made)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = made.glob("*.whl")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*install, "--target", str(target), str(wheel)], check=True, capture_output=True)
    return wheel, target


def test_the_wheel_is_small_and_has_one_top_level_name(installed):
    wheel, target = installed
    assert wheel.stat().st_size < 12e6
    names = {p.name for p in target.iterdir()} - {"bin"}
    assert {n for n in names if not n.endswith(".dist-info")} == {"textualize"}
    media = sum(p.stat().st_size for p in (target / "textualize/demo").rglob("*") if p.is_file())
    assert media < 8e6
    assert (target / "textualize/_assets/prompts/compound.jinja").is_file()
    assert (target / "textualize/py.typed").is_file()


def test_the_quick_demo_runs_from_the_wheel_alone(installed, tmp_path):
    _, target = installed
    environment = {**os.environ, "PYTHONPATH": str(target), "HF_HUB_OFFLINE": "1"}
    where = "import textualize; print(textualize.__file__)"
    found = subprocess.run(
        [sys.executable, "-c", where], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert found.stdout.startswith(str(target))
    done = subprocess.run(
        [sys.executable, "-m", "textualize", "demo", "--quick", "--out", "quick"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "quick/report-quick/report.json").read_text())
    scores = {row["name"]: row["scores"]["macro_f1"]["value"] for row in report["rows"]}
    assert {"majority", "bag-of-words"} <= set(scores)
    assert scores["bag-of-words"] > scores["majority"] + 0.2
