from __future__ import annotations

import csv
import gzip
import json
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import textualize.demo
from textualize.demo import build, script, voice
from textualize.errors import TextualizeError
from textualize.labels import BASIC, label_set

HERE = Path(textualize.demo.__file__).parent
LINES = script.lines()
needs_espeak = pytest.mark.skipif(
    shutil.which("espeak-ng") is None, reason="espeak-ng is not installed: no voice to test"
)


def test_every_subject_plays_every_emotion_twice() -> None:
    counts = Counter((line.subject.id, line.emotion) for line in LINES)
    assert len(LINES) == 168
    assert len(counts) == 12 * 7
    assert set(counts.values()) == {2}


def test_the_script_depends_on_its_seed_alone() -> None:
    assert script.lines(5) == script.lines(5)
    assert script.lines(5) != script.lines(6)


def test_no_name_or_sentence_gives_the_label_away() -> None:
    stems = {word[:5] for label in label_set("compound7").labels for word in label.split()}
    stems |= {word[:5] for word in BASIC} | {"happy", "angry", "sad"}
    for line in LINES:
        assert re.fullmatch(r"s\d\d_c\d\d", line.id)
        words = " ".join(line.sentences).split()
        assert not [w for w in words if w[:5] in stems]


def test_modalities_tell_about_as_much_as_documented() -> None:
    cued = [any(s in script.CUES[line.emotion] for s in line.sentences) for line in LINES]
    assert np.mean(cued) == pytest.approx(script.CUED, abs=0.1)
    shown = Counter(line.shown for line in LINES)
    assert shown["shared"] / 168 == pytest.approx(script.AMBIGUOUS, abs=0.1)
    assert 0 < sum(line.label != line.emotion for line in LINES) <= 10
    voices = Counter(script.VOICES.values())
    assert max(voices.values()) == 2 and len(voices) == 4


def test_an_ambiguous_face_shows_only_what_both_emotions_share() -> None:
    for line in (line for line in LINES if line.shown == "shared"):
        other = script.FACES[script.CONFUSED[line.emotion]]
        own = script.FACES[line.emotion]
        assert set(line.face) <= (set(own) & set(other)) | {25}


@pytest.mark.parametrize("line", LINES[::15], ids=lambda line: line.id)
def test_clips_open_neutral_and_then_act(line: script.Line) -> None:
    curves = script.actions(line, np.full(40, 0.5))
    for action, curve in curves.items():
        assert (curve[:5] == 0).all()
        assert ((curve >= 0) & (curve <= 1)).all()
        assert np.array_equal(curve, curve.round(2))
        if action in line.face and action != 5:
            assert curve.max() > 0.7 * line.face[action]
    assert curves[43].max() == 1.0  # at least one blink
    assert len(script.poses(line, 40)) == 40


def test_heads_turn_within_fifteen_degrees() -> None:
    yaws = [abs(p.yaw) for line in LINES[::8] for p in script.poses(line, 40)]
    assert np.degrees(max(yaws)) < 15
    assert np.degrees(max(yaws)) > 8


def spoken(**changes: Any) -> voice.Sound:
    base = {"pitch_st": 0.0, "rate": 1.0, "gain_db": 0.0, "pause_s": 0.0}
    fields = {name: getattr(LINES[0], name) for name in script.Line.__dataclass_fields__}
    return voice.speak(script.Line(**{**fields, **base, **changes}))


def level_db(sound: voice.Sound) -> float:
    return float(10 * np.log10((sound.wave**2).mean()))


@needs_espeak
def test_the_voice_does_what_the_levels_say() -> None:
    usual = spoken()
    high, low = spoken(pitch_st=5.0), spoken(pitch_st=-5.0)
    assert 12 * np.log2(high.f0_hz / usual.f0_hz) > 4
    assert 12 * np.log2(low.f0_hz / usual.f0_hz) < -4
    assert spoken(rate=1.28).wpm > 1.15 * usual.wpm
    assert spoken(rate=1 / 1.28).wpm < 0.85 * usual.wpm
    assert level_db(spoken(gain_db=6.0)) - level_db(usual) == pytest.approx(6, abs=0.3)
    assert len(spoken(pause_s=0.9).wave) > len(usual.wave) + 0.6 * voice.SOUND_HZ


@needs_espeak
def test_speech_starts_after_a_silence_and_never_clips() -> None:
    for line in LINES[::40]:
        wave = voice.speak(line).wave
        start = int(voice.SILENCE_S * voice.SOUND_HZ)
        assert np.abs(wave[:start]).max() < 0.01
        assert np.abs(wave).max() < 0.98


def test_a_sine_has_its_own_pitch_and_noise_has_none() -> None:
    t = np.arange(voice.SOUND_HZ) / voice.SOUND_HZ
    for hz in (90.0, 180.0, 350.0):
        assert voice.fundamental(np.sin(2 * np.pi * hz * t)) == pytest.approx(hz, rel=0.02)
    assert np.isnan(voice.fundamental(np.random.default_rng(0).standard_normal(8000)))


def test_without_espeak_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(TextualizeError, match="apt install espeak-ng") as caught:
        voice.speak(LINES[0])
    assert "\n" not in str(caught.value)


def test_too_few_jobs_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main(["--out", str(tmp_path), "--jobs", "0"]) == 2
    assert "expected 1 or more" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@needs_espeak
def test_a_clip_holds_what_its_truth_says(tmp_path: Path) -> None:
    line = min(LINES, key=lambda line: len(" ".join(line.sentences)))
    record = build.make(line, tmp_path)
    path = tmp_path / build.video_name(line)
    with av.open(str(path)) as box:
        assert box.streams.video[0].average_rate == build.FRAME_RATE
        frames = [f.to_ndarray(format="rgb24") for f in box.decode(video=0)]
    with av.open(str(path)) as box:
        sound = np.concatenate([f.to_ndarray()[0] for f in box.decode(audio=0)])
    assert {len(curve) for curve in record["aus"].values()} == {len(frames)}
    assert abs(len(sound) / voice.SOUND_HZ - len(frames) / 12.5) < 0.15
    curves = {int(k[2:]): np.array(v) for k, v in record["aus"].items()}
    for seen, drawn in zip(frames[:12], build.frames(line, curves), strict=False):
        assert np.abs(seen.astype(float) - drawn).mean() < 4


@needs_espeak
def test_a_build_that_was_stopped_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = sorted(LINES, key=lambda line: len(" ".join(line.sentences)))[:2]
    monkeypatch.setattr(script, "lines", lambda people: (first, second))
    earlier = {"id": first.id, "made": "before the stop"}
    (tmp_path / "unfinished.jsonl").write_text(json.dumps(earlier) + '\n{"id": "s0')
    build.build(tmp_path, jobs=1)
    assert [p.name for p in (tmp_path / "clips").iterdir()] == [f"{second.id}.mp4"]
    with gzip.open(tmp_path / "truth.jsonl.gz", "rt") as stream:
        told = [json.loads(line) for line in stream]
    assert told[0] == earlier and told[1]["text"] == " ".join(second.sentences)
    assert not (tmp_path / "unfinished.jsonl").exists()


@needs_espeak
def test_the_shipped_clips_can_be_made_again_from_the_script() -> None:
    line = LINES[37]
    curves = script.actions(line, voice.speak(line).loudness())
    assert {f"AU{k:02d}": v.tolist() for k, v in curves.items()} == truth()[line.id]["aus"]
    with av.open(str(HERE / build.video_name(line))) as box:
        shipped = [f.to_ndarray(format="rgb24") for f in box.decode(video=0)]
    assert len(shipped) == len(curves[25])
    for seen, drawn in zip(shipped[:12], build.frames(line, curves), strict=False):
        assert np.abs(seen.astype(float) - drawn).mean() < 4


def manifest() -> list[dict[str, str]]:
    with (HERE / "clips.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def truth() -> dict[str, dict[str, Any]]:
    with gzip.open(HERE / "truth.jsonl.gz", "rt") as stream:
        return {line["id"]: line for line in map(json.loads, stream)}


def test_the_shipped_manifest_is_the_scripts() -> None:
    assert (HERE / "clips.csv").read_text() == build.manifest(LINES)
    for row in manifest():
        assert row["label"] in label_set("compound7").labels
        assert row["transcript"] == row["start"] == row["end"] == row["split"] == ""
        assert row["group"] == row["subject"] == row["id"][:3]


def test_the_shipped_clips_are_small_and_complete() -> None:
    sizes = [(HERE / row["video"]).stat().st_size for row in manifest()]
    assert max(sizes) < 200_000
    assert sum(sizes) < 7_000_000
    assert len(list((HERE / "clips").iterdir())) == len(sizes)


def test_the_shipped_truth_belongs_to_the_shipped_clips() -> None:
    made = truth()
    assert list(made) == [line.id for line in LINES]
    for line in LINES:
        record = made[line.id]
        assert record["text"] == " ".join(line.sentences)
        assert (record["emotion"], record["label"]) == (line.emotion, line.label)
        assert record["label_noise"] == (line.emotion != line.label)
        with av.open(str(HERE / build.video_name(line))) as box:
            assert box.streams.video[0].frames == len(record["aus"]["AU01"])
