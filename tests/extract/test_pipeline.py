import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from textualize.datasets.folder import load_paths
from textualize.errors import TextualizeError
from textualize.extract import sensor as sensors
from textualize.extract.pipeline import extract, extract_corpus
from textualize.extract.sensor import Reader, Reading
from textualize.extract.video import Media
from textualize.store import Corpus
from textualize.types import Clip, Status, Track


def tone(path: Path, seconds: float = 0.5, hz: float = 150.0) -> Path:
    path.parent.mkdir(exist_ok=True)
    t = np.arange(int(16000 * seconds)) / 16000
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * hz * t) * np.hanning(len(t)), 16000)
    return path


class Loudness:
    """A fake sensor: the largest sample of the clip; it refuses clips called *bad*."""

    name, version, modality, weights, reads = "loudness", "1", "prosody", "", ("sound",)
    options: dict[str, float] = {}
    read_clips: list[str] = []
    refuses = True

    def begin(self, media):
        return Peak(self, media)


class Peak(Reader):
    def __init__(self, sensor, media):
        self.sensor, self.clip, self.peak = sensor, media.clip.id, 0.0

    def sound(self, stretch):
        self.peak = max(self.peak, float(np.abs(stretch.samples).max()))

    def finish(self):
        type(self.sensor).read_clips.append(self.clip)
        if "bad" in self.clip and type(self.sensor).refuses:
            raise TextualizeError("it is a bad one")
        track = Track(np.array([[self.peak]], np.float32), 1.0, 0.0, ("peak",), "named", "loudness")
        return Reading(Status("observed", "loudness"), {"peak": track})


@pytest.fixture
def loudness(monkeypatch):
    monkeypatch.setitem(sensors.SENSORS, "loudness", ("prosody", f"{__name__}:Loudness"))
    monkeypatch.setattr("textualize.extract.reading._built", {"loudness": Loudness()})
    Loudness.read_clips.clear()
    return Loudness


def run(clips, folder, **options):
    return extract_corpus(clips, folder, sensors=["loudness"], workers=0, **options)


def test_a_second_run_does_no_work_and_a_new_clip_is_all_it_reads(tmp_path, loudness):
    clips = load_paths([tone(tmp_path / f"{n}.wav", hz=100 + n) for n in range(3)]).clips
    first = run(clips, tmp_path / "c")
    assert (first.read, first.reused) == (3, 0)
    more = [*clips, Clip("new", tone(tmp_path / "new.wav", hz=400))]
    second = run(more, tmp_path / "c")
    assert (second.read, second.reused) == (1, 3)
    assert loudness.read_clips == ["0", "1", "2", "new"]
    assert len(Corpus(tmp_path / "c").records()) == 4


def test_a_changed_option_or_medium_is_read_again(tmp_path, loudness, monkeypatch):
    clips = load_paths([tone(tmp_path / "a.wav")]).clips
    run(clips, tmp_path / "c")
    monkeypatch.setattr(Loudness, "options", {"gain": 2.0})
    assert run(clips, tmp_path / "c").read == 1
    tone(tmp_path / "a.wav", hz=300)
    assert run(clips, tmp_path / "c").read == 1
    assert run(clips, tmp_path / "c").reused == 1


def test_one_bad_clip_is_quarantined_and_tried_again_only_when_asked(
    tmp_path, loudness, monkeypatch
):
    tone(tmp_path / "bad.wav"), tone(tmp_path / "good.wav", hz=200)
    clips = load_paths([tmp_path]).clips
    outcome = run(clips, tmp_path / "c")
    assert [(f.clip, f.stage, f.error) for f in outcome.failures] == [
        ("bad", "prosody", "it is a bad one")
    ]
    corpus = Corpus(tmp_path / "c")
    assert [f.clip for f in corpus.failures()] == ["bad"]
    states = {r.clip.id: r.status["prosody"].state for r in corpus.records()}
    assert states == {"bad": "failed", "good": "observed"}
    monkeypatch.setattr(Loudness, "refuses", False)
    loudness.read_clips.clear()
    again = run(clips, tmp_path / "c")
    assert again.earlier == 1 and [f.clip for f in again.failures] == ["bad"]
    assert loudness.read_clips == [] and corpus.failures() == list(outcome.failures)
    mended = run(clips, tmp_path / "c", retry_failed=True)
    assert loudness.read_clips == ["bad"] and not mended.failures
    assert corpus.failures() == []
    assert {r.status["prosody"].state for r in corpus.records()} == {"observed"}


def test_a_failure_is_tried_again_when_the_file_changes(tmp_path, loudness):
    clips = load_paths([tone(tmp_path / "bad.wav")]).clips
    run(clips, tmp_path / "c")
    loudness.read_clips.clear()
    tone(tmp_path / "bad.wav", hz=300)
    run(clips, tmp_path / "c")
    assert loudness.read_clips == ["bad"]


def test_the_run_stops_after_too_many_failures_and_keeps_what_was_read(tmp_path, loudness):
    for n, name in enumerate(("a_good", "b_bad", "c_bad", "d_good")):
        tone(tmp_path / f"{name}.wav", hz=100 + n)
    clips = load_paths([tmp_path]).clips
    with pytest.raises(TextualizeError, match="stopped: 2 clips failed, 1 were allowed"):
        run(clips, tmp_path / "c", max_failures=1)
    corpus = Corpus(tmp_path / "c")
    assert [e.clip.id for e in corpus.entries()] == ["a_good", "b_bad", "c_bad"]
    assert [f.clip for f in corpus.failures()] == ["b_bad", "c_bad"]
    assert run(clips, tmp_path / "c", max_failures=2).reused == 1


def test_two_sensors_of_one_clip_are_shown_one_decode(tmp_path, loudness, monkeypatch):
    class Second(Loudness):
        name, modality = "second", "affect"

    decoded = []
    monkeypatch.setitem(sensors.SENSORS, "second", ("affect", f"{__name__}:Second"))
    monkeypatch.setattr(
        "textualize.extract.reading._built", {"loudness": Loudness(), "second": Second()}
    )
    sound = Media.sound
    monkeypatch.setattr(Media, "sound", lambda self: (decoded.append(self.clip.id), sound(self))[1])
    clip = Clip("a", tone(tmp_path / "a.wav"))
    done = extract_corpus([clip], tmp_path / "c", sensors=["loudness", "second"], workers=0)
    assert decoded == ["a"] and set(done.states) == {"prosody", "affect"}


def test_two_runs_fill_one_corpus(tmp_path):
    for n in range(16):
        tone(tmp_path / f"m{n % 2}" / f"{n:02}.wav", hz=100 + 5 * n)
    commands = [
        [sys.executable, "-m", "textualize", "extract", str(tmp_path / f"m{half}"),
         "-o", str(tmp_path / "c"), "--sensors", "prosody", "--workers", "1"]
        for half in (0, 1)
    ]  # fmt: skip
    both = [subprocess.Popen(c, stdout=subprocess.DEVNULL) for c in commands]
    assert [p.wait(120) for p in both] == [0, 0]
    records = Corpus(tmp_path / "c").records()
    assert [r.clip.id for r in records] == [f"{n:02}" for n in range(16)]
    assert all("prosody" in r.tracks for r in records)
    assert not list((tmp_path / "c").rglob(".*.tmp"))


def test_thirty_damaged_files_are_quarantined_and_the_good_one_is_read(tmp_path, assets):
    good = (assets / "data/grid/bbaf2n.mpg").read_bytes()
    rng = np.random.default_rng(0)
    (tmp_path / "good.mpg").write_bytes(good)
    for n in range(10):
        (tmp_path / f"empty{n}.mp4").write_bytes(b"\0" * n)
        (tmp_path / f"text{n}.avi").write_text("not a film " * (n + 1))
        (tmp_path / f"noise{n}.mkv").write_bytes(rng.bytes(2000 + n))
    outcome = extract_corpus(
        load_paths([tmp_path]).clips, tmp_path / "c", sensors=["prosody"], workers=2
    )
    assert outcome.clips == 31
    assert len(outcome.failures) == 30
    assert len({f.clip for f in outcome.failures}) == 30
    assert all(f.error and "\n" not in f.error for f in outcome.failures)
    assert [r.clip.id for r in outcome.corpus.records()] == ["good"]


def test_killed_extraction_goes_on_where_it_stopped(tmp_path):
    (tmp_path / "m").mkdir()
    for n in range(24):
        tone(tmp_path / "m" / f"{n:02}.wav", seconds=3.0, hz=100 + 5 * n)
    command = [
        sys.executable, "-m", "textualize", "extract", str(tmp_path / "m"),
        "--corpus", str(tmp_path / "c"), "--sensors", "prosody", "--workers", "1", "--json",
    ]  # fmt: skip
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    for _ in range(1200):
        if len(list((tmp_path / "c/tracks").rglob("[!.]*.safetensors"))) >= 3:
            break
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    clips = load_paths([tmp_path / "m"]).clips
    resumed = extract_corpus(clips, tmp_path / "c", sensors=["prosody"], workers=0)
    assert resumed.reused >= 3 and resumed.read + resumed.reused == 24
    unbroken = extract(clips, tmp_path / "fresh", sensors=["prosody"], workers=0)
    for a, b in zip(resumed.corpus.records(), unbroken, strict=True):
        np.testing.assert_array_equal(a.tracks["prosody"].values, b.tracks["prosody"].values)


def test_refusals_are_one_line_and_create_nothing(tmp_path):
    clip = Clip("a", tone(tmp_path / "a.wav"))
    with pytest.raises(TextualizeError, match="did you mean prosody"):
        extract_corpus([clip], tmp_path / "c", sensors=["prosodi"])
    with pytest.raises(TextualizeError, match="given twice"):
        extract_corpus([clip, clip], tmp_path / "c")
    with pytest.raises(TextualizeError, match="no clips"):
        extract_corpus([], tmp_path / "c")
    with pytest.raises(TextualizeError, match="fps"):
        extract_corpus([clip], tmp_path / "c", fps=0)
    assert not (tmp_path / "c").exists()


def test_the_first_sensor_that_finds_something_is_kept(tmp_path):
    spoken = Clip("a", tone(tmp_path / "a.wav"), transcript="as given")
    silent = Clip("b", tmp_path / "a.wav")
    done = extract_corpus([spoken, silent], tmp_path / "c", sensors=["sidecar"], workers=0)
    first, second = done.corpus.records()
    assert first.transcript == "as given" and first.utterances[0].source == "sidecar"
    assert second.status["speech"].state == "absent"
    assert any(line.startswith("b: speech:") for line in done.unseen)
