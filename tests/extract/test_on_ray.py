"""A Ray cluster makes the same corpus as local processes, and outlives a poisoned clip."""

import filecmp
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from textualize.datasets.folder import load_paths
from textualize.extract.on_ray import result_from_json, result_json, task_from_json, task_json
from textualize.extract.pipeline import extract_corpus
from textualize.extract.reading import ClipResult, Task
from textualize.store import Corpus, failure
from textualize.types import Clip, Span, Utterance

POISON = """
import os, signal
from textualize.extract.voice import prosody
begin = prosody.Prosody.begin
def poisoned(self, media):
    if "poison" in media.clip.id:
        os.kill(os.getpid(), signal.SIGSEGV)
    return begin(self, media)
prosody.Prosody.begin = poisoned
"""


@pytest.fixture
def cluster(tmp_path):
    """A Ray cluster on this machine whose workers die over clips called *poison*."""
    ray = pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    (tmp_path / "patch").mkdir()
    (tmp_path / "patch/sitecustomize.py").write_text(POISON)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(
        num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR",
        runtime_env={"env_vars": {"PYTHONPATH": str(tmp_path / "patch")}},
    )  # fmt: skip
    yield ray
    ray.shutdown()


def tones(folder: Path, names: list[str]) -> list[Clip]:
    folder.mkdir()
    for n, name in enumerate(names):
        t = np.arange(16000) / 16000
        wave = 0.3 * np.sign(np.sin(2 * np.pi * (120 + 10 * n) * t)) * np.hanning(len(t))
        soundfile.write(folder / f"{name}.wav", wave, 16000)
    return list(load_paths([folder]).clips)


def test_ray_makes_the_same_corpus_and_outlives_a_poisoned_clip(tmp_path, cluster):
    clips = tones(tmp_path / "m", ["a", "b", "poison", "c", "d"])
    good = [c for c in clips if c.id != "poison"]
    local = extract_corpus(good, tmp_path / "local", sensors="prosody", workers=0)
    on_ray = extract_corpus(clips, tmp_path / "ray", sensors="prosody", ray="auto", workers=2)
    assert [(f.clip, "SIGSEGV" in f.error) for f in on_ray.failures] == [("poison", True)]
    assert (local.read, on_ray.read) == (4, 4)
    names = [p.relative_to(tmp_path / "local") for p in (tmp_path / "local/tracks").rglob("*.*")]
    assert len(names) == 4
    for name in (*names, Path("records.jsonl"), Path("corpus.json")):
        assert filecmp.cmp(tmp_path / "local" / name, tmp_path / "ray" / name, shallow=False)
    assert [f.clip for f in Corpus(tmp_path / "ray").failures()] == ["poison"]


def test_tasks_and_results_survive_the_journey():
    spoken = Utterance(Span(0.0, 1.0), "hi")
    clip = Clip(
        "ä", Path("/v.mp4"), Span(1.0, 2.0), "s", "g", (spoken,), "fear", sidecars={"a": "b"}
    )
    failed = failure("ä", "face", "no", "key")
    task = Task(clip, "digest", {"key": failed})
    assert task_from_json(task_json(task)) == task
    result = ClipResult(
        clip, "digest", {"face": "k"}, {"face": ("observed", "")}, (failed,), {"x": {"v": 1}}, 2
    )
    assert result_from_json(result_json(result)) == result
